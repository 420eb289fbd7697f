//! The statements of what staff choose from.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Colleague, OwnSkill};
use crate::ids::PersonId;
use crate::people::{Role, Skill};
use crate::queue::Tx;

pub(super) async fn find_staff(
    db: &PgPool,
    prefix: &str,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Colleague>> {
    let rows = sqlx::query!(
        r#"SELECT id, name, role,
                (away OR EXISTS (SELECT FROM away_periods a
                                 WHERE a.person_id = persons.id AND a.from_at <= $3 AND a.until_at > $3)) AS "away!"
         FROM persons
         WHERE role <> 'user' AND active
           AND (starts_with(lower(name), lower($1)) OR strpos(lower(name), ' ' || lower($1)) > 0)
         ORDER BY lower(name), id LIMIT $2"#,
        prefix,
        limit,
        now
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Colleague { id: PersonId(r.id), name: r.name, role: Role::parse(&r.role), away: r.away })
        .collect())
}

pub(super) async fn find_skills(db: &PgPool, prefix: &str, limit: i64) -> sqlx::Result<Vec<Skill>> {
    sqlx::query_as!(
        Skill,
        "SELECT slug, name, aliases, description FROM skills
         WHERE starts_with(slug, lower($1)) OR starts_with(lower(name), lower($1))
            OR EXISTS (SELECT FROM unnest(aliases) AS alias WHERE starts_with(lower(alias), lower($1)))
         ORDER BY slug LIMIT $2",
        prefix,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn skills_of(db: &PgPool, person: i64) -> sqlx::Result<Vec<OwnSkill>> {
    sqlx::query_as!(
        OwnSkill,
        "SELECT s.slug, s.name, ps.level, ps.confirmed
         FROM person_skills ps JOIN skills s ON s.id = ps.skill_id WHERE ps.person_id = $1 ORDER BY s.slug",
        person
    )
    .fetch_all(db)
    .await
}

pub(super) struct Known {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) level: Option<i32>,
    pub(super) confirmed: Option<bool>,
}

/// The skill, and how well this person has it.
pub(super) async fn own_skill(tx: &mut Tx, person: i64, slug: &str) -> sqlx::Result<Option<Known>> {
    sqlx::query_as!(
        Known,
        r#"SELECT s.id, s.name, ps.level AS "level?", ps.confirmed AS "confirmed?"
           FROM skills s LEFT JOIN person_skills ps ON ps.skill_id = s.id AND ps.person_id = $1 WHERE s.slug = $2"#,
        person,
        slug
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn set_skill(
    tx: &mut Tx,
    person: i64,
    skill: i64,
    level: i32,
    confirmed: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO person_skills (person_id, skill_id, level, confirmed) VALUES ($1, $2, $3, $4)
         ON CONFLICT (person_id, skill_id) DO UPDATE SET level = excluded.level, confirmed = excluded.confirmed",
        person,
        skill,
        level,
        confirmed
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
