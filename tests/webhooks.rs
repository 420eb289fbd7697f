//! Servers are told of what happens to tickets: signed, tried for a day, and nothing of it reaches what is not public.

#![expect(clippy::indexing_slicing, reason = "a test that finds nothing where it looks is to fail")]

mod reach;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use ticketd::audit;
use ticketd::ids::{TicketId, WebhookDeliveryId};
use ticketd::people::Role;
use ticketd::queue;
use ticketd::tickets::actions::{self, Act};
use ticketd::tickets::{self, Channel, Priority, StaffMessage, webhooks};

use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::mail::mail;
use crate::harness::receiver::{Answer, Got, Receiver};

const ADA: &str = "Ada <ada@example.net>";

/// Dora, an admin, runs a desk with a moderator, Bea; it may reach the receiver.
async fn desk(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk
}

async fn ask(api: &Api, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.request(method, format!("{}/api/admin/webhooks{path}", api.base));
    if let Some(token) = &api.token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn post(api: &Api, path: &str) -> (u16, Value) {
    ask(api, Method::POST, path, None).await
}

/// Makes a webhook; its id and its secret.
async fn creates(api: &Api, url: &str, kinds: &[&str]) -> (i64, String) {
    let wanted = json!({"name": "our wiki", "url": url, "kinds": kinds});
    let (status, created) = ask(api, Method::POST, "", Some(wanted)).await;
    assert_eq!(status, 201, "{created}");
    (created["id"].as_i64().expect("an id"), created["secret"].as_str().expect("a secret").to_owned())
}

async fn deliveries(api: &Api, id: i64) -> Vec<Value> {
    let (status, page) = ask(api, Method::GET, &format!("/{id}/deliveries"), None).await;
    assert_eq!(status, 200, "{page}");
    page["deliveries"].as_array().expect("a list").clone()
}

/// How each attempt ended, oldest first.
fn attempts(delivery: &Value) -> Vec<String> {
    let said = |a: &Value| match (a["status"].as_i64(), a["error"].as_str()) {
        (Some(status), None) => status.to_string(),
        (_, Some(error)) => error.to_owned(),
        (None, None) => "nothing".to_owned(),
    };
    delivery["attempts"].as_array().expect("a list").iter().map(said).collect()
}

/// Whether one of the signatures is by this secret, as the specification of Standard Webhooks says it is checked.
fn is_signed_by(got: &Got, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    let (id, time) = (got.header("webhook-id"), got.header("webhook-timestamp"));
    mac.update(format!("{id}.{time}.{}", got.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    got.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

async fn notes(desk: &Desk, ticket: i64, text: &str) {
    let bea = crate::harness::members::by_mail(desk, "bea@example.org").await.expect("Bea").id;
    let mut tx = desk.db.begin().await.expect("a transaction");
    let ticket = tickets::lock(&mut tx, TicketId(ticket)).await.expect("a ticket");
    let message = StaffMessage { author: bea, channel: Channel::Web, text, inbound: None, uploads: &[] };
    tickets::note(&mut tx, &ticket, &message, desk.clock.now()).await.expect("a note");
    tx.commit().await.expect("a commit");
}

async fn audited(desk: &Desk) -> Vec<String> {
    let filter = audit::Filter { action: Some("webhook".to_owned()), ..audit::Filter::default() };
    let entries = audit::list(&desk.db, &filter, 100).await.expect("the log");
    entries.iter().rev().map(|e| format!("{} {} {} {}", e.channel, e.action, e.subject, e.data)).collect()
}

#[tokio::test]
async fn a_receiver_is_told_of_the_events_it_wants_signed_and_without_what_was_said() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, secret) = creates(&dora, &receiver.url("/hook?key=k"), &["opened", "assigned", "note"]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    notes(&desk, 1001, "Ada is a nuisance").await;
    desk.settle().await;

    let got = receiver.got();
    let mut kinds: Vec<_> = got.iter().map(|g| g.json()["type"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["assigned", "note", "opened"]);
    for got in &got {
        assert_eq!((got.path.as_str(), got.header("content-type")), ("/hook?key=k", "application/json"));
        assert!(is_signed_by(got, &secret), "{got:?}");
        let event = got.json();
        assert_eq!(got.header("webhook-id"), format!("event_{}", event["id"]));
        assert_eq!(got.header("webhook-timestamp"), desk.clock.now().timestamp().to_string());
        for inside in ["nuisance", "invoice", "example.net", "example.org", "2 of 2", "1 of 1", "whsec_"] {
            assert!(!got.body.contains(inside), "{inside}: {}", got.body);
        }
    }
    let opened = got.iter().find(|g| g.json()["type"] == "opened").expect("one").json();
    insta::assert_json_snapshot!(opened, {".id" => "[id]", ".ticket.version" => "[version]"}, @r#"
    {
      "actor_id": 3,
      "channel": "email",
      "created_at": "2026-11-21T09:00:00Z",
      "data": {
        "follow_up_of": null,
        "related_to": null,
        "sender_class": "human"
      },
      "id": "[id]",
      "ticket": {
        "assignee_id": null,
        "category": null,
        "number": 1001,
        "priority": "medium",
        "requester_id": 3,
        "skills": [],
        "status": "new",
        "subject": "Refund",
        "version": "[version]"
      },
      "type": "opened"
    }
    "#);
    let log = desk.log().join("\n");
    assert!(!log.contains(&secret) && !log.contains("key=k"), "{log}");

    let (_, shown) = ask(&dora, Method::GET, &format!("/{id}"), None).await;
    assert!(!shown.to_string().contains("whsec_") && shown.get("secret").is_none(), "{shown}");
    let (_, all) = ask(&dora, Method::GET, "", None).await;
    assert_eq!(all["webhooks"], json!([shown]));
    let sent = deliveries(&dora, id).await;
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|d| d["state"] == "sent" && attempts(d) == ["200"]), "{sent:?}");
    assert_eq!(sent[0]["kind"], "note", "newest first");
    desk.close().await;
}

#[tokio::test]
async fn without_a_webhook_nothing_is_entered_and_one_that_is_off_is_told_nothing() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    assert_eq!(desk.count("SELECT count(*) FROM webhook_deliveries").await, 0);
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &[]).await;
    let off = Some(json!({"active": false}));
    let (status, webhook) = ask(&dora, Method::PATCH, &format!("/{id}"), off).await;
    assert_eq!((status, &webhook["active"]), (200, &json!(false)));
    notes(&desk, 1001, "later").await;
    assert_eq!(desk.count("SELECT count(*) FROM webhook_deliveries").await, 0);

    let on = Some(json!({"active": true, "kinds": ["priority"]}));
    ask(&dora, Method::PATCH, &format!("/{id}"), on).await;
    notes(&desk, 1001, "of another kind").await;
    let bea = crate::harness::members::by_mail(&desk, "bea@example.org").await.expect("Bea").id;
    let mut tx = desk.db.begin().await.expect("a transaction");
    let ticket = tickets::lock(&mut tx, TicketId(1001)).await.expect("a ticket");
    let act = Act { by: bea, channel: Channel::Web, now: desk.clock.now() };
    actions::set_priority(&mut tx, &ticket, Priority::Urgent, act).await.expect("a change");
    tx.rollback().await.expect("it is taken back");
    assert_eq!(desk.count("SELECT count(*) FROM webhook_deliveries").await, 0, "they go with the event");
    let mut tx = desk.db.begin().await.expect("a transaction");
    actions::set_priority(&mut tx, &ticket, Priority::High, act).await.expect("a change");
    tx.commit().await.expect("a commit");
    desk.settle().await;
    let bodies: Vec<_> = receiver.got().iter().map(|g| g.json()["data"].clone()).collect();
    assert_eq!(bodies, [json!({"from": "medium", "to": "high"})]);
    desk.close().await;
}

#[tokio::test]
async fn what_did_not_arrive_is_sent_again_under_the_same_id() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, secret) = creates(&dora, &receiver.url("/"), &["opened"]).await;
    receiver.answers([
        Answer::Status(500),
        Answer::Status(404),
        Answer::Redirect(receiver.url("/elsewhere")),
    ]);
    receiver.answers([Answer::Endless]);
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let (_, failing) = ask(&dora, Method::GET, &format!("/{id}"), None).await;
    assert_eq!(failing["last_error"], "the receiver answered with HTTP status 500");
    assert_eq!(failing["failing_since"], "2026-11-21T09:00:00Z");
    for _ in 0..3 {
        desk.later(TimeDelta::minutes(1)).await;
    }
    let got = receiver.got();
    assert_eq!(got.len(), 4);
    let same = |name: &'static str| got.iter().all(|g| g.header(name) == got[0].header(name));
    assert!(same("webhook-id") && !same("webhook-timestamp") && !same("webhook-signature"));
    assert!(got.iter().all(|g| is_signed_by(g, &secret) && g.path == "/"), "a redirect is not followed");
    let sent = deliveries(&dora, id).await;
    assert_eq!(sent[0]["state"], "sent");
    let answered = |status: u16| format!("the receiver answered with HTTP status {status}");
    assert_eq!(attempts(&sent[0]), [answered(500), answered(404), answered(302), "200".to_owned()]);
    let (_, well) = ask(&dora, Method::GET, &format!("/{id}"), None).await;
    assert_eq!((&well["last_error"], &well["failing_since"]), (&Value::Null, &Value::Null));
    desk.close().await;
}

