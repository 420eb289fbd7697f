//! The statements of the ledger as an admin reads it.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Backlog, Filter};
use crate::ids::{InboundId, TicketId};
use crate::ingest::Entry;
use crate::queue::Tx;

pub(super) async fn page(db: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"SELECT id AS "id: InboundId", source, mailbox, uid, received_at, fate, reason,
                  ticket_id AS "ticket_id: TicketId", duplicate_of AS "duplicate_of: InboundId", raw_removed_at
           FROM inbound
           WHERE ($1::TEXT IS NULL OR COALESCE(fate, 'waiting') = $1) AND ($2::TEXT IS NULL OR source = $2)
             AND ($3::TEXT IS NULL OR mailbox = $3) AND ($4::TIMESTAMPTZ IS NULL OR received_at >= $4)
             AND ($5::TIMESTAMPTZ IS NULL OR received_at < $5) AND ($6::BIGINT IS NULL OR id < $6)
           ORDER BY id DESC LIMIT $7"#,
        filter.fate,
        filter.source,
        filter.mailbox,
        filter.from,
        filter.until,
        filter.before.map(|id| id.0),
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn raw(db: &PgPool, id: i64) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT r.content FROM inbound i JOIN raw_mails r ON r.sha256 = i.raw_sha256 WHERE i.id = $1",
        id
    )
    .fetch_optional(db)
    .await
}

pub(super) struct Held {
    pub(super) source: String,
    pub(super) fate: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) has_bytes: bool,
    pub(super) raw_removed_at: Option<DateTime<Utc>>,
}

pub(super) async fn hold(tx: &mut Tx, id: i64) -> sqlx::Result<Option<Held>> {
    sqlx::query_as!(
        Held,
        r#"SELECT source, fate, reason, raw_sha256 IS NOT NULL AS "has_bytes!", raw_removed_at
           FROM inbound WHERE id = $1 FOR UPDATE"#,
        id
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn reopen(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE inbound SET fate = NULL, reason = NULL, handled_at = NULL WHERE id = $1", id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn backlog(db: &PgPool) -> sqlx::Result<Vec<Backlog>> {
    sqlx::query_as!(
        Backlog,
        r#"SELECT mailbox, count(*) FILTER (WHERE fate IS NULL) AS "waiting!",
                  count(*) FILTER (WHERE fate = 'quarantined') AS "quarantined!"
           FROM inbound WHERE fate IS NULL OR fate = 'quarantined' GROUP BY mailbox ORDER BY mailbox"#
    )
    .fetch_all(db)
    .await
}

pub(super) async fn quarantined(db: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT mailbox, count(*) AS "rows!" FROM inbound
           WHERE fate = 'quarantined' AND (raw_sha256 IS NOT NULL OR COALESCE(handled_at, received_at) > $1)
           GROUP BY mailbox ORDER BY mailbox"#,
        since
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.mailbox, row.rows)).collect())
}
