//! What came in and what became of it, and how each mailbox fares.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::config::Config;
use crate::ids::InboundId;
use crate::ingest::ledger::{self, Backlog, FATES, Filter, SOURCES};
use crate::ingest::{self, Entry, Health};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(mailboxes))
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(raw))
        .routes(routes!(replay))
}

/// How a mailbox fares.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Mailbox {
    /// As in the configuration; `discord`: the server there.
    pub(super) name: String,
    /// Null: it is not configured (any more), or not a mailbox.
    address: Option<String>,
    /// When it was last read to its end.
    checked_at: Option<DateTime<Utc>>,
    /// Since when it cannot be read; null: all is well.
    pub(super) failing_since: Option<DateTime<Utc>>,
    /// Why.
    pub(super) error: Option<String>,
    /// What came in by it and is not yet understood.
    waiting: i64,
    /// What was put aside.
    quarantined: i64,
}

#[derive(Serialize, ToSchema)]
struct Mailboxes {
    mailboxes: Vec<Mailbox>,
}

/// Every mailbox that is configured or was ever read, in the order of the configuration, then by name.
pub(super) async fn all_mailboxes(state: &Shared) -> Result<Vec<Mailbox>, Error> {
    let health = ingest::health(&state.db).await?;
    let backlog = ledger::backlog(&state.db).await?;
    Ok(joined(&state.config, &health, &backlog))
}

fn joined(config: &Config, health: &[Health], backlog: &[Backlog]) -> Vec<Mailbox> {
    let mut names: Vec<&str> = config.mailbox.iter().map(|mailbox| mailbox.name.as_str()).collect();
    let read = health.iter().map(|h| h.name.as_str()).chain(backlog.iter().map(|b| b.mailbox.as_str()));
    for name in read {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mailbox = |name: &str| {
        let health = health.iter().find(|health| health.name == name);
        let backlog = backlog.iter().find(|backlog| backlog.mailbox == name);
        Mailbox {
            name: name.to_owned(),
            address: config.mailbox(name).map(|mailbox| mailbox.address.clone()),
            checked_at: health.and_then(|h| h.checked_at),
            failing_since: health.and_then(|h| h.failing_since),
            error: health.and_then(|h| h.last_error.clone()),
            waiting: backlog.map_or(0, |b| b.waiting),
            quarantined: backlog.map_or(0, |b| b.quarantined),
        }
    };
    names.into_iter().map(mailbox).collect()
}

/// How every mailbox fares.
#[utoipa::path(
    get,
    path = "/api/admin/mailboxes",
    tag = "operations",
    responses((status = 200, description = "As configured, then those that are not any more", body = Mailboxes))
)]
async fn mailboxes(State(state): State<Shared>) -> Result<Json<Mailboxes>, Error> {
    Ok(Json(Mailboxes { mailboxes: all_mailboxes(&state).await? }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
    /// waiting, ticketed, appended, suppressed, quarantined or duplicate
    fate: Option<String>,
    /// imap, maildir, pipe, demo or discord
    source: Option<String>,
    mailbox: Option<String>,
    /// Received at this time or later.
    from: Option<DateTime<Utc>>,
    /// Received before this time.
    until: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
struct LedgerEntries {
    entries: Vec<Entry>,
    next_cursor: Option<String>,
}

fn one_of(name: &str, given: Option<&str>, known: &[&str]) -> Result<(), Error> {
    match given {
        Some(given) if !known.contains(&given) => {
            Err(Error::BadRequest(format!("{name} is one of {}", known.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Lists what came in.
#[utoipa::path(
    get,
    path = "/api/admin/ledger",
    tag = "operations",
    params(ListQuery),
    responses((status = 200, description = "Newest first", body = LedgerEntries))
)]
async fn list(
    State(state): State<Shared>,
    Params(query): Params<ListQuery>,
) -> Result<Json<LedgerEntries>, Error> {
    let limit = page::limit(query.limit)?;
    one_of("fate", query.fate.as_deref(), &FATES)?;
    one_of("source", query.source.as_deref(), &SOURCES)?;
    for time in [query.from, query.until].into_iter().flatten() {
        // The database's calendar ends before ours does.
        if !(1..=9999).contains(&time.year()) {
            return Err(Error::BadRequest("from and until are times of the years 1 to 9999".to_owned()));
        }
    }
    let filter = Filter {
        fate: query.fate,
        source: query.source,
        mailbox: query.mailbox,
        from: query.from,
        until: query.until,
        before: page::after(query.cursor.as_deref())?,
    };
    let entries = ledger::page(&state.db, &filter, limit + 1).await?;
    let (entries, next_cursor) = page::cut(entries, limit, |entry| entry.id.to_string());
    Ok(Json(LedgerEntries { entries, next_cursor }))
}

/// One row with its fate and the reason for it.
#[utoipa::path(
    get,
    path = "/api/admin/ledger/{id}",
    tag = "operations",
    params(("id" = i64, Path, description = "The row's number")),
    responses((status = 200, description = "The row", body = Entry))
)]
async fn detail(State(state): State<Shared>, Named(id): Named<InboundId>) -> Result<Json<Entry>, Error> {
    ingest::entry(&state.db, id).await?.map(Json).ok_or(Error::NotFound)
}

/// The mail as it came, byte by byte. It is an attachment, so that no browser shows it as a page of ours.
#[utoipa::path(
    get,
    path = "/api/admin/ledger/{id}/raw",
    tag = "operations",
    params(("id" = i64, Path, description = "The row's number")),
    responses((status = 200, description = "The mail", body = String, content_type = "message/rfc822"))
)]
async fn raw(State(state): State<Shared>, Named(id): Named<InboundId>) -> Result<impl IntoResponse, Error> {
    let bytes = ledger::raw(&state.db, id).await?.ok_or(Error::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.eml\"")),
    ];
    Ok((headers, bytes))
}

/// Reads a mail again that was put aside.
#[utoipa::path(
    post,
    path = "/api/admin/ledger/{id}/replay",
    tag = "operations",
    params(("id" = i64, Path, description = "The row's number")),
    responses((status = 204, description = "It is being read again"))
)]
async fn replay(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<InboundId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    ledger::replay(&mut tx, id, caller.actor(), state.clock.now()).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
