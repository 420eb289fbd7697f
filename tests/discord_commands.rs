//! What members and staff ask of the bot, what happens, and what they are told.

pub mod front;
mod rights;

use std::time::Duration;

use chrono::TimeDelta;
use front::{Front, Places};
use ticketd::ingest::discord::{Arrived, Kind, receive};

use crate::harness::discord::SUPPORT;
use crate::harness::mail::mail;
use crate::harness::wait::until;

/// A customer's mail became ticket 1, or the next one.
async fn mail_ticket(front: &Front) -> i64 {
    front.desk.handles(&mail("Ada <ada@example.net>", "Charged twice", "I want a refund.\n")).await;
    front.newest().await
}

#[tokio::test]
async fn a_member_opens_a_ticket_and_sees_it_through() {
    let front = Front::open().await;
    let mia = front.discord.member("mia");
    let form = mia.uses("/ticket new").with("category", "billing").await.modal().await;
    let shown = front
        .shown(form.submits(&[("subject", "Charged twice"), ("text", "My card was charged twice, <@1>!")]))
        .await;
    assert!(shown.ephemeral, "{shown:?}");
    let number = front.newest().await;
    assert_eq!(
        shown.text,
        format!("This is ticket #{number}. You get a thread of your own for it in a moment.")
    );
    assert_eq!(
        front.of_newest("category || ' ' || channel || ' ' || subject").await,
        "billing discord Charged twice"
    );
    assert_eq!(front.desk.count("SELECT count(*) FROM messages WHERE visible LIKE '%@someone!'").await, 1);
    assert_eq!(front.last_fate().await.0, "ticketed");

    let list = front.told(mia.uses("/ticket list")).await;
    assert!(list.starts_with(&format!("**#{number}** Charged twice (new) <#")), "{list}");
    let shown = front.told(mia.uses("/ticket show").with("ticket", format!("#{number}"))).await;
    assert!(shown.contains("Status: new") && shown.contains("About: billing"), "{shown}");

    let own = front.own_thread(number).await;
    let closed = front.told(mia.uses("/ticket close").in_channel(own)).await;
    assert_eq!(closed, format!("#{number} is closed. `/ticket reopen` opens it again."));
    assert_eq!(front.of_newest("status").await, "closed");
    let reopened = front.told(mia.uses("/ticket reopen").in_channel(own)).await;
    assert_eq!(
        (reopened, front.of_newest("status").await),
        (format!("#{number} is open again."), "new".to_owned())
    );
    front.told(mia.uses("/ticket reopen").in_channel(own)).await;
    assert_eq!(front.last_fate().await, ("suppressed".to_owned(), "the ticket is open".to_owned()));
    front.told(mia.uses("/ticket close").in_channel(own)).await;
    front.desk.clock.advance(TimeDelta::days(30));
    let too_late = front.told(mia.uses("/ticket reopen").in_channel(own)).await;
    assert!(too_late.contains("closed more than 14 days ago"), "{too_late}");
    front.close().await;
}

#[tokio::test]
async fn an_admin_posts_the_panel_and_a_member_asks_by_its_button() {
    let front = Front::open().await;
    let (mia, eva) = (front.discord.member("mia"), front.discord.member_with("eva", &["admin"]));
    front.told(eva.uses("/panel")).await;
    let panel = front.discord.hears(SUPPORT, "Need help?").await;
    let form = mia.clicks(panel.id, "Open a ticket").await.modal().await;
    front.told(form.submits(&[("subject", "Help"), ("text", "It burns.")])).await;
    assert_eq!(front.desk.tickets().await, 1);
    front.discord.forbids(SUPPORT, 50_013);
    let refused = front.told(eva.uses("/panel")).await;
    assert!(refused.contains("may not write in this channel"), "{refused}");
    front.close().await;
}

