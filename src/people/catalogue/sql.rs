//! The statements of the catalogue.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Listed;
use crate::people::Skill;
use crate::queue::Tx;

pub(super) async fn list(db: &PgPool) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query!(
        r#"SELECT s.slug, s.name, s.aliases, s.description,
                  (SELECT count(*) FROM person_skills ps JOIN persons p ON p.id = ps.person_id
                   WHERE ps.skill_id = s.id AND ps.confirmed AND p.active AND p.role <> 'user') AS "staff!",
                  (SELECT count(*) FROM person_skills ps JOIN persons p ON p.id = ps.person_id
                   WHERE ps.skill_id = s.id AND NOT ps.confirmed AND p.active AND p.role <> 'user') AS "proposals!"
           FROM skills s ORDER BY s.slug"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Listed {
            skill: Skill {
                slug: row.slug,
                name: row.name,
                aliases: row.aliases,
                description: row.description,
            },
            staff: row.staff,
            proposals: row.proposals,
        })
        .collect())
}

/// No constraint can say that an alias stands for one skill only: changes of the catalogue take turns.
pub(super) async fn take_turn(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('ticketd.skills'))").fetch_one(&mut **tx).await?;
    Ok(())
}

pub(super) async fn skill(tx: &mut Tx, slug: &str) -> sqlx::Result<Option<Skill>> {
    sqlx::query_as!(
        Skill,
        "SELECT slug, name, aliases, description FROM skills WHERE slug = $1 FOR NO KEY UPDATE",
        slug
    )
    .fetch_optional(&mut **tx)
    .await
}

/// The first of these aliases, in lower case, that another skill is called by, and that skill.
pub(super) async fn taken(
    tx: &mut Tx,
    slug: &str,
    aliases: &[String],
) -> sqlx::Result<Option<(String, String)>> {
    let row = sqlx::query!(
        r#"SELECT a.alias AS "alias!", s.slug FROM unnest($2::TEXT[]) WITH ORDINALITY AS a (alias, n), skills s
           WHERE s.slug <> $1
             AND (s.slug = a.alias OR lower(s.name) = a.alias
                  OR EXISTS (SELECT FROM unnest(s.aliases) AS known WHERE lower(known) = a.alias))
           ORDER BY a.n, s.slug LIMIT 1"#,
        slug,
        aliases
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| (row.alias, row.slug)))
}

/// False: the slug is taken.
pub(super) async fn insert(tx: &mut Tx, skill: &Skill, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let entered = sqlx::query!(
        "INSERT INTO skills (slug, name, aliases, description, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (slug) DO NOTHING",
        skill.slug,
        skill.name,
        &skill.aliases,
        skill.description,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(entered.rows_affected() == 1)
}

pub(super) async fn update(tx: &mut Tx, skill: &Skill) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE skills SET name = $2, aliases = $3, description = $4 WHERE slug = $1",
        skill.slug,
        skill.name,
        &skill.aliases,
        skill.description
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn hold(tx: &mut Tx, slug: &str) -> sqlx::Result<bool> {
    let row = sqlx::query!("SELECT id FROM skills WHERE slug = $1 FOR UPDATE", slug);
    Ok(row.fetch_optional(&mut **tx).await?.is_some())
}

pub(super) async fn count_people(tx: &mut Tx, slug: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM person_skills ps JOIN skills s ON s.id = ps.skill_id WHERE s.slug = $1"#,
        slug
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn remove(tx: &mut Tx, slug: &str) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM skills WHERE slug = $1", slug).execute(&mut **tx).await?;
    Ok(())
}
