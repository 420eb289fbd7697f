//! The statements of API tokens.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::ApiToken;
use crate::queue::Tx;

pub(super) async fn count(tx: &mut Tx, person: i64, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM api_tokens WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2"#,
        person,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn insert(tx: &mut Tx, person: i64, token: &ApiToken, hash: &[u8]) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO api_tokens (person_id, name, token_hash, hint, scopes, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        person,
        token.name,
        hash,
        token.hint,
        &token.scopes,
        token.created_at,
        token.expires_at
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn list(db: &PgPool, person: i64, now: DateTime<Utc>) -> sqlx::Result<Vec<ApiToken>> {
    sqlx::query_as!(
        ApiToken,
        "SELECT id, name, hint, scopes, created_at, expires_at, last_used_at FROM api_tokens
         WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY id DESC",
        person,
        now
    )
    .fetch_all(db)
    .await
}

pub(super) async fn revoke(tx: &mut Tx, person: i64, token: i64, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let revoked = sqlx::query!(
        "UPDATE api_tokens SET revoked_at = $3
         WHERE id = $2 AND person_id = $1 AND revoked_at IS NULL AND expires_at > $3",
        person,
        token,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

pub(super) async fn revoke_all(tx: &mut Tx, person: i64, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let revoked = sqlx::query!(
        "UPDATE api_tokens SET revoked_at = $2 WHERE person_id = $1 AND revoked_at IS NULL",
        person,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(revoked.rows_affected())
}
