//! The statements of account letters.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::{Kind, NewLetter, Row};
use crate::ids::PersonId;
use crate::queue::Tx;

/// The first number is ours alone: "tdll" in ASCII.
pub(super) async fn take_turn_for(tx: &mut Tx, address: &str) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(1952738412, hashtext($1))", address)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Letters that somebody asked for, to an address.
pub(super) async fn asked_since(
    tx: &mut Tx,
    address: &str,
    kinds: &[String],
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM account_letters WHERE address = $1 AND created_at > $2 AND kind = ANY ($3)"#,
        address,
        since,
        kinds
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn insert(tx: &mut Tx, letter: &NewLetter<'_>, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO account_letters (kind, address, person_id, name, password_hash, issuer, subject, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
        letter.kind.as_str(),
        letter.address,
        letter.person.map(|p| p.0),
        letter.name,
        letter.password_hash,
        letter.external.map(|(issuer, _)| issuer),
        letter.external.map(|(_, subject)| subject),
        now,
        now + letter.kind.lifetime()
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn find(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Row>> {
    let row = sqlx::query!(
        "SELECT id, kind, address, person_id, name, password_hash, issuer, subject, created_at, expires_at, used_at, sent_at
         FROM account_letters WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|r| {
        Some(Row {
            id: r.id,
            kind: Kind::parse(&r.kind)?,
            address: r.address,
            person: r.person_id.map(PersonId),
            name: r.name,
            password_hash: r.password_hash,
            external: r.issuer.zip(r.subject),
            created_at: r.created_at,
            expires_at: r.expires_at,
            used_at: r.used_at,
            sent_at: r.sent_at,
        })
    }))
}

pub(super) async fn set_sent(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE account_letters SET sent_at = $2 WHERE id = $1", id, now).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn count_try(db: &PgPool, id: i64, most: i32) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "UPDATE account_letters SET tries = tries + 1 WHERE id = $1 AND tries < $2 RETURNING tries",
        id,
        most
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn use_up(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let used = sqlx::query!(
        "UPDATE account_letters SET used_at = $2, password_hash = NULL WHERE id = $1 AND used_at IS NULL",
        id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(used.rows_affected() == 1)
}

pub(super) async fn end_others(
    tx: &mut Tx,
    kind: &str,
    address: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE account_letters SET used_at = $3, password_hash = NULL
         WHERE kind = $1 AND address = $2 AND used_at IS NULL",
        kind,
        address,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn end_all(tx: &mut Tx, person: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE account_letters SET used_at = $2, password_hash = NULL WHERE person_id = $1 AND used_at IS NULL",
        person,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
