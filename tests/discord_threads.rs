//! A ticket as it is shown in Discord: its threads, their cards, what was written, edited, taken back, closed; and what
//! becomes of it when Discord does not do what it is asked.

mod desk;
mod locks;
mod trouble;

use chrono::TimeDelta;
use desk::{ADA, Room, TICKET, text_of};
use ticketd::tickets::actions::{self, Revision};
use ticketd::tickets::threads::Audience;
use ticketd::tickets::{Priority, Status};

use crate::harness::discord::{PRIVATE_THREAD, PUBLIC_THREAD, STAFF, SUPPORT, Thread};
use crate::harness::mail::mail;
use crate::harness::seen::claim;
use crate::harness::wait::until;

#[tokio::test]
async fn a_mail_gets_a_thread_that_only_staff_see() {
    let room = Room::open().await;
    room.desk.handles(&mail(ADA, "Refund", "I want a *refund* of the invoice.")).await;
    let thread = room.discord.staff_thread("#1001 Refund").await;
    assert_eq!((thread.kind(), thread.archived(), room.discord.threads().len()), (PUBLIC_THREAD, false, 1));
    insta::assert_snapshot!(thread.shown(), @r"
    # #1001 Refund
    ticketd: **Ada** (ada@example.net) wrote by mail:
      I want a \*refund\* of the invoice.
    ");
    insta::assert_snapshot!(thread.card().shown(), @"
    ticketd: (edited) **#1001**
      #1001 Refund
      Requester: Ada (by email)
      Status: open
      Priority: medium
      Category: billing
      Skills: billing
      Language: en
      Assigned to: Bea: 1 of 1 skill (billing), 0 of 10 open
      Notes (written by a machine, for staff only): By its words: billing (refund, invoice); billing (refund, invoice).
      Judged by offline
      (Claim) (Reply) (Resolve) (Reassign) (Priority)
    ");
    assert!(!room.discord.member("mia").sees(thread.id()));
    room.close().await;
}

#[tokio::test]
async fn an_answer_is_shown_with_a_way_back_until_it_left() {
    let room = Room::with_a_ticket().await;
    let thread = room.discord.staff_thread("#1001").await;
    room.replies("Done, **Ada**.").await;
    let answer = thread.messages().pop().expect("the answer");
    insta::assert_snapshot!(answer.shown(), @"
    ticketd: **Bea** answered the requester:
      Done, **Ada**.
      (Undo)
    ");
    room.later(TimeDelta::seconds(11)).await;
    let answer = room.discord.message(answer.id).expect("the same message");
    insta::assert_snapshot!(answer.shown(), @"
    ticketd: (edited) **Bea** answered the requester:
      Done, **Ada**.
    ");
    assert_eq!(room.desk.mails_to("ada@example.net").len(), 2, "the acknowledgement and the answer");

    let message = room.replies("That was wrong.").await;
    room.acts(async |tx, ticket, act| actions::undo(tx, ticket, message, act).await).await;
    insta::assert_snapshot!(thread.messages().pop().expect("the answer").shown(), @"ticketd: (edited) **Bea** took this answer back; nothing of it was sent.");
    room.close().await;
}

#[tokio::test]
async fn files_come_along_and_what_is_too_large_is_named() {
    let room = Room::open().await;
    let part = |name: &str, body: &str| {
        format!(
            "--x\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"{name}\"\n\n{body}\n"
        )
    };
    let line = format!("{}\n", "x".repeat(75));
    let large = line.repeat((11 << 20) / line.len());
    let mut body = "--x\nContent-Type: text/plain\n\nSee the files of the invoice.\n".to_owned();
    body.push_str(&part("film.bin", &large));
    (1..=11).for_each(|n| body.push_str(&part(&format!("{n}.log"), "log")));
    body.push_str("--x--\n");
    let mail = mail(ADA, "Files", &body).with("Content-Type", "multipart/mixed; boundary=x");
    room.desk.handles(&mail).await;
    let thread = room.discord.staff_thread("#1001").await;
    insta::assert_snapshot!(thread.shown(), @"
    # #1001 Files
    ticketd: **Ada** (ada@example.net) wrote by mail:
      See the files of the invoice.
      -# Not shown here: film.bin (12 MiB)
      [1.log, 3 bytes]
      [2.log, 3 bytes]
      [3.log, 3 bytes]
      [4.log, 3 bytes]
      [5.log, 3 bytes]
      [6.log, 3 bytes]
      [7.log, 3 bytes]
      [8.log, 3 bytes]
      [9.log, 3 bytes]
    ticketd: -# Files 10 to 11
      [10.log, 3 bytes]
      [11.log, 3 bytes]
    ");
    room.close().await;
}

#[tokio::test]
async fn long_texts_are_split_and_very_long_ones_are_a_file() {
    let room = Room::with_a_ticket().await;
    let thread = room.discord.staff_thread("#1001").await;
    let before = thread.messages().len();
    let code = (0..150).map(|n| format!("let line_{n} = {n};")).collect::<Vec<_>>().join("\n");
    room.notes(&format!("Look:\n```rust\n{code}\n```\nThat is all.")).await;
    let parts: Vec<_> = thread.messages().into_iter().skip(before).collect();
    assert!(parts.len() > 1 && parts.iter().all(|part| part.content.chars().count() <= 2000));
    assert!(parts.iter().all(|part| part.content.matches("```").count() % 2 == 0), "code stays code");
    let whole: String = parts.iter().map(|part| part.content.as_str()).collect();
    assert!((0..150).all(|n| whole.contains(&format!("let line_{n} = {n};"))), "nothing is missing");

    let text = (0..2000).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
    room.notes(&text).await;
    let last = thread.messages().pop().expect("the note");
    assert!(last.content.contains("line 0\n") && last.content.contains("the whole is in the file"));
    assert_eq!(last.files.len(), 1);
    assert!(last.files[0].1 == text.into_bytes(), "all of it");
    room.close().await;
}

#[tokio::test]
async fn thirty_messages_stand_in_the_order_they_were_written_in() {
    let room = Room::with_a_ticket().await;
    let thread = room.discord.staff_thread("#1001").await;
    let before = thread.messages().len();
    for n in 0..30 {
        room.writes_a_note(&format!("note {n}")).await;
    }
    room.desk.settle().await;
    let seen: Vec<String> = thread.messages().iter().skip(before).map(text_of).collect();
    let wanted: Vec<String> = (0..30).map(|n| format!("note {n}")).collect();
    assert_eq!(seen, wanted);
    room.close().await;
}

#[tokio::test]
async fn edits_and_deletions_are_shown() {
    let room = Room::with_mias_ticket().await;
    let thread = room.discord.staff_thread("#1001").await;
    let message = room.first_message().await;
    let longer = format!("It burns!\n{}", "very much so.\n".repeat(170));
    room.revises(message, Revision::Edited(&longer)).await;
    let texts: Vec<String> = thread.messages().iter().map(|m| m.content.clone()).collect();
    assert_eq!(texts.len(), 2, "it became longer than one message: {texts:?}");
    assert!(texts[0].starts_with("**mia** wrote:\nIt burns!") && texts[1].ends_with("-# edited"));
    room.revises(message, Revision::Edited("It smokes.")).await;
    insta::assert_snapshot!(thread.shown(), @"
    # #1001 It burns
    ticketd: (edited) **mia** wrote:
      It smokes.
      -# edited
    ");
    room.revises(message, Revision::Deleted).await;
    insta::assert_snapshot!(thread.shown(), @"
    # #1001 It burns
    ticketd: (edited) **mia** deleted this message.
    ");
    room.close().await;
}

#[tokio::test]
async fn in_a_forum_a_ticket_is_a_post_with_tags() {
    let room = Room::with_forum(&["new", "open", "Closed", "high", "urgent", "vip"]).await;
    room.desk.handles(&mail(ADA, "Refund", "I want a refund of the invoice.")).await;
    let thread = room.discord.staff_thread("#1001 Refund").await;
    assert_eq!(thread.tags(), ["open"], "as it is assigned");
    assert!(thread.card().text.contains("Status: open"));
    assert_eq!(thread.messages().len(), 2, "the card and the mail");
    room.acts(async |tx, ticket, act| actions::set_priority(tx, ticket, Priority::Urgent, act).await).await;
    assert_eq!(thread.tags(), ["open", "urgent"]);
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    assert_eq!(thread.tags(), ["Closed", "urgent"]);
    assert!(thread.archived() && thread.locked());
    room.notes("One more thing.").await;
    assert!(thread.archived() && thread.locked(), "opened for the note, and closed again");
    assert_eq!(text_of(&thread.messages().pop().expect("the note")), "One more thing.");
    room.close().await;
}

#[tokio::test]
async fn a_requester_in_discord_gets_a_thread_of_their_own_with_nothing_internal_in_it() {
    let room = Room::with_mias_ticket().await;
    let own = room.discord.support_thread("#1001 It burns").await;
    assert_eq!((own.kind(), own.invitable()), (PRIVATE_THREAD, false));
    assert_eq!(own.members(), ["bea", "mia"], "the requester, and who has the ticket");
    assert_eq!(own.card().pings, ["<@mia>"]);
    room.notes("He is *angry*, internal.").await;
    room.replies("Use **water**.").await;
    assert!(!own.shown().contains("water"), "it has not left yet");
    room.later(TimeDelta::seconds(11)).await;
    insta::assert_snapshot!(own.shown(), @"
    # #1001 It burns
    ticketd: <@mia>, this is your ticket **#1001**: It burns
      
      Write here whatever you want to add. Our staff answer in this thread; nobody else sees it.
    ticketd: You wrote:
      It burns, the *invoice* shows a refund.
    ticketd: **Bea:** Use **water**.
    ");
    let staff = room.discord.staff_thread("#1001").await;
    insta::assert_snapshot!(staff.shown(), @"
    # #1001 It burns
    ticketd: **mia** wrote:
      It burns, the *invoice* shows a refund.
    ticketd: **Bea** noted, for staff only:
      He is *angry*, internal.
    ticketd: (edited) **Bea** answered the requester:
      Use **water**.
    ");
    assert!(!own.shown().contains("internal") && !own.shown().contains("example.org"));
    room.close().await;
}

#[tokio::test]
async fn who_gives_a_ticket_back_leaves_its_requesters_thread() {
    let room = Room::with_mias_ticket().await;
    let own = room.discord.support_thread("#1001").await;
    assert_eq!(own.members(), ["bea", "mia"]);
    room.acts(async |tx, ticket, act| actions::release(tx, ticket, act).await).await;
    assert_eq!(own.members(), ["mia"]);
    room.acts(async |tx, ticket, act| claim(tx, ticket, act).await).await;
    assert_eq!(own.members(), ["bea", "mia"], "with the ticket they come back");
    sqlx::query("UPDATE persons SET granted_role = 'user' WHERE name = 'Bea'")
        .execute(&room.desk.db)
        .await
        .expect("a demotion");
    room.acts(async |tx, ticket, act| actions::set_priority(tx, ticket, Priority::Urgent, act).await).await;
    assert_eq!(own.members(), ["mia"]);
    room.close().await;
}

#[tokio::test]
async fn closing_archives_and_locks_last_and_reopening_unlocks() {
    let room = Room::with_mias_ticket().await;
    let (own, staff) = (room.discord.support_thread("#1001").await, room.discord.staff_thread("#1001").await);
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    for thread in [&own, &staff] {
        assert!(thread.archived() && thread.locked());
        let path = format!("/channels/{}", thread.id());
        let requests = room.discord.requests();
        let last = requests.iter().rfind(|request| request.path.contains(&path)).expect("a request");
        assert_eq!((last.method.as_str(), last.body["archived"].as_bool()), ("PATCH", Some(true)));
    }
    assert!(own.shown().ends_with("`/ticket reopen` opens both again.\n"));
    room.acts(async |tx, ticket, act| actions::reopen(tx, ticket, act).await).await;
    assert!(!own.archived() && !own.locked() && !staff.archived() && !staff.locked());
    // Archived by inactivity is not closed.
    room.mia().archives(own.id(), true).await;
    room.replies("Still there?").await;
    room.later(TimeDelta::seconds(11)).await;
    assert!(!own.archived() && own.shown().contains("Still there?"));
    assert_eq!(room.status().await, Status::Pending);
    room.close().await;
}

#[tokio::test]
async fn what_was_written_just_before_closing_while_nobody_listened_is_heard() {
    let room = Room::with_mias_ticket().await;
    let (own, staff) = (room.discord.support_thread("#1001").await, room.discord.staff_thread("#1001").await);
    room.mia().says(own.id(), "Wait, it burns again.").await;
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    assert!(own.archived());
    let online = room.desk.connects_to_discord().await;
    let thread = room.thread(Audience::Requester).await;
    until("it is in the ledger", async || !room.desk.heard(thread.id).await.is_empty()).await;
    online.ends().await;
    room.comes_to_rest().await;
    assert!(staff.shown().contains("Wait, it burns again."), "{}", staff.shown());
    room.close().await;
}

#[tokio::test]
async fn a_requester_who_left_the_thread_is_let_in_again_when_the_ticket_is_reopened() {
    let room = Room::with_mias_ticket().await;
    let own = room.discord.support_thread("#1001").await;
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    room.discord.leaves_thread(room.mia(), own.id());
    assert_eq!(own.members(), ["bea"]);
    room.acts(async |tx, ticket, act| actions::reopen(tx, ticket, act).await).await;
    assert_eq!(own.members(), ["bea", "mia"]);
    room.close().await;
}

#[tokio::test]
async fn closing_leaves_the_conversation_as_a_file_once_each_time() {
    let room = Room::with_transcripts().await;
    let (own, staff) = (room.discord.support_thread("#1001").await, room.discord.staff_thread("#1001").await);
    room.notes("He is angry, internal.").await;
    let pages = |thread: &Thread| {
        let files = thread.messages().into_iter().flat_map(|said| said.files);
        let pages = files.filter(|(name, _)| name == "ticket-1001.html");
        pages.map(|(_, page)| String::from_utf8(page).expect("text")).collect::<Vec<_>>()
    };
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    assert_eq!((pages(&own).len(), pages(&staff).len()), (1, 1));
    assert!(pages(&own)[0].contains("It burns") && !pages(&own)[0].contains("internal"));
    assert!(pages(&staff)[0].contains("He is angry, internal."));
    assert!(own.archived() && staff.archived());
    // A note that opens the thread once more is not another closing, not even when the nonce is forgotten.
    room.later(TimeDelta::hours(1)).await;
    room.notes("One more thing.").await;
    assert_eq!((pages(&own).len(), pages(&staff).len()), (1, 1));
    room.acts(async |tx, ticket, act| actions::reopen(tx, ticket, act).await).await;
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    assert_eq!((pages(&own).len(), pages(&staff).len()), (2, 2));
    room.close().await;
}

#[tokio::test]
async fn a_ticket_that_was_over_before_is_not_shown() {
    let room = Room::with_a_ticket_before_discord().await;
    assert_eq!(room.discord.threads().len(), 0);
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    assert_eq!(room.discord.threads().len(), 0);
    room.acts(async |tx, ticket, act| actions::reopen(tx, ticket, act).await).await;
    assert_eq!(room.discord.staff_thread("#1001").await.messages().len(), 0, "the card only");
    room.close().await;
}

#[tokio::test]
async fn hostile_mail_notifies_nobody_and_formats_nothing() {
    let room = Room::open().await;
    let (mia, bea) = (room.discord.member("mia"), room.bea.mention());
    let body = format!(
        "@everyone @here {} {bea} <@&{}> invoice\n# Big\n> quote\n**bold** [click](https://evil.example) ||x||\n```\ncode",
        mia.mention(),
        crate::harness::discord::MODERATOR
    );
    let from = "\"**@everyone** #1\" <ada@example.net>";
    room.desk.handles(&mail(from, "@everyone **x** <@1>", &body)).await;
    let thread = room.discord.staff_thread("#1001").await;
    let everything =
        [room.discord.messages(STAFF), room.discord.messages(SUPPORT), thread.messages()].concat();
    assert!(everything.len() >= 2);
    for message in everything {
        assert_eq!(message.pings, Vec::<String>::new(), "{}", message.text);
    }
    let shown = thread.messages().pop().expect("the mail").shown();
    let shown = shown.replace(&mia.id().to_string(), "MIA").replace(&room.bea.id().to_string(), "BEA");
    let shown = shown.replace('\u{200b}', "·");
    insta::assert_snapshot!(shown, @r"
    ticketd: **\*\*@·everyone\*\* #1** (ada@example.net) wrote by mail:
      @·everyone @·here \<·@MIA\> \<·@BEA\> \<·@&1100000000000000301\> invoice
      \# Big
      \> quote
      \*\*bold\*\* \[click\](https://evil.example) \|\|x\|\|
      \`\`\`
      code
    ");
    assert_eq!(thread.members(), Vec::<String>::new());
    assert_eq!(TICKET.0, 1001);
    room.close().await;
}
