//! What a webhook reaches, what it does not, and whom it keeps waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use ticketd::app::App;
use ticketd::config::Config;
use ticketd::queue;
use tokio::sync::Notify;

use super::{ADA, ask, attempts, creates, deliveries, desk, notes};
use crate::harness::desk::configuration;
use crate::harness::mail::mail;
use crate::harness::receiver::{Answer, Receiver};
use crate::harness::wait::until;

const NOT_PUBLIC: &str =
    "leads to no public address: choose another host, or enter its network in webhooks.allowed_networks";

#[tokio::test]
async fn what_is_not_public_is_refused_when_a_webhook_is_entered() {
    let desk = desk("").await;
    let dora = desk.logs_in("Dora").await;
    for host in [
        "127.0.0.1:1",
        "localhost:1",
        "[::1]:1",
        "169.254.169.254",
        "10.0.0.1",
        "[::ffff:10.0.0.1]",
        "2130706433",
    ] {
        let url = format!("https://{host}/");
        let (status, problem) = ask(&dora, Method::POST, "", Some(json!({"name": "x", "url": url}))).await;
        let detail = problem["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(status == 400 && detail.ends_with(NOT_PUBLIC), "{host}: {status} {detail}");
    }
    let unknown = Some(json!({"name": "x", "url": "https://nowhere.invalid/"}));
    let (status, problem) = ask(&dora, Method::POST, "", unknown).await;
    assert_eq!(status, 400);
    assert_eq!(
        problem["errors"][0]["detail"],
        "the name nowhere.invalid cannot be looked up: correct it, or enter it in the DNS"
    );
    desk.close().await;
}

/// What was allowed, or public, when it was entered is looked at again at each send: names change hands.
#[tokio::test]
async fn what_is_not_public_is_not_reached_whatever_was_entered() {
    let receiver = Receiver::start().await;
    let mut desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let mut ids = Vec::new();
    for host in ["localhost", "127.0.0.1", "2130706433"] {
        let url = format!("https://{host}:{}/", receiver.port());
        ids.push((host, creates(&dora, &url, &["opened"]).await.0));
    }
    // The same desk after the networks were taken out of the configuration.
    let strict = format!("[webhooks]\nca_file = \"{}\"\n", receiver.ca_file().display());
    let text = configuration(&desk.user, 1, desk.sink.port(), "", &strict);
    let config = Config::parse(&text, BTreeMap::new()).expect("a configuration");
    let app = App::build(Arc::new(config), desk.db.clone(), desk.clock.clone(), None).await.expect("an app");
    desk.app.stages.webhooks = app.stages.webhooks;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    assert!(receiver.got().is_empty());
    for (host, id) in ids {
        let host = host.replace("2130706433", "127.0.0.1");
        assert_eq!(attempts(&deliveries(&dora, id).await[0]), [format!("{host} {NOT_PUBLIC}")], "{host}");
        ask(&dora, Method::DELETE, &format!("/{id}"), None).await;
    }
    desk.later(TimeDelta::minutes(5)).await;
    desk.close().await;
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_is_told_nothing() {
    let receiver = Receiver::start().await;
    let desk = desk("[webhooks]\nallowed_networks = [\"127.0.0.1\"]\n").await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["opened"]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let tried = attempts(&deliveries(&dora, id).await[0]);
    assert!(tried[0].starts_with("cannot connect to the receiver: invalid peer certificate"), "{tried:?}");
    assert!(receiver.got().is_empty());
    let (nobody, _) = creates(&dora, "https://127.0.0.1:1/", &["note"]).await;
    notes(&desk, 1001, "x").await;
    desk.settle().await;
    let tried = attempts(&deliveries(&dora, nobody).await[0]);
    assert_eq!(tried, ["cannot connect to the receiver: Connection refused (os error 111)"]);
    desk.close().await;
}

/// A receiver that thinks long holds two of the four places, and no delivery to others; what waits for it keeps its turn.
#[tokio::test]
async fn a_slow_receiver_keeps_others_from_nothing() {
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    let desk = desk(&slow.section()).await;
    let dora = desk.logs_in("Dora").await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let (slow_id, _) = creates(&dora, &slow.url("/"), &["note"]).await;
    let (quick_id, _) = creates(&dora, &quick.url("/"), &["note"]).await;
    let done = Arc::new(Notify::new());
    slow.always(Answer::Held(Arc::clone(&done)));
    for n in 0..5 {
        notes(&desk, 1001, &n.to_string()).await;
    }
    let jobs = queue::claim(&desk.db, desk.clock.now(), 20).await.expect("the queue");
    let hooks: Vec<_> = jobs.iter().filter(|job| job.kind.name == "webhook").collect();
    assert_eq!(hooks.len(), 10);
    let stages = desk.app.stages.clone();
    let release = async {
        until("both are asked", async || quick.got().len() >= 2 && slow.got().len() == 2).await;
        // Those without a place come again, each time that one is free.
        until("the quick one is told all", async || {
            desk.clock.advance(TimeDelta::seconds(2));
            let due = queue::claim(&desk.db, desk.clock.now(), 4).await.expect("the queue");
            join_all(due.iter().map(|job| stages.run(job))).await;
            quick.got().len() == 5
        })
        .await;
        assert_eq!(slow.got().len(), 2, "it has its two places");
        let waiting = deliveries(&dora, slow_id).await;
        assert!(waiting.iter().all(|d| d["state"] == "waiting"), "{waiting:?}");
        slow.always(Answer::Status(200));
        done.notify_waiters();
    };
    tokio::join!(join_all(hooks.iter().map(|job| stages.run(job))), release);
    assert!(deliveries(&dora, quick_id).await.iter().all(|d| d["state"] == "sent"));
    let sent = |list: Vec<serde_json::Value>| list.iter().filter(|d| d["state"] == "sent").count();
    assert_eq!(sent(deliveries(&dora, slow_id).await), 2);
    // Nothing went wrong with the three that waited for a place.
    desk.later(TimeDelta::minutes(1)).await;
    let all = deliveries(&dora, slow_id).await;
    assert!(all.iter().all(|d| attempts(d) == ["200"]), "{all:?}");
    desk.close().await;
}

/// One that never answers costs one wait, and what else is to be told there waits until it answers again.
#[tokio::test]
async fn a_receiver_that_never_answers_is_left_alone_for_a_while() {
    let receiver = Receiver::start().await;
    let desk = desk(&receiver.section()).await;
    let dora = desk.logs_in("Dora").await;
    let (id, _) = creates(&dora, &receiver.url("/"), &["note"]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    receiver.always(Answer::Hang);
    for n in 0..4 {
        notes(&desk, 1001, &n.to_string()).await;
    }
    desk.settle().await;
    assert_eq!(receiver.got().len(), 1, "the others are held");
    let tried: Vec<_> = deliveries(&dora, id).await.iter().flat_map(attempts).collect();
    assert_eq!(tried, ["the receiver did not answer within 10 s"]);
    receiver.always(Answer::Status(200));
    desk.later(TimeDelta::minutes(1)).await;
    let states: Vec<_> = deliveries(&dora, id).await.iter().map(|d| d["state"].clone()).collect();
    assert_eq!(states, ["sent", "sent", "sent", "sent"]);
    desk.close().await;
}
