//! The statements of who has which skill.

use sqlx::PgPool;

use super::Proposal;
use crate::ids::PersonId;
use crate::people::OwnSkill;
use crate::queue::Tx;

pub(super) async fn proposals(
    db: &PgPool,
    after: Option<(i64, &str)>,
    limit: i64,
) -> sqlx::Result<Vec<Proposal>> {
    let (person, slug) = after.unzip();
    sqlx::query_as!(
        Proposal,
        r#"SELECT p.id AS "person: PersonId", p.name AS person_name, s.slug, s.name AS skill_name, ps.level
           FROM person_skills ps JOIN persons p ON p.id = ps.person_id JOIN skills s ON s.id = ps.skill_id
           WHERE NOT ps.confirmed AND p.active AND p.role <> 'user'
             AND ($1::BIGINT IS NULL OR (p.id, s.slug) > ($1, $2::TEXT))
           ORDER BY p.id, s.slug LIMIT $3"#,
        person,
        slug,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn skills_of(tx: &mut Tx, person: i64) -> sqlx::Result<Vec<OwnSkill>> {
    sqlx::query_as!(
        OwnSkill,
        "SELECT s.slug, s.name, ps.level, ps.confirmed
         FROM person_skills ps JOIN skills s ON s.id = ps.skill_id WHERE ps.person_id = $1 ORDER BY s.slug",
        person
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn confirmed(tx: &mut Tx, person: i64) -> sqlx::Result<Vec<(String, i32)>> {
    let rows = sqlx::query!(
        "SELECT s.slug, ps.level FROM person_skills ps JOIN skills s ON s.id = ps.skill_id
         WHERE ps.person_id = $1 AND ps.confirmed ORDER BY s.slug",
        person
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.slug, row.level)).collect())
}

/// Returns the slugs that are in the catalogue.
pub(super) async fn put(
    tx: &mut Tx,
    person: i64,
    slugs: &[String],
    levels: &[i32],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"WITH given AS (
             SELECT s.id, s.slug, l.level
             FROM unnest($2::TEXT[], $3::INT[]) AS l (slug, level) JOIN skills s ON s.slug = l.slug
           ), entered AS (
             INSERT INTO person_skills (person_id, skill_id, level, confirmed) SELECT $1, id, level, TRUE FROM given
             ON CONFLICT (person_id, skill_id) DO UPDATE SET level = excluded.level, confirmed = TRUE
           )
           SELECT slug AS "slug!" FROM given"#,
        person,
        slugs,
        levels
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn remove_others(tx: &mut Tx, person: i64, slugs: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM person_skills ps USING skills s
         WHERE s.id = ps.skill_id AND ps.person_id = $1 AND ps.confirmed AND NOT s.slug = ANY ($2)",
        person,
        slugs
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) struct Removed {
    pub(super) level: i32,
    pub(super) confirmed: bool,
}

pub(super) async fn remove(tx: &mut Tx, person: i64, slug: &str) -> sqlx::Result<Option<Removed>> {
    sqlx::query_as!(
        Removed,
        "DELETE FROM person_skills ps USING skills s
         WHERE s.id = ps.skill_id AND ps.person_id = $1 AND s.slug = $2 RETURNING ps.level, ps.confirmed",
        person,
        slug
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn confirm(tx: &mut Tx, person: i64, slug: &str) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "UPDATE person_skills ps SET confirmed = TRUE FROM skills s
         WHERE s.id = ps.skill_id AND s.slug = $2 AND ps.person_id = $1 AND NOT ps.confirmed RETURNING ps.level",
        person,
        slug
    )
    .fetch_optional(&mut **tx)
    .await
}
