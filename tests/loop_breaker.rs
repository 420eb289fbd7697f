//! The loop breaker: what bounds automatic mail, how staff see that it did, and how it is let go.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::people::Role;

use crate::harness::desk::{Desk, Plan};
use crate::harness::mail::{mail, text};

const ADA: &str = "Ada <ada@example.net>";
const BEA: &str = "Bea <bea@example.org>";

async fn desk(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.hires_with("Bea", Role::Admin, &[], Some(1000), false).await;
    desk
}

async fn trips(desk: &Desk, number: i64) -> usize {
    desk.events(number).await.iter().filter(|event| event.kind == "loop_breaker").count()
}

#[tokio::test]
async fn a_breaker_that_tripped_is_an_event_of_the_ticket_and_is_reset_by_an_admin() {
    let desk = desk("[mail]\nloop_per_address_hour = 2").await;
    for count in 1..=4 {
        desk.handles(&mail(ADA, &format!("Alarm {count}"), "It is on fire.")).await;
    }
    assert_eq!(desk.mails_to("ada@example.net").len(), 2);
    assert_eq!((trips(&desk, 1003).await, trips(&desk, 1004).await), (1, 0), "it is told once");

    let bea = desk.logs_in("Bea").await;
    let (status, listed) = bea.get("/api/admin/loop-breakers").await;
    assert_eq!(status, 200, "{listed}");
    let tripped = listed["loop_breakers"][0].clone();
    assert_eq!(
        (&tripped["scope"], &tripped["subject"], &tripped["ticket_id"]),
        (&json!("address"), &json!("ada@example.net"), &json!(1003))
    );
    let path = format!("/api/admin/loop-breakers/{}", tripped["id"]);
    assert_eq!(bea.delete(&path).await.0, 204);
    assert_eq!(bea.delete(&path).await.0, 404, "it is reset already");
    assert_eq!(bea.get("/api/admin/loop-breakers").await.1["loop_breakers"], json!([]));
    let reset = desk.events(1003).await.into_iter().any(|event| event.kind == "loop_breaker_reset");
    assert!(reset, "it is an event, too");

    desk.handles(&mail(ADA, "Alarm 5", "It is on fire.")).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 3, "mail leaves again");
    desk.close().await;
}

/// It answers every notice, and nothing in its mails says that it is a machine.
#[tokio::test]
async fn two_answering_machines_that_nobody_recognizes_come_to_rest() {
    let desk = desk("[mail]\nundo_seconds = 0").await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let (mut heard_bea, mut heard_ada, mut rounds) = (0, 0, 0);
    loop {
        let notices = desk.mails_to("bea@example.org");
        let answers = desk.mails_to("ada@example.net");
        if (notices.len(), answers.len()) == (heard_bea, heard_ada) {
            break;
        }
        for notice in notices.iter().skip(heard_bea) {
            desk.handles(&mail(BEA, "", &format!("I am away until day {rounds}.")).answering(&notice.text()))
                .await;
            rounds += 1;
        }
        for answer in answers.iter().skip(heard_ada).filter(|answer| answer.text().contains("I am away")) {
            desk.handles(&mail(ADA, "", &format!("I moved house {rounds} times.")).answering(&answer.text()))
                .await;
            rounds += 1;
        }
        (heard_bea, heard_ada) = (notices.len(), answers.len());
        assert!(rounds < 100, "they are still writing to each other");
    }
    assert_eq!(desk.mails_to("bea@example.org").len(), 20, "four times mail.loop_per_ticket_hour");
    assert_eq!(trips(&desk, 1001).await, 1);
    let held = desk
        .deliveries(1001)
        .await
        .into_iter()
        .find(|d| d.state == "suppressed")
        .expect("one that was held back");
    assert_eq!(
        held.reason.as_deref(),
        Some(
            "as many notices about this ticket were sent in the last hour as are allowed (four times mail.loop_per_ticket_hour)"
        )
    );
    desk.close().await;
}

#[tokio::test]
async fn what_left_is_remembered_by_the_next_process() {
    let one = desk("[mail]\nloop_per_address_hour = 2").await;
    one.handles(&mail(ADA, "Alarm 1", "It is on fire.")).await;
    one.handles(&mail(ADA, "Alarm 2", "It is on fire.")).await;
    let db = one.db.clone();
    let other = Desk::with(Plan {
        more: "[mail]\nloop_per_address_hour = 2".to_owned(),
        db: Some(db),
        ..Plan::default()
    })
    .await;
    other.handles(&mail(ADA, "Alarm 3", "It is on fire.")).await;
    assert_eq!(other.mails_to("ada@example.net").len(), 0);
    assert_eq!(trips(&other, 1003).await, 1);
    one.close_without_database();
    other.close().await;
}

#[tokio::test]
async fn a_domain_is_bounded_where_that_is_configured_and_else_not() {
    let desk = desk("[mail]\nloop_per_domain_hour = 3").await;
    for name in ["ann", "bob", "cid", "dan"] {
        desk.handles(&mail(&format!("{name}@example.net"), "Alarm", "It is on fire.")).await;
    }
    desk.handles(&mail("eve@example.com", "Alarm", "It is on fire.")).await;
    assert_eq!((desk.mails_to("dan@example.net").len(), desk.mails_to("eve@example.com").len()), (0, 1));
    assert_eq!((desk.mails_to("cid@example.net").len(), trips(&desk, 1004).await), (1, 1));
    desk.later(TimeDelta::minutes(21)).await;
    desk.handles(&mail("fay@example.net", "Alarm", "It is on fire.")).await;
    assert!(text(&desk.last_mail_to("fay@example.net")).contains("#1006"));
    desk.close().await;
}
