//! The statements of snippets.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Snippet;
use crate::queue::Tx;

pub(super) async fn find(db: &PgPool, prefix: &str, limit: i64) -> sqlx::Result<Vec<Snippet>> {
    sqlx::query_as!(
        Snippet,
        r#"SELECT s.name, s.body, p.name AS "updated_by?", s.updated_at
           FROM snippets s LEFT JOIN persons p ON p.id = s.updated_by
           WHERE starts_with(s.name, $1) ORDER BY s.name LIMIT $2"#,
        prefix,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn get(db: &PgPool, name: &str) -> sqlx::Result<Option<Snippet>> {
    sqlx::query_as!(
        Snippet,
        r#"SELECT s.name, s.body, p.name AS "updated_by?", s.updated_at
           FROM snippets s LEFT JOIN persons p ON p.id = s.updated_by WHERE s.name = $1"#,
        name
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn save(
    tx: &mut Tx,
    name: &str,
    body: &str,
    by: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO snippets (name, body, updated_by, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE
         SET body = excluded.body, updated_by = excluded.updated_by, updated_at = excluded.updated_at",
        name,
        body,
        by,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx, name: &str) -> sqlx::Result<bool> {
    let gone = sqlx::query!("DELETE FROM snippets WHERE name = $1", name).execute(&mut **tx).await?;
    Ok(gone.rows_affected() == 1)
}
