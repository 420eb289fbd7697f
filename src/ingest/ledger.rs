//! The ledger as an admin reads it: what came in, what became of it, and another try for what was put aside.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::Entry;
use crate::audit::{self, Actor};
use crate::ids::InboundId;
use crate::queue::{self, Tx};

mod sql;

/// What a row may have become; `waiting`: a job is on it.
pub const FATES: [&str; 6] = ["waiting", "ticketed", "appended", "suppressed", "quarantined", "duplicate"];
/// Where it may have come from.
pub const SOURCES: [&str; 5] = ["imap", "maildir", "pipe", "demo", "discord"];

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of [`FATES`].
    pub fate: Option<String>,
    /// One of [`SOURCES`].
    pub source: Option<String>,
    pub mailbox: Option<String>,
    /// Received at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only rows before this one.
    pub before: Option<InboundId>,
}

/// The newest rows first, at most `limit`.
pub async fn page(db: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Entry>> {
    // PostgreSQL's TEXT cannot hold NUL; no mailbox's name does.
    if filter.mailbox.as_deref().is_some_and(|name| name.contains('\0')) {
        return Ok(Vec::new());
    }
    sql::page(db, filter, limit).await
}

/// The mail as it came. `None`: there is no such row, or it has no bytes.
pub async fn raw(db: &PgPool, id: InboundId) -> sqlx::Result<Option<Vec<u8>>> {
    sql::raw(db, id.0).await
}

/// Why a row was not taken up again, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no row {0} in the ledger")]
    Unknown(InboundId),
    #[error("row {0} is not in quarantine: there is nothing to replay")]
    NotQuarantined(InboundId),
    #[error(
        "the bytes of row {0} were removed on {1}, because they were kept long enough: it can't be read again"
    )]
    Removed(InboundId, NaiveDate),
    #[error("row {0} has no bytes, because the server would not give them: it is asked again by itself")]
    NoBytes(InboundId),
    #[error(
        "row {0} came by Discord, where what was said long ago cannot be answered: only mail is replayed"
    )]
    Discord(InboundId),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Reads a mail again that was put aside: after a bug was mended, or what the database refused is possible now.
pub async fn replay(tx: &mut Tx, id: InboundId, actor: Actor, now: DateTime<Utc>) -> Result<(), ReplayError> {
    let row = sql::hold(tx, id.0).await?.ok_or(ReplayError::Unknown(id))?;
    if let Some(at) = row.raw_removed_at {
        return Err(ReplayError::Removed(id, at.date_naive()));
    }
    if row.fate.as_deref() != Some("quarantined") {
        return Err(ReplayError::NotQuarantined(id));
    }
    if row.source == super::DISCORD {
        return Err(ReplayError::Discord(id));
    }
    if !row.has_bytes {
        return Err(ReplayError::NoBytes(id));
    }
    sql::reopen(tx, id.0).await?;
    queue::forget_dead(tx, &queue::INGEST, id.0).await?;
    queue::enqueue(tx, &queue::INGEST, id.0, now).await?;
    let data = json!({"reason": row.reason});
    Ok(audit::record(tx, actor, "ledger.replayed", &format!("ledger:{id}"), &data, now).await?)
}

/// How much of a mailbox waits and is put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub mailbox: String,
    /// Not yet understood.
    pub waiting: i64,
    pub quarantined: i64,
}

/// How much is in quarantine, by mailbox, that somebody can do something about: what can be read again, and what can't be
/// and was put aside after `since`.
pub async fn quarantined(db: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<(String, i64)>> {
    sql::quarantined(db, since).await
}

/// Of every mailbox that has any, by name.
pub async fn backlog(db: &PgPool) -> sqlx::Result<Vec<Backlog>> {
    sql::backlog(db).await
}
