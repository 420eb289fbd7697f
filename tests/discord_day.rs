//! A day between mail and Discord: what is said in one reaches the other, in order, once, and nothing that should not.

use chrono::TimeDelta;
use ticketd::people::Role;
use ticketd::queue;
use ticketd::tickets::threads::Audience;

use crate::discord_commands::front::Front;
use crate::harness::desk::Desk;
use crate::harness::discord::{Person, SUPPORT, Trouble};
use crate::harness::mail::{header, mail, text};
use crate::harness::wait::until;

const ADA: &str = "Ada <ada@example.net>";

/// Works until this is so.
async fn comes_to_pass(desk: &Desk, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until(what, async || {
        desk.settle().await;
        holds().await
    })
    .await;
}

/// Somebody says something in a thread, and everything that follows from it happens.
async fn is_heard(front: &Front, who: &Person, thread: u64, words: &str) -> u64 {
    let message = who.says(thread, words).await;
    taken_in(front, &format!("m{message}")).await;
    message
}

async fn taken_in(front: &Front, name: &str) {
    comes_to_pass(&front.desk, &format!("{name} is understood"), async || {
        let found = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM inbound WHERE source = 'discord' AND name LIKE $1 || '%' AND fate IS NOT NULL",
        );
        found.bind(name).fetch_one(&front.desk.db).await.expect("the ledger") == 1
    })
    .await;
    front.desk.settle().await;
}

/// A customer's mail became a ticket; the thread that staff have for it.
async fn mail_ticket(front: &Front) -> u64 {
    front.desk.knows_skills().await;
    front.desk.hires("Dora", Role::Admin, &[]).await;
    front.desk.handles(&mail(ADA, "Charged twice", "I was *charged* twice.\n\nPlease refund it.\n")).await;
    front.places(front.newest().await).await.staff
}

/// A member's ticket; the thread with them, and staff's.
async fn member_ticket(front: &Front, mia: &Person) -> (u64, u64) {
    front.opens(mia, "Printer", "It burns.").await;
    assert_eq!(front.desk.expects_errors().len(), 1, "the alarm that nobody has it");
    let number = front.newest().await;
    (front.own_thread(number).await, front.places(number).await.staff)
}

#[tokio::test]
async fn a_customers_mail_is_answered_from_a_staff_thread_and_the_answer_comes_back_to_it() {
    let front = Front::open().await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let staff = mail_ticket(&front).await;
    let shown = front.discord.staff_thread("#1001").await;
    assert!(shown.hears("charged").await.text.contains("ada@example.net"), "{}", shown.shown());

    is_heard(&front, &bea, staff, "He is angry. Careful with @everyone.").await;
    front.told(bea.uses("/reply").with("text", "We return it **today**.").in_channel(staff)).await;
    assert_eq!(
        front.desk.mails_to("ada@example.net").len(),
        1,
        "only the acknowledgement, until it can't be undone"
    );
    front.desk.later(TimeDelta::seconds(10)).await;
    let reply = front.desk.last_mail_to("ada@example.net");
    assert!(text(&reply).starts_with("We return it **today**."), "{}", text(&reply));
    assert!(header(&reply, "In-Reply-To").is_some());

    front.desk.handles(&mail(ADA, "", "Thank you, it has arrived!").answering(&reply)).await;
    shown.hears("Thank you, it has arrived!").await;
    assert!(!front.desk.sink.mails().iter().any(|m| m.text().contains("angry")), "a note left the house");
    assert!(
        shown.messages().iter().all(|said| said.author != "ticketd" || said.pings.is_empty()),
        "{}",
        shown.shown()
    );
    assert_eq!(front.desk.tickets().await, 1);
    front.close().await;
}

