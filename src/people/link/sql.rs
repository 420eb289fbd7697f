//! The statements of link codes.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::queue::Tx;

/// What is taken out for a person and for an address is counted; the first numbers are ours alone: "tdlp" and "tdla".
pub(super) async fn take_turn_for(tx: &mut Tx, person: i64, address: &str) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(1952738416, hashint8($1))", person).execute(&mut **tx).await?;
    sqlx::query!("SELECT pg_advisory_xact_lock(1952738401, hashtext($1))", address)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Nobody merges this person until the transaction ends.
pub(super) async fn hold(tx: &mut Tx, person: i64) -> sqlx::Result<()> {
    sqlx::query!("SELECT id FROM identities WHERE person_id = $1 ORDER BY id FOR SHARE", person)
        .fetch_all(&mut **tx)
        .await?;
    Ok(())
}

/// The number is ours alone: "tdlk" in ASCII.
pub(super) async fn take_turn(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(1952738411)").execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn is_proven(tx: &mut Tx, person: i64, address: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM identities WHERE channel = 'email' AND address = $2 AND person_id = $1
                          AND verified_at IS NOT NULL) AS "found!""#,
        person,
        address
    )
    .fetch_one(&mut **tx)
    .await
}

/// The greater of the two counts: codes of the person, codes to the address.
pub(super) async fn most_asked(
    tx: &mut Tx,
    person: i64,
    address: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT GREATEST((SELECT count(*) FROM link_codes WHERE person_id = $1 AND created_at > $3),
                           (SELECT count(*) FROM link_codes WHERE address = $2 AND created_at > $3)) AS "n!""#,
        person,
        address,
        since
    )
    .fetch_one(&mut **tx)
    .await
}

/// Earlier codes of the person end.
pub(super) async fn insert(
    tx: &mut Tx,
    person: i64,
    address: &str,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "WITH dead AS (UPDATE link_codes SET expires_at = $3
                       WHERE person_id = $1 AND used_at IS NULL AND expires_at > $3)
         INSERT INTO link_codes (person_id, address, created_at, expires_at) VALUES ($1, $2, $3, $4) RETURNING id",
        person,
        address,
        now,
        expires_at
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) struct Unsent {
    pub(super) address: String,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn unsent(db: &PgPool, id: i64, now: DateTime<Utc>) -> sqlx::Result<Option<Unsent>> {
    sqlx::query_as!(
        Unsent,
        "SELECT address, created_at FROM link_codes
         WHERE id = $1 AND sent_at IS NULL AND used_at IS NULL AND expires_at > $2",
        id,
        now
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn set_sent(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE link_codes SET sent_at = $2 WHERE id = $1", id, now).execute(&mut **tx).await?;
    Ok(())
}

pub(super) struct Newest {
    pub(super) id: i64,
    pub(super) address: String,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) used_at: Option<DateTime<Utc>>,
    pub(super) tries: i32,
}

/// Locked: two who type at once take turns, and see what the other one did.
pub(super) async fn newest(tx: &mut Tx, person: i64) -> sqlx::Result<Option<Newest>> {
    sqlx::query_as!(
        Newest,
        "SELECT id, address, expires_at, used_at, tries FROM link_codes
         WHERE id = (SELECT max(id) FROM link_codes WHERE person_id = $1) FOR UPDATE",
        person
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn count_try(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE link_codes SET tries = tries + 1 WHERE id = $1", id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn use_up(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE link_codes SET used_at = $2 WHERE id = $1", id, now).execute(&mut **tx).await?;
    Ok(())
}

/// Whose the address is: the person's from now on, if it was nobody's.
pub(super) async fn enter(tx: &mut Tx, person: i64, address: &str, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query!(
        "INSERT INTO identities (person_id, channel, address, created_at) VALUES ($1, 'email', $2, $3)
         ON CONFLICT (channel, address) DO NOTHING",
        person,
        address,
        now
    )
    .execute(&mut **tx)
    .await?;
    // A statement of its own: it sees what another transaction entered while the first one waited for it.
    sqlx::query_scalar!(
        "SELECT person_id FROM identities WHERE channel = 'email' AND address = $1 FOR NO KEY UPDATE",
        address
    )
    .fetch_one(&mut **tx)
    .await
}

/// What an admin made of the two, if they are active.
pub(super) async fn granted(tx: &mut Tx, person: i64, owner: i64) -> sqlx::Result<[Option<String>; 2]> {
    let row = sqlx::query!(
        "SELECT (SELECT granted_role FROM persons WHERE id = $1 AND active) AS person,
                (SELECT granted_role FROM persons WHERE id = $2 AND active) AS owner",
        person,
        owner
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok([row.person, row.owner])
}

/// The address, and the Discord accounts of the person who typed its code.
pub(super) async fn verify(tx: &mut Tx, person: i64, address: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE identities SET verified_at = $3
         WHERE verified_at IS NULL
           AND ((channel = 'email' AND address = $2) OR (channel = 'discord' AND person_id = $1))",
        person,
        address,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
