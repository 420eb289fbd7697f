//! What admins look after while the desk runs: jobs, mails that did not leave, the ledger, the audit log, the first look.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketd::people::Role;
use ticketd::queue;

use crate::harness::admin::{columns, said};
use crate::harness::desk::{Desk, SUPPORT};
use crate::harness::mail::mail;
use crate::harness::smtp::{At, Behaviour};

const ADA: &str = "Ada <ada@example.net>";

#[tokio::test]
async fn dead_letters_are_listed_put_back_to_work_and_cancelled() {
    let (desk, api) = Desk::with_admin().await;
    desk.enqueues(&queue::TRIAGE, &[7, 8]).await;
    desk.enqueues(&queue::ASSIGN, &[9]).await;
    desk.enqueues(&queue::DELIVER, &[10]).await;
    desk.settle().await;
    assert_eq!(desk.expects_errors().len(), 4);
    let jobs = "/api/admin/jobs";
    let (_, list) = api.get(&format!("{jobs}?state=dead")).await;
    assert_eq!(
        columns(&list["jobs"], &["kind", "subject", "last_error"]),
        [
            "triage 7 there is no ticket #7",
            "triage 8 there is no ticket #8",
            "assign 9 there is no ticket #9",
            "deliver 10 there is no delivery 10",
        ]
    );
    let id = |place: usize| list["jobs"][place]["id"].to_string();
    let (_, first) = api.get(&format!("{jobs}?state=dead&limit=3")).await;
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let (_, second) = api.get(&format!("{jobs}?state=dead&limit=3&cursor={cursor}")).await;
    assert_eq!(
        (columns(&second["jobs"], &["kind"]), &second["next_cursor"]),
        (vec!["deliver".to_owned()], &Value::Null)
    );
    assert_eq!(columns(&api.get(&format!("{jobs}?kind=assign")).await.1["jobs"], &["subject"]), ["9"]);
    assert_eq!(api.get(&format!("{jobs}?state=waiting")).await.1["jobs"], json!([]));
    assert_eq!(api.get(&format!("{jobs}?kind=x")).await.0, 400);
    assert_eq!(api.get(&format!("{jobs}/{}", id(2))).await.1["subject"], 9);
    assert_eq!(
        api.get("/api/admin/dashboard").await.1["dead_jobs"],
        json!({"assign": 1, "deliver": 1, "triage": 2})
    );

    insta::assert_snapshot!(said(api.post(&format!("{jobs}/{}/cancel", id(2)), &json!({})).await), @"409: a job of the kind `assign` cannot be cancelled: what it is about would wait for ever");
    assert_eq!(api.post(&format!("{jobs}/{}/retry", id(2)), &json!({})).await.0, 204);
    assert_eq!(api.post(&format!("{jobs}/{}/retry", id(2)), &json!({})).await.0, 404);
    assert_eq!(api.post(&format!("{jobs}/{}/cancel", id(3)), &json!({})).await.0, 204);
    assert_eq!(
        api.post(&format!("{jobs}/retry"), &json!({"kind": "triage"})).await,
        (200, json!({"retried": 2, "skipped": []}))
    );
    assert_eq!(
        api.post(&format!("{jobs}/retry"), &json!({"kind": "triage"})).await,
        (200, json!({"retried": 0, "skipped": []}))
    );
    insta::assert_snapshot!(said(api.post(&format!("{jobs}/retry"), &json!({"kind": "all"})).await), @"400: kind: there is no such kind of job: watch, sweep, alarm, sweep_files, expire, ingest, triage, assign, reassign, deliver, close_resolved, interact, hear, mirror, letter, account_letter, roles, webhook");
    let (_, waiting) = api.get(&format!("{jobs}?state=waiting")).await;
    assert_eq!(
        columns(&waiting["jobs"], &["kind", "subject", "attempt"]),
        ["assign 9 0", "triage 7 0", "triage 8 0"]
    );
    let again = waiting["jobs"][0]["id"].to_string();
    insta::assert_snapshot!(said(api.post(&format!("{jobs}/{again}/retry"), &json!({})).await).replace(&again, "N"), @"409: job N was not given up: it is tried by itself");
    desk.settle().await;
    assert_eq!(desk.expects_errors().len(), 3, "they fail as before");
    let log: Vec<String> = desk
        .audited()
        .await
        .into_iter()
        .map(|line| line.replace(&id(2), "ID").replace(&id(3), "ID"))
        .collect();
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(log[2].starts_with(r#"Dora job.all_retried kind:triage {"jobs":2,"kind":"triage"}"#), "{log:?}");
    sqlx::query("DELETE FROM jobs").execute(&desk.db).await.expect("a tidy queue");
    desk.close().await;
}

#[tokio::test]
async fn what_did_not_leave_is_sent_after_all_or_given_up() {
    let (desk, api) = Desk::with_admin().await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 550, "5.1.1 no such user".into()));
    for text in ["One.", "Two."] {
        desk.answers(&api, 1001, text, false).await;
    }
    assert_eq!(desk.expects_errors().len(), 2);
    let list = "/api/admin/deliveries";
    let (_, failed) = api.get(&format!("{list}?state=failed")).await;
    assert_eq!(
        columns(&failed["deliveries"], &["kind", "address", "state", "ticket_id"]),
        ["reply ada@example.net failed 1001", "reply ada@example.net failed 1001"]
    );
    let id = |place: usize| failed["deliveries"][place]["id"].to_string();
    let (_, one) = api.get(&format!("{list}/{}", id(0))).await;
    let tries = columns(&one["attempts"], &["outcome", "detail"]);
    assert!(
        tries.len() == 1 && tries[0].starts_with("permanent") && tries[0].contains("5.1.1 no such user"),
        "{tries:?}"
    );
    let (_, page) = api.get(&format!("{list}?limit=1")).await;
    let (_, next) =
        api.get(&format!("{list}?limit=1&cursor={}", page["next_cursor"].as_str().expect("more"))).await;
    assert_eq!(next["deliveries"][0]["id"].to_string(), id(1));
    assert_eq!(
        (api.get(&format!("{list}?state=lost")).await.0, api.get(&format!("{list}/999")).await.0),
        (400, 404)
    );
    assert_eq!(api.get("/api/admin/dashboard").await.1["undelivered"], json!({"failed": 2}));

    desk.sink.behave(&Behaviour::Accept);
    let before = desk.mails_to("ada@example.net").len();
    assert_eq!(api.post(&format!("{list}/{}/retry", id(0)), &json!({})).await.0, 204);
    assert_eq!(api.post(&format!("{list}/{}/cancel", id(1)), &json!({})).await.0, 204);
    desk.settle().await;
    assert_eq!(desk.mails_to("ada@example.net").len(), before + 1);
    insta::assert_snapshot!(said(api.post(&format!("{list}/{}/retry", id(0)), &json!({})).await).replace(&id(0), "N"), @"409: delivery N is sent: there is nothing to repeat");
    insta::assert_snapshot!(said(api.post(&format!("{list}/{}/cancel", id(0)), &json!({})).await).replace(&id(0), "N"), @"409: delivery N is sent: there is nothing to cancel");
    assert_eq!(columns(&api.get(list).await.1["deliveries"], &["state"]), ["cancelled"]);
    assert_eq!(api.post("/api/admin/jobs/retry", &json!({"kind": "deliver"})).await.1["retried"], 1);
    desk.settle().await;
    assert_eq!(
        desk.mails_to("ada@example.net").len(),
        before + 1,
        "what was given up is not sent by another try"
    );
    let log = desk.audited().await;
    assert!(
        log[0].starts_with("Dora delivery.retried") && log[1].starts_with("Dora delivery.cancelled"),
        "{log:?}"
    );
    desk.close().await;
}

