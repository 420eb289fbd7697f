//! The statements that let somebody in.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{By, Holder};
use crate::ids::PersonId;
use crate::people::Role;
use crate::queue::Tx;

pub(super) async fn by_session(
    db: &PgPool,
    session: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Holder>> {
    let row = sqlx::query!(
        r#"SELECT p.id, p.name, p.role,
                  s.method = 'oidc' OR s.method = 'totp' AND EXISTS (
                    SELECT FROM second_factors f WHERE f.person_id = p.id AND f.confirmed_at IS NOT NULL) AS "second_factor!"
         FROM sessions s JOIN persons p ON p.id = s.person_id
         WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND p.active"#,
        session,
        now
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Holder {
        person: PersonId(r.id),
        name: r.name,
        role: Role::parse(&r.role),
        by: By::Session(session),
        second_factor: r.second_factor,
    }))
}

type Found = (Holder, Option<DateTime<Utc>>);

pub(super) async fn by_token(
    db: &PgPool,
    hash: &[u8; 32],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Found>> {
    let row = sqlx::query!(
        r#"SELECT p.id, p.name, p.role, t.id AS token_id, t.scopes, t.last_used_at,
                  EXISTS (SELECT FROM second_factors f WHERE f.person_id = p.id AND f.confirmed_at IS NOT NULL)
                    OR EXISTS (SELECT FROM external_identities e WHERE e.person_id = p.id) AS "second_factor!"
         FROM api_tokens t JOIN persons p ON p.id = t.person_id
         WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND t.expires_at > $2 AND p.active"#,
        hash.as_slice(),
        now
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| {
        let by = By::Token { id: r.token_id, scopes: r.scopes };
        let holder = Holder {
            person: PersonId(r.id),
            name: r.name,
            role: Role::parse(&r.role),
            by,
            second_factor: r.second_factor,
        };
        (holder, r.last_used_at)
    }))
}

pub(super) async fn note_used(db: &PgPool, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1", id, now).execute(db).await?;
    Ok(())
}

pub(super) async fn end_sessions(
    tx: &mut Tx,
    person: i64,
    but: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = $3
         WHERE person_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $2",
        person,
        but,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(ended.rows_affected())
}

pub(super) async fn begin_session(
    tx: &mut Tx,
    person: i64,
    method: &str,
    user_agent: &str,
    ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO sessions (person_id, method, user_agent, created_at, last_used_at, expires_at)
         VALUES ($1, $2, $3, $4, $4, $5) RETURNING id",
        person,
        method,
        user_agent,
        now,
        ends
    )
    .fetch_one(&mut **tx)
    .await
}
