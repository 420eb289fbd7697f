//! The statements of the ledger.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Entry, Health, Source};
use crate::ids::{InboundId, TicketId};
use crate::queue::Tx;

pub(super) struct Mailbox {
    pub(super) account: Option<String>,
    pub(super) account_number: i32,
    pub(super) uidvalidity: Option<i64>,
    pub(super) last_uid: i64,
    pub(super) left_alone_until: Option<DateTime<Utc>>,
    pub(super) left_alone_through: i64,
    pub(super) checked_at: Option<DateTime<Utc>>,
}

pub(super) async fn mailbox(db: &PgPool, mailbox: &str) -> sqlx::Result<Option<Mailbox>> {
    sqlx::query_as!(
        Mailbox,
        "SELECT account, account_number, uidvalidity, last_uid, left_alone_until, left_alone_through, checked_at
         FROM mailboxes WHERE name = $1",
        mailbox
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn note_account(db: &PgPool, mailbox: &str, account: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO mailboxes (name, account) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET account = $2 WHERE mailboxes.account IS NULL",
        mailbox,
        account
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn change_account(
    db: &PgPool,
    mailbox: &str,
    account: &str,
    left_alone_until: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE mailboxes SET account = $2, account_number = account_number + 1, uidvalidity = NULL, last_uid = 0,
                left_alone_through = 0, left_alone_until = $3
         WHERE name = $1",
        mailbox,
        account,
        left_alone_until
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What is there now, all that the cursor has behind it, has no rows and is to have none.
pub(super) async fn leave_alone_until(tx: &mut Tx, mailbox: &str, until: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE mailboxes SET left_alone_until = $2, left_alone_through = last_uid WHERE name = $1",
        mailbox,
        until
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Those of these UIDs that have no row, ascending.
pub(super) async fn missing(db: &PgPool, source: Source<'_>, uids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"SELECT u.uid AS "uid!" FROM unnest($4::BIGINT[]) AS u (uid)
           WHERE NOT EXISTS (SELECT FROM inbound i
                             WHERE i.mailbox = $1 AND i.account = $2 AND i.uidvalidity = $3 AND i.uid = u.uid)
           ORDER BY u.uid"#,
        source.mailbox,
        source.account,
        i64::from(source.uidvalidity),
        uids
    )
    .fetch_all(db)
    .await
}

/// A cursor moves forward under one UIDVALIDITY, and starts anew under another (RFC 9051 §2.3.1.1).
pub(super) async fn set_cursor(
    tx: &mut Tx,
    mailbox: &str,
    uidvalidity: i64,
    last_uid: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO mailboxes (name, uidvalidity, last_uid, checked_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET
           last_uid = CASE WHEN mailboxes.uidvalidity = $2 THEN GREATEST(mailboxes.last_uid, $3) ELSE $3 END,
           left_alone_through = CASE WHEN mailboxes.uidvalidity = $2 THEN mailboxes.left_alone_through ELSE 0 END,
           uidvalidity = $2, checked_at = $4",
        mailbox,
        uidvalidity,
        last_uid,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Sorted, so that two batches with the same contents don't wait for each other. One that is there already is locked: whoever
/// removes what was kept long enough leaves it, or is waited for.
pub(super) async fn insert_raw(tx: &mut Tx, hashes: &[Vec<u8>], raws: &[&[u8]]) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO raw_mails (sha256, content)
         SELECT DISTINCT ON (sha256) sha256, content FROM unnest($1::BYTEA[], $2::BYTEA[]) AS r (sha256, content) ORDER BY sha256
         ON CONFLICT (sha256) DO UPDATE SET sha256 = excluded.sha256",
        hashes,
        raws as &[&[u8]]
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_imap(
    tx: &mut Tx,
    source: Source<'_>,
    uids: &[i64],
    hashes: &[Vec<u8>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "INSERT INTO inbound (source, mailbox, account, uidvalidity, uid, raw_sha256, received_at)
         SELECT 'imap', $1, $6, $2, uid, sha256, $5 FROM unnest($3::BIGINT[], $4::BYTEA[]) AS m (uid, sha256) ORDER BY uid
         ON CONFLICT ON CONSTRAINT inbound_uid_once DO NOTHING RETURNING id",
        source.mailbox,
        i64::from(source.uidvalidity),
        uids,
        hashes,
        now,
        source.account
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn insert_named(
    tx: &mut Tx,
    source: &str,
    mailbox: &str,
    name: Option<&str>,
    hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "INSERT INTO inbound (source, mailbox, name, raw_sha256, received_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT ON CONSTRAINT inbound_name_once DO NOTHING RETURNING id",
        source,
        mailbox,
        name,
        hash,
        now
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Mails that are known of and were not read.
pub(super) async fn insert_unread(
    db: &PgPool,
    source: Source<'_>,
    fate: &str,
    uids: &[i64],
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO inbound (source, mailbox, account, uidvalidity, uid, received_at, handled_at, fate, reason, acted)
         SELECT 'imap', $1, $2, $3, uid, $7, $7, $4, $6, TRUE FROM unnest($5::BIGINT[]) AS u (uid) ORDER BY uid
         ON CONFLICT ON CONSTRAINT inbound_uid_once DO NOTHING",
        source.mailbox,
        source.account,
        i64::from(source.uidvalidity),
        fate,
        uids,
        reason,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn unread(
    db: &PgPool,
    source: Source<'_>,
    fate: &str,
    after: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"SELECT uid AS "uid!" FROM inbound
           WHERE mailbox = $1 AND account = $2 AND uidvalidity = $3 AND uid > $4 AND fate = $5 AND raw_sha256 IS NULL
           ORDER BY uid"#,
        source.mailbox,
        source.account,
        i64::from(source.uidvalidity),
        after,
        fate
    )
    .fetch_all(db)
    .await
}

pub(super) async fn give_raw(
    tx: &mut Tx,
    source: Source<'_>,
    uid: i64,
    hash: &[u8],
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "UPDATE inbound SET raw_sha256 = $5, fate = NULL, reason = NULL, handled_at = NULL, acted = FALSE
         WHERE mailbox = $1 AND account = $2 AND uidvalidity = $3 AND uid = $4 AND fate = 'quarantined'
           AND raw_sha256 IS NULL
         RETURNING id",
        source.mailbox,
        source.account,
        i64::from(source.uidvalidity),
        uid,
        hash
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) struct Unacted {
    pub(super) uid: i64,
    pub(super) size: i32,
}

pub(super) async fn unacted(db: &PgPool, source: Source<'_>) -> sqlx::Result<Vec<Unacted>> {
    sqlx::query_as!(
        Unacted,
        r#"SELECT i.uid AS "uid!", COALESCE(octet_length(r.content), 0) AS "size!"
           FROM inbound i LEFT JOIN raw_mails r ON r.sha256 = i.raw_sha256
           WHERE i.mailbox = $1 AND i.account = $2 AND i.uidvalidity = $3 AND i.uid IS NOT NULL AND NOT i.acted
           ORDER BY i.uid"#,
        source.mailbox,
        source.account,
        i64::from(source.uidvalidity)
    )
    .fetch_all(db)
    .await
}

pub(super) async fn acted(db: &PgPool, source: Source<'_>, uids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE inbound SET acted = TRUE
         WHERE mailbox = $1 AND account = $2 AND uidvalidity = $3 AND uid = ANY ($4)",
        source.mailbox,
        source.account,
        i64::from(source.uidvalidity),
        uids
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn note_health(
    db: &PgPool,
    mailbox: &str,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO mailboxes (name, checked_at, failing_since, last_error)
         VALUES ($1, CASE WHEN $2::TEXT IS NULL THEN $3::TIMESTAMPTZ END,
                 CASE WHEN $2::TEXT IS NOT NULL THEN $3::TIMESTAMPTZ END, $2)
         ON CONFLICT (name) DO UPDATE SET
           checked_at = CASE WHEN $2::TEXT IS NULL THEN $3 ELSE mailboxes.checked_at END,
           failing_since = CASE WHEN $2::TEXT IS NULL THEN NULL ELSE COALESCE(mailboxes.failing_since, $3) END,
           last_error = $2",
        mailbox,
        error,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn health(db: &PgPool) -> sqlx::Result<Vec<Health>> {
    sqlx::query_as!(Health, "SELECT name, checked_at, failing_since, last_error FROM mailboxes ORDER BY name")
        .fetch_all(db)
        .await
}

pub(super) struct Unhandled {
    pub(super) mailbox: String,
    pub(super) fate: Option<String>,
    pub(super) received_at: DateTime<Utc>,
    /// Of a mail that is small enough.
    pub(super) content: Option<Vec<u8>>,
    pub(super) size: Option<i32>,
}

pub(super) async fn unhandled(db: &PgPool, id: i64, small: i32) -> sqlx::Result<Option<Unhandled>> {
    sqlx::query_as!(
        Unhandled,
        r#"SELECT i.mailbox, i.fate, i.received_at, octet_length(r.content) AS size,
                  CASE WHEN octet_length(r.content) <= $2 THEN r.content END AS "content?"
           FROM inbound i LEFT JOIN raw_mails r ON r.sha256 = i.raw_sha256 WHERE i.id = $1"#,
        id,
        small
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn content(db: &PgPool, id: i64) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT r.content FROM inbound i JOIN raw_mails r ON r.sha256 = i.raw_sha256 WHERE i.id = $1",
        id
    )
    .fetch_optional(db)
    .await
}

pub(super) struct Twin {
    pub(super) id: i64,
    pub(super) ticket_id: Option<i64>,
}

pub(super) async fn twin(tx: &mut Tx, fingerprint: &[u8]) -> sqlx::Result<Option<Twin>> {
    sqlx::query_as!(
        Twin,
        "SELECT id, ticket_id FROM inbound
         WHERE fingerprint = $1 AND fate IN ('ticketed', 'appended', 'suppressed')",
        fingerprint
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) struct Fate<'a> {
    pub(super) name: &'static str,
    pub(super) reason: Option<&'a str>,
    pub(super) ticket: Option<i64>,
    pub(super) duplicate_of: Option<i64>,
    pub(super) fingerprint: Option<&'a [u8]>,
}

pub(super) async fn settle(tx: &mut Tx, id: i64, fate: &Fate<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE inbound SET fate = $2, reason = $3, ticket_id = $4, duplicate_of = $5, fingerprint = $6, handled_at = $7
         WHERE id = $1",
        id,
        fate.name,
        fate.reason,
        fate.ticket,
        fate.duplicate_of,
        fate.fingerprint,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn ledger(db: &PgPool, fate: Option<&str>, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"SELECT id AS "id: InboundId", source, mailbox, uid, received_at, fate, reason,
                  ticket_id AS "ticket_id: TicketId", duplicate_of AS "duplicate_of: InboundId", raw_removed_at
           FROM inbound WHERE $1::TEXT IS NULL OR COALESCE(fate, 'waiting') = $1 ORDER BY id DESC LIMIT $2"#,
        fate,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn entry(db: &PgPool, id: i64) -> sqlx::Result<Option<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"SELECT id AS "id: InboundId", source, mailbox, uid, received_at, fate, reason,
                  ticket_id AS "ticket_id: TicketId", duplicate_of AS "duplicate_of: InboundId", raw_removed_at
           FROM inbound WHERE id = $1"#,
        id
    )
    .fetch_optional(db)
    .await
}

/// What staff orders by one mail is done whole or not at all.
pub(super) async fn begin_orders(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!("SAVEPOINT orders").execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn take_orders_back(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!("ROLLBACK TO SAVEPOINT orders").execute(&mut **tx).await?;
    Ok(())
}
