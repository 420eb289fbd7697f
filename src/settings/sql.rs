//! The statements of the settings.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;

use crate::queue::Tx;

pub(super) async fn values(db: &PgPool) -> sqlx::Result<Vec<(String, Value)>> {
    let rows = sqlx::query!("SELECT key, value FROM settings ORDER BY key").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
}

pub(super) struct Row {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) by: Option<i64>,
    pub(super) by_name: Option<String>,
    pub(super) at: DateTime<Utc>,
}

pub(super) async fn all(db: &PgPool) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT s.key, s.value, s.updated_by AS by, p.name AS "by_name?", s.updated_at AS at
           FROM settings s LEFT JOIN persons p ON p.id = s.updated_by ORDER BY s.key"#
    )
    .fetch_all(db)
    .await
}

pub(super) async fn value(tx: &mut Tx, key: &str) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!("SELECT value FROM settings WHERE key = $1 FOR UPDATE", key)
        .fetch_optional(&mut **tx)
        .await
}

pub(super) async fn is_set(tx: &mut Tx, key: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM settings WHERE key = $1) AS "found!""#, key)
        .fetch_one(&mut **tx)
        .await
}

pub(super) async fn set(
    tx: &mut Tx,
    key: &str,
    value: &Value,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO settings (key, value, updated_by, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key) DO UPDATE
         SET value = excluded.value, updated_by = excluded.updated_by, updated_at = excluded.updated_at",
        key,
        value,
        by,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn unset(tx: &mut Tx, key: &str) -> sqlx::Result<bool> {
    let gone = sqlx::query!("DELETE FROM settings WHERE key = $1", key).execute(&mut **tx).await?;
    Ok(gone.rows_affected() == 1)
}

pub(super) async fn take_over(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE settings SET updated_by = $2 WHERE updated_by = $1", from, into)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