#[tokio::test]
async fn after_a_day_a_delivery_has_failed_and_a_person_decides() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["opened"]).await;
    receiver.always(Answer::Status(503));
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    for _ in 0..26 {
        desk.later(TimeDelta::hours(1)).await;
    }
    let dora = dora_again(&desk).await;
    let failed = deliveries(&dora, id).await;
    assert_eq!(failed[0]["state"], "failed");
    let tries = attempts(&failed[0]).len();
    assert!((10..=40).contains(&tries), "{tries}");
    assert_eq!(desk.expects_errors().len(), 1, "somebody must act");
    let dead = queue::list(&desk.db, queue::Which::Failed, 9).await.expect("the queue");
    assert_eq!(dead.iter().map(|j| j.kind.as_str()).collect::<Vec<_>>(), ["webhook"]);

    let delivery = failed[0]["id"].as_i64().expect("an id");
    assert_eq!(post(&dora, &format!("/deliveries/{delivery}/cancel")).await.0, 204);
    assert!(queue::list(&desk.db, queue::Which::Failed, 9).await.expect("the queue").is_empty());
    assert_eq!(deliveries(&dora, id).await[0]["state"], "cancelled");
    receiver.always(Answer::Status(204));
    assert_eq!(post(&dora, &format!("/deliveries/{delivery}/retry")).await.0, 204);
    desk.settle().await;
    assert_eq!(deliveries(&dora, id).await[0]["state"], "sent");
    assert_eq!(post(&dora, &format!("/deliveries/{delivery}/retry")).await.0, 404, "it has arrived");
    assert_eq!(post(&dora, &format!("/deliveries/{delivery}/cancel")).await.0, 404);
    assert_eq!(post(&dora, "/deliveries/999/retry").await.0, 404);
    desk.close().await;
}

