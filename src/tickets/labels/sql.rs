//! The statements of subjects, tags and deadlines.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

pub(super) async fn set_subject(
    tx: &mut Tx,
    ticket: i64,
    subject: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET subject = $2, updated_at = $3, version = version + 1 WHERE id = $1",
        ticket,
        subject,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn tags(tx: &mut Tx, ticket: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("SELECT tags FROM tickets WHERE id = $1", ticket).fetch_one(&mut **tx).await
}

pub(super) async fn set_tags(
    tx: &mut Tx,
    ticket: i64,
    tags: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM ticket_tags WHERE ticket_id = $1 AND tag <> ALL ($2)", ticket, tags)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "INSERT INTO ticket_tags (ticket_id, tag) SELECT $1, t FROM unnest($2::TEXT[]) AS t ON CONFLICT DO NOTHING",
        ticket,
        tags
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("UPDATE tickets SET updated_at = $2, version = version + 1 WHERE id = $1", ticket, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn set_deadline(
    tx: &mut Tx,
    ticket: i64,
    deadline: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET deadline_at = $2, updated_at = $3, version = version + 1 WHERE id = $1",
        ticket,
        deadline,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
