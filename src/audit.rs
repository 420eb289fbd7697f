//! Who did what to people, roles, settings and accounts: an append-only log whose entries are chained, so that a gap shows.
//!
//! Owns `audit_log`. An entry is part of the transaction that does what it tells of.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

/// Who did something, and by which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `None`: a command on the server, or nobody known (a log-in that failed).
    pub person: Option<PersonId>,
    /// The API token that was shown.
    pub token: Option<i64>,
    /// `web`, `discord`, `command` or `ticketd`.
    pub channel: &'static str,
}

impl Actor {
    /// Who runs a command on the server.
    pub const COMMAND: Self = Self { person: None, token: None, channel: "command" };
    /// ticketd itself, by its rules.
    pub const TICKETD: Self = Self { person: None, token: None, channel: "ticketd" };
    /// Somebody at the web server of whom nothing is known.
    pub const STRANGER: Self = Self { person: None, token: None, channel: "web" };
}

/// One line of the log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
pub struct Entry {
    pub seq: i64,
    pub at: DateTime<Utc>,
    pub actor_id: Option<PersonId>,
    pub actor_name: Option<String>,
    pub token_id: Option<i64>,
    pub channel: String,
    pub action: String,
    pub subject: String,
    #[schema(value_type = Object)]
    pub data: Value,
    #[serde(skip)]
    hash: Vec<u8>,
}

/// Enters that something was done: `action` is `noun.verb` (`person.role_changed`), `subject` is `kind:id` (`person:7`), `data`
/// says what changed, and never a secret. Entries take turns until their transactions end, so it is the last thing before the
/// commit.
pub async fn record(
    tx: &mut Tx,
    actor: Actor,
    action: &str,
    subject: &str,
    data: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (seq, before) = sql::last(tx).await?.unwrap_or_default();
    let seq = seq + 1;
    let actor_id = actor.person.map(|p| p.0);
    let entry = Chained {
        seq,
        at: now,
        actor_id,
        token_id: actor.token,
        channel: actor.channel,
        action,
        subject,
        data,
    };
    let hash = entry.hash(&before);
    sql::insert(tx, &entry, &hash).await
}

/// What a hash covers.
struct Chained<'a> {
    seq: i64,
    at: DateTime<Utc>,
    actor_id: Option<i64>,
    token_id: Option<i64>,
    channel: &'a str,
    action: &'a str,
    subject: &'a str,
    data: &'a Value,
}

impl Chained<'_> {
    /// SHA-256 over the hash before it and the entry, every field with its length in front: no two entries read alike.
    /// `serde_json` sorts the keys of objects, as PostgreSQL's JSONB does not keep their order either.
    fn hash(&self, before: &[u8]) -> Vec<u8> {
        let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
        let fields = [
            self.seq.to_string(),
            self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            number(self.actor_id),
            number(self.token_id),
            self.channel.to_owned(),
            self.action.to_owned(),
            self.subject.to_owned(),
            self.data.to_string(),
        ];
        let mut hasher = Sha256::new();
        hasher.update(before);
        for field in fields {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field.as_bytes());
        }
        hasher.finalize().to_vec()
    }
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub actor: Option<PersonId>,
    /// Begins with this: `person` finds `person.role_changed`.
    pub action: Option<String>,
    pub subject: Option<String>,
    /// Only entries before this one.
    pub before: Option<i64>,
}

/// The newest entries first, at most `limit`.
pub async fn list(db: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sql::list(db, filter, limit).await
}

/// What a look at the whole chain finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Verified {
    /// Entries that were looked at.
    pub entries: i64,
    /// The first one that does not follow from the one before it: it or that one was changed, or some between were removed.
    pub broken_at: Option<i64>,
}

const AT_ONCE: i64 = 1000;

/// Goes through the whole log, oldest first.
pub async fn verify(db: &PgPool) -> sqlx::Result<Verified> {
    let (mut last, mut before) = (0, Vec::new());
    loop {
        let page = sql::after(db, last, AT_ONCE).await?;
        if page.is_empty() {
            return Ok(Verified { entries: last, broken_at: None });
        }
        for entry in page {
            let chained = Chained {
                seq: entry.seq,
                at: entry.at,
                actor_id: entry.actor_id.map(|p| p.0),
                token_id: entry.token_id,
                channel: &entry.channel,
                action: &entry.action,
                subject: &entry.subject,
                data: &entry.data,
            };
            if entry.seq != last + 1 || chained.hash(&before) != entry.hash {
                return Ok(Verified { entries: last, broken_at: Some(last + 1) });
            }
            last = entry.seq;
            before = entry.hash;
        }
    }
}