/// The list of dead letters knows nothing of webhooks, and brings one back to work all the same.
#[tokio::test]
async fn a_dead_letter_that_is_revived_gets_another_day() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["opened"]).await;
    receiver.always(Answer::Status(503));
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    for _ in 0..26 {
        desk.later(TimeDelta::hours(1)).await;
    }
    assert_eq!(desk.expects_errors().len(), 1);
    let dead = queue::list(&desk.db, queue::Which::Failed, 9).await.expect("the queue");
    assert!(queue::retry(&desk.db, dead[0].id, desk.clock.now()).await.expect("the queue"));
    desk.settle().await;
    let dora = desk.logs_in("Dora").await;
    assert_eq!(deliveries(&dora, id).await[0]["state"], "waiting");
    receiver.always(Answer::Status(200));
    desk.later(TimeDelta::minutes(1)).await;
    assert_eq!(deliveries(&dora, id).await[0]["state"], "sent");
    desk.close().await;
}

#[tokio::test]
async fn a_webhook_that_fails_for_three_days_is_switched_off() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["opened", "note"]).await;
    receiver.always(Answer::Status(500));
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    // Each day something new is to be told, and the old is given up.
    for day in 0..3 {
        notes(&desk, 1001, &format!("day {day}")).await;
        for _ in 0..25 {
            desk.later(TimeDelta::hours(1)).await;
        }
    }
    let dora = desk.logs_in("Dora").await;
    let (_, webhook) = ask(&dora, Method::GET, &format!("/{id}"), None).await;
    assert_eq!(webhook["active"], false);
    assert_eq!(
        webhook["last_error"],
        "switched off: it failed for three days; the receiver answered with HTTP status 500"
    );
    let log = audited(&desk).await;
    assert_eq!(
        log.last().expect("an entry"),
        &format!("ticketd webhook.switched_off webhook:{id} {{\"why\":\"it failed for three days\"}}")
    );
    let known = receiver.got().len();
    notes(&desk, 1001, "nobody is told").await;
    desk.later(TimeDelta::days(1)).await;
    assert_eq!(receiver.got().len(), known);
    assert!(deliveries(&dora_again(&desk).await, id).await.iter().all(|d| d["state"] == "failed"));
    desk.expects_errors();
    assert_eq!(ask(&dora_again(&desk).await, Method::DELETE, &format!("/{id}"), None).await.0, 204);
    assert_eq!(desk.count("SELECT count(*) FROM webhook_deliveries").await, 0);
    desk.close().await;
}