#[tokio::test]
async fn staff_work_on_a_ticket_from_its_thread() {
    let front = Front::open().await;
    front.desk.knows_skills().await;
    let number = mail_ticket(&front).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let cem = front.discord.member_with("cem", &["moderator"]);
    let staff = front.places(number).await.staff;
    let here = |command: &str| bea.uses(command).in_channel(staff);
    // Whoever acted once is known, and can be chosen.
    front.told(cem.uses("/away off")).await;
    for (asked, told) in [
        (here("/claim"), "is yours."),
        (here("/priority").with("level", "high"), "has priority high now."),
        (here("/status").with("status", "pending"), "is pending now."),
        (here("/note").with("text", "He pays late."), "Only staff see it."),
        (here("/triage category").with("category", "account"), "is about account now."),
        (here("/triage skills").with("skills", "billing, networking"), "takes billing, networking now."),
        (here("/triage again"), "is being judged again."),
        (here("/triage show"), "judged by offline"),
        (here("/skills propose").with("skill", "billing").with("level", "4"), "You proposed Billing."),
        (here("/skills show"), "Billing: 4 (to be confirmed)"),
        (
            here("/snippet save").with("name", "Refund").with("text", "Your money comes back."),
            "refund is saved.",
        ),
        (here("/snippet list"), "refund"),
        (here("/snippet use").with("name", "refund"), "leaves in 10 seconds"),
        (here("/snippet remove").with("name", "refund"), "refund is removed."),
        (here("/away on"), "You get no new tickets"),
        (here("/away off"), "Welcome back."),
        (here("/stats"), "1 pending"),
        (here("/ticket list"), "Charged twice"),
        (here("/release"), "gave"),
    ] {
        let answer = front.told(asked).await;
        assert!(answer.contains(told), "wanted {told:?}, got {answer:?}");
    }
    let offered = bea.types("/assign", "person", "ce").await;
    let cems = offered.iter().find(|choice| choice.name.starts_with("cem")).expect("cem is offered");
    let id = cems.value.as_str().expect("a text").to_owned();
    let given = front.told(here("/assign").with("person", id)).await;
    assert_eq!(given, format!("#{number} is assigned to cem."));
    front.desk.later(TimeDelta::seconds(11)).await;
    assert!(front.desk.last_mail_to("ada@example.net").contains("Your money comes back."));
    front.close().await;
}

#[tokio::test]
async fn the_buttons_of_the_card_do_what_they_say() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let cem = front.discord.member_with("cem", &["moderator"]);
    let Places { card, handle, .. } = front.places(number).await;
    front.told(cem.uses("/away off")).await;

    assert_eq!(front.told(bea.clicks(card, "Claim")).await, format!("#{number} is yours."));
    let menu = front.shown(bea.clicks(card, "Reassign")).await;
    assert!(menu.ephemeral, "{menu:?}");
    let given = front.told(bea.chooses(menu.message, "assign-to", "cem")).await;
    assert_eq!(given, format!("#{number} is assigned to cem."));
    let menu = front.shown(bea.clicks(card, "Priority")).await;
    front.told(bea.chooses(menu.message, "set-priority", "urgent")).await;
    assert_eq!(front.of_newest("priority").await, "urgent");

    let form = bea.clicks(card, "Reply").await.modal().await;
    let sent = front.shown(form.submits(&[("text", "Look at the *second* page.")])).await;
    assert_eq!(sent.controls, ["Undo"]);
    front.desk.later(TimeDelta::seconds(11)).await;
    assert!(front.desk.last_mail_to("ada@example.net").contains("Look at the *second* page."));

    let resolved = front.told(bea.clicks(card, "Resolve")).await;
    assert!(resolved.contains("is resolved"), "{resolved}");
    front.told(bea.clicks_forged(card, &format!("reopen.{handle}"))).await;
    assert_eq!(front.of_newest("status").await, "open");
    front.told(cem.clicks_forged(card, &format!("release.{handle}"))).await;
    assert_eq!(front.of_newest("assignee_id").await, "");
    let whole = front.told(bea.clicks_forged(card, &format!("repair.{handle}"))).await;
    assert!(whole.contains("nothing to mend"), "{whole}");
    for odd in ["claim", "claim.nobody", "drop.x", "undo.handle1", "x"] {
        let told = front.told(bea.clicks_forged(card, odd)).await;
        assert!(told.contains("out of date"), "{odd}: {told}");
    }
    front.close().await;
}

#[tokio::test]
async fn an_answer_is_taken_back_before_it_leaves_and_not_afterwards() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let staff = front.places(number).await.staff;
    let mails = front.desk.mails_to("ada@example.net").len();
    let reply = |text: &'static str| bea.uses("/reply").with("text", text).in_channel(staff);

    let sent = front.shown(reply("You fool.")).await;
    assert_eq!(front.of_newest("status").await, "pending");
    let undone = front.told(bea.clicks(sent.message, "Undo")).await;
    assert_eq!(undone, format!("Taken back: that answer to #{number} was not sent."));
    front.desk.later(TimeDelta::seconds(11)).await;
    assert_eq!(front.desk.mails_to("ada@example.net").len(), mails);

    let sent = front.shown(reply("Dear Ada.")).await;
    front.desk.later(TimeDelta::seconds(11)).await;
    assert!(front.desk.last_mail_to("ada@example.net").contains("Dear Ada."));
    let late = front.told(bea.clicks(sent.message, "Undo")).await;
    assert!(late.starts_with("Too late"), "{late}");
    front.close().await;
}

