//! What was kept long enough goes, and nothing else; what comes late or again is told apart all the same.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::audit;
use ticketd::people::Role;
use ticketd::queue;

use crate::discord_commands::front::Front;
use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::mail::{Mail, mail};
use crate::harness::wait::until;

const ADA: &str = "Ada <ada@example.net>";
const BOB: &str = "Bob <bob@example.net>";

async fn desk(retention: &str) -> (Desk, Api) {
    let more = format!("[retention]\n{retention}");
    let desk = Desk::with(Plan { more, ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let api = desk.logs_in("Dora").await;
    (desk, api)
}

/// As the schedule does it every hour.
async fn the_hour_strikes(desk: &Desk) {
    let now = desk.clock.now();
    desk.commits(async |tx| queue::enqueue(tx, &queue::EXPIRE, 0, now).await).await.expect("a job");
    desk.settle().await;
}

/// An hour and more after the last log-in a token is not good any more.
async fn logs_in_again(desk: &Desk) -> Api {
    desk.logs_in("Dora").await
}

fn with_a_file(subject: &str) -> Mail {
    let body = "--b\nContent-Type: text/plain\n\nI want a refund for my invoice.\n--b\nContent-Type: text/plain\n\
        Content-Disposition: attachment; filename=a.txt\n\nthe invoice\n--b--\n";
    mail(ADA, subject, body).with("Content-Type", "multipart/mixed; boundary=b")
}

#[tokio::test]
async fn raw_mail_goes_after_its_days_and_is_known_again_when_it_comes_again() {
    let (desk, _) = desk("raw_mail_days = 30").await;
    let first = mail(ADA, "Refund", "I want a refund of my invoice.");
    desk.handles(&first).await;
    desk.handles(&first).await;
    let refuse = "ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (subject <> 'Poison')";
    sqlx::query(refuse).execute(&desk.db).await.expect("a constraint");
    desk.handles(&mail(BOB, "Poison", "The database will not have it.")).await;
    for _ in 0..5 {
        desk.later(TimeDelta::minutes(20)).await;
    }
    assert_eq!(desk.expects_errors().len(), 1);
    // Nobody has looked at this one yet.
    desk.gets(&mail(BOB, "Later", "My router is broken.")).await;
    desk.fetches().await;
    sqlx::query("UPDATE jobs SET run_at = run_at + interval '100 days' WHERE kind = 'ingest'")
        .execute(&desk.db)
        .await
        .expect("a pause");
    assert_eq!(desk.fates().await, ["ticketed", "duplicate", "quarantined", "waiting"]);
    let raw = "SELECT count(*) FROM raw_mails";
    assert_eq!(desk.count(raw).await, 3);
    desk.clock.advance(TimeDelta::days(29));
    the_hour_strikes(&desk).await;
    assert_eq!(desk.count(raw).await, 3, "it is not time yet");
    desk.clock.advance(TimeDelta::days(2));
    the_hour_strikes(&desk).await;
    assert_eq!(desk.count(raw).await, 2, "quarantine and what waits keep their bytes");
    assert_eq!(desk.count("SELECT count(*) FROM inbound WHERE raw_removed_at IS NOT NULL").await, 2);

    desk.handles(&first).await;
    assert_eq!(desk.fates().await, ["ticketed", "duplicate", "quarantined", "waiting", "duplicate"]);
    assert_eq!(desk.tickets().await, 1);
    let api = logs_in_again(&desk).await;
    let (_, entry) = api.get("/api/admin/ledger/1").await;
    assert_eq!(
        (&entry["fate"], &entry["raw_removed_at"]),
        (&json!("ticketed"), &json!("2026-12-22T10:40:00Z"))
    );
    assert_eq!(api.get("/api/admin/ledger/1/raw").await.0, 404);
    let (status, said) = api.post("/api/admin/ledger/1/replay", &json!({})).await;
    insta::assert_snapshot!(format!("{status}: {}", said["detail"].as_str().unwrap_or_default()), @"409: the bytes of row 1 were removed on 2026-12-22, because they were kept long enough: it can't be read again");
    sqlx::query("ALTER TABLE messages DROP CONSTRAINT no_poison")
        .execute(&desk.db)
        .await
        .expect("no constraint");
    assert_eq!(api.post("/api/admin/ledger/3/replay", &json!({})).await.0, 204);
    desk.later(TimeDelta::days(100)).await;
    assert_eq!(desk.fates().await, ["ticketed", "duplicate", "ticketed", "ticketed", "duplicate"]);
    desk.close().await;
}

#[tokio::test]
async fn what_came_by_discord_goes_after_its_days_and_is_known_again() {
    let mut front = Front::with("[retention]\nraw_mail_days = 30").await;
    let mia = front.discord.member("mia");
    front.opens(&mia, "Printer", "The code is 1234.").await;
    let own = front.own_thread(1001).await;
    mia.says(own, "And 1234 again.").await;
    let (said, kept) = (
        "SELECT count(*) FROM messages WHERE visible LIKE '%1234%'",
        "SELECT count(*) FROM discord_payloads WHERE payload::TEXT LIKE '%1234%'",
    );
    until("both are taken in", async || {
        front.desk.settle().await;
        front.desk.count(said).await == 2
    })
    .await;
    assert_eq!(front.desk.count(kept).await, 2);
    front.desk.clock.advance(TimeDelta::days(29));
    the_hour_strikes(&front.desk).await;
    assert_eq!(front.desk.count(kept).await, 2, "it is not time yet");
    front.goes_offline().await;
    front.desk.clock.advance(TimeDelta::days(2));
    the_hour_strikes(&front.desk).await;
    assert_eq!(front.desk.count(kept).await, 0);
    // What is read in the thread once more.
    front.comes_back().await;
    mia.says(own, "1234!").await;
    until("it is taken in", async || {
        front.desk.settle().await;
        front.desk.count(said).await >= 3
    })
    .await;
    assert_eq!(front.desk.count(said).await, 3);
    front.close().await;
}

#[tokio::test]
async fn a_closed_ticket_goes_with_all_that_is_its_own_and_a_late_answer_opens_a_new_one() {
    let (desk, api) = desk("closed_ticket_days = 90").await;
    desk.handles(&with_a_file("Refund")).await;
    let acknowledged = desk.last_mail_to("ada@example.net");
    desk.handles(&mail(BOB, "Refund, too", "I want a refund of the invoice, as Ada does.")).await;
    desk.handles(&mail(BOB, "Router", "My router is broken.")).await;
    let merged = api.post("/api/tickets/1002/merge", &json!({"into": 1001})).await;
    assert_eq!(merged.0, 200, "{merged:?}");
    desk.answers(&api, 1001, "Here it is.", true).await;
    desk.closes_what_is_resolved().await;
    desk.clock.advance(TimeDelta::days(15));
    // Too late to reopen: it follows the closed one up.
    desk.handles(&mail(ADA, "", "And the other invoice?").answering(&acknowledged)).await;
    assert_eq!(desk.count("SELECT follow_up_of FROM tickets WHERE id = 1004").await, 1001);
    desk.clock.advance(TimeDelta::days(74));
    the_hour_strikes(&desk).await;
    assert_eq!(desk.tickets().await, 4, "it is not time yet");
    desk.clock.advance(TimeDelta::days(2));
    // Something waits to be sent for it.
    sqlx::query("UPDATE deliveries SET state = 'waiting' WHERE ticket_id = 1001 AND kind = 'reply'")
        .execute(&desk.db)
        .await
        .expect("it waits");
    the_hour_strikes(&desk).await;
    assert_eq!(desk.tickets().await, 4);
    sqlx::query("UPDATE deliveries SET state = 'failed' WHERE state = 'waiting'")
        .execute(&desk.db)
        .await
        .expect("it was given up");
    sqlx::query(
        "INSERT INTO jobs (kind, subject, attempt, run_at, created_at, failed_at, last_error)
         SELECT 'deliver', id, 9, now(), now(), now(), 'refused' FROM deliveries WHERE state = 'failed'",
    )
    .execute(&desk.db)
    .await
    .expect("a dead letter");
    the_hour_strikes(&desk).await;

    let left: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM tickets ORDER BY id").fetch_all(&desk.db).await.expect("tickets");
    assert_eq!(left, [1003, 1004], "what was merged into it goes with it");
    for (what, count) in [
        ("SELECT count(*) FROM messages WHERE ticket_id < 1003", 0),
        ("SELECT count(*) FROM deliveries WHERE ticket_id < 1003", 0),
        ("SELECT count(*) FROM thread_ids WHERE ticket_id < 1003", 0),
        ("SELECT count(*) FROM ticket_events WHERE ticket_id < 1003", 0),
        ("SELECT count(*) FROM attachments", 0),
        ("SELECT count(*) FROM tickets WHERE follow_up_of IS NOT NULL", 0),
        ("SELECT count(*) FROM inbound", 4),
        ("SELECT count(*) FROM raw_mails", 2),
    ] {
        assert_eq!(desk.count(what).await, count, "{what}");
    }
    let dead = queue::list(&desk.db, queue::Which::Failed, 9).await.expect("the queue");
    assert!(dead.is_empty(), "{dead:?}");
    let api = logs_in_again(&desk).await;
    assert_eq!(api.get("/api/tickets/1001").await.0, 404);
    let (_, counts) = api.get("/api/tickets/summary").await;
    assert_eq!(counts["total"], 2, "{counts}");
    // The contents of its files follow a day later.
    desk.clock.advance(TimeDelta::days(2));
    let now = desk.clock.now();
    desk.commits(async |tx| queue::enqueue(tx, &queue::SWEEP_FILES, 0, now).await).await.expect("a job");
    desk.settle().await;
    assert_eq!(desk.count("SELECT count(*) FROM blobs").await, 0);
    // The address is signed for a ticket that is no more.
    desk.handles(&mail(ADA, "", "Thank you!").answering(&acknowledged)).await;
    assert_eq!(
        desk.count("SELECT count(*) FROM tickets WHERE id > 1004 AND subject LIKE '%Refund%'").await,
        1
    );
    let log = desk.audited().await;
    assert_eq!(
        log.last().map(String::as_str),
        Some(r#"- ticket.expired ticket:many {"tickets":[1001,1002]}"#)
    );
    assert_eq!(audit::verify(&desk.db).await.expect("the log").broken_at, None);
    desk.close().await;
}

#[tokio::test]
async fn a_deleted_ticket_can_be_restored_until_its_days_are_over() {
    let (desk, api) = desk("deleted_ticket_days = 30").await;
    for subject in ["Refund", "Router"] {
        desk.handles(&mail(ADA, subject, "I want a refund of my invoice.")).await;
    }
    for number in [1001, 1002] {
        assert_eq!(api.delete(&format!("/api/tickets/{number}")).await.0, 204);
    }
    desk.later(TimeDelta::days(29)).await;
    the_hour_strikes(&desk).await;
    let api = logs_in_again(&desk).await;
    assert_eq!(api.post("/api/tickets/1002/restore", &json!({})).await.0, 200);
    desk.later(TimeDelta::days(2)).await;
    the_hour_strikes(&desk).await;
    let api = logs_in_again(&desk).await;
    assert_eq!(api.post("/api/tickets/1001/restore", &json!({})).await.0, 404);
    assert_eq!(api.get("/api/tickets/1002").await.0, 200);
    desk.close().await;
}

#[tokio::test]
async fn many_go_a_few_at_a_time_and_the_young_stay() {
    let (desk, _) = desk("raw_mail_days = 30\nclosed_ticket_days = 90").await;
    let fill = "
        INSERT INTO persons (name, created_at) VALUES ('Ada', '2026-01-01');
        INSERT INTO tickets (subject, status, channel, requester_id, created_at, updated_at, resolved_at, closed_at, follow_up_of)
        SELECT 'Ticket ' || n, 'closed', 'email', max(p.id), '2026-01-01', '2026-01-01', at, at,
               CASE WHEN n % 2 = 0 THEN 1000 + n - 1 END
        FROM persons p, generate_series(1, 2500) n,
             LATERAL (SELECT TIMESTAMPTZ '2026-01-01' + CASE WHEN n > 2400 THEN interval '300 days' ELSE interval '0' END AS at) a
        GROUP BY n, at ORDER BY n;
        INSERT INTO messages (ticket_id, kind, channel, body, visible, created_at)
        SELECT id, 'inbound', 'email', 'Hello', 'Hello', created_at FROM tickets, generate_series(1, 4);
        INSERT INTO deliveries (ticket_id, message_id, answers_id, kind, channel, recipient_id, address, state, created_at)
        SELECT ticket_id, id, id, 'reply', 'email', (SELECT max(id) FROM persons), 'ada@example.net', 'sent', created_at
        FROM messages;
        INSERT INTO raw_mails SELECT sha256(n::TEXT::BYTEA), n::TEXT::BYTEA FROM generate_series(1, 20000) n;
        INSERT INTO inbound (source, mailbox, name, raw_sha256, received_at, handled_at, fate)
        SELECT 'pipe', 'support', n::TEXT, sha256(n::TEXT::BYTEA), at, at, 'suppressed'
        FROM generate_series(1, 20000) n,
             LATERAL (SELECT TIMESTAMPTZ '2026-01-01' + CASE WHEN n % 10 = 0 THEN interval '320 days' ELSE interval '0' END AS at) a;
        ANALYZE;";
    sqlx::raw_sql(fill).execute(&desk.db).await.expect("a full desk");
    let begun = std::time::Instant::now();
    the_hour_strikes(&desk).await;
    assert_eq!(desk.tickets().await, 100);
    assert_eq!(desk.count("SELECT count(*) FROM messages").await, 400);
    assert_eq!(desk.count("SELECT count(*) FROM deliveries").await, 400);
    assert_eq!(desk.count("SELECT count(*) FROM raw_mails").await, 2000);
    assert_eq!(desk.count("SELECT count(*) FROM inbound").await, 20_000);
    assert!(begun.elapsed().as_secs() < 30, "it looks through whole tables: {:?}", begun.elapsed());
    let told = desk.audited().await.iter().filter(|line| line.contains("ticket.expired")).count();
    assert_eq!(told, 24, "a hundred at a time");
    desk.close().await;
}

#[tokio::test]
async fn kept_for_ever_is_what_has_no_days() {
    let (desk, api) = desk("").await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.answers(&api, 1001, "Here it is.", true).await;
    desk.closes_what_is_resolved().await;
    desk.handles(&mail(BOB, "Router", "My router is broken.")).await;
    let api = logs_in_again(&desk).await;
    assert_eq!(api.delete("/api/tickets/1002").await.0, 204);
    desk.later(TimeDelta::days(3000)).await;
    the_hour_strikes(&desk).await;
    assert_eq!((desk.tickets().await, desk.count("SELECT count(*) FROM raw_mails").await), (2, 2));
    desk.close().await;
}
