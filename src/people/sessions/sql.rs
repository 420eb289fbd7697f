//! The statements of sessions.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Session;
use crate::queue::Tx;

pub(super) async fn issue(tx: &mut Tx, session: i64, hash: &[u8], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO refresh_tokens (token_hash, session_id, issued_at) VALUES ($1, $2, $3)",
        hash,
        session,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) struct Shown {
    pub(super) session_id: i64,
    pub(super) person_id: i64,
    pub(super) used_at: Option<DateTime<Utc>>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    pub(super) active: bool,
}

/// Token and session, both locked: of two who show one token at once, the second sees that it is used.
pub(super) async fn locked_by_token(tx: &mut Tx, hash: &[u8]) -> sqlx::Result<Option<Shown>> {
    sqlx::query_as!(
        Shown,
        "SELECT t.session_id, s.person_id, t.used_at, s.expires_at, s.revoked_at, p.active
         FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN persons p ON p.id = s.person_id
         WHERE t.token_hash = $1 FOR UPDATE OF t, s",
        hash
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn rotate(
    tx: &mut Tx,
    session: i64,
    used: &[u8],
    fresh: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!("UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1", used, now)
        .execute(&mut **tx)
        .await?;
    sqlx::query!("UPDATE sessions SET last_used_at = $2 WHERE id = $1", session, now)
        .execute(&mut **tx)
        .await?;
    issue(tx, session, fresh, now).await
}

pub(super) async fn list(db: &PgPool, person: i64, now: DateTime<Utc>) -> sqlx::Result<Vec<Session>> {
    sqlx::query_as!(
        Session,
        "SELECT id, method, user_agent, created_at, last_used_at, expires_at FROM sessions
         WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY id DESC",
        person,
        now
    )
    .fetch_all(db)
    .await
}

pub(super) async fn revoke(tx: &mut Tx, person: i64, session: i64, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = $3 WHERE id = $1 AND person_id = $2 AND revoked_at IS NULL AND expires_at > $3",
        session,
        person,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(ended.rows_affected())
}

pub(super) async fn set_method(tx: &mut Tx, session: i64, method: &str) -> sqlx::Result<()> {
    sqlx::query!("UPDATE sessions SET method = $2 WHERE id = $1", session, method).execute(&mut **tx).await?;
    Ok(())
}
