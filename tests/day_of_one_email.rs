//! The main job: a mail becomes a triaged, assigned, answered ticket.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::people::Role;

use crate::harness::desk::Desk;
use crate::harness::mail::{header, mail, text};

const ADA: &str = "Ada <ada@example.net>";

#[tokio::test]
async fn a_customers_mail_is_acknowledged_assigned_answered_and_joined_by_the_next() {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;

    let first =
        mail(ADA, "Charged twice", "Hello,\n\nyour invoice was charged twice. I want a refund.\n\nAda");
    desk.handles(&first).await;

    // Ada is told that it arrived, in her thread, by a machine that says so.
    let acknowledgement = desk.last_mail_to("ada@example.net");
    assert_eq!(header(&acknowledgement, "In-Reply-To").as_deref(), first.header("Message-ID"));
    assert_eq!(header(&acknowledgement, "Auto-Submitted").as_deref(), Some("auto-replied"));
    assert_eq!(header(&acknowledgement, "Subject").as_deref(), Some("Re: [#1001] Charged twice"));
    assert_eq!(desk.mails_to("ada@example.net").first().map(|m| m.mail_from.as_str()), Some("<>"));

    // Bea is told that it is hers, and why.
    let notice = desk.last_mail_to("bea@example.org");
    assert!(
        text(&notice).contains("Why you:   Bea: 1 of 1 skill (billing), 0 of 10 open"),
        "{}",
        text(&notice)
    );
    assert!(text(&notice).contains("| your invoice was charged twice."));

    // Bea answers the notice; Ada gets the answer in her thread, and nothing of the notice.
    let answer = format!(
        "We return it today.\n\nOn Sat, 21 Nov 2026 at 10:00, Support <support@example.org> wrote:\n{}",
        quoted(&text(&notice))
    );
    desk.handles(&mail("Bea <bea@example.org>", "", &answer).answering(&notice)).await;
    let reply = desk.last_mail_to("ada@example.net");
    assert_eq!(text(&reply).trim(), "We return it today.\n\n-- \nBea");
    assert_eq!(header(&reply, "In-Reply-To").as_deref(), first.header("Message-ID"));
    assert_eq!(header(&reply, "Auto-Submitted"), None);
    assert_eq!(desk.mails_to("ada@example.net").len(), 2);

    // Ada answers, and it joins the ticket; Bea is told.
    desk.handles(&mail(ADA, "", "Thank you!").answering(&reply)).await;
    assert_eq!(desk.tickets().await, 1);
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("| Thank you!"));
    assert_eq!(desk.mails_to("ada@example.net").len(), 2, "a second acknowledgement");

    // An admin sees it all.
    let api = desk.logs_in("Dora").await;
    let (status, ticket) = api.get("/api/tickets/1001").await;
    assert_eq!(status, 200, "{ticket}");
    assert_eq!(ticket["status"], "open");
    assert_eq!(ticket["assignee_name"], "Bea");
    assert_eq!(ticket["category"], "billing");
    let kinds: Vec<_> = ticket["messages"].as_array().unwrap().iter().map(|m| m["kind"].clone()).collect();
    assert_eq!(kinds, ["inbound", "outbound", "inbound"]);
    let (_, assignment) = api.get("/api/tickets/1001/assignment").await;
    assert_eq!(assignment["outcome"], "matched");
    assert_eq!(assignment["candidates"][0]["verdict"], "chosen");
    assert_eq!(desk.fates().await, ["ticketed", "appended", "appended"]);
    desk.close().await;
}

#[tokio::test]
async fn staff_answers_by_the_api_and_may_take_it_back_for_a_while() {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund.")).await;
    let api = desk.logs_in("Bea").await;

    let (status, note) = api
        .post("/api/tickets/1001/messages", &json!({"body": "He is angry.", "visibility": "internal"}))
        .await;
    assert_eq!((status, note["status"].as_str()), (201, Some("open")));
    let (status, written) =
        api.post("/api/tickets/1001/messages", &json!({"body": "Done.", "resolve": true})).await;
    assert_eq!((status, written["status"].as_str()), (201, Some("resolved")), "{written}");
    desk.settle().await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 1, "the answer waits for its undo time");
    desk.later(TimeDelta::seconds(10)).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Done."));
    assert!(!desk.sink.mails().iter().any(|m| m.text().contains("angry")), "a note left the house");

    // Her answer reopens it.
    let reply = desk.last_mail_to("ada@example.net");
    desk.handles(&mail(ADA, "", "It is not done.").answering(&reply)).await;
    let (_, ticket) = api.get("/api/tickets/1001").await;
    assert_eq!(ticket["status"], "open");
    desk.close().await;
}

fn quoted(text: &str) -> String {
    format!("> {}", text.lines().collect::<Vec<_>>().join("\n> "))
}
