//! Taking mail in: keep the raw thing first, then understand it, then open a ticket or append to one.
//!
//! Owns the ledger (`inbound`, `raw_mails`) and how far each mailbox was read (`mailboxes`). A source hands over
//! bytes and may touch the server's copy only after the call returned; a job understands them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::clock::Clock;
use crate::crash;
use crate::ids::{InboundId, TicketId};
use crate::queue::{self, Tx};

mod answer;
mod commands;
pub mod discord;
pub mod expiry;
pub mod interact;
pub mod ledger;
mod limits;
mod sql;
mod staff;
mod stage;
pub mod understand;

pub use stage::Ingest;

/// The name of Discord among the mailboxes: in the ledger and where it is said how each fares.
pub const DISCORD: &str = "discord";

/// How far a mailbox was read: every UID up to `last_uid` is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub uidvalidity: u32,
    pub last_uid: u32,
}

/// A folder of one account, as its server numbers the mails in it now.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name in the configuration.
    pub mailbox: &'a str,
    /// Tells accounts apart that this name stood for, one after the other.
    pub account: i32,
    pub uidvalidity: u32,
}

/// What is known of a mailbox from before.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// User, server and folder; `None`: not noted yet.
    pub account: Option<String>,
    pub account_number: i32,
    /// `None`: nothing was read of this account.
    pub cursor: Option<Cursor>,
    pub left_alone_until: Option<DateTime<Utc>>,
    /// Mails up to this UID were there before the first look: they are in no ledger.
    pub left_alone_through: u32,
    /// When it was last read to its end.
    pub checked_at: Option<DateTime<Utc>>,
}

/// One mail read from a server.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub uid: u32,
    pub raw: Vec<u8>,
}

/// How far `mailbox` was read; `None`: never.
pub async fn cursor(db: &PgPool, mailbox: &str) -> anyhow::Result<Option<Cursor>> {
    Ok(self::mailbox(db, mailbox).await?.and_then(|known| known.cursor))
}

/// What is known of a mailbox from before; `None`: nothing.
pub async fn mailbox(db: &PgPool, mailbox: &str) -> anyhow::Result<Option<Mailbox>> {
    let Some(row) = sql::mailbox(db, mailbox).await? else { return Ok(None) };
    let cursor = match row.uidvalidity {
        Some(uidvalidity) => {
            Some(Cursor { uidvalidity: u32::try_from(uidvalidity)?, last_uid: u32::try_from(row.last_uid)? })
        }
        None => None,
    };
    Ok(Some(Mailbox {
        account: row.account,
        account_number: row.account_number,
        cursor,
        left_alone_until: row.left_alone_until,
        left_alone_through: u32::try_from(row.left_alone_through)?,
        checked_at: row.checked_at,
    }))
}

/// Notes whose mails the cursor counts, where that was not known.
pub async fn note_account(db: &PgPool, mailbox: &str, account: &str) -> anyhow::Result<()> {
    Ok(sql::note_account(db, mailbox, account).await?)
}

/// From now on the name stands for another account, of which nothing was read.
pub async fn change_account(
    db: &PgPool,
    mailbox: &str,
    account: &str,
    left_alone_until: Option<DateTime<Utc>>,
) -> anyhow::Result<()> {
    Ok(sql::change_account(db, mailbox, account, left_alone_until).await?)
}

/// Begins reading a mailbox after `last_uid`: what lies there already is left alone.
pub async fn begin_after(
    db: &PgPool,
    clock: &Clock,
    mailbox: &str,
    uidvalidity: u32,
    last_uid: u32,
) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    sql::set_cursor(&mut tx, mailbox, uidvalidity.into(), last_uid.into(), clock.now()).await?;
    sql::leave_alone_until(&mut tx, mailbox, clock.now()).await?;
    Ok(tx.commit().await?)
}

/// Keeps a batch: ledger rows, raw bytes, cursor and ingest jobs in one transaction. Calling it again with the same
/// mails changes nothing.
pub async fn receive_imap(
    db: &PgPool,
    clock: &Clock,
    source: Source<'_>,
    mails: Vec<Fetched>,
    last_uid: u32,
) -> anyhow::Result<()> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let ids = keep_imap(&mut tx, source, &mails, now).await?;
    sql::set_cursor(&mut tx, source.mailbox, source.uidvalidity.into(), last_uid.into(), now).await?;
    commit_imap(db, tx, &ids, now).await
}

/// Keeps mails that the cursor has passed and the ledger does not have. The cursor stays where it is, so whoever reads
/// the mailbox meanwhile is not disturbed.
pub async fn receive_missing(
    db: &PgPool,
    clock: &Clock,
    source: Source<'_>,
    mails: Vec<Fetched>,
) -> anyhow::Result<()> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let ids = keep_imap(&mut tx, source, &mails, now).await?;
    commit_imap(db, tx, &ids, now).await
}

