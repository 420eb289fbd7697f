//! The statements of accounts.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Standing;
use crate::ids::PersonId;
use crate::queue::Tx;

pub(super) async fn standing(tx: &mut Tx, address: &str) -> sqlx::Result<Standing> {
    let row = sqlx::query!(
        r#"SELECT p.id, p.active,
                  p.role <> 'user' OR EXISTS (SELECT FROM credentials c WHERE c.person_id = p.id)
                    OR EXISTS (SELECT FROM external_identities e WHERE e.person_id = p.id) AS "account!"
           FROM identities i JOIN persons p ON p.id = i.person_id WHERE i.channel = 'email' AND i.address = $1"#,
        address
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(match row {
        None => Standing::Nobody,
        Some(row) if !row.active => Standing::Off,
        Some(row) if row.account => Standing::Account(PersonId(row.id)),
        Some(row) => Standing::Wrote(PersonId(row.id)),
    })
}

pub(super) async fn set_name(tx: &mut Tx, person: i64, name: &str) -> sqlx::Result<()> {
    sqlx::query!("UPDATE persons SET name = $2 WHERE id = $1", person, name).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn verify_address(
    tx: &mut Tx,
    person: i64,
    address: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE identities SET verified_at = $3
         WHERE person_id = $1 AND channel = 'email' AND address = $2 AND verified_at IS NULL",
        person,
        address,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether a person's password is still the one that was compared.
pub(super) async fn is_hash(tx: &mut Tx, person: i64, hash: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM credentials WHERE person_id = $1 AND password_hash = $2) AS "found!""#,
        person,
        hash
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn own_hash(db: &PgPool, person: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("SELECT password_hash FROM credentials WHERE person_id = $1", person)
        .fetch_optional(db)
        .await
}

/// The password is the same, so no session ends. Unless it was changed meanwhile.
pub(super) async fn renew_hash(db: &PgPool, person: i64, old: &str, fresh: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE credentials SET password_hash = $3 WHERE person_id = $1 AND password_hash = $2",
        person,
        old,
        fresh
    )
    .execute(db)
    .await?;
    Ok(())
}

/// From here on what is written can be taken back, while the transaction goes on.
pub(super) async fn begin_part(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("SAVEPOINT part").execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn take_part_back(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("ROLLBACK TO SAVEPOINT part").execute(&mut **tx).await?;
    Ok(())
}