#[tokio::test]
async fn a_note_never_leaves() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    front.opens(&mia, "Help", "It burns.").await;
    let own = front.newest().await;
    let by_mail = mail_ticket(&front).await;
    let mails = front.desk.sink.mails().len();
    for number in [own, by_mail] {
        let asked = bea.uses("/note").with("text", "Pays late, the miser.").with("ticket", number);
        front.told(asked).await;
    }
    front.desk.later(TimeDelta::days(1)).await;
    assert_eq!(front.desk.sink.mails().len(), mails);
    assert_eq!(front.desk.count("SELECT count(*) FROM messages WHERE kind = 'note'").await, 2);
    let shown_to_others = "SELECT count(*) FROM deliveries d JOIN messages m ON m.id = d.message_id
         LEFT JOIN discord_threads h ON h.id = d.thread_id
         WHERE m.kind = 'note' AND h.audience IS DISTINCT FROM 'staff'";
    assert_eq!(front.desk.count(shown_to_others).await, 0);
    let (hers, staffs) = (front.own_thread(own).await, front.places(own).await.staff);
    let says = |channel| front.discord.messages(channel).iter().any(|said| said.text.contains("miser"));
    assert_eq!((says(hers), says(staffs)), (false, true));
    for (who, reads) in [(&mia, false), (&bea, true)] {
        let shown = front.shown(who.uses("/ticket transcript").with("ticket", own)).await;
        let [(name, page)] = shown.files.as_slice() else { panic!("one file: {shown:?}") };
        let page = String::from_utf8_lossy(page);
        assert_eq!((name.as_str(), page.contains("miser")), (format!("ticket-{own}.html").as_str(), reads));
        assert!(page.contains("It burns."));
    }
    front.close().await;
}

#[tokio::test]
async fn of_two_who_claim_at_once_one_has_it_and_the_other_is_told_who() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let cem = front.discord.member_with("cem", &["moderator"]);
    let card = front.places(number).await.card;
    front.discord.withholds_events();
    let (hers, his) = (bea.clicks(card, "Claim").await, cem.clicks(card, "Claim").await);
    front.discord.releases_events();
    let (hers, his) = (front.told(hers).await, front.told(his).await);
    let is_hers = hers == format!("#{number} is yours.");
    let (loser, winner) = if is_hers { (&his, "bea") } else { (&hers, "cem") };
    assert!(is_hers || his == format!("#{number} is yours."), "{hers} {his}");
    assert!(loser.contains(&format!("#{number} is {winner}'s already")), "{loser}");
    front.close().await;
}

#[tokio::test]
async fn what_is_delivered_twice_is_done_once() {
    let front = Front::open().await;
    let mia = front.discord.member("mia");
    let form = mia.uses("/ticket new").await.modal().await;
    front.discord.delivers_twice(true);
    let asked = form.submits(&[("subject", "Help"), ("text", "It burns.")]).await;
    assert!(front.told(asked).await.starts_with("This is ticket #"));
    assert_eq!((front.desk.tickets().await, front.desk.fates().await), (1, vec!["ticketed".to_owned()]));
    front.close().await;
}

#[tokio::test]
async fn limits_hold_and_say_what_to_do_instead() {
    let front = Front::with("max_open_tickets = 2\nmin_account_age_days = 7").await;
    let mia = front.discord.member("mia");
    assert!(front.opens(&mia, "One", "1").await.starts_with("This is ticket"));
    assert!(
        front.opens(&mia, "Two", "2").await.starts_with("You opened a ticket a moment ago. Wait 60 seconds")
    );
    front.desk.clock.advance(TimeDelta::seconds(61));
    assert!(front.opens(&mia, "Two", "2").await.starts_with("This is ticket"));
    front.desk.clock.advance(TimeDelta::seconds(61));
    let full = front.opens(&mia, "Three", "3").await;
    assert!(full.starts_with("You have 2 open tickets, and 2 is the limit."), "{full}");
    assert_eq!(front.last_fate().await, ("suppressed".to_owned(), "too many open tickets".to_owned()));
    front.told(mia.uses("/ticket close").with("ticket", front.newest().await)).await;
    assert!(front.opens(&mia, "Three", "3").await.starts_with("This is ticket"));

    let noah = front.discord.newcomer("noah", Duration::from_hours(24));
    let young = front.told(noah.uses("/ticket new")).await;
    assert!(young.starts_with("Your Discord account is younger than 7 days."), "{young}");
    assert_eq!(front.desk.tickets().await, 3);
    front.close().await;
}

