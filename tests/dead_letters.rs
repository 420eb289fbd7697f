//! Dead letters, many at once: by the API and by command.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketd::clock::Clock;
use ticketd::queue;

use crate::harness::admin::{columns, said};
use crate::harness::desk::Desk;
use crate::harness::mail::mail;
use crate::harness::postgres;
use crate::harness::program::{Place, run};
use crate::harness::smtp::{At, Behaviour};

const ADA: &str = "Ada <ada@example.net>";

#[tokio::test]
async fn many_dead_letters_are_put_back_to_work_or_cancelled_at_once_with_one_entry_in_the_audit_log() {
    let (desk, api) = Desk::with_admin().await;
    desk.enqueues(&queue::TRIAGE, &[7, 8]).await;
    desk.enqueues(&queue::ASSIGN, &[9]).await;
    desk.enqueues(&queue::DELIVER, &[10, 11, 12]).await;
    desk.settle().await;
    assert_eq!(desk.expects_errors().len(), 6);
    let jobs = "/api/admin/jobs";
    let (_, list) = api.get(&format!("{jobs}?state=dead")).await;
    let id = |place: usize| list["jobs"][place]["id"].as_i64().expect("a number");
    let retry = async |body: Value| api.post(&format!("{jobs}/retry"), &body).await;
    let cancel = async |body: Value| api.post(&format!("{jobs}/cancel"), &body).await;
    insta::assert_snapshot!(said(retry(json!({})).await), @"400: ids: give either ids or kind");
    insta::assert_snapshot!(said(retry(json!({"ids": [1], "kind": "deliver"})).await), @"400: ids: give either ids or kind");
    insta::assert_snapshot!(said(retry(json!({"ids": []})).await), @"400: ids: give 1 to 1000 of them");
    insta::assert_snapshot!(said(cancel(json!({"ids": (1..1002).collect::<Vec<_>>()})).await), @"400: ids: give 1 to 1000 of them");
    insta::assert_snapshot!(said(cancel(json!({"kind": "triage"})).await), @"409: a job of the kind `triage` cannot be cancelled: what it is about would wait for ever");

    // One that cannot be cancelled refuses them all.
    assert_eq!(cancel(json!({"ids": [id(3), id(2)]})).await.0, 409);
    assert_eq!(api.get(&format!("{jobs}?state=dead")).await.1, list);
    let more = json!({"cancelled": 1, "skipped": [999_999], "more": false});
    assert_eq!(cancel(json!({"ids": [999_999, id(3)]})).await, (200, more));
    let more = json!({"cancelled": 2, "skipped": [], "more": false});
    assert_eq!(cancel(json!({"kind": "deliver"})).await, (200, more));
    let back = json!({"retried": 2, "skipped": [id(3)]});
    assert_eq!(retry(json!({"ids": [id(2), id(0), id(3)]})).await, (200, back));
    let dead = api.get(&format!("{jobs}?state=dead")).await.1;
    assert_eq!(columns(&dead["jobs"], &["kind", "subject"]), ["triage 8"]);
    assert_eq!(
        desk.audited().await,
        [
            format!(r#"Dora job.cancelled job:{0} {{"ids":[{0}],"kinds":{{"deliver":1}}}}"#, id(3)),
            format!(r#"Dora job.cancelled job:many {{"ids":[{},{}],"kinds":{{"deliver":2}}}}"#, id(4), id(5)),
            format!(
                r#"Dora job.retried job:many {{"ids":[{},{}],"kinds":{{"assign":1,"triage":1}}}}"#,
                id(0),
                id(2)
            ),
        ]
    );
    sqlx::query("DELETE FROM jobs").execute(&desk.db).await.expect("a tidy queue");
    desk.close().await;
}

#[tokio::test]
async fn many_mails_that_did_not_leave_are_sent_after_all_or_given_up_at_once() {
    let (desk, api) = Desk::with_admin().await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 550, "5.1.1 no such user".into()));
    for text in ["One.", "Two.", "Three."] {
        desk.answers(&api, 1001, text, false).await;
    }
    assert_eq!(desk.expects_errors().len(), 3);
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 451, "4.7.1 come back later".into()));
    desk.answers(&api, 1001, "Four.", false).await;
    let list = "/api/admin/deliveries";
    let (_, waiting) = api.get(&format!("{list}?state=waiting")).await;
    let reason = waiting["deliveries"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("4.7.1 come back later"), "what keeps it can be read: {waiting}");
    let (_, failed) = api.get(&format!("{list}?state=failed")).await;
    let id = |place: usize| failed["deliveries"][place]["id"].as_i64().expect("a number");
    let retry = async |body: Value| api.post(&format!("{list}/retry"), &body).await;
    let cancel = async |body: Value| api.post(&format!("{list}/cancel"), &body).await;
    insta::assert_snapshot!(said(retry(json!({"state": "waiting"})).await), @"400: state: is one of failed, suppressed, bounced, cancelled");
    insta::assert_snapshot!(said(cancel(json!({"before": "2026-11-21T09:00:00Z"})).await), @"400: before: goes with state only");
    insta::assert_snapshot!(said(cancel(json!({"ids": [1], "after": 1})).await), @"400: after: goes with state only");
    let none = json!({"cancelled": 0, "skipped": [], "last": null, "more": false});
    let before = json!({"state": "failed", "before": "2026-11-21T08:59:59Z"});
    assert_eq!(cancel(before).await, (200, none));
    let past_all = json!({"state": "failed", "after": id(2)});
    assert_eq!(cancel(past_all).await.1["cancelled"], 0);
    let given_up = json!({"cancelled": 2, "skipped": [999_999], "last": null, "more": false});
    assert_eq!(cancel(json!({"ids": [id(0), id(1), 999_999]})).await, (200, given_up));
    assert_eq!(cancel(json!({"state": "waiting"})).await.1["cancelled"], 1);
    desk.sink.behave(&Behaviour::Accept);
    let sent_before = desk.mails_to("ada@example.net").len();
    let retried = json!({"retried": 1, "skipped": [], "last": id(2), "more": false});
    assert_eq!(retry(json!({"state": "failed"})).await, (200, retried));
    desk.later(TimeDelta::hours(2)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), sent_before + 1, "and not what was given up");
    let api = desk.logs_in("Dora").await;
    let (_, again) = api.post(&format!("{list}/retry"), &json!({"ids": [id(2)]})).await;
    assert_eq!(again["skipped"], json!([id(2)]), "it is sent");
    let log = desk.audited().await;
    let actions: Vec<&str> = log.iter().filter_map(|line| line.split(" {").next()).collect();
    let one = format!("Dora delivery.cancelled delivery:{}", waiting["deliveries"][0]["id"]);
    let retried = format!("Dora delivery.retried delivery:{}", id(2));
    assert_eq!(actions, ["Dora delivery.cancelled delivery:many", &one, &retried]);
    assert_eq!(queue::list(&desk.db, queue::Which::Failed, 9).await.expect("jobs").len(), 2);
    assert_eq!(api.post("/api/admin/jobs/cancel", &json!({"kind": "deliver"})).await.1["cancelled"], 2);
    desk.close().await;
}

