//! The statements of pacing.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

pub(super) struct Row {
    pub(super) next_at: DateTime<Utc>,
    pub(super) held_until: Option<DateTime<Utc>>,
    pub(super) reason: Option<String>,
}

pub(super) async fn lock(tx: &mut Tx, domain: &str) -> sqlx::Result<Option<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT next_at, held_until, reason FROM domain_paces WHERE domain = $1 FOR UPDATE",
        domain
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Two that are the first at once both leave.
pub(super) async fn insert(tx: &mut Tx, domain: &str, next_at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO domain_paces AS p (domain, next_at) VALUES ($1, $2)
         ON CONFLICT (domain) DO UPDATE SET next_at = greatest(p.next_at, excluded.next_at)",
        domain,
        next_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_next(tx: &mut Tx, domain: &str, next_at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE domain_paces SET next_at = $2 WHERE domain = $1", domain, next_at)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn hold(
    tx: &mut Tx,
    domain: &str,
    reason: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO domain_paces AS p (domain, next_at, held_until, reason) VALUES ($1, $4, $3, $2)
         ON CONFLICT (domain) DO UPDATE SET held_until = greatest(p.held_until, excluded.held_until), reason = excluded.reason",
        domain,
        reason,
        until,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn remove_over(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        "DELETE FROM domain_paces WHERE next_at < $1 AND (held_until IS NULL OR held_until < $1)",
        now
    );
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}
