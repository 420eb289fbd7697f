//! The statements of participants and followers.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Follower;
use crate::ids::PersonId;
use crate::queue::Tx;

pub(super) async fn verified_address(tx: &mut Tx, person: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT address FROM identities WHERE person_id = $1 AND channel = 'email' AND verified_at IS NOT NULL
         ORDER BY verified_at, id LIMIT 1",
        person
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn remove_participant(tx: &mut Tx, ticket: i64, person: i64) -> sqlx::Result<bool> {
    let removed =
        sqlx::query!("DELETE FROM participants WHERE ticket_id = $1 AND person_id = $2", ticket, person)
            .execute(&mut **tx)
            .await?;
    Ok(removed.rows_affected() > 0)
}

pub(super) async fn follow(tx: &mut Tx, ticket: i64, person: i64, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "INSERT INTO followers (ticket_id, person_id, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        ticket,
        person,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) async fn unfollow(tx: &mut Tx, ticket: i64, person: i64) -> sqlx::Result<bool> {
    let removed =
        sqlx::query!("DELETE FROM followers WHERE ticket_id = $1 AND person_id = $2", ticket, person)
            .execute(&mut **tx)
            .await?;
    Ok(removed.rows_affected() == 1)
}

pub(super) async fn followers(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<Follower>> {
    sqlx::query_as!(
        Follower,
        r#"SELECT f.person_id AS "person_id: PersonId", p.name, f.since
           FROM followers f JOIN persons p ON p.id = f.person_id WHERE f.ticket_id = $1 ORDER BY f.since, f.person_id"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn active_followers(tx: &mut Tx, ticket: i64) -> sqlx::Result<Vec<PersonId>> {
    sqlx::query_scalar!(
        r#"SELECT f.person_id AS "id: PersonId" FROM followers f JOIN persons p ON p.id = f.person_id
           WHERE f.ticket_id = $1 AND p.active AND p.role <> 'user' ORDER BY f.person_id"#,
        ticket
    )
    .fetch_all(&mut **tx)
    .await
}