#[tokio::test]
async fn what_cannot_be_sent_after_all_does_not_hide_what_comes_after_it() {
    let (desk, api) = Desk::with_admin().await;
    desk.handles(&mail(ADA, "Gone", "I want a refund of my invoice.")).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice, too.")).await;
    // Of a deleted ticket nothing is sent.
    for change in [
        "INSERT INTO deliveries (ticket_id, kind, channel, recipient_id, address, state, created_at)
         SELECT ticket_id, 'notice', channel, recipient_id, address, 'failed', created_at
         FROM deliveries, generate_series(1, 1001) WHERE ticket_id = 1001 AND kind = 'acknowledgement'",
        "UPDATE tickets SET deleted_at = created_at WHERE id = 1001",
    ] {
        sqlx::query(change).execute(&desk.db).await.expect("a change");
    }
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 550, "5.1.1 no such user".into()));
    desk.answers(&api, 1002, "One.", false).await;
    assert_eq!(desk.expects_errors().len(), 1);
    let path = "/api/admin/deliveries/retry";
    let (_, first) = api.post(path, &json!({"state": "failed"})).await;
    let skipped = first["skipped"].as_array().expect("numbers");
    assert_eq!((&first["retried"], skipped.len(), &first["more"]), (&json!(0), 1000, &json!(true)));
    assert_eq!(skipped.last(), Some(&first["last"]));
    let (_, second) = api.post(path, &json!({"state": "failed", "after": first["last"]})).await;
    assert_eq!((&second["retried"], &second["more"]), (&json!(1), &json!(false)));
    desk.sink.behave(&Behaviour::Accept);
    desk.settle().await;
    desk.close().await;
}

const MAILBOX: &str =
    "[[mailbox]]\nname = \"support\"\naddress = \"support@example.org\"\noutbox_dir = \"out\"\n";

