//! Who has which skill, how well: what an admin sets, and what becomes of what moderators propose.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{OwnSkill, SkillError};
use crate::audit::{self, Actor};
use crate::ids::PersonId;
use crate::queue::{self, Tx};

mod sql;

/// A skill that a moderator says to have, and nobody has confirmed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = SkillProposal)]
pub struct Proposal {
    pub person: PersonId,
    pub person_name: String,
    pub slug: String,
    pub skill_name: String,
    /// 1 to 5.
    pub level: i32,
}

/// What waits for an admin's word, by person and slug, at most `limit`, after the given one.
pub async fn proposals(
    db: &PgPool,
    after: Option<(PersonId, &str)>,
    limit: i64,
) -> sqlx::Result<Vec<Proposal>> {
    sql::proposals(db, after.map(|(person, slug)| (person.0, slug)), limit).await
}

/// Sets how well somebody has a skill; it counts at once.
pub async fn set(
    tx: &mut Tx,
    person: PersonId,
    slug: &str,
    level: i32,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(), SkillError> {
    let skills = [(slug.to_owned(), level)];
    let skills = checked(&skills)?;
    lock_staff(tx, person).await?;
    put(tx, person, &skills).await?;
    let data = json!({"skill": slug, "level": level});
    Ok(follow(tx, person, actor, "person.skill_set", &data, now).await?)
}

/// Sets all confirmed skills of somebody: those that are not named are taken away. Proposals that are not named wait on.
pub async fn replace(
    tx: &mut Tx,
    person: PersonId,
    skills: &[(String, i32)],
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(), SkillError> {
    let skills = checked(skills)?;
    lock_staff(tx, person).await?;
    let slugs: Vec<String> = skills.iter().map(|(slug, _)| slug.clone()).collect();
    let before = sql::confirmed(tx, person.0).await?;
    sql::remove_others(tx, person.0, &slugs).await?;
    put(tx, person, &skills).await?;
    let shown = |skills: &[(String, i32)]| -> Value { skills.iter().cloned().collect() };
    let data = json!({"from": shown(&before), "to": shown(&skills)});
    Ok(follow(tx, person, actor, "person.skills_set", &data, now).await?)
}

/// Takes a skill from somebody; of a proposal that is refusing it. False: they do not have it.
pub async fn remove(
    tx: &mut Tx,
    person: PersonId,
    slug: &str,
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    if slug.contains('\0') {
        return Ok(false);
    }
    super::lock(tx, &[person]).await?;
    let Some(was) = sql::remove(tx, person.0, slug).await? else { return Ok(false) };
    let action = if was.confirmed { "person.skill_removed" } else { "person.skill_refused" };
    let data = json!({"skill": slug, "level": was.level});
    audit::record(tx, actor, action, &subject(person), &data, now).await?;
    Ok(true)
}

/// Confirms what a moderator proposed: it counts from now on. False: there is no such proposal.
pub async fn confirm(
    tx: &mut Tx,
    person: PersonId,
    slug: &str,
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    if slug.contains('\0') {
        return Ok(false);
    }
    super::lock(tx, &[person]).await?;
    let Some(level) = sql::confirm(tx, person.0, slug).await? else { return Ok(false) };
    let data = json!({"skill": slug, "level": level});
    follow(tx, person, actor, "person.skill_confirmed", &data, now).await?;
    Ok(true)
}

/// The skills of a person, as the transaction sees them.
pub async fn skills_in(tx: &mut Tx, person: PersonId) -> sqlx::Result<Vec<OwnSkill>> {
    sql::skills_of(tx, person.0).await
}

/// In the order of their slugs, each once: the last level that is given counts.
fn checked(skills: &[(String, i32)]) -> Result<Vec<(String, i32)>, SkillError> {
    if skills.iter().any(|(_, level)| !(1..=5).contains(level)) {
        return Err(SkillError::Level);
    }
    if let Some((slug, _)) = skills.iter().find(|(slug, _)| slug.contains('\0')) {
        return Err(SkillError::Unknown(slug.replace('\0', "")));
    }
    let sorted: std::collections::BTreeMap<String, i32> = skills.iter().cloned().collect();
    Ok(sorted.into_iter().collect())
}

async fn lock_staff(tx: &mut Tx, person: PersonId) -> Result<(), SkillError> {
    super::lock(tx, &[person]).await?;
    match super::person_in(tx, person).await? {
        Some(found) if found.id == person && found.role.is_staff() => Ok(()),
        _ => Err(SkillError::NotStaff),
    }
}

async fn put(tx: &mut Tx, person: PersonId, skills: &[(String, i32)]) -> Result<(), SkillError> {
    let (slugs, levels): (Vec<String>, Vec<i32>) = skills.iter().cloned().unzip();
    let entered = sql::put(tx, person.0, &slugs, &levels).await?;
    match slugs.iter().find(|slug| !entered.contains(slug)) {
        Some(unknown) => Err(SkillError::Unknown(unknown.clone())),
        None => Ok(()),
    }
}

/// Somebody may fit now whom nobody fit before.
async fn follow(
    tx: &mut Tx,
    person: PersonId,
    actor: Actor,
    action: &str,
    data: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    audit::record(tx, actor, action, &subject(person), data, now).await
}

fn subject(person: PersonId) -> String {
    format!("person:{person}")
}
