//! Alive, ready, and numbers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::State as Shared;
use super::error::{Error, Problem};
use crate::alarms::{self, Alarm};
use crate::{database, ingest, queue, tickets};

/// Probers wait for a few seconds, the connection pool waits for longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this is, for whoever opens the address in a browser.
#[utoipa::path(get, path = "/", tag = "about", responses((status = 200, description = "Where to go on", body = Object)))]
pub(super) async fn about() -> Json<Value> {
    Json(json!({
        "service": "ticketd",
        "version": env!("CARGO_PKG_VERSION"),
        "health": ["/healthz", "/readyz", "/metrics"],
        "log_in": "POST /api/auth/login {\"email\", \"password\"}",
        "tickets": "GET /api/tickets",
        "api": ["/api/docs", "/api/openapi.json"],
    }))
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "about", responses((status = 200, description = "`ok`", body = String)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Database, migrations and sources are fit for work; 503 with the reason where one is not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "about",
    responses(
        (status = 200, description = "Ready", body = Object),
        (status = 503, description = "Not ready: what is not, and why", body = Object),
    )
)]
pub(super) async fn ready(State(state): State<Shared>) -> Response {
    let asked = async {
        let read_only = database::is_read_only(&state.db).await?;
        let migrated = database::is_migrated(&state.db).await;
        let refusal = state.refusals.reason().or(read_only.then_some(database::READ_ONLY));
        anyhow::Ok((refusal, migrated, ingest::health(&state.db).await, alarms::open(&state.db).await))
    };
    let (database, migrated, health, alarms) = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((refusal, migrated, health, alarms))) => {
            (refusal.unwrap_or("ok"), migrated.ok(), health.ok(), alarms.ok())
        }
        Ok(Err(_)) | Err(_) => ("does not answer", None, None, None),
    };
    let migrations = match migrated {
        Some(true) => "ok",
        Some(false) => "missing: run `ticketd migrate`",
        None => "not known",
    };
    let mut sources = serde_json::Map::new();
    let mailboxes = state.config.mailbox.iter().filter(|m| m.imap.is_some()).map(|m| m.name.as_str());
    let discord = state.config.discord.as_ref().map(|_| ingest::DISCORD);
    for name in mailboxes.chain(discord) {
        let known = health.as_ref().map(|all| all.iter().find(|h| h.name == name));
        let state = match known {
            None => json!("not known"),
            Some(Some(h)) if h.last_error.is_some() => {
                json!({"failing_since": h.failing_since, "error": h.last_error, "checked_at": h.checked_at})
            }
            Some(Some(h)) if h.checked_at.is_some() => json!("ok"),
            Some(_) => json!("not read yet"),
        };
        sources.insert(name.to_owned(), state);
    }
    let is_ready = database == "ok" && migrations == "ok" && sources.values().all(|s| s == "ok");
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let alarms = alarms.map_or_else(|| json!("not known"), |open| open.iter().map(told).collect());
    let body = json!({
        "ready": is_ready, "database": database, "migrations": migrations, "sources": sources, "alarms": alarms
    });
    (status, Json(body)).into_response()
}

fn told(alarm: &Alarm) -> Value {
    json!({"kind": alarm.kind, "subject": alarm.subject, "raised_at": alarm.raised_at})
}