#[tokio::test]
async fn dead_letters_are_handled_many_at_a_time_and_the_audit_log_says_so() {
    let place = Place::new();
    for wrong in [
        ["jobs", "cancel", "--all", "7"].as_slice(),
        &["jobs", "cancel", "--kind", "deliver", "7"],
        &["jobs", "retry", "--all", "--kind", "everything"],
        &["deliveries", "cancel"],
        &["deliveries", "cancel", "--all", "--state", "bounced"],
        &["deliveries", "retry", "--before", "2026-11-21T09:00:00Z", "7"],
    ] {
        assert_eq!(run(&[wrong, &["--config", "x"]].concat(), "").await.code, Some(2), "{wrong:?}");
    }
    let help = run(&["deliveries", "cancel", "--help"], "").await.out;
    assert!(help.contains("Examples: ticketd deliveries cancel"), "{help}");
    let url = postgres::fresh_url().await;
    let config = place.config(&format!("[database]\nurl = \"{url}\"\n{MAILBOX}"));
    let db = sqlx::PgPool::connect(&url).await.expect("the database");
    let dead = "INSERT INTO jobs (kind, subject, attempt, run_at, created_at, failed_at, last_error)
                SELECT kind, n, 20, now(), now(), now(), 'it broke'
                FROM unnest('{deliver,triage}'::TEXT[]) kind, generate_series(1, 1500) n ORDER BY kind, n";
    sqlx::query(dead).execute(&db).await.expect("dead letters");
    let said = async |args: &[&str]| {
        let (ran, at) = (run(&[args, &["--config", &config]].concat(), "").await, args.join(" "));
        assert_eq!(ran.code.is_some_and(|code| code > 0), !ran.err.is_empty(), "{at}: {ran:?}");
        format!("{}{}", ran.out, ran.err).trim_end().to_owned()
    };
    insta::assert_snapshot!(said(&["jobs", "retry", "1501", "1502", "1502"]).await, @"2 jobs are back at work");
    insta::assert_snapshot!(said(&["jobs", "retry", "1501", "1503", "9999"]).await, @r"
    job 1503 is back at work
    ticketd: there is no dead letter 1501, 9999 (see `ticketd jobs list --failed`)
    ");
    insta::assert_snapshot!(said(&["jobs", "cancel", "1", "1504"]).await, @"ticketd: a job of the kind `triage` cannot be cancelled: what it is about would wait for ever; nothing was cancelled");
    insta::assert_snapshot!(said(&["jobs", "cancel", "1", "2"]).await, @"2 jobs are cancelled");
    insta::assert_snapshot!(said(&["jobs", "cancel", "--all", "--kind", "triage"]).await, @"ticketd: a job of the kind `triage` cannot be cancelled: what it is about would wait for ever");
    insta::assert_snapshot!(said(&["jobs", "cancel", "--all"]).await, @r"
    1498 jobs are cancelled
    1497 are left: what they are about would wait for ever (see `ticketd jobs list --failed`)
    ");
    insta::assert_snapshot!(said(&["jobs", "retry", "--all", "--kind", "deliver"]).await, @"there is no dead letter to put back to work");
    insta::assert_snapshot!(said(&["jobs", "retry", "--all"]).await, @"1497 jobs are back at work");
    let log = "SELECT action || ' ' || channel || ' ' || (data->'kinds')::TEXT FROM audit_log ORDER BY seq";
    let log: Vec<String> = sqlx::query_scalar(log).fetch_all(&db).await.expect("the log");
    insta::assert_snapshot!(log.join("\n"), @r#"
    job.retried command {"triage": 2}
    job.retried command {"triage": 1}
    job.cancelled command {"deliver": 2}
    job.cancelled command {"deliver": 1000}
    job.cancelled command {"deliver": 498}
    job.retried command {"triage": 1000}
    job.retried command {"triage": 497}
    "#);

    assert_eq!(run(&["ingest", "--config", &config], "From: ada@example.net\n\nHello\n").await.code, Some(0));
    let mails = "WITH p AS (INSERT INTO persons (name, created_at) VALUES ('Ada', now()) RETURNING id),
                 t AS (INSERT INTO tickets (subject, status, priority, channel, requester_id, created_at, updated_at)
                       SELECT 'Hi', 'new', 'medium', 'email', id, now(), now() FROM p RETURNING id, requester_id)
                 INSERT INTO deliveries (ticket_id, kind, channel, recipient_id, address, state, reason, created_at)
                 SELECT id, 'notice', 'email', requester_id, 'ada@example.net', state, 'refused', created
                 FROM t, (VALUES ('failed', now()), ('failed', now()), ('waiting', now() - interval '1 day'),
                                 ('waiting', now()), ('bounced', now()), ('sent', now())) v (state, created)";
    sqlx::query(mails).execute(&db).await.expect("mails");
    let two_hours_ago = (Clock::system().now() - TimeDelta::hours(2)).to_rfc3339();
    insta::assert_snapshot!(said(&["deliveries", "cancel", "--all", "--before", &two_hours_ago]).await, @"delivery 3 is cancelled");
    insta::assert_snapshot!(said(&["deliveries", "retry", "--all"]).await, @"2 deliveries will be tried again");
    insta::assert_snapshot!(said(&["deliveries", "cancel", "1", "6", "7"]).await, @r"
    delivery 1 is cancelled
    ticketd: there is no delivery 6, 7 that has not left (see `ticketd deliveries list`)
    ");
    insta::assert_snapshot!(said(&["deliveries", "cancel", "--all", "--state", "failed"]).await, @"there is no delivery to cancel");
    insta::assert_snapshot!(said(&["deliveries", "cancel", "--all"]).await, @"2 deliveries are cancelled");
    insta::assert_snapshot!(said(&["deliveries", "retry", "--all", "--state", "bounced"]).await, @"delivery 5 will be tried again");
    let states: Vec<String> =
        sqlx::query_scalar("SELECT state FROM deliveries ORDER BY id").fetch_all(&db).await.expect("states");
    assert_eq!(states, ["cancelled", "cancelled", "cancelled", "cancelled", "waiting", "sent"]);
}
