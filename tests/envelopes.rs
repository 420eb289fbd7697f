//! The envelope of what we send: bounces that quote nothing, servers that mind who sends, and domains that get too much.

use chrono::TimeDelta;
use ticketd::people::Role;

use crate::harness::desk::{Desk, Plan, SUPPORT};
use crate::harness::mail::{mail, text};
use crate::harness::smtp::{At, Behaviour};

const ADA: &str = "Ada <ada@example.net>";

async fn desk(mailbox: &str, more: &str) -> Desk {
    let desk =
        Desk::with(Plan { mailbox: mailbox.to_owned(), more: more.to_owned(), ..Plan::default() }).await;
    desk.hires_with("Bea", Role::Admin, &[], Some(1000), false).await;
    desk
}

async fn states(desk: &Desk, kind: &str) -> Vec<String> {
    let all = desk.deliveries(1001).await.into_iter();
    all.filter(|delivery| delivery.kind == kind).map(|delivery| delivery.state).collect()
}

#[tokio::test]
async fn a_bounce_that_quotes_nothing_is_understood_by_the_address_it_went_to() {
    let desk = desk("", "").await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let bea = desk.logs_in("Bea").await;
    desk.answers(&bea, 1001, "Take the stairs.", false).await;
    let answer = desk.mails_to("ada@example.net").pop().expect("the answer");
    assert!(
        answer.mail_from.starts_with("support+t1001.d") && answer.mail_from.ends_with("@example.org"),
        "{}",
        answer.mail_from
    );
    let bounce =
        mail("MAILER-DAEMON@mx.example.net", "failure notice", "Sorry, no mailbox here by that name. #5.1.1")
            .with("Return-Path", "<>")
            .with("To", &answer.mail_from);
    desk.handles(&bounce).await;
    assert_eq!(states(&desk, "reply").await, ["bounced"]);
    // What answers nobody has none: RFC 3834 §3.3.
    let acknowledgement = desk.mails_to("ada@example.net").remove(0);
    assert_eq!(acknowledgement.mail_from, "<>");
    // Who writes to it is heard, and it makes nobody staff.
    desk.handles(&mail("bea@example.org", "Hello", "All are fired.").with("To", &answer.mail_from)).await;
    let said = desk.conversation(1001).await.pop().expect("a message");
    assert_eq!((said.kind.as_str(), said.unverified), ("note", true));
    desk.close().await;
}

#[tokio::test]
async fn a_server_that_lets_only_the_plain_address_send_gets_that() {
    let desk = desk("", "").await;
    desk.sink.behave(&Behaviour::RefuseOtherSenders(
        SUPPORT.to_owned(),
        553,
        "5.7.1 Sender address rejected: not owned by user".to_owned(),
    ));
    desk.handles(&mail(ADA, "Printer", "It is on fire.").with("Auto-Submitted", "auto-generated")).await;
    let [notice] = desk.mails_to("bea@example.org").try_into().expect("one notice");
    assert_eq!(notice.mail_from, SUPPORT);
    let bea = desk.logs_in("Bea").await;
    desk.answers(&bea, 1001, "Take the stairs.", false).await;
    assert_eq!(
        desk.mails_to("ada@example.net").pop().expect("the answer").mail_from,
        SUPPORT,
        "it is remembered"
    );
    assert_eq!(
        (states(&desk, "notice").await, states(&desk, "reply").await),
        (vec!["sent".into()], vec!["sent".into()])
    );
    desk.close().await;
}

#[tokio::test]
async fn where_it_is_switched_off_the_plain_address_sends() {
    for mailbox in ["verp = false", "plus_addressing = false"] {
        let desk = desk(mailbox, "").await;
        desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
        assert_eq!(desk.mails_to("bea@example.org").pop().expect("a notice").mail_from, SUPPORT, "{mailbox}");
        desk.close().await;
    }
}

#[tokio::test]
async fn a_domain_that_asks_for_less_is_left_alone_and_others_are_not() {
    let desk = desk("", "").await;
    desk.sink.behave(&Behaviour::Refuse(
        At::Rcpt,
        421,
        "4.7.28 unusual rate of mail from your network".to_owned(),
    ));
    desk.handles(&mail(ADA, "Printer", "It is on fire.").with("Auto-Submitted", "auto-generated")).await;
    assert_eq!(states(&desk, "notice").await, ["waiting"]);
    desk.sink.behave(&Behaviour::Accept);
    desk.handles(&mail("Carl <carl@example.net>", "Printer", "Here, too.")).await;
    assert_eq!(desk.mails_to("carl@example.net").len(), 1, "another domain");
    assert_eq!(desk.mails_to("bea@example.org").len(), 0, "the notice of this one waits unasked");
    desk.later(TimeDelta::minutes(1)).await;
    assert_eq!(desk.mails_to("bea@example.org").len(), 0);
    desk.later(TimeDelta::minutes(5)).await;
    assert_eq!(desk.mails_to("bea@example.org").len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn no_more_mails_a_minute_go_to_a_domain_than_are_allowed() {
    let desk = desk("", "[mail]\ndomain_per_minute = 12").await;
    for name in ["ann", "bob", "cid", "dan", "eve"] {
        desk.handles(&mail(&format!("{name}@example.net"), "Question", "Where is the fire?")).await;
    }
    let outside = |desk: &Desk| {
        desk.sink.mails().iter().filter(|m| m.rcpt_to.iter().any(|to| to.ends_with("@example.net"))).count()
    };
    assert_eq!(outside(&desk), 3, "a burst");
    desk.later(TimeDelta::seconds(6)).await;
    assert_eq!(outside(&desk), 4, "then one in five seconds");
    desk.later(TimeDelta::seconds(20)).await;
    assert_eq!(outside(&desk), 5);
    assert!(text(&desk.last_mail_to("eve@example.net")).contains("#1005"));
    desk.close().await;
}
