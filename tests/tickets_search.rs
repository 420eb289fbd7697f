//! Full-text search: what is found, by whom, in which order, and that nothing that arrives is too much for it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketd::ids::{InboundId, PersonId, TicketId};
use ticketd::people::Role;
use ticketd::tickets::actions::{self, Act, Revision};
use ticketd::tickets::{self, Channel};

use crate::harness::desk::{Api, Desk};
use crate::harness::mail::mail;

const ADA: &str = "Ada <ada@example.org>";

async fn desk() -> Desk {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.registers("Ada").await;
    desk
}

async fn found(api: &Api, q: &str) -> Vec<i64> {
    let path = reqwest::Url::parse_with_params("http://x/api/tickets", [("q", q)]).expect("a path");
    let page = api.read(&format!("{}?{}", path.path(), path.query().unwrap_or_default())).await.with(200);
    let list = page.pointer("/tickets").and_then(Value::as_array).expect("tickets").clone();
    list.iter().map(|t| t.pointer("/number").and_then(Value::as_i64).expect("a number")).collect()
}

#[tokio::test]
async fn words_phrases_and_exclusions_find_what_they_say() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Broken printer", "It prints my invoice upside down.")).await; // 1001
    desk.handles(&mail(ADA, "Invoice", "The printer is fine, the invoice is wrong. Refund me!")).await; // 1002
    desk.handles(&mail("Eve <eve@example.org>", "Router", "My router invoices nobody.")).await; // 1003
    let dora = desk.logs_in("Dora").await;
    assert_eq!(found(&dora, "printer").await, [1001, 1002], "a word of the subject counts more");
    assert_eq!(found(&dora, "PRINTERS").await, [1001, 1002], "in whatever form of the word");
    assert_eq!(found(&dora, "\"upside down\"").await, [1001]);
    assert_eq!(found(&dora, "\"printer broken\"").await, Vec::<i64>::new());
    assert_eq!(found(&dora, "invoice -printer").await, [1003]);
    assert_eq!(found(&dora, "refund or router").await, [1003, 1002]);
    assert_eq!(found(&dora, "1002").await, [1002], "who types a number means the ticket");
    assert_eq!(found(&dora, "#1003").await, [1003]);
    assert_eq!(found(&dora, "the").await, Vec::<i64>::new(), "no word at all");
    for odd in ["'", "\"", "(((", "a & | !", "\\", "<->", ":*", "%", "-", "'' or 1=1", "ä\u{202e}"] {
        found(&dora, odd).await;
    }
    let open = dora.read("/api/tickets?q=printer&status=open&category=bug").await.with(200);
    assert_eq!(open, json!({"tickets": [], "next_cursor": null}));
    let long = "x".repeat(501);
    assert_eq!(dora.read(&format!("/api/tickets?q={long}")).await.status, 400);
    desk.close().await;
}

#[tokio::test]
async fn a_requester_finds_their_own_by_what_they_may_read() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.handles(&mail("Eve <eve@example.org>", "Refund", "I want a refund, too.")).await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    let messages = "/api/tickets/1001/messages";
    bea.posts(messages, &json!({"body": "A notorious grumbler.", "visibility": "internal"})).await.with(201);
    bea.posts(messages, &json!({"body": "We transfer it tomorrow."})).await.with(201);
    let regretted = bea.posts(messages, &json!({"body": "Never, you scoundrel."})).await.with(201);
    let regretted = regretted.pointer("/id").and_then(Value::as_i64).expect("an id");
    assert_eq!(found(&bea, "scoundrel").await, [1001]);
    bea.deletes(&format!("{messages}/{regretted}")).await.with(204);
    let (first, act) = (
        desk.conversation(1001).await,
        Act { by: PersonId(3), channel: Channel::Discord, now: desk.clock.now() },
    );
    let first = first.first().expect("a message").id;
    let mut tx = desk.db.begin().await.expect("a transaction");
    let ticket = tickets::lock(&mut tx, TicketId(1001)).await.expect("the ticket");
    let edited = Revision::Edited("I want a voucher.");
    actions::revise(&mut tx, &ticket, first, edited, InboundId(9001), act).await.expect("a revision");
    tx.commit().await.expect("a commit");
    desk.later(TimeDelta::seconds(10)).await;

    for (word, by_ada, by_bea) in [
        ("refund", vec![1001], vec![1002, 1001]),
        ("transfer", vec![1001], vec![1001]),
        ("grumbler", vec![], vec![1001]),
        ("scoundrel", vec![], vec![1001]),
        ("voucher", vec![1001], vec![1001]),
        ("invoice", vec![], vec![1001]),
    ] {
        assert_eq!(found(&ada, word).await, by_ada, "Ada looks for {word}");
        assert_eq!(found(&bea, word).await, by_bea, "Bea looks for {word}");
    }
    // Not by what is left out either: the note would tell on itself.
    assert_eq!(found(&ada, "refund -grumbler").await, [1001]);
    assert_eq!(found(&ada, "1002").await, Vec::<i64>::new());
    desk.close().await;
}

