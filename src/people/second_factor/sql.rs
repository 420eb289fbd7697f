//! The statements of second factors.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::State;
use crate::queue::Tx;

pub(super) struct Factor {
    pub(super) person_id: i64,
    pub(super) secret: Vec<u8>,
    pub(super) confirmed_at: Option<DateTime<Utc>>,
    pub(super) last_step: i64,
    pub(super) wrong: i32,
    pub(super) wrong_since: Option<DateTime<Utc>>,
}

pub(super) async fn state(db: &PgPool, person: i64) -> sqlx::Result<State> {
    sqlx::query_as!(
        State,
        r#"SELECT EXISTS (SELECT FROM second_factors WHERE person_id = $1 AND confirmed_at IS NOT NULL) AS "active!",
                  (SELECT count(*) FROM recovery_codes WHERE person_id = $1 AND used_at IS NULL) AS "recovery_codes_left!""#,
        person
    )
    .fetch_one(db)
    .await
}

/// False: there is one that is asked for.
pub(super) async fn offer(tx: &mut Tx, person: i64, secret: &[u8], now: DateTime<Utc>) -> sqlx::Result<bool> {
    let offered = sqlx::query!(
        "INSERT INTO second_factors (person_id, secret, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (person_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at
         WHERE second_factors.confirmed_at IS NULL",
        person,
        secret,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(offered.rows_affected() == 1)
}

/// Locked: of two codes at once, the second sees what the first one did.
pub(super) async fn locked(tx: &mut Tx, person: i64) -> sqlx::Result<Option<Factor>> {
    sqlx::query_as!(
        Factor,
        "SELECT person_id, secret, confirmed_at, last_step, wrong, wrong_since FROM second_factors
         WHERE person_id = $1 FOR UPDATE",
        person
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn activate(tx: &mut Tx, person: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE second_factors SET confirmed_at = $2 WHERE person_id = $1", person, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn accept(tx: &mut Tx, person: i64, step: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE second_factors SET last_step = $2, wrong = 0, wrong_since = NULL WHERE person_id = $1",
        person,
        step
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn count_wrong(
    tx: &mut Tx,
    person: i64,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE second_factors SET wrong = CASE WHEN wrong_since > $3 THEN wrong + 1 ELSE 1 END,
                                   wrong_since = CASE WHEN wrong_since > $3 THEN wrong_since ELSE $2 END
         WHERE person_id = $1",
        person,
        now,
        since
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn forget_wrong(tx: &mut Tx, person: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE second_factors SET wrong = 0, wrong_since = NULL WHERE person_id = $1", person)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn use_recovery_code(
    tx: &mut Tx,
    person: i64,
    hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let used = sqlx::query!(
        "UPDATE recovery_codes SET used_at = $3 WHERE person_id = $1 AND code_hash = $2 AND used_at IS NULL",
        person,
        hash,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(used.rows_affected() == 1)
}

pub(super) async fn replace_recovery_codes(tx: &mut Tx, person: i64, hashes: &[Vec<u8>]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM recovery_codes WHERE person_id = $1", person).execute(&mut **tx).await?;
    sqlx::query!(
        "INSERT INTO recovery_codes (person_id, code_hash) SELECT $1, hash FROM unnest($2::BYTEA[]) AS h (hash)",
        person,
        hashes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx, person: i64) -> sqlx::Result<bool> {
    let removed =
        sqlx::query!("DELETE FROM second_factors WHERE person_id = $1", person).execute(&mut **tx).await?;
    Ok(removed.rows_affected() == 1)
}

/// An offer that nobody took up is no second factor: it makes room.
pub(super) async fn take_over(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM second_factors WHERE person_id = $2 AND confirmed_at IS NULL
           AND EXISTS (SELECT FROM second_factors WHERE person_id = $1 AND confirmed_at IS NOT NULL)",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE second_factors SET person_id = $2
         WHERE person_id = $1 AND NOT EXISTS (SELECT FROM second_factors own WHERE own.person_id = $2)",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM second_factors WHERE person_id = $1", from).execute(&mut **tx).await?;
    Ok(())
}
