//! The statements of sign-in by another.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::ExternalIdentity;
use crate::queue::Tx;

pub(super) struct Waiting {
    pub(super) nonce: String,
    pub(super) pkce_verifier: String,
    pub(super) return_to: String,
}

/// What took too long goes at the same time: anybody can begin.
pub(super) async fn insert_login(
    db: &PgPool,
    state: &[u8],
    browser: &[u8],
    row: &Waiting,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH late AS (DELETE FROM oidc_logins WHERE expires_at < $6)
         INSERT INTO oidc_logins (state_hash, browser_hash, nonce, pkce_verifier, return_to, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        state,
        browser,
        row.nonce,
        row.pkce_verifier,
        row.return_to,
        now,
        expires_at
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn take_login(
    db: &PgPool,
    state: &[u8],
    browser: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Waiting>> {
    sqlx::query_as!(
        Waiting,
        "DELETE FROM oidc_logins WHERE state_hash = $1 AND browser_hash = $2 AND expires_at > $3
         RETURNING nonce, pkce_verifier, return_to",
        state,
        browser,
        now
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn find(tx: &mut Tx, issuer: &str, subject: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT person_id FROM external_identities WHERE issuer = $1 AND subject = $2",
        issuer,
        subject
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn note_use(
    tx: &mut Tx,
    issuer: &str,
    subject: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE external_identities SET last_used_at = $3 WHERE issuer = $1 AND subject = $2",
        issuer,
        subject,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// False: it is another person's.
pub(super) async fn add(
    tx: &mut Tx,
    person: i64,
    issuer: &str,
    subject: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let added = sqlx::query!(
        "INSERT INTO external_identities AS known (person_id, issuer, subject, created_at, last_used_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (issuer, subject) DO UPDATE SET last_used_at = excluded.last_used_at
         WHERE known.person_id = excluded.person_id",
        person,
        issuer,
        subject,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(added.rows_affected() == 1)
}

pub(super) async fn list(db: &PgPool, person: i64) -> sqlx::Result<Vec<ExternalIdentity>> {
    sqlx::query_as!(
        ExternalIdentity,
        "SELECT issuer, created_at, last_used_at FROM external_identities WHERE person_id = $1 ORDER BY id",
        person
    )
    .fetch_all(db)
    .await
}

pub(super) async fn take_over(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE external_identities SET person_id = $2 WHERE person_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
