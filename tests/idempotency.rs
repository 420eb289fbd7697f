//! Requests with an `Idempotency-Key` are done once, however often and however much at once they come.

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use ticketd::people::Role;

use crate::harness::desk::{Api, Desk};
use crate::harness::mail::mail;

const MESSAGES: &str = "/api/tickets/1001/messages";

async fn desk() -> (Desk, Api) {
    let desk = Desk::open().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&mail("Ada <ada@example.net>", "Refund", "I want a refund.")).await;
    let dora = desk.logs_in("Dora").await;
    (desk, dora)
}

/// Status, whether it is a replay, body.
async fn note(api: &Api, key: &str, text: &str) -> (u16, bool, Value) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("{}{MESSAGES}", api.base)).header("idempotency-key", key);
    let request = request.bearer_auth(api.token.as_deref().unwrap_or_default());
    let answer =
        request.json(&json!({"body": text, "visibility": "internal"})).send().await.expect("an answer");
    let (status, replayed) =
        (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
    (status, replayed, answer.json().await.expect("JSON"))
}

async fn notes(desk: &Desk) -> i64 {
    desk.count("SELECT count(*) FROM messages WHERE kind = 'note'").await
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_nothing_is_done_again() {
    let (desk, dora) = desk().await;
    let first = note(&dora, "one", "Call back.").await;
    assert_eq!((first.0, first.1), (201, false), "{first:?}");
    let again = note(&dora, "one", "Call back.").await;
    assert_eq!((again.0, again.1, &again.2), (201, true, &first.2));
    assert_eq!(notes(&desk).await, 1);
    let other = note(&dora, "one", "Something else.").await;
    assert_eq!(other.0, 422);
    assert_eq!(
        other.2.pointer("/detail"),
        Some(&json!("this Idempotency-Key was used for another request: take a fresh one"))
    );
    assert_eq!(note(&dora, "two", "Call back.").await.0, 201, "another key is another request");
    assert_eq!(notes(&desk).await, 2);

    desk.hires("Finn", Role::Admin, &[]).await;
    let finn = desk.logs_in("Finn").await;
    assert!(!note(&finn, "one", "Call back.").await.1, "keys of others are theirs");

    desk.clock.advance(TimeDelta::hours(25));
    let dora = desk.logs_in("Dora").await;
    assert!(!note(&dora, "one", "Something else.").await.1, "after a day it is forgotten");
    assert_eq!(notes(&desk).await, 4);
    assert_eq!(desk.count("SELECT count(*) FROM idempotency_keys").await, 1, "and swept out");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn of_many_at_once_with_one_key_one_is_done_and_all_are_answered_alike() {
    let (desk, dora) = desk().await;
    let answers = join_all((0..20).map(|_| note(&dora, "same", "Call back."))).await;
    assert_eq!(notes(&desk).await, 1);
    for (status, _, body) in &answers {
        assert_eq!((*status, body), (201, &answers.first().expect("one").2));
    }
    assert_eq!(answers.iter().filter(|answer| !answer.1).count(), 1, "one did it");
    desk.close().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_one_and_a_request_that_failed_leave_nothing_behind() {
    let (desk, dora) = desk().await;
    let long = "x".repeat(256);
    for key in ["", &long] {
        assert_eq!(note(&dora, key, "Call back.").await.0, 400, "{key:.10}");
    }
    assert_eq!(note(&dora, "key", " ").await.0, 400, "an empty note");
    assert_eq!(
        note(&dora, "key", "Call back.").await.0,
        201,
        "what failed may be repeated in its right form"
    );
    assert_eq!(notes(&desk).await, 1);
    desk.close().await;
}
