//! The statements that remove tickets for good.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

/// A ticket that was merged stays as long as what it was merged into: mail to it lands there.
pub(super) async fn lock_due(
    tx: &mut Tx,
    closed_before: Option<DateTime<Utc>>,
    deleted_before: Option<DateTime<Utc>>,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM tickets t
         WHERE merged_into IS NULL
           AND (status = 'closed' AND closed_at < $1 AND deleted_at IS NULL OR deleted_at < $2)
           AND NOT EXISTS (SELECT FROM deliveries d
                           WHERE d.ticket_id = t.id AND d.state = 'waiting' AND d.kind <> 'relay')
         ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED",
        closed_before,
        deleted_before,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn lock_with_merged(tx: &mut Tx, tickets: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM tickets WHERE id = ANY ($1) OR merged_into = ANY ($1) ORDER BY id FOR UPDATE",
        tickets
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn deliveries(tx: &mut Tx, tickets: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("SELECT id FROM deliveries WHERE ticket_id = ANY ($1) AND state <> 'sent'", tickets)
        .fetch_all(&mut **tx)
        .await
}

/// Nothing that stays speaks of them any more.
pub(super) async fn let_go(tx: &mut Tx, tickets: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET
           follow_up_of = CASE WHEN follow_up_of = ANY ($1) THEN NULL ELSE follow_up_of END,
           related_to = CASE WHEN related_to = ANY ($1) THEN NULL ELSE related_to END,
           split_from = CASE WHEN split_from = ANY ($1) THEN NULL ELSE split_from END
         WHERE follow_up_of = ANY ($1) OR related_to = ANY ($1) OR split_from = ANY ($1)",
        tickets
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM loop_buckets WHERE ticket_id = ANY ($1)", tickets).execute(&mut **tx).await?;
    Ok(())
}

/// What refers to them goes with them.
pub(super) async fn remove(tx: &mut Tx, tickets: &[i64]) -> sqlx::Result<()> {
    // First, or they would keep each other.
    sqlx::query!(
        "UPDATE tickets SET merged_into = NULL WHERE id = ANY ($1) AND merged_into IS NOT NULL",
        tickets
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM tickets WHERE id = ANY ($1)", tickets).execute(&mut **tx).await?;
    Ok(())
}
