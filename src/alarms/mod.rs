//! What somebody must look after: trouble that goes on until it is cleared.
//!
//! Owns `alarms` and `alarm_notices`. Of one thing about one subject there is one open alarm, however often it is raised.
//! That it began, and that it is over, is told once to everyone who is to know; a job does the telling.
//!
//! Knows neither who is to be told nor how.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use crate::queue::{self, Tx};

mod sql;

/// A mailbox can't be read; subject: its name.
pub const MAILBOX: &str = "mailbox";
/// A token server refuses what a mailbox logs in by; subject: the mailbox's name.
pub const OAUTH: &str = "oauth";
/// A mailbox has not been read for long, although nothing failed; subject: its name.
pub const SILENT: &str = "silent";
/// Mails do not leave by a mailbox; subject: its name.
pub const SMTP: &str = "smtp";
/// The connection to Discord is lost and does not come back; subject: `gateway`.
pub const DISCORD: &str = "discord";
/// Something was put aside because it could not be taken in; subject: `ledger`.
pub const QUARANTINE: &str = "quarantine";
/// Jobs were given up; subject: their kind.
pub const DEAD_LETTERS: &str = "dead_letters";
/// The loop breaker holds mail back; subject: `automatic mail`.
pub const LOOP_BREAKER: &str = "loop_breaker";
/// Gemini is configured and does not judge; subject: `triage`.
pub const GEMINI: &str = "gemini";
/// Our clock and the database's differ; subject: our machine.
pub const CLOCK: &str = "clock";
/// A disk is nearly full; subject: our machine and the key of the configuration.
pub const DISK: &str = "disk";
/// Work waits for longer than it should; subject: `jobs`.
pub const BACKLOG: &str = "backlog";
/// A mail server holds mails that were read and are not in the ledger; subject: the mailbox's name.
pub const GAP: &str = "gap";
/// Every kind there is.
pub const KINDS: [&str; 13] = [
    MAILBOX,
    OAUTH,
    SILENT,
    SMTP,
    DISCORD,
    QUARANTINE,
    DEAD_LETTERS,
    LOOP_BREAKER,
    GEMINI,
    CLOCK,
    DISK,
    BACKLOG,
    GAP,
];

/// An alarm, as people read it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Alarm {
    pub id: i64,
    /// `mailbox`, `oauth`, `silent`, `smtp`, `discord`, `quarantine`, `dead_letters`, `loop_breaker`, `gemini`, `clock`, `disk`,
    /// `backlog` or `gap`.
    pub kind: String,
    /// With what: the name of a mailbox, a kind of job, a machine.
    pub subject: String,
    /// Why, and what to do about it.
    pub reason: String,
    pub raised_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When everybody who is to know was told.
    pub told_at: Option<DateTime<Utc>>,
    /// Null: it is still so.
    pub cleared_at: Option<DateTime<Utc>>,
}

/// What is told of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Raised,
    Cleared,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
        }
    }
}

/// By which way somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Email,
    Discord,
}

impl Channel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Discord => "discord",
        }
    }
}

/// One telling of an alarm to one reader.
#[derive(Clone, Debug)]
pub struct Notice {
    pub id: i64,
    pub channel: Channel,
    /// A mail address, or the id of a channel in Discord.
    pub address: String,
    pub created_at: DateTime<Utc>,
}

/// Raises an alarm, or notes that it is still so. Whoever is to know is told the first time only.
pub async fn raise(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (id, is_new) = sql::raise(tx, kind, subject, reason, now).await?;
    if is_new {
        tracing::warn!(alarm.kind = kind, alarm.subject = subject, "alarm ({kind}, {subject}): {reason}");
        queue::enqueue_first(tx, &queue::ALARM, id, now).await?;
    }
    Ok(())
}

/// As [`raise`], in a transaction of its own.
pub async fn report(
    db: &PgPool,
    kind: &str,
    subject: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    raise(&mut tx, kind, subject, reason, now).await?;
    tx.commit().await?;
    queue::ring(db).await;
    Ok(())
}

/// It is over. False: there was no such alarm.
pub async fn clear(tx: &mut Tx, kind: &str, subject: &str, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let Some(id) = sql::clear(tx, kind, subject, now).await? else { return Ok(false) };
    tracing::info!(alarm.kind = kind, alarm.subject = subject, "alarm ({kind}, {subject}) is over");
    queue::enqueue_first(tx, &queue::ALARM, id, now).await?;
    Ok(true)
}

/// As [`clear`], in a transaction of its own.
pub async fn settle(db: &PgPool, kind: &str, subject: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let cleared = clear(&mut tx, kind, subject, now).await?;
    tx.commit().await?;
    if cleared {
        queue::ring(db).await;
    }
    Ok(())
}

/// One alarm. `None`: there is none of that number.
pub async fn alarm(db: &PgPool, id: i64) -> sqlx::Result<Option<Alarm>> {
    sql::alarm(db, id).await
}

/// The alarms that are not over, the oldest first.
pub async fn open(db: &PgPool) -> sqlx::Result<Vec<Alarm>> {
    sql::open(db).await
}

/// The newest alarms, those that are over included; at most `limit`.
pub async fn newest(db: &PgPool, limit: i64) -> sqlx::Result<Vec<Alarm>> {
    sql::newest(db, limit).await
}

/// Decides, once for each phase, who is told, and returns what is still to be said of it. Of the end nobody is told who was
/// not told of the beginning.
pub async fn plan(
    tx: &mut Tx,
    alarm: &Alarm,
    phase: Phase,
    readers: &[(Channel, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Notice>> {
    match phase {
        // Who is hired while it lasts is not told of it later.
        Phase::Raised if alarm.told_at.is_none() && !sql::is_planned(tx, alarm.id).await? => {
            let (channels, addresses): (Vec<_>, Vec<_>) = readers
                .iter()
                .map(|(channel, address)| (channel.as_str().to_owned(), address.clone()))
                .unzip();
            sql::plan(tx, alarm.id, &channels, &addresses, now).await?;
        }
        Phase::Raised => {}
        Phase::Cleared => sql::plan_end(tx, alarm.id, now).await?,
    }
    sql::waiting(tx, alarm.id, phase.as_str()).await
}

/// Notes that a notice has left; with an error, that it never will.
pub async fn told(db: &PgPool, notice: i64, error: Option<&str>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::told(db, notice, error, now).await
}

/// Everybody was told of the beginning.
pub async fn all_told(tx: &mut Tx, alarm: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::all_told(tx, alarm, now).await
}
