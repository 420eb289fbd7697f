//! The statements of people.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::{NewStaff, Person, Role, Skill, StaffMember};
use crate::ids::PersonId;
use crate::queue::Tx;

pub(super) struct Found {
    pub(super) known: Option<i64>,
    pub(super) made: Option<i64>,
    pub(super) entered: Option<i64>,
}

pub(super) async fn find_or_insert(
    tx: &mut Tx,
    channel: &str,
    address: &str,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Found> {
    sqlx::query_as!(
        Found,
        "WITH known AS (SELECT person_id FROM identities WHERE channel = $4 AND address = $1 FOR SHARE),
              made AS (INSERT INTO persons (name, created_at)
                       SELECT $2, $3 WHERE NOT EXISTS (SELECT FROM known) RETURNING id),
              entered AS (INSERT INTO identities (person_id, channel, address, created_at)
                          SELECT id, $4, $1, $3 FROM made
                          ON CONFLICT (channel, address) DO NOTHING RETURNING person_id)
         SELECT (SELECT person_id FROM known) AS known, (SELECT id FROM made) AS made,
                (SELECT person_id FROM entered) AS entered",
        address,
        name,
        now,
        channel
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn delete_person(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM persons WHERE id = $1", id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn find(tx: &mut Tx, channel: &str, address: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT person_id FROM identities WHERE channel = $1 AND address = $2 FOR SHARE",
        channel,
        address
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn person(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Person>> {
    let row = sqlx::query!(
        "SELECT id, name, role, active,
                (SELECT address FROM identities WHERE person_id = persons.id AND channel = 'email'
                 ORDER BY verified_at NULLS LAST, id LIMIT 1) AS email,
                (SELECT address FROM identities WHERE person_id = persons.id AND channel = 'discord'
                 ORDER BY id LIMIT 1) AS discord
         FROM persons WHERE id = COALESCE((SELECT merged_into FROM persons WHERE id = $1), $1)",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Person {
        id: PersonId(r.id),
        name: r.name,
        role: Role::parse(&r.role),
        active: r.active,
        email: r.email,
        discord: r.discord.and_then(|id| id.parse().ok()),
    }))
}

/// As if nobody had working hours.
pub(super) async fn staff(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<Vec<StaffMember>> {
    let rows = sqlx::query!(
        r#"SELECT p.id, p.name, p.role, p.cap, p.last_assigned_at,
                  (p.away OR EXISTS (SELECT FROM away_periods a
                                     WHERE a.person_id = p.id AND a.from_at <= $1 AND a.until_at > $1)) AS "away!",
                  array_remove(array_agg(s.slug ORDER BY s.slug), NULL) AS "slugs!",
                  array_remove(array_agg(ps.level ORDER BY s.slug), NULL) AS "levels!"
           FROM persons p
           LEFT JOIN person_skills ps ON ps.person_id = p.id AND ps.confirmed
           LEFT JOIN skills s ON s.id = ps.skill_id
           WHERE p.role <> 'user' AND p.active
           GROUP BY p.id ORDER BY p.id"#,
        now
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| StaffMember {
            id: PersonId(r.id),
            name: r.name,
            role: Role::parse(&r.role),
            away: r.away,
            at_work: true,
            cap: r.cap,
            last_assigned_at: r.last_assigned_at,
            skills: r.slugs.into_iter().zip(r.levels).collect(),
        })
        .collect())
}

pub(super) async fn note_assigned(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE persons SET last_assigned_at = $2 WHERE id = $1", id, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn lock(tx: &mut Tx, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!("SELECT id FROM persons WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE", ids)
        .fetch_all(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn skills(db: &PgPool) -> sqlx::Result<Vec<Skill>> {
    sqlx::query_as!(Skill, "SELECT slug, name, aliases, description FROM skills ORDER BY slug")
        .fetch_all(db)
        .await
}

pub(super) async fn skill_ids(tx: &mut Tx, slugs: &[String]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("SELECT id FROM skills WHERE slug = ANY ($1) ORDER BY slug", slugs)
        .fetch_all(&mut **tx)
        .await
}

pub(super) async fn upsert_skill(tx: &mut Tx, skill: &Skill, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO skills (slug, name, aliases, description, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (slug) DO UPDATE
         SET name = excluded.name, aliases = excluded.aliases, description = excluded.description",
        skill.slug,
        skill.name,
        &skill.aliases,
        skill.description,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_staff(tx: &mut Tx, id: i64, staff: &NewStaff) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE persons SET name = $2, granted_role = $3, cap = $4, away = $5, active = TRUE WHERE id = $1",
        id,
        staff.name,
        staff.role.as_str(),
        staff.cap,
        staff.away
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_skills(tx: &mut Tx, id: i64, slugs: &[String], levels: &[i32]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM person_skills WHERE person_id = $1", id).execute(&mut **tx).await?;
    sqlx::query!(
        "INSERT INTO person_skills (person_id, skill_id, level)
         SELECT $1, s.id, l.level FROM unnest($2::TEXT[], $3::INT[]) AS l (slug, level) JOIN skills s ON s.slug = l.slug",
        id,
        slugs,
        levels
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_away(tx: &mut Tx, id: i64, away: bool) -> sqlx::Result<()> {
    sqlx::query!("UPDATE persons SET away = $2 WHERE id = $1", id, away).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn admin_addresses(db: &PgPool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT i.address FROM persons p
         CROSS JOIN LATERAL (SELECT address FROM identities WHERE person_id = p.id AND channel = 'email'
                             ORDER BY verified_at NULLS LAST, id LIMIT 1) i
         WHERE p.role = 'admin' AND p.active AND p.merged_into IS NULL ORDER BY p.id"
    )
    .fetch_all(db)
    .await
}

pub(super) async fn make_admin(tx: &mut Tx, id: i64, name: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE persons SET granted_role = 'admin', active = TRUE, name = $2 WHERE id = $1",
        id,
        name
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE identities SET verified_at = created_at WHERE person_id = $1 AND verified_at IS NULL",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_password(tx: &mut Tx, id: i64, hash: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO credentials (person_id, password_hash, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (person_id) DO UPDATE
         SET password_hash = excluded.password_hash, updated_at = excluded.updated_at",
        id,
        hash,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) struct Credential {
    pub(super) person_id: i64,
    pub(super) password_hash: String,
}

pub(super) async fn credential(db: &PgPool, address: &str) -> sqlx::Result<Option<Credential>> {
    sqlx::query_as!(
        Credential,
        "SELECT c.person_id, c.password_hash FROM credentials c
         JOIN identities i ON i.person_id = c.person_id WHERE i.channel = 'email' AND i.address = $1",
        address
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn signing_keys(db: &PgPool) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar!("SELECT secret FROM signing_keys ORDER BY id DESC").fetch_all(db).await
}

/// The lock makes two processes that start at once agree on one key.
pub(super) async fn insert_first_signing_key(
    db: &PgPool,
    key: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query!("LOCK TABLE signing_keys IN EXCLUSIVE MODE").execute(&mut *tx).await?;
    sqlx::query!(
        "INSERT INTO signing_keys (secret, created_at) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM signing_keys)",
        key,
        now
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// False: the role was that already.
pub(super) async fn set_discord_role(tx: &mut Tx, person: i64, role: Option<&str>) -> sqlx::Result<bool> {
    let changed = sqlx::query!(
        "UPDATE persons SET discord_role = $2 WHERE id = $1 AND discord_role IS DISTINCT FROM $2",
        person,
        role
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn staff_by_discord(db: &PgPool) -> sqlx::Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(
        "SELECT p.id, i.address FROM persons p JOIN identities i ON i.person_id = p.id AND i.channel = 'discord'
         WHERE p.discord_role IS NOT NULL ORDER BY p.id, i.id"
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.address)).collect())
}

/// Active staff by address, by name, or by the beginning of either, whichever is the first to find somebody.
pub(super) async fn staff_named(tx: &mut Tx, text: &str) -> sqlx::Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(
        r#"WITH found AS (
             SELECT p.id, p.name,
                    min(CASE WHEN i.address = lower($1) THEN 1
                             WHEN lower(p.name) = lower($1) THEN 2
                             WHEN split_part(i.address, '@', 1) = lower($1) THEN 3
                             ELSE 4 END) AS rank
             FROM persons p LEFT JOIN identities i ON i.person_id = p.id AND i.channel = 'email'
             WHERE p.active AND p.role <> 'user'
               AND (i.address = lower($1) OR split_part(i.address, '@', 1) = lower($1)
                    OR starts_with(lower(p.name), lower($1)))
             GROUP BY p.id, p.name
           )
           SELECT id, name FROM found WHERE rank = (SELECT min(rank) FROM found) ORDER BY name, id LIMIT 5"#,
        text
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.name)).collect())
}

pub(super) async fn insert_signing_key(tx: &mut Tx, key: &[u8], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("INSERT INTO signing_keys (secret, created_at) VALUES ($1, $2)", key, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