#[tokio::test]
async fn a_member_and_a_moderator_talk_in_the_members_thread() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let (own, staff) = member_ticket(&front, &mia).await;
    front.told(bea.uses("/claim").in_channel(staff)).await;
    front.desk.settle().await;
    let thread = front.discord.support_thread("#1001").await;
    assert!(
        thread.members().contains(&"bea".to_owned()),
        "who has the ticket is in its thread: {:?}",
        thread.members()
    );

    is_heard(&front, &bea, own, "Which model is it?").await;
    assert_eq!(front.of_newest("status").await, "pending");
    is_heard(&front, &mia, own, "The red one.").await;
    assert_eq!(front.of_newest("status").await, "open");
    let staff_thread = front.discord.staff_thread("#1001").await;
    staff_thread.hears("Which model is it?").await;
    staff_thread.hears("The red one.").await;
    front.told(bea.uses("/note").with("text", "She means the 4000.").in_channel(staff)).await;
    assert!(!thread.shown().contains("4000"), "{}", thread.shown());

    front.told(bea.uses("/status").with("status", "closed").in_channel(staff)).await;
    front.desk.settle().await;
    assert!(thread.archived() && thread.locked(), "{}", thread.shown());
    assert!(staff_thread.archived() && staff_thread.locked(), "{}", staff_thread.shown());
    front.told(mia.uses("/ticket reopen").with("ticket", "#1001")).await;
    front.desk.settle().await;
    assert!(!thread.archived() && !thread.locked(), "{}", thread.shown());
    is_heard(&front, &mia, own, "It burns again.").await;
    staff_thread.hears("It burns again.").await;
    front.close().await;
}

#[tokio::test]
async fn edits_and_deletions_are_kept_and_shown() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let (own, _) = member_ticket(&front, &mia).await;
    let said = is_heard(&front, &mia, own, "My code is 1234.").await;
    let staff = front.discord.staff_thread("#1001").await;
    staff.hears("My code is 1234.").await;
    mia.edits(said, "My code is secret.").await;
    taken_in(&front, &format!("e{said}")).await;
    staff.hears("My code is secret.").await;
    assert!(!staff.shown().contains("1234"), "{}", staff.shown());

    mia.deletes(said).await;
    taken_in(&front, &format!("d{said}")).await;
    assert!(!staff.shown().contains("secret"), "{}", staff.shown());
    assert_eq!(front.desk.count("SELECT count(*) FROM message_revisions").await, 2);
    assert_eq!(
        front.desk.count("SELECT count(*) FROM messages WHERE visible LIKE '%1234%'").await,
        1,
        "the first word stays kept"
    );

    // A moderator's answer that is deleted before its mail left does not leave.
    let regretted = is_heard(&front, &bea, own, "You are an idiot.").await;
    bea.deletes(regretted).await;
    taken_in(&front, &format!("d{regretted}")).await;
    front.desk.later(TimeDelta::hours(1)).await;
    assert!(!staff.shown().contains("idiot"), "{}", staff.shown());
    front.close().await;
}

#[tokio::test]
async fn three_hundred_messages_at_once_arrive_in_order_and_once() {
    let front = Front::open().await;
    let mia = front.discord.member("mia");
    let (own, _) = member_ticket(&front, &mia).await;
    front.discord.delivers_twice(true);
    let words: Vec<String> = (0..300).map(|n| format!("word {n:03}")).collect();
    for word in &words {
        mia.says(own, word).await;
    }
    comes_to_pass(&front.desk, "all are taken in", async || {
        front.desk.count("SELECT count(*) FROM messages WHERE visible LIKE 'word %'").await >= 300
    })
    .await;
    front.desk.settle().await;
    let stored: Vec<String> =
        sqlx::query_scalar("SELECT visible FROM messages WHERE visible LIKE 'word %' ORDER BY id")
            .fetch_all(&front.desk.db)
            .await
            .expect("messages");
    assert_eq!(stored, words);
    let staff = front.discord.staff_thread("#1001").await;
    let relayed: Vec<String> = staff
        .messages()
        .iter()
        .filter_map(|said| {
            said.text.find("word ").and_then(|at| said.text.get(at..at + 8)).map(str::to_owned)
        })
        .collect();
    assert_eq!(relayed, words);
    front.close().await;
}

#[tokio::test]
async fn what_is_said_while_the_bot_is_away_is_neither_lost_nor_doubled() {
    let mut front = Front::open().await;
    let mia = front.discord.member("mia");
    let (own, _) = member_ticket(&front, &mia).await;
    is_heard(&front, &mia, own, "before").await;
    front.goes_offline().await;
    for n in 0..120 {
        mia.says(own, &format!("away {n:03}")).await;
    }
    front.comes_back().await;
    comes_to_pass(&front.desk, "all are taken in", async || {
        front.desk.count("SELECT count(*) FROM messages WHERE visible LIKE 'away %'").await >= 120
    })
    .await;
    front.desk.settle().await;
    is_heard(&front, &mia, own, "after").await;
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT visible FROM messages WHERE channel = 'discord' ORDER BY id OFFSET 1")
            .fetch_all(&front.desk.db)
            .await
            .expect("messages");
    let said = ["before".to_owned()].into_iter().chain((0..120).map(|n| format!("away {n:03}")));
    assert_eq!(kept, said.chain(["after".to_owned()]).collect::<Vec<_>>());
    front.close().await;
}

