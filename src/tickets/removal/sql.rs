//! The statements of deleting and restoring.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

pub(super) async fn delete(tx: &mut Tx, ticket: i64, by: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET deleted_at = $3, deleted_by = $2, updated_at = $3, version = version + 1 WHERE id = $1",
        ticket,
        by,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What Discord is to be shown is not among them: threads of a deleted ticket are closed.
pub(super) async fn cancel_deliveries(tx: &mut Tx, ticket: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE deliveries SET state = 'cancelled', reason = 'the ticket was deleted'
         WHERE ticket_id = $1 AND state = 'waiting' AND kind <> 'relay'",
        ticket
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn restore(tx: &mut Tx, ticket: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET deleted_at = NULL, deleted_by = NULL, updated_at = $2, version = version + 1 WHERE id = $1",
        ticket,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
