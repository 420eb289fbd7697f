//! The statements of OAuth grants.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::queue::Tx;

/// A grant as it stands in the table.
pub(super) struct Row {
    pub(super) refresh_token: Option<Vec<u8>>,
    pub(super) generation: i32,
    pub(super) refused_at: Option<DateTime<Utc>>,
    pub(super) refused_with: Option<Vec<u8>>,
    pub(super) refused_reason: Option<String>,
}

pub(super) async fn find(db: &PgPool, key: &[u8]) -> sqlx::Result<Option<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT refresh_token, generation, refused_at, refused_with, refused_reason
         FROM oauth_grants WHERE grant_key = $1",
        key
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn enter(db: &PgPool, key: &[u8], mailbox: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO oauth_grants (grant_key, mailbox, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (grant_key) DO NOTHING",
        key,
        mailbox,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the right to ask the token server; `None`: another process has it.
pub(super) async fn hold(
    db: &PgPool,
    key: &[u8],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Row>> {
    sqlx::query_as!(
        Row,
        "UPDATE oauth_grants SET held_until = $2
         WHERE grant_key = $1 AND (held_until IS NULL OR held_until <= $3)
         RETURNING refresh_token, generation, refused_at, refused_with, refused_reason",
        key,
        until,
        now
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn let_go(db: &PgPool, key: &[u8], generation: i32) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE oauth_grants SET held_until = NULL WHERE grant_key = $1 AND generation = $2",
        key,
        generation
    )
    .execute(db)
    .await?;
    Ok(())
}

/// `refresh_token` is `None` where the one that was used still holds. False: somebody else renewed it meanwhile.
pub(super) async fn renewed(
    tx: &mut Tx,
    key: &[u8],
    generation: i32,
    refresh_token: Option<&[u8]>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE oauth_grants
         SET refresh_token = COALESCE($3, refresh_token), generation = generation + 1, renewed_at = $4, held_until = NULL,
             refused_at = NULL, refused_with = NULL, refused_reason = NULL
         WHERE grant_key = $1 AND generation = $2",
        key,
        generation,
        refresh_token,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// False: somebody else renewed it meanwhile.
pub(super) async fn refused(
    tx: &mut Tx,
    key: &[u8],
    generation: i32,
    with: &[u8],
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE oauth_grants SET refused_at = $3, refused_with = $4, refused_reason = $5, held_until = NULL
         WHERE grant_key = $1 AND generation = $2",
        key,
        generation,
        now,
        with,
        reason
    )
    .execute(&mut **tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The next who wants a token asks the server again.
pub(super) async fn forgive(tx: &mut Tx, key: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE oauth_grants SET refused_at = NULL, refused_with = NULL, refused_reason = NULL WHERE grant_key = $1",
        key
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