/// An access token is good for minutes.
async fn dora_again(desk: &Desk) -> Api {
    desk.logs_in("Dora").await
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_not_told_any_more() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let (id, _) = creates(&dora, &receiver.url("/"), &[]).await;
    receiver.always(Answer::Status(410));
    notes(&desk, 1001, "one").await;
    notes(&desk, 1001, "two").await;
    desk.settle().await;
    let (_, webhook) = ask(&dora, Method::GET, &format!("/{id}"), None).await;
    assert_eq!(webhook["active"], false);
    assert_eq!(receiver.got().len(), 1, "the first answer counts");
    let mut states: Vec<_> = deliveries(&dora, id).await.iter().map(|d| d["state"].to_string()).collect();
    states.sort();
    states.dedup();
    assert_eq!(states, ["\"cancelled\"", "\"failed\""]);
    let log = audited(&desk).await;
    assert_eq!(
        log.last().expect("an entry"),
        &format!("ticketd webhook.switched_off webhook:{id} {{\"why\":\"the receiver answered 410 Gone\"}}")
    );
    // Switched on again it begins anew, also with what had failed.
    receiver.always(Answer::Status(200));
    let on = Some(json!({"active": true}));
    let (_, webhook) = ask(&dora, Method::PATCH, &format!("/{id}"), on).await;
    assert_eq!((&webhook["active"], &webhook["last_error"]), (&json!(true), &Value::Null));
    let failed = deliveries(&dora, id).await;
    let failed = failed.iter().find(|d| d["state"] == "failed").expect("one")["id"].clone();
    assert_eq!(post(&dora, &format!("/deliveries/{failed}/retry")).await.0, 204);
    desk.settle().await;
    assert_eq!(receiver.got().len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn a_changed_secret_and_the_one_before_sign_for_a_day() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, old) = creates(&dora, &receiver.url("/"), &["note"]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let (status, rotated) = post(&dora, &format!("/{id}/rotate")).await;
    assert_eq!((status, &rotated["previous_until"]), (200, &json!("2026-11-22T09:00:00Z")));
    let new = rotated["secret"].as_str().expect("a secret");
    assert_ne!(new, old);
    notes(&desk, 1001, "one").await;
    desk.later(TimeDelta::hours(23)).await;
    notes(&desk, 1001, "two").await;
    desk.settle().await;
    desk.later(TimeDelta::hours(1)).await;
    notes(&desk, 1001, "three").await;
    desk.settle().await;
    let signed: Vec<_> =
        receiver.got().iter().map(|g| (is_signed_by(g, new), is_signed_by(g, &old))).collect();
    assert_eq!(signed, [(true, true), (true, true), (true, false)]);
    desk.close().await;
}

#[tokio::test]
async fn an_admin_pings_and_everything_is_audited_and_nobody_else_may() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, secret) = creates(&dora, &receiver.url("/"), &["opened"]).await;
    ask(&dora, Method::PATCH, &format!("/{id}"), Some(json!({"active": false, "name": "off"}))).await;
    let (status, pinged) = post(&dora, &format!("/{id}/ping")).await;
    assert_eq!(status, 202);
    desk.settle().await;
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert!(is_signed_by(&got[0], &secret));
    assert_eq!(got[0].header("webhook-id"), format!("ping_{}", pinged["delivery_id"]));
    assert_eq!(
        got[0].json(),
        json!({"id": null, "type": "ping", "created_at": "2026-11-21T09:00:00Z",
        "ticket": null, "actor_id": null, "channel": "web", "data": {}})
    );
    assert_eq!(deliveries(&dora, id).await[0]["kind"], "ping");
    assert_eq!(post(&dora, "/999/ping").await.0, 404);

    let bea = desk.logs_in("Bea").await;
    for (method, path) in [
        (Method::GET, String::new()),
        (Method::POST, String::new()),
        (Method::GET, format!("/{id}")),
        (Method::PATCH, format!("/{id}")),
        (Method::DELETE, format!("/{id}")),
        (Method::POST, format!("/{id}/ping")),
        (Method::POST, format!("/{id}/rotate")),
        (Method::GET, format!("/{id}/deliveries")),
        (Method::POST, "/deliveries/1/retry".to_owned()),
        (Method::POST, "/deliveries/1/cancel".to_owned()),
    ] {
        assert_eq!(ask(&bea, method.clone(), &path, Some(json!({}))).await.0, 403, "{method} {path}");
    }
    post(&dora, &format!("/{id}/rotate")).await;
    ask(&dora, Method::DELETE, &format!("/{id}"), None).await;
    assert_eq!(ask(&dora, Method::GET, &format!("/{id}"), None).await.0, 404);
    insta::assert_snapshot!(audited(&desk).await.join("\n"), @r#"
    web webhook.created webhook:1 {"kinds":["opened"],"name":"our wiki"}
    web webhook.changed webhook:1 {"active":false,"kinds":["opened"],"name":"off","url_changed":false}
    web webhook.secret_rotated webhook:1 {}
    web webhook.deleted webhook:1 {"name":"off"}
    "#);
    desk.close().await;
}

