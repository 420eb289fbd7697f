//! The statements that make two persons one.

use crate::queue::Tx;

/// Waits until nobody does anything as one of these persons, and lets nobody begin.
pub(super) async fn hold_alone(tx: &mut Tx, people: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT id FROM identities WHERE person_id = ANY ($1) ORDER BY id FOR NO KEY UPDATE",
        people
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn move_identities(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE identities SET person_id = $2 WHERE person_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn move_skills(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE person_skills SET person_id = $2
         WHERE person_id = $1 AND NOT EXISTS (SELECT FROM person_skills own WHERE own.person_id = $2)",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM person_skills WHERE person_id = $1", from).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn move_credentials(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE credentials SET person_id = $2
         WHERE person_id = $1 AND NOT EXISTS (SELECT FROM credentials own WHERE own.person_id = $2)",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM credentials WHERE person_id = $1", from).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn move_codes_and_snippets(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE link_codes SET person_id = $2 WHERE person_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    sqlx::query!("UPDATE snippets SET updated_by = $2 WHERE updated_by = $1", from, into)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Away is away, whichever of the two it was said of; working hours are taken over where there are none.
pub(super) async fn move_hours(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE away_periods SET person_id = $2 WHERE person_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "UPDATE working_hours SET person_id = $2
         WHERE person_id = $1 AND NOT EXISTS (SELECT FROM working_hours own WHERE own.person_id = $2)",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM working_hours WHERE person_id = $1", from).execute(&mut **tx).await?;
    Ok(())
}

/// Who is called by an address only gets the other's name.
pub(super) async fn unite(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE persons p SET
           name = CASE WHEN strpos(p.name, '@') > 0 THEN f.name ELSE p.name END,
           discord_role = CASE WHEN 'admin' IN (p.discord_role, f.discord_role) THEN 'admin'
                               ELSE COALESCE(p.discord_role, f.discord_role) END,
           away = p.away OR f.away, cap = COALESCE(p.cap, f.cap),
           last_assigned_at = GREATEST(p.last_assigned_at, f.last_assigned_at)
         FROM persons f WHERE p.id = $2 AND f.id = $1",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who was merged into `from` earlier is followed in one step.
pub(super) async fn retire(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE persons SET merged_into = $2, active = FALSE, granted_role = 'user', discord_role = NULL
         WHERE id = $1 OR merged_into = $1",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
