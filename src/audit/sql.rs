//! The statements of the audit log.

use sqlx::PgPool;

use super::{Chained, Entry, Filter};
use crate::ids::PersonId;
use crate::queue::Tx;

/// Number and hash of the last entry. Whoever asks is alone with the end of the log until the transaction ends.
pub(super) async fn last(tx: &mut Tx) -> sqlx::Result<Option<(i64, Vec<u8>)>> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('ticketd.audit_log'))").fetch_one(&mut **tx).await?;
    let row = sqlx::query!("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.map(|r| (r.seq, r.hash)))
}

pub(super) async fn insert(tx: &mut Tx, entry: &Chained<'_>, hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO audit_log (seq, at, actor_id, token_id, channel, action, subject, data, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        entry.seq,
        entry.at,
        entry.actor_id,
        entry.token_id,
        entry.channel,
        entry.action,
        entry.subject,
        entry.data,
        hash
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn list(db: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"SELECT a.seq, a.at, a.actor_id AS "actor_id: PersonId", p.name AS "actor_name?", a.token_id, a.channel, a.action,
                  a.subject, a.data, a.hash
           FROM audit_log a LEFT JOIN persons p ON p.id = a.actor_id
           WHERE ($1::BIGINT IS NULL OR a.actor_id = $1) AND ($2::TEXT IS NULL OR starts_with(a.action, $2))
             AND ($3::TEXT IS NULL OR a.subject = $3) AND ($4::BIGINT IS NULL OR a.seq < $4)
           ORDER BY a.seq DESC LIMIT $5"#,
        filter.actor.map(|p| p.0),
        filter.action,
        filter.subject,
        filter.before,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn after(db: &PgPool, seq: i64, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"SELECT seq, at, actor_id AS "actor_id: PersonId", NULL::TEXT AS actor_name, token_id, channel, action, subject, data,
                  hash
           FROM audit_log WHERE seq > $1 ORDER BY seq LIMIT $2"#,
        seq,
        limit
    )
    .fetch_all(db)
    .await
}