#[tokio::test]
async fn a_wrong_webhook_is_refused_field_by_field() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let mut told = Vec::new();
    for (name, url, kinds) in [
        ("", receiver.url("/"), json!([])),
        ("x", "http://example.org/".to_owned(), json!([])),
        ("x", "https://user:pass@localhost/".to_owned(), json!([])),
        ("x", receiver.url("/"), json!(["opend"])),
    ] {
        let (status, problem) =
            ask(&dora, Method::POST, "", Some(json!({"name": name, "url": url, "kinds": kinds}))).await;
        let fault = &problem["errors"][0];
        let detail = fault["detail"].as_str().unwrap_or_default();
        told.push(format!(
            "{status} {}: {}",
            fault["field"].as_str().unwrap_or_default(),
            detail.split(':').next().unwrap_or_default()
        ));
    }
    insta::assert_snapshot!(told.join("\n"), @"
    400 name: a webhook's name has 1 to 100 characters, none of them a control character
    400 url: webhooks go by https only
    400 url: leave user and password out of the address
    400 kinds: `opend` is no kind of event
    ");
    assert_eq!(desk.count("SELECT count(*) FROM webhooks").await, 0);
    desk.close().await;
}

#[tokio::test]
async fn deliveries_come_in_pages_and_go_after_thirty_days() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["note"]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    for n in 0..5 {
        notes(&desk, 1001, &n.to_string()).await;
    }
    desk.settle().await;
    let (_, first) = ask(&dora, Method::GET, &format!("/{id}/deliveries?limit=3&state=sent"), None).await;
    let cursor = first["next_cursor"].as_str().expect("more");
    let (_, second) =
        ask(&dora, Method::GET, &format!("/{id}/deliveries?limit=3&cursor={cursor}"), None).await;
    let ids = |page: &Value| -> Vec<i64> {
        page["deliveries"].as_array().expect("a list").iter().filter_map(|d| d["id"].as_i64()).collect()
    };
    assert_eq!((ids(&first), ids(&second)), (vec![5, 4, 3], vec![2, 1]));
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(ask(&dora, Method::GET, &format!("/{id}/deliveries?limit=0"), None).await.0, 400);
    assert_eq!(ask(&dora, Method::GET, &format!("/{id}/deliveries?state=gone"), None).await.0, 400);
    assert_eq!(ask(&dora, Method::GET, "/999/deliveries", None).await.0, 404);

    desk.clock.advance(TimeDelta::days(20));
    notes(&desk, 1001, "young").await;
    desk.settle().await;
    desk.clock.advance(TimeDelta::days(11));
    let mut tx = desk.db.begin().await.expect("a transaction");
    assert_eq!(
        webhooks::sweep(&mut tx, Some(TimeDelta::days(30)), desk.clock.now()).await.expect("the database"),
        5
    );
    assert_eq!(
        webhooks::sweep(&mut tx, Some(TimeDelta::days(30)), desk.clock.now()).await.expect("the database"),
        0
    );
    tx.commit().await.expect("a commit");
    let left = webhooks::outgoing(&desk.db, WebhookDeliveryId(6), desk.clock.now()).await;
    assert_eq!(left.expect("the database").expect("it is there").state, "sent");
    desk.close().await;
}