#[tokio::test]
async fn quarantined_mail_is_read_again_when_an_admin_says_so() {
    let (desk, api) = Desk::with_admin().await;
    let refuse = "ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (subject <> 'Poison')";
    sqlx::query(refuse).execute(&desk.db).await.expect("a constraint");
    desk.gets(&mail(ADA, "Poison", "The database will not have it.")).await;
    desk.fetches().await;
    for _ in 0..5 {
        desk.later(TimeDelta::minutes(20)).await;
    }
    assert_eq!(desk.fates().await, ["quarantined"]);
    assert_eq!(desk.expects_errors().len(), 1);
    let api = {
        drop(api);
        desk.logs_in("Dora").await
    };
    let ledger = "/api/admin/ledger";
    let (_, list) = api.get(&format!("{ledger}?fate=quarantined&source=imap&mailbox=support")).await;
    assert_eq!(
        columns(&list["entries"], &["source", "mailbox", "fate", "reason"]),
        ["imap support quarantined the database refused what was read"]
    );
    let path = format!("{ledger}/{}", list["entries"][0]["id"]);
    assert_eq!(api.get(&path).await.1["fate"], "quarantined");
    let (status, raw) = api.get(&format!("{path}/raw")).await;
    assert!(status == 200 && raw.as_str().is_some_and(|raw| raw.contains("Subject: Poison")), "{raw}");
    let (_, boxes) = api.get("/api/admin/mailboxes").await;
    assert_eq!(
        columns(&boxes["mailboxes"], &["name", "address", "waiting", "quarantined", "failing_since"]),
        [format!("support {SUPPORT} 0 1 null")]
    );

    sqlx::query("ALTER TABLE messages DROP CONSTRAINT no_poison")
        .execute(&desk.db)
        .await
        .expect("no constraint");
    assert_eq!(api.post(&format!("{path}/replay"), &json!({})).await.0, 204);
    assert_eq!(
        columns(&api.get(&format!("{ledger}?fate=waiting")).await.1["entries"], &["mailbox"]),
        ["support"]
    );
    desk.settle().await;
    assert_eq!(desk.fates().await, ["ticketed"]);
    // The attempts that failed used up numbers.
    let ticket = api.get(&path).await.1["ticket_id"].as_i64().expect("a ticket");
    assert_eq!(desk.ticket(ticket).await.subject, "Poison");
    insta::assert_snapshot!(said(api.post(&format!("{path}/replay"), &json!({})).await), @"409: row 1 is not in quarantine: there is nothing to replay");
    assert_eq!(
        (
            api.post(&format!("{ledger}/99/replay"), &json!({})).await.0,
            api.get(&format!("{ledger}/99/raw")).await.0
        ),
        (404, 404)
    );
    assert_eq!(
        desk.audited().await,
        [r#"Dora ledger.replayed ledger:1 {"reason":"the database refused what was read"}"#]
    );
    desk.close().await;
}

#[tokio::test]
async fn the_ledger_is_filtered_and_read_page_by_page() {
    let (desk, api) = Desk::with_admin().await;
    for number in 1..=3 {
        desk.handles(&mail(ADA, &format!("Invoice {number}"), "My invoice was charged twice.")).await;
        desk.clock.advance(TimeDelta::minutes(1));
    }
    let subjects = async |query: &str| {
        let (status, list) = api.get(&format!("/api/admin/ledger?{query}")).await;
        assert_eq!(status, 200, "{list}");
        columns(&list["entries"], &["ticket_id"])
    };
    assert_eq!(subjects("").await, ["1003", "1002", "1001"], "newest first");
    assert_eq!(subjects("from=2026-11-21T09:01:00Z&until=2026-11-21T09:02:00Z").await, ["1002"]);
    assert_eq!(subjects("source=discord").await, Vec::<String>::new());
    assert_eq!(subjects("mailbox=other").await, Vec::<String>::new());
    let (_, first) = api.get("/api/admin/ledger?limit=2").await;
    assert_eq!(
        subjects(&format!("limit=2&cursor={}", first["next_cursor"].as_str().expect("more"))).await,
        ["1001"]
    );
    assert_eq!(
        said(api.get("/api/admin/ledger?fate=lost").await),
        "400: fate is one of waiting, ticketed, appended, suppressed, quarantined, duplicate"
    );
    desk.close().await;
}

#[tokio::test]
async fn the_audit_log_is_read_and_shows_what_was_tampered_with() {
    let (desk, api) = Desk::with_admin().await;
    for cap in 1..=4 {
        let (status, _) = api.patch("/api/admin/people/1", &json!({"cap": cap})).await;
        assert_eq!(status, 200);
    }
    desk.settle().await;
    let audit = "/api/admin/audit";
    let (_, first) = api.get(&format!("{audit}?limit=3")).await;
    assert_eq!(
        columns(&first["entries"], &["seq", "actor_name", "action", "subject"]),
        [
            "4 Dora person.changed person:1",
            "3 Dora person.changed person:1",
            "2 Dora person.changed person:1"
        ]
    );
    let (_, rest) =
        api.get(&format!("{audit}?limit=3&cursor={}", first["next_cursor"].as_str().expect("more"))).await;
    assert_eq!(
        (columns(&rest["entries"], &["seq"]), &rest["next_cursor"]),
        (vec!["1".to_owned()], &Value::Null)
    );
    for (query, found) in [
        ("action=person", 4),
        ("action=setting", 0),
        ("subject=person:1", 4),
        ("subject=person:2", 0),
        ("actor=1", 4),
        ("actor=2", 0),
    ] {
        let (_, list) = api.get(&format!("{audit}?{query}")).await;
        assert_eq!(list["entries"].as_array().map(Vec::len), Some(found), "{query}");
    }
    let verify = async || api.get(&format!("{audit}/verify")).await.1;
    assert_eq!(verify().await, json!({"entries": 4, "broken_at": null}));

    // Whoever may do everything in the database can change an entry, and cannot hide it.
    let change = r#"UPDATE audit_log SET data = '{"cap":{"from":1,"to":9}}' WHERE seq = 3"#;
    let refused = sqlx::query(change).execute(&desk.db).await.expect_err("the log is append-only");
    assert!(refused.to_string().contains("audit_log is append-only"), "{refused}");
    sqlx::raw_sql("ALTER TABLE audit_log DISABLE TRIGGER ALL").execute(&desk.db).await.expect("a superuser");
    sqlx::query(change).execute(&desk.db).await.expect("changed");
    assert_eq!(verify().await, json!({"entries": 2, "broken_at": 3}));
    sqlx::query("DELETE FROM audit_log WHERE seq = 3").execute(&desk.db).await.expect("removed");
    assert_eq!(verify().await, json!({"entries": 2, "broken_at": 3}));
    desk.close().await;
}

#[tokio::test]
async fn the_first_look_shows_what_needs_somebody() {
    let (desk, api) = Desk::with_admin().await;
    let empty = api.get("/api/admin/dashboard").await.1;
    assert_eq!(
        (&empty["unassigned"], &empty["oldest_waiting"], &empty["dead_jobs"]),
        (&json!(0), &Value::Null, &json!({}))
    );
    desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], None, true).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.clock.advance(TimeDelta::minutes(1));
    desk.handles(&mail("Eve <eve@example.net>", "Router", "My router is broken.")).await;
    let seen = api.get("/api/admin/dashboard").await.1;
    assert_eq!(
        seen["tickets_by_status"],
        json!({"new": 0, "open": 2, "pending": 0, "resolved": 0, "closed": 0})
    );
    assert_eq!((&seen["fallback"], &seen["unassigned"]), (&json!(2), &json!(0)));
    assert_eq!(columns(&seen["away"], &["name"]), ["Bea"]);
    assert_eq!(
        seen["oldest_waiting"],
        json!({"ticket": 1001, "subject": "Refund", "since": "2026-11-21T09:00:00Z"})
    );
    // Who was answered waits no longer.
    desk.answers(&api, 1001, "Done.", false).await;
    let seen = api.get("/api/admin/dashboard").await.1;
    assert_eq!(
        (&seen["oldest_waiting"]["ticket"], &seen["tickets_by_status"]["pending"]),
        (&json!(1002), &json!(1))
    );
    sqlx::query("UPDATE mailboxes SET failing_since = checked_at, last_error = 'no answer'")
        .execute(&desk.db)
        .await
        .expect("trouble");
    assert_eq!(
        columns(&api.get("/api/admin/dashboard").await.1["failing_mailboxes"], &["name", "error"]),
        ["support no answer"]
    );
    desk.close().await;
}