/// Numbers in Prometheus' text format; not here where `telemetry.metrics_listen` is configured.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "about",
    responses(
        (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
        (status = 404, description = "Not recorded by this process", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(state: State<Shared>) -> Result<Response, Error> {
    if state.config.telemetry.metrics_listen.is_some() {
        return Err(Error::NotFound);
    }
    metrics_apart(state).await
}

/// The same on a listener of its own.
pub(super) async fn metrics_apart(State(state): State<Shared>) -> Result<Response, Error> {
    let Some(handle) = &state.metrics else { return Err(Error::NotFound) };
    let read = match tokio::time::timeout(PATIENCE, gauge(&state)).await {
        Ok(read) => read.map_err(anyhow::Error::from),
        Err(elapsed) => Err(elapsed.into()),
    };
    if let Err(error) = read {
        // The counters are still worth having.
        tracing::warn!(%error, "the database's numbers cannot be read");
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}

/// Numbers that are read rather than counted.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point; counts stay far below 2^52")]
async fn gauge(state: &Shared) -> sqlx::Result<()> {
    let refuses = state.refusals.reason().is_some() || database::is_read_only(&state.db).await?;
    metrics::gauge!("ticketd_database_refuses_writes").set(f64::from(u8::from(refuses)));
    let backlog = queue::backlog(&state.db).await?;
    for kind in queue::KINDS {
        let of =
            |list: &[(String, i64)]| list.iter().find(|(name, _)| name == kind.name).map_or(0, |(_, n)| *n);
        metrics::gauge!("ticketd_jobs_waiting", "kind" => kind.name).set(of(&backlog.waiting) as f64);
        metrics::gauge!("ticketd_jobs_dead", "kind" => kind.name).set(of(&backlog.dead) as f64);
    }
    let late = backlog.oldest_due.map_or(0.0, |due| (state.clock.now() - due).as_seconds_f64().max(0.0));
    metrics::gauge!("ticketd_oldest_due_job_age_seconds").set(late);
    for (status, count) in tickets::read::count_by_status(&state.db, tickets::read::Sight::All).await? {
        metrics::gauge!("ticketd_tickets", "status" => status).set(count as f64);
    }
    let unassigned = tickets::read::count_unassigned(&state.db).await?;
    metrics::gauge!("ticketd_tickets_unassigned").set(unassigned as f64);
    let open = alarms::open(&state.db).await?;
    for kind in alarms::KINDS {
        let count = open.iter().filter(|alarm| alarm.kind == kind).count();
        metrics::gauge!("ticketd_alarms", "kind" => kind).set(count as f64);
    }
    let ledger = ingest::ledger::backlog(&state.db).await?;
    let quarantined: i64 = ledger.iter().map(|mailbox| mailbox.quarantined).sum();
    metrics::gauge!("ticketd_quarantined_messages").set(quarantined as f64);
    let unsent = tickets::outbox::count_unsent(&state.db).await?;
    for name in tickets::outbox::UNSENT_STATES {
        let count = unsent.iter().find(|(found, _)| found == name).map_or(0, |(_, count)| *count);
        metrics::gauge!("ticketd_deliveries_unsent", "state" => name).set(count as f64);
    }
    let holding = tickets::loops::holding(&state.db).await?.map_or(0, |(buckets, _)| buckets);
    metrics::gauge!("ticketd_loop_breakers_tripped").set(holding as f64);
    for mailbox in ingest::health(&state.db).await? {
        let failing = f64::from(u8::from(mailbox.last_error.is_some()));
        metrics::gauge!("ticketd_mailbox_failing", "mailbox" => mailbox.name).set(failing);
    }
    Ok(())
}

/// What each metric means; called once, when the recorder is installed.
pub fn describe_metrics() {
    use ::metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("ticketd_mails_received_total", "Mails put into the ledger, by source");
    describe_counter!("ticketd_mails_total", "Mails understood, by fate");
    describe_counter!("ticketd_triages_total", "Judgements, by engine");
    describe_counter!("ticketd_gemini_failures_total", "Calls of Gemini that gave no judgement, by kind");
    describe_counter!("ticketd_assignments_total", "Assignments, by outcome");
    describe_counter!("ticketd_webhooks_total", "Attempts to tell a webhook, by outcome");
    describe_counter!(
        "ticketd_discord_threads_broken_total",
        "Threads in Discord that can't be written to any more"
    );
    describe_counter!("ticketd_deliveries_total", "Attempts to send, by outcome");
    describe_counter!("ticketd_jobs_total", "Jobs run, by kind and outcome");
    describe_counter!(
        "ticketd_interactions_total",
        "Commands, clicks and forms in Discord that were worked on, by what was asked and by fate"
    );
    describe_counter!("ticketd_logins_total", "Log-ins, by outcome");
    describe_counter!(
        "ticketd_discord_received_total",
        "Interactions, messages, edits and deletions put into the ledger"
    );
    describe_counter!(
        "ticketd_discord_total",
        "Messages, edits and deletions in Discord that were worked on, by fate"
    );
    describe_counter!(
        "ticketd_discord_interactions_total",
        "Interactions, by what became of their first answer"
    );
    describe_counter!(
        "ticketd_discord_unreadable_total",
        "Events from Discord that could not be read, by kind"
    );
    describe_counter!(
        "ticketd_discord_dropped_total",
        "Events from Discord that came faster than they could be stored"
    );
    describe_histogram!("ticketd_discord_answer_seconds", "Time from an interaction to its first answer");
    describe_gauge!("ticketd_discord_connected", "1 in the process that holds the connection to Discord");
    describe_histogram!("ticketd_job_seconds", "Time a job took, by kind");
    describe_histogram!("ticketd_triage_seconds", "Time a judgement took, by engine");
    describe_gauge!("ticketd_jobs_waiting", "Jobs that wait, by kind");
    describe_gauge!("ticketd_jobs_dead", "Jobs on the dead-letter list, by kind");
    describe_gauge!("ticketd_oldest_due_job_age_seconds", "How long the oldest due job has waited");
    describe_gauge!("ticketd_tickets", "Tickets, by status");
    describe_gauge!("ticketd_tickets_unassigned", "Active tickets that nobody could be given");
    describe_gauge!(
        "ticketd_database_refuses_writes",
        "1 while PostgreSQL takes no writes: its disk is full, or it takes reads only"
    );
    describe_gauge!("ticketd_alarms", "Open alarms, by kind");
    describe_gauge!("ticketd_quarantined_messages", "Messages that could not be taken in and are put aside");
    describe_gauge!("ticketd_deliveries_unsent", "Mails that were not sent or came back, by state");
    describe_gauge!(
        "ticketd_loop_breakers_tripped",
        "Addresses, tickets and domains whose automatic mail is held back"
    );
    describe_gauge!("ticketd_mailbox_failing", "1 while a mailbox, or Discord, cannot be read");
}