/// Whoever enters an event of a new kind decides what of it is told.
#[test]
fn every_kind_of_event_says_what_is_told_of_it() {
    fn walk(folder: &std::path::Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("list a source folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, texts);
            } else {
                texts.push(std::fs::read_to_string(&path).expect("read a source file"));
            }
        }
    }
    let mut texts = Vec::new();
    walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tickets"), &mut texts);
    let call =
        regex::Regex::new(r#"\b(?:insert_event|event)\(\s*[^"();]*(?:\([^"()]*\)[^"();]*)*"([a-z_]+)""#)
            .expect("a pattern");
    let mut found: Vec<String> =
        texts.iter().flat_map(|text| call.captures_iter(text)).map(|c| c[1].to_owned()).collect();
    found.sort();
    found.dedup();
    assert!(found.len() >= 15, "the events are not where this test looks for them: {found:?}");
    let known = webhooks::kinds();
    let unknown: Vec<_> = found.iter().filter(|kind| !known.contains(&kind.as_str())).collect();
    assert!(unknown.is_empty(), "tickets::feed::TOLD has no row for {unknown:?}");
}

/// Times of attempts are those of the desk's clock, which stands still.
#[tokio::test]
async fn a_delivery_tells_when_it_was_tried() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["opened"]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let sent = &deliveries(&dora, id).await[0];
    let at: DateTime<chrono::Utc> =
        sent["attempts"][0]["at"].as_str().expect("a time").parse().expect("a time");
    assert_eq!((at, sent["ticket"].as_i64()), (desk.clock.now(), Some(1001)));
    desk.close().await;
}