#[tokio::test]
async fn files_go_along_in_both_directions() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let (own, _) = member_ticket(&front, &mia).await;
    let sent = mia.sends(own, "Here is the log", &[("log.txt", b"it burns")]).await;
    taken_in(&front, &format!("m{sent}")).await;
    let staff = front.discord.staff_thread("#1001").await;
    let relayed = staff.hears("Here is the log").await;
    assert_eq!(relayed.files, [("log.txt".to_owned(), b"it burns".to_vec())]);
    let answer = bea.sends(own, "Try this", &[("fix.sh", b"reboot")]).await;
    taken_in(&front, &format!("m{answer}")).await;
    assert_eq!(staff.hears("Try this").await.files, [("fix.sh".to_owned(), b"reboot".to_vec())]);
    assert_eq!(front.desk.count("SELECT count(*) FROM attachments").await, 2);
    front.close().await;
}

#[tokio::test]
async fn where_plain_messages_are_replies_two_slashes_keep_one_inside() {
    let front = Front::with("plain_messages = \"reply\"").await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let staff = mail_ticket(&front).await;
    is_heard(&front, &bea, staff, "// he is angry").await;
    is_heard(&front, &bea, staff, "We return it.").await;
    front.desk.later(TimeDelta::seconds(10)).await;
    assert!(text(&front.desk.last_mail_to("ada@example.net")).starts_with("We return it."));
    assert!(!front.desk.sink.mails().iter().any(|m| m.text().contains("angry")), "a note left the house");
    front.close().await;
}

#[tokio::test]
async fn words_of_who_is_no_longer_staff_do_not_count_as_staffs() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let (own, staff) = member_ticket(&front, &mia).await;
    front.told(bea.uses("/claim").in_channel(staff)).await;
    front.desk.settle().await;
    front.discord.take_role(&bea, "moderator");
    let said = is_heard(&front, &bea, own, "I still speak for them.").await;
    let kind: String = sqlx::query_scalar("SELECT kind FROM messages WHERE discord_id = $1")
        .bind(i64::try_from(said).expect("an id"))
        .fetch_one(&front.desk.db)
        .await
        .expect("a message");
    assert_eq!(kind, "note", "it is nobody's answer, and gives no part in the ticket");
    assert_eq!(front.desk.count("SELECT count(*) FROM participants").await, 1);
    front.close().await;
}

#[tokio::test]
async fn an_answer_that_is_made_a_remark_by_an_edit_does_not_reach_the_requester() {
    let front = Front::with("plain_messages = \"reply\"").await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let mia = front.discord.member("mia");
    let (_, staff) = member_ticket(&front, &mia).await;
    let thread = front.discord.support_thread("#1001").await;
    let early = is_heard(&front, &bea, staff, "One moment").await;
    bea.edits(early, "// he is lying, wait").await;
    taken_in(&front, &format!("e{early}")).await;
    front.desk.later(TimeDelta::minutes(1)).await;
    assert!(!thread.shown().contains("One moment"), "it was taken back: {}", thread.shown());

    let late = is_heard(&front, &bea, staff, "Which model?").await;
    front.desk.later(TimeDelta::minutes(1)).await;
    thread.hears("Which model?").await;
    bea.edits(late, "// he is lying").await;
    taken_in(&front, &format!("e{late}")).await;
    assert!(!thread.shown().contains("lying"), "{}", thread.shown());
    front.close().await;
}

#[tokio::test]
async fn an_answer_that_is_corrected_before_it_leaves_leaves_corrected() {
    let front = Front::with("plain_messages = \"reply\"").await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let staff = mail_ticket(&front).await;
    let said = is_heard(&front, &bea, staff, "It costs 10.").await;
    bea.edits(said, "It costs 100.").await;
    taken_in(&front, &format!("e{said}")).await;
    front.desk.later(TimeDelta::seconds(10)).await;
    assert!(text(&front.desk.last_mail_to("ada@example.net")).starts_with("It costs 100."));
    front.close().await;
}

