//! The statements of API tokens.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{ApiToken, Held};
use crate::ids::PersonId;
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

pub(super) async fn list_all(
    db: &PgPool,
    before: Option<i64>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Held>> {
    let rows = sqlx::query!(
        "SELECT t.id, t.person_id, p.name AS person_name, t.name, t.hint, t.scopes, t.created_at, t.expires_at, t.last_used_at
         FROM api_tokens t JOIN persons p ON p.id = t.person_id
         WHERE t.revoked_at IS NULL AND t.expires_at > $3 AND ($1::BIGINT IS NULL OR t.id < $1)
         ORDER BY t.id DESC LIMIT $2",
        before,
        limit,
        now
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Held {
            person: PersonId(r.person_id),
            person_name: r.person_name,
            token: ApiToken {
                id: r.id,
                name: r.name,
                hint: r.hint,
                scopes: r.scopes,
                created_at: r.created_at,
                expires_at: r.expires_at,
                last_used_at: r.last_used_at,
            },
        })
        .collect())
}

pub(super) async fn holder(db: &PgPool, token: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT person_id FROM api_tokens WHERE id = $1", token).fetch_optional(db).await
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
