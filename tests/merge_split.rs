//! Two tickets that are one matter, and one that is two.

use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketd::ids::TicketId;
use ticketd::people::Role;

use crate::harness::desk::{Api, Desk};
use crate::harness::mail::{mail, text};
use crate::harness::members::{in_discord, opens};

const ADA: &str = "Ada <ada@example.net>";
const BOB: &str = "Bob <bob@example.net>";

/// Bea fits both tickets: Ada's #1001 and Bob's #1002.
async fn desk() -> (Desk, Api) {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.handles(&mail(BOB, "Refund, too", "I want a refund of the invoice, as Ada does.")).await;
    let bea = desk.logs_in("Bea").await;
    (desk, bea)
}

async fn merge(api: &Api, source: i64, target: i64) -> crate::harness::ask::Answer {
    api.posts(&format!("/api/tickets/{source}/merge"), &json!({"into": target})).await
}

fn number(body: &Value) -> i64 {
    body.pointer("/number").and_then(Value::as_i64).expect("a number")
}

async fn kinds(desk: &Desk, ticket: i64) -> Vec<String> {
    desk.events(ticket).await.into_iter().map(|e| e.kind).collect()
}

#[tokio::test]
async fn what_is_said_to_a_merged_ticket_lands_where_it_points() {
    let (desk, bea) = desk().await;
    let acknowledged = desk.last_mail_to("bob@example.net");
    let notice = desk.last_mail_to("bea@example.org");
    assert_eq!(number(&merge(&bea, 1002, 1001).await.with(200)), 1001);
    desk.settle().await;
    let source = desk.ticket(1002).await;
    assert_eq!((source.status.as_str(), source.merged_into), ("closed", Some(TicketId(1001))));
    let detail = bea.read("/api/tickets/1001").await.with(200);
    assert_eq!(detail.pointer("/merged_from"), Some(&json!([1002])));
    assert!(kinds(&desk, 1002).await.contains(&"merged".to_owned()));
    assert!(kinds(&desk, 1001).await.contains(&"merged_from".to_owned()));
    assert_eq!(desk.conversation(1002).await.len(), 1, "the conversation stays where it was");

    // By the signed address, by Message-ID alone, and by the number in the subject.
    desk.handles(&mail(BOB, "", "One more thing.").answering(&acknowledged)).await;
    let by_id = mail(BOB, "Hm", "By id.")
        .with("In-Reply-To", &crate::harness::mail::header(&acknowledged, "Message-ID").expect("an id"));
    desk.handles(&by_id).await;
    desk.handles(&mail(BOB, "Re: [#1002] Refund, too", "By number.")).await;
    assert_eq!((desk.tickets().await, desk.conversation(1001).await.len()), (2, 4));
    // Staff's answer to a notice of the merged one goes to all who take part in the other.
    desk.handles(&mail("Bea <bea@example.org>", "", "Both of you get it.").answering(&notice)).await;
    for address in ["ada@example.net", "bob@example.net"] {
        assert!(text(&desk.last_mail_to(address)).contains("Both of you get it."), "{address}");
    }
    assert_eq!(desk.conversation(1002).await.len(), 1);
    // Nothing is done to the merged one itself any more.
    let gone_on = "409: ticket #1002 was merged into #1001: go on there";
    assert_eq!(bea.posts("/api/tickets/1002/messages", &json!({"body": "x"})).await.problem(), gone_on);
    assert_eq!(bea.patches("/api/tickets/1002", &json!({"priority": "low"})).await.problem(), gone_on);
    assert_eq!(bea.does("/api/tickets/1002/reopen").await.problem(), gone_on);
    desk.close().await;
}