async fn keep_imap(
    tx: &mut Tx,
    source: Source<'_>,
    mails: &[Fetched],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    let raws: Vec<&[u8]> = mails.iter().map(|m| m.raw.as_slice()).collect();
    let uids: Vec<i64> = mails.iter().map(|m| i64::from(m.uid)).collect();
    let hashes = keep_raw(tx, &raws).await?;
    sql::insert_imap(tx, source, &uids, &hashes, now).await
}

async fn commit_imap(db: &PgPool, mut tx: Tx, ids: &[i64], now: DateTime<Utc>) -> anyhow::Result<()> {
    enqueue_ingest(&mut tx, ids, now).await?;
    crash::point("receive.before_commit");
    tx.commit().await?;
    crash::point("receive.committed");
    queue::ring(db).await;
    metrics::counter!("ticketd_mails_received_total", "source" => "imap").increment(ids.len() as u64);
    Ok(())
}

/// Those of these mails on the server that the ledger does not have, ascending.
pub async fn missing(db: &PgPool, source: Source<'_>, uids: &[u32]) -> anyhow::Result<Vec<u32>> {
    let uids: Vec<i64> = uids.iter().map(|uid| i64::from(*uid)).collect();
    let missing = sql::missing(db, source, &uids).await?;
    Ok(missing.into_iter().filter_map(|uid| u32::try_from(uid).ok()).collect())
}

/// Keeps one mail that has no UID, told from other copies by its unique `name` (a Maildir's file name); `None`: a
/// copy of its own each time. Returns false where that name is in the ledger already.
async fn receive_one(
    db: &PgPool,
    clock: &Clock,
    source: &'static str,
    mailbox: &str,
    name: Option<&str>,
    raw: &[u8],
) -> anyhow::Result<Option<InboundId>> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let hashes = keep_raw(&mut tx, &[raw]).await?;
    let hash = hashes.first().map(Vec::as_slice).unwrap_or_default();
    let id = sql::insert_named(&mut tx, source, mailbox, name, hash, now).await?;
    enqueue_ingest(&mut tx, id.as_slice(), now).await?;
    crash::point("receive.before_commit");
    tx.commit().await?;
    crash::point("receive.committed");
    queue::ring(db).await;
    metrics::counter!("ticketd_mails_received_total", "source" => source).increment(1);
    Ok(id.map(InboundId))
}

/// Keeps one mail of a Maildir.
pub async fn receive_file(
    db: &PgPool,
    clock: &Clock,
    mailbox: &str,
    name: &str,
    raw: Vec<u8>,
) -> anyhow::Result<()> {
    receive_one(db, clock, "maildir", mailbox, Some(name), &raw).await?;
    Ok(())
}

/// Keeps one mail from an MTA's pipe. The MTA tries again where this fails, and the same mail twice is one.
pub async fn receive_pipe(db: &PgPool, clock: &Clock, mailbox: &str, raw: &[u8]) -> anyhow::Result<()> {
    receive_one(db, clock, "pipe", mailbox, None, raw).await?;
    Ok(())
}

/// Keeps one sample mail of the demo and says which ledger row it became.
pub async fn receive_sample(
    db: &PgPool,
    clock: &Clock,
    mailbox: &str,
    name: &str,
    raw: &[u8],
) -> anyhow::Result<Option<InboundId>> {
    receive_one(db, clock, "demo", mailbox, Some(name), raw).await
}

/// Keeps the fact that a mail cannot even be fetched: quarantined, so that it is seen and the next one goes on.
pub async fn receive_unreadable(
    db: &PgPool,
    clock: &Clock,
    source: Source<'_>,
    uid: u32,
    reason: &str,
) -> anyhow::Result<()> {
    sql::insert_unread(db, source, "quarantined", &[uid.into()], reason, clock.now()).await?;
    let mailbox = source.mailbox;
    tracing::error!(mailbox, uid, reason, "a mail cannot be fetched; it is in quarantine");
    Ok(())
}

/// Keeps the fact that mails lie in a folder and are left alone.
pub async fn leave_alone(db: &PgPool, clock: &Clock, source: Source<'_>, uids: &[u32]) -> anyhow::Result<()> {
    let uids: Vec<i64> = uids.iter().map(|uid| i64::from(*uid)).collect();
    let reason = "it was there before the mailbox was first read (start = \"new\"), so it was not read";
    Ok(sql::insert_unread(db, source, "suppressed", &uids, reason, clock.now()).await?)
}