#[tokio::test]
async fn a_ticket_is_made_of_a_message_and_a_staff_message_goes_to_the_customer() {
    let front = Front::open().await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let said = mia.says(SUPPORT, "The server is down again, and nobody answers!").await;
    let told = front.told(bea.uses_on(said, "Make a ticket of this")).await;
    let number = front.newest().await;
    assert_eq!(told, format!("This is ticket #{number} now. Its author is the requester."));
    assert_eq!(front.of_newest("subject").await, "The server is down again, and nobody answers!");
    let mias = "SELECT count(*) FROM participants WHERE address = (SELECT address FROM identities WHERE channel = 'discord'
                AND person_id = (SELECT requester_id FROM tickets)) AND channel = 'discord'";
    assert_eq!(front.desk.count(mias).await, 1);
    assert_eq!(
        front
            .desk
            .count("SELECT count(*) FROM messages WHERE visible LIKE '%https://discord.com/channels/%'")
            .await,
        1
    );
    let twice = front.told(bea.uses_on(said, "Make a ticket of this")).await;
    assert!(twice.contains("in a ticket already"), "{twice}");
    let bots = front.discord.other_bot("robot").says(SUPPORT, "beep").await;
    let refused = front.told(bea.uses_on(bots, "Make a ticket of this")).await;
    assert!(refused.contains("not written by a person"), "{refused}");

    let by_mail = mail_ticket(&front).await;
    let staff = front.places(by_mail).await.staff;
    let written = bea.says(staff, "Your refund is on its way.").await;
    let sent = front.told(bea.uses_on(written, "Send to customer")).await;
    assert!(sent.contains("leaves in 10 seconds"), "{sent}");
    front.desk.later(TimeDelta::seconds(11)).await;
    assert!(front.desk.last_mail_to("ada@example.net").contains("Your refund is on its way."));
    let elsewhere = front.told(bea.uses_on(said, "Send to customer")).await;
    assert!(elsewhere.contains("not the thread of a ticket"), "{elsewhere}");
    front.close().await;
}

#[tokio::test]
async fn a_thread_that_is_gone_is_made_anew_at_a_click() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let before = front.places(number).await;
    bea.removes_thread(before.staff).await;
    until("it is noticed", async || {
        front.desk.count("SELECT count(*) FROM discord_threads WHERE broken IS NOT NULL").await == 1
    })
    .await;
    let told = front.told(bea.clicks_forged(before.card, &format!("repair.{}", before.handle))).await;
    assert!(told.contains("gets a new thread"), "{told}");
    let after = front.places(number).await;
    assert_ne!(after.staff, before.staff);
    front.told(bea.uses("/claim").in_channel(after.staff)).await;
    front.close().await;
}

#[tokio::test]
async fn a_closed_ticket_takes_no_answer() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    let staff = front.places(number).await.staff;
    front.told(bea.uses("/status").with("status", "closed").in_channel(staff)).await;
    let told = front.told(bea.uses("/reply").with("text", "Hello?").in_channel(staff)).await;
    assert!(told.starts_with(&format!("#{number} is closed. Reopen it first")), "{told}");
    assert_eq!(front.last_fate().await, ("suppressed".to_owned(), "the ticket is closed".to_owned()));
    front.close().await;
}

#[tokio::test]
async fn an_address_is_linked_by_the_code_that_was_mailed_to_it() {
    let front = Front::open().await;
    mail_ticket(&front).await;
    let ada = front.discord.member("ada");
    assert!(front.told(ada.uses("/ticket list")).await.starts_with("You have no open tickets."));
    let sent = front.told(ada.uses("/link").with("email", "Ada@example.net")).await;
    assert!(sent.starts_with("I sent a code to that address."), "{sent}");
    let letter = front.desk.last_mail_to("ada@example.net");
    let (_, rest) = letter.split_once("after /link:").expect("a code in the mail");
    let code: String = rest.trim_start().chars().take(9).collect();
    let wrong = front.told(ada.uses("/link").with("code", "0000-0000")).await;
    assert!(wrong.contains("you have 4 tries left"), "{wrong}");
    let linked = front.told(ada.uses("/link").with("code", code)).await;
    assert!(linked.starts_with("Done: ada@example.net is yours here, too."), "{linked}");
    assert!(front.told(ada.uses("/ticket list")).await.contains("Charged twice"));
    front.close().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_for_people_to_see() {
    let front = Front::open().await;
    let odd = Arrived {
        name: "i1".to_owned(),
        kind: Kind::Interaction,
        thread: None,
        message: None,
        payload: serde_json::json!({"from": "another version"}),
        token: None,
    };
    receive(&front.desk.db, &front.desk.clock, &[odd]).await.expect("it is kept");
    front.desk.settle().await;
    let fate = ("quarantined".to_owned(), "its payload cannot be read".to_owned());
    assert_eq!(front.last_fate().await, fate);
    assert!(front.desk.expects_errors().iter().any(|error| error.contains("is in quarantine")));
    front.close().await;
}