#[tokio::test]
async fn chains_become_short_and_circles_are_refused() {
    let (desk, bea) = desk().await;
    for subject in ["Third", "Fourth"] {
        desk.handles(&mail(ADA, subject, "Another refund of an invoice.")).await;
    }
    assert_eq!(merge(&bea, 1001, 1001).await.problem(), "409: a ticket cannot be merged into itself");
    assert_eq!(number(&merge(&bea, 1002, 1001).await.with(200)), 1001);
    assert_eq!(
        merge(&bea, 1001, 1002).await.problem(),
        "409: a ticket cannot be merged into itself",
        "a circle"
    );
    assert_eq!(
        merge(&bea, 1002, 1003).await.problem(),
        "409: ticket #1002 was merged into #1001: go on there"
    );
    assert_eq!(number(&merge(&bea, 1003, 1002).await.with(200)), 1001, "into what that was merged into");
    assert_eq!(number(&merge(&bea, 1001, 1004).await.with(200)), 1004);
    for source in [1001, 1002, 1003] {
        assert_eq!(desk.ticket(source).await.merged_into, Some(TicketId(1004)), "#{source}");
    }
    assert_eq!(merge(&bea, 1004, 9999).await.status, 404);
    desk.handles(&mail(BOB, "Re: [#1002] Refund, too", "Where am I?")).await;
    assert_eq!(desk.conversation(1004).await.len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn two_that_are_merged_into_each_other_at_once_become_one() {
    let (desk, bea) = desk().await;
    let both = (0..10).map(|n| merge(&bea, 1001 + n % 2, 1002 - n % 2));
    let answers = join_all(both).await;
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1);
    assert!(answers.iter().all(|a| a.status == 200 || a.status == 409), "{answers:?}");
    let merged = "SELECT count(*) FROM tickets WHERE merged_into IS NOT NULL";
    assert_eq!(desk.count(merged).await, 1);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn nobody_is_merged_out_of_reach() {
    let (desk, bea) = desk().await;
    let mia = in_discord(&desk, 77, "mia").await;
    let ticket = opens(&desk, mia, 77, "From Discord").await;
    assert_eq!(ticket, TicketId(1003));
    let refused = merge(&bea, 1003, 1001).await;
    assert_eq!(
        refused.problem(),
        "409: who asked in Discord would not be reached in a ticket from elsewhere: merge #1001 into this one"
    );
    assert_eq!(number(&merge(&bea, 1001, 1003).await.with(200)), 1003, "the other way round everybody is");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn one_message_becomes_a_ticket_of_its_own() {
    let (desk, bea) = desk().await;
    desk.handles(&mail(BOB, "Re: [#1002] Refund, too", "And my router and its firewall are broken.")).await;
    let messages = desk.conversation(1002).await;
    let second = messages.last().expect("a message").id;
    let split = bea
        .posts("/api/tickets/1002/split", &json!({"message_id": second, "subject": "Router"}))
        .await
        .with(201);
    assert_eq!(
        (number(&split), split.pointer("/split_from"), split.pointer("/subject")),
        (1003, Some(&json!(1002)), Some(&json!("Router")))
    );
    desk.settle().await;
    let new = desk.ticket(1003).await;
    assert_eq!(
        (new.requester_name.as_str(), new.required_skills.as_slice()),
        ("Bob", ["networking".to_owned()].as_slice()),
        "judged anew"
    );
    let copied = desk.conversation(1003).await;
    assert_eq!(
        copied.iter().map(|m| m.visible.trim()).collect::<Vec<_>>(),
        ["And my router and its firewall are broken."]
    );
    assert_eq!(desk.conversation(1002).await.len(), 2, "the original stays");
    assert!(kinds(&desk, 1002).await.contains(&"split".to_owned()));
    assert_eq!(desk.expects_errors().len(), 1, "the alarm that nobody has it");
    desk.answers(&bea, 1003, "Restart it.", false).await;
    assert!(text(&desk.last_mail_to("bob@example.net")).starts_with("Restart it."));

    let note = bea
        .posts("/api/tickets/1002/messages", &json!({"body": "Hm.", "visibility": "internal"}))
        .await
        .with(201);
    let note = note.pointer("/id").cloned().expect("an id");
    for (ticket, message) in [(1002, note), (1001, json!(second)), (1002, json!(99_999))] {
        let refused =
            bea.posts(&format!("/api/tickets/{ticket}/split"), &json!({"message_id": message})).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    assert_eq!(desk.tickets().await, 3);
    desk.close().await;
}

#[tokio::test]
async fn what_a_requester_says_on_the_web_lands_where_the_merged_ticket_points_too() {
    let (desk, bea) = desk().await;
    desk.registers("Ida").await;
    let ida = desk.logs_in("Ida").await;
    let opened =
        ida.posts("/api/tickets", &json!({"subject": "Refund", "body": "Mine, too."})).await.with(201);
    assert_eq!(number(&opened), 1003);
    desk.settle().await;
    merge(&bea, 1003, 1001).await.with(200);
    ida.posts("/api/tickets/1003/messages", &json!({"body": "When?"})).await.with(201);
    desk.settle().await;
    let last = desk.conversation(1001).await.pop().expect("a message");
    assert_eq!((last.visible.as_str(), last.author_name.as_deref()), ("When?", Some("Ida")));
    assert_eq!(desk.conversation(1003).await.len(), 1);
    desk.close().await;
}