/// The mails after UID `after` that are left alone, ascending.
pub async fn left_alone(db: &PgPool, source: Source<'_>, after: u32) -> anyhow::Result<Vec<u32>> {
    let uids = sql::unread(db, source, "suppressed", after.into()).await?;
    Ok(uids.into_iter().filter_map(|uid| u32::try_from(uid).ok()).collect())
}

/// The mails that are in quarantine because the server did not give them, ascending.
pub async fn unreadable(db: &PgPool, source: Source<'_>) -> anyhow::Result<Vec<u32>> {
    let uids = sql::unread(db, source, "quarantined", 0).await?;
    Ok(uids.into_iter().filter_map(|uid| u32::try_from(uid).ok()).collect())
}

/// Keeps a mail that the server gave after all: it leaves the quarantine.
pub async fn receive_late(
    db: &PgPool,
    clock: &Clock,
    source: Source<'_>,
    mail: Fetched,
) -> anyhow::Result<()> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let hashes = keep_raw(&mut tx, &[&mail.raw]).await?;
    let hash = hashes.first().map(Vec::as_slice).unwrap_or_default();
    let id = sql::give_raw(&mut tx, source, mail.uid.into(), hash).await?;
    enqueue_ingest(&mut tx, id.as_slice(), now).await?;
    tx.commit().await?;
    queue::ring(db).await;
    let (mailbox, uid) = (source.mailbox, mail.uid);
    tracing::info!(mailbox, uid, "a mail that could not be fetched is here after all");
    Ok(())
}

async fn keep_raw(tx: &mut Tx, raws: &[&[u8]]) -> sqlx::Result<Vec<Vec<u8>>> {
    let hashes: Vec<Vec<u8>> = raws.iter().map(|raw| Sha256::digest(raw).to_vec()).collect();
    sql::insert_raw(tx, &hashes, raws).await?;
    Ok(hashes)
}

async fn enqueue_ingest(tx: &mut Tx, ids: &[i64], now: DateTime<Utc>) -> sqlx::Result<()> {
    let jobs: Vec<_> = ids.iter().map(|id| (&queue::INGEST, *id, now)).collect();
    queue::enqueue_all(tx, &jobs, now).await
}

/// UIDs that are safely in the ledger and whose after-action has not been done on the server yet, and how many bytes
/// of each are.
pub async fn unacted(db: &PgPool, source: Source<'_>) -> anyhow::Result<Vec<(u32, usize)>> {
    let mails = sql::unacted(db, source).await?;
    let mails = mails.into_iter();
    Ok(mails.filter_map(|m| Some((u32::try_from(m.uid).ok()?, usize::try_from(m.size).ok()?))).collect())
}

/// Notes that the after-action was done.
pub async fn acted(db: &PgPool, source: Source<'_>, uids: &[u32]) -> anyhow::Result<()> {
    let uids: Vec<i64> = uids.iter().map(|uid| i64::from(*uid)).collect();
    Ok(sql::acted(db, source, &uids).await?)
}

/// Notes how a mailbox fares: `None`, it was read; else why it could not be.
pub async fn note_health(
    db: &PgPool,
    clock: &Clock,
    mailbox: &str,
    error: Option<&str>,
) -> anyhow::Result<()> {
    Ok(sql::note_health(db, mailbox, error, clock.now()).await?)
}

/// How a mailbox fares.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    pub name: String,
    pub checked_at: Option<DateTime<Utc>>,
    pub failing_since: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

/// How every mailbox that was ever read fares.
pub async fn health(db: &PgPool) -> sqlx::Result<Vec<Health>> {
    sql::health(db).await
}

/// A row of the ledger, as people read it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = LedgerEntry)]
pub struct Entry {
    pub id: InboundId,
    pub source: String,
    pub mailbox: String,
    pub uid: Option<i64>,
    pub received_at: DateTime<Utc>,
    pub fate: Option<String>,
    pub reason: Option<String>,
    pub ticket_id: Option<TicketId>,
    pub duplicate_of: Option<InboundId>,
    /// When its bytes were removed, because they were kept long enough.
    pub raw_removed_at: Option<DateTime<Utc>>,
}

/// The newest rows of the ledger, oldest of them first; optionally those of one fate.
pub async fn ledger(db: &PgPool, fate: Option<&str>, limit: i64) -> sqlx::Result<Vec<Entry>> {
    let mut entries = sql::ledger(db, fate, limit).await?;
    entries.reverse();
    Ok(entries)
}

/// One row of the ledger.
pub async fn entry(db: &PgPool, id: InboundId) -> sqlx::Result<Option<Entry>> {
    sql::entry(db, id.0).await
}
