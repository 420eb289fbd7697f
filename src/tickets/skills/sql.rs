//! The statements of what tickets need of the catalogue.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::queue::Tx;

pub(super) async fn active_by_skill(db: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT s.slug, count(*) AS "count!"
           FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id JOIN tickets t ON t.id = ts.ticket_id
           WHERE t.status IN ('new', 'open', 'pending') AND t.deleted_at IS NULL GROUP BY s.slug ORDER BY s.slug"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.slug, row.count)).collect())
}

pub(super) async fn lock_active(tx: &mut Tx, slug: &str) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT t.id FROM tickets t
         WHERE t.status IN ('new', 'open', 'pending') AND EXISTS (
           SELECT FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id WHERE ts.ticket_id = t.id AND s.slug = $1)
         ORDER BY t.id FOR UPDATE",
        slug
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) struct Count {
    pub(super) active: i64,
    pub(super) all: i64,
}

pub(super) async fn count(tx: &mut Tx, slug: &str) -> sqlx::Result<Count> {
    sqlx::query_as!(
        Count,
        r#"SELECT count(*) FILTER (WHERE t.status IN ('new', 'open', 'pending')) AS "active!", count(*) AS "all!"
           FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id JOIN tickets t ON t.id = ts.ticket_id
           WHERE s.slug = $1"#,
        slug
    )
    .fetch_one(&mut **tx)
    .await
}

/// A change shows by the ticket's version.
pub(super) async fn take_from(
    tx: &mut Tx,
    slug: &str,
    tickets: &[i64],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM ticket_skills ts USING skills s WHERE s.id = ts.skill_id AND s.slug = $1 AND ts.ticket_id = ANY ($2)",
        slug,
        tickets
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE tickets SET updated_at = $2, version = version + 1 WHERE id = ANY ($1)",
        tickets,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