#[tokio::test]
async fn who_lost_a_role_is_staff_no_more_although_they_do_nothing_there() {
    let front = Front::open().await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let cem = front.discord.member_with("cem", &["admin"]);
    for who in [&bea, &cem] {
        front.told(who.uses("/stats")).await;
    }
    front.discord.take_role(&bea, "moderator");
    front.discord.leaves(&cem);
    let mut tx = front.desk.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::ROLES, 0, front.desk.clock.now()).await.expect("what the clock does");
    tx.commit().await.expect("committed");
    front.desk.settle().await;
    assert_eq!(front.desk.count("SELECT count(*) FROM persons WHERE role <> 'user'").await, 0);
    front.close().await;
}

#[tokio::test]
async fn a_message_is_sent_on_once_whoever_clicks() {
    let front = Front::open().await;
    let (bea, cem) =
        (front.discord.member_with("bea", &["moderator"]), front.discord.member_with("cem", &["moderator"]));
    let staff = mail_ticket(&front).await;
    let note = is_heard(&front, &bea, staff, "We return it tomorrow.").await;
    front.told(bea.uses_on(note, "Send to customer")).await;
    let again = front.told(cem.uses_on(note, "Send to customer")).await;
    assert!(again.contains("was sent to the customer already"), "{again}");
    front.desk.later(TimeDelta::seconds(10)).await;
    assert_eq!(front.desk.mails_to("ada@example.net").len(), 2, "the acknowledgement, and one answer");
    front.close().await;
}

/// What members wrote in Discord after the ticket's first words, in the order in which it was kept.
async fn kept(front: &Front) -> Vec<String> {
    let all = sqlx::query_scalar(
        "SELECT visible FROM messages WHERE channel = 'discord' AND kind = 'inbound' ORDER BY id OFFSET 1",
    );
    all.fetch_all(&front.desk.db).await.expect("messages")
}

#[tokio::test]
async fn what_was_said_while_the_bot_could_not_see_a_channel_is_read_when_it_can_again() {
    let front = Front::open().await;
    let mia = front.discord.member("mia");
    let (own, _) = member_ticket(&front, &mia).await;
    is_heard(&front, &mia, own, "before").await;
    front.discord.forbids(SUPPORT, 50_001);
    mia.says(own, "unseen 1").await;
    mia.says(own, "unseen 2").await;
    front.discord.forbids(SUPPORT, 0);
    is_heard(&front, &mia, own, "after").await;
    assert_eq!(kept(&front).await, ["before", "unseen 1", "unseen 2", "after"]);
    front.close().await;
}

#[tokio::test]
async fn what_was_said_in_a_broken_thread_is_read_before_what_is_said_next() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let (own, staff) = member_ticket(&front, &mia).await;
    is_heard(&front, &mia, own, "before").await;
    front.discord.forbids(own, 50_013);
    front.told(bea.uses("/reply").with("text", "Is it still there?").in_channel(staff)).await;
    front.desk.later(TimeDelta::seconds(10)).await;
    let thread = front.desk.thread_row(front.newest().await, Audience::Requester).await;
    assert!(thread.broken.is_some() && thread.read_on, "{thread:?}");
    front.discord.withholds_events();
    mia.says(own, "unheard 1").await;
    mia.says(own, "unheard 2").await;
    front.discord.loses_events();
    front.discord.forbids(own, 0);
    is_heard(&front, &mia, own, "after").await;
    assert_eq!(kept(&front).await, ["before", "unheard 1", "unheard 2", "after"]);
    let thread = front.desk.thread_row(front.newest().await, Audience::Requester).await;
    assert!(!thread.read_on, "it is read on once");
    front.desk.settle().await;
    front.close().await;
}

#[tokio::test]
async fn an_answer_that_overtakes_its_deferral_is_given_again() {
    let front = Front::open().await;
    let mia = front.discord.member("mia");
    // As Discord says before it knows that the interaction was answered at all.
    front.discord.troubles("PATCH", "/messages/@original", Trouble::Refused(404, 10_015));
    let told = front.told(mia.uses("/ticket list")).await;
    assert!(told.contains("no tickets") || told.contains("no open ticket"), "{told}");
    front.close().await;
}