#[tokio::test]
async fn a_changed_subject_a_deleted_ticket_and_a_restored_one() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Aardvark", "Something about an invoice.")).await;
    let dora = desk.logs_in("Dora").await;
    dora.patches("/api/tickets/1001", &json!({"subject": "Zebra"})).await.with(200);
    assert_eq!((found(&dora, "aardvark").await, found(&dora, "zebra").await), (vec![], vec![1001]));
    dora.deletes("/api/tickets/1001").await.with(204);
    assert_eq!(found(&dora, "zebra").await, Vec::<i64>::new());
    dora.does("/api/tickets/1001/restore").await.with(200);
    assert_eq!(found(&dora, "zebra invoice").await, [1001]);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn no_text_is_too_much_to_be_taken_in() {
    let desk = desk().await;
    let many: Vec<String> = (0..90_000).map(|n| format!("w{n}")).collect();
    let long_word = "x".repeat(300_000);
    let hyphens = (0..20_000).map(|n| format!("a{n}-b{n}-c{n}")).collect::<Vec<_>>().join(" ");
    let texts =
        [many.join(" "), long_word, hyphens, "é ".repeat(200_000), "http://a.example/b?c=d ".repeat(20_000)];
    for text in &texts {
        let wrapped = text.as_bytes().chunks(900).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
        desk.handles(&mail(ADA, "Long", &wrapped).with("Content-Transfer-Encoding", "8bit")).await;
    }
    assert_eq!(desk.tickets().await, 5);
    assert!(!desk.fates().await.contains(&"quarantined".to_owned()), "{:?}", desk.fates().await);
    // And again and again into one ticket.
    for n in 0..12 {
        desk.handles(&mail(ADA, "Re: [#1001] Long", &format!("part{n} {}", many.join("\n")))).await;
    }
    assert_eq!(desk.conversation(1001).await.iter().filter(|m| m.kind == "inbound").count(), 13);
    let size = desk.count("SELECT max(bytes)::BIGINT FROM ticket_search").await;
    assert!(size < 200_000, "{size}");
    let dora = desk.logs_in("Dora").await;
    assert_eq!(found(&dora, "w77").await, [1001]);
    desk.close().await;
}

#[tokio::test]
async fn a_common_word_is_found_among_very_many_tickets_newest_first_and_page_by_page() {
    let desk = desk().await;
    let made = "
        INSERT INTO tickets (subject, channel, requester_id, created_at, updated_at)
        SELECT 'Wobble ' || n || CASE WHEN n = 3 THEN ' quagmire' ELSE '' END, 'web', 3, now(), now()
        FROM generate_series(1, 9000) AS n";
    sqlx::raw_sql(made).execute(&desk.db).await.expect("tickets");
    let dora = desk.logs_in("Dora").await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = dora.read(&format!("/api/tickets?q=wobble&sort=newest&limit=75{cursor}")).await.with(200);
        let list = page.pointer("/tickets").and_then(Value::as_array).expect("tickets").clone();
        seen.extend(list.iter().filter_map(|t| t.pointer("/number").and_then(Value::as_i64)));
        match page.pointer("/next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (9801..=10_000).rev().collect::<Vec<_>>(), "the newest two hundred");
    assert_eq!(found(&dora, "quagmire wobble").await, [1003], "and a rare one however old it is");
    desk.close().await;
}
