//! The first answer to an interaction, within Discord's three seconds, while it is put into the ledger.

use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Gateway;
use crate::discord::api::{Answer, ApiError, Message};
use crate::discord::request::{Request, What};
use crate::discord::words;
use crate::ingest::discord::{self as ledger, Arrived};
use crate::ingest::interact;

/// Interactions that are answered at once; the others wait a little.
const AT_ONCE: usize = 128;
/// Discord's three seconds are over for a list of suggestions.
const SUGGESTING: Duration = Duration::from_millis(2500);
/// The person is waiting.
const STORING: Duration = Duration::from_secs(10);
/// What is being answered when the line closes.
const FINISHING: Duration = Duration::from_secs(5);

/// Answers until the line is closed.
pub(super) async fn answer_all(gateway: &Gateway, requests: &mut mpsc::Receiver<Request>) {
    let mut answering = JoinSet::new();
    loop {
        let is_full = answering.len() >= AT_ONCE;
        tokio::select! {
            Some(answered) = answering.join_next() => note_panic(answered),
            request = requests.recv(), if !is_full => match request {
                Some(request) => {
                    let gateway = gateway.clone();
                    answering.spawn(async move { answer(&gateway, &request).await });
                }
                None => break,
            },
        }
    }
    let finishing = async {
        while let Some(answered) = answering.join_next().await {
            note_panic(answered);
        }
    };
    if tokio::time::timeout(FINISHING, finishing).await.is_err() {
        tracing::warn!("some interactions could not be answered before the connection ended");
    }
}

fn note_panic(answered: Result<(), tokio::task::JoinError>) {
    if let Err(error) = answered {
        metrics::counter!("ticketd_discord_interactions_total", "outcome" => "panic").increment(1);
        tracing::error!(%error, "answering an interaction panicked");
    }
}

async fn answer(gateway: &Gateway, request: &Request) {
    let begun = Instant::now();
    let outcome = match &request.what {
        What::Autocomplete { .. } => suggest(gateway, request).await,
        _ => match interact::first_answer(&*gateway.live.current().await, request) {
            first @ (Answer::Defer { .. } | Answer::DeferUpdate) => defer(gateway, request, &first).await,
            first => gateway.api.answer(request.id, &request.token, &first).await,
        },
    };
    let (label, took_ms) = (request.label(), u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    metrics::histogram!("ticketd_discord_answer_seconds").record(begun.elapsed().as_secs_f64());
    let outcome = match outcome {
        Ok(()) => {
            tracing::debug!(label, took_ms, "answered");
            "answered"
        }
        Err(error) => {
            tracing::warn!(label, took_ms, "an interaction's first answer failed: {error}");
            if matches!(error, ApiError::TooLate(_)) { "late" } else { "failed" }
        }
    };
    metrics::counter!("ticketd_discord_interactions_total", "outcome" => outcome).increment(1);
}

async fn suggest(gateway: &Gateway, request: &Request) -> Result<(), ApiError> {
    let choices = async {
        let config = gateway.live.current().await;
        interact::choices(&gateway.db, &config, request, gateway.clock.now()).await
    };
    // None are better than none in time.
    let choices = tokio::time::timeout(SUGGESTING, choices).await.unwrap_or_default();
    gateway.api.answer(request.id, &request.token, &Answer::Choices(choices)).await
}

/// Says that it is being worked on, and stores it, both at once. What is stored is done, even where the answer came late.
async fn defer(gateway: &Gateway, request: &Request, first: &Answer) -> Result<(), ApiError> {
    let answering = gateway.api.answer(request.id, &request.token, first);
    let (answered, stored) = tokio::join!(answering, store(gateway, request));
    let Err(error) = stored else { return answered };
    tracing::warn!(label = request.label(), "an interaction cannot be stored: {error:#}");
    metrics::counter!("ticketd_discord_interactions_total", "outcome" => "not_stored").increment(1);
    answered?;
    let sorry = Message::text(words::not_stored()).ephemeral();
    match first {
        // Its answer would take the place of the message with the button.
        Answer::DeferUpdate => gateway.api.follow_up(&request.token, &sorry, &[]).await.map(drop),
        _ => gateway.api.edit_answer(&request.token, &sorry, &[]).await,
    }
}

async fn store(gateway: &Gateway, request: &Request) -> anyhow::Result<()> {
    let arrived = [Arrived::interaction(request)];
    match tokio::time::timeout(STORING, ledger::receive(&gateway.db, &gateway.clock, &arrived)).await {
        Ok(stored) => stored.map(drop),
        Err(_elapsed) => bail!("the database does not answer"),
    }
}
