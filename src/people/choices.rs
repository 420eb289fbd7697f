//! What staff choose from while they type: colleagues and skills; and which skills they say they have.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Role, Skill};
use crate::ids::PersonId;
use crate::queue;

mod sql;

/// A member of staff to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colleague {
    pub id: PersonId,
    pub name: String,
    pub role: Role,
    pub away: bool,
}

/// Active staff whose name, or a word of it, begins with this; by name.
pub async fn find_staff(
    db: &PgPool,
    prefix: &str,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Colleague>> {
    // PostgreSQL's TEXT cannot hold NUL; nobody's name does.
    if prefix.contains('\0') {
        return Ok(Vec::new());
    }
    sql::find_staff(db, prefix.trim(), limit, now).await
}

/// Skills whose slug, name or alias begins with this; by slug.
pub async fn find_skills(db: &PgPool, prefix: &str, limit: i64) -> sqlx::Result<Vec<Skill>> {
    if prefix.contains('\0') {
        return Ok(Vec::new());
    }
    sql::find_skills(db, prefix.trim(), limit).await
}

/// A skill that a person has, or says to have.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct OwnSkill {
    pub slug: String,
    pub name: String,
    /// 1 to 5.
    pub level: i32,
    /// Only what an admin confirmed counts for the assignment.
    pub confirmed: bool,
}

/// The skills of a person, proposed ones too, by slug.
pub async fn skills_of(db: &PgPool, person: PersonId) -> sqlx::Result<Vec<OwnSkill>> {
    sql::skills_of(db, person.0).await
}

/// Why a skill was not entered, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum SkillError {
    #[error("`{0}` is no skill of the catalogue: choose one from the list")]
    Unknown(String),
    #[error("a level is from 1 (knows a little) to 5 (knows it all)")]
    Level,
    #[error("only moderators and admins have skills")]
    NotStaff,
    /// Another level would be a proposal, and the skill would not count until an admin has looked at it.
    #[error("`{slug}` is confirmed at level {level}: ask an admin to change it")]
    Confirmed { slug: String, level: i32 },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A person says to have a skill. A moderator's word is a proposal, which an admin confirms; an admin's counts at once.
pub async fn propose_skill(
    db: &PgPool,
    person: PersonId,
    slug: &str,
    level: i32,
    now: DateTime<Utc>,
) -> Result<OwnSkill, SkillError> {
    if !(1..=5).contains(&level) {
        return Err(SkillError::Level);
    }
    let slug = slug.trim().to_lowercase();
    let mut tx = db.begin().await?;
    super::lock(&mut tx, &[person]).await?;
    let staff = super::person_in(&mut tx, person).await?.filter(|p| p.active && p.role.is_staff());
    let staff = staff.ok_or(SkillError::NotStaff)?;
    let skill = if slug.contains('\0') { None } else { sql::own_skill(&mut tx, staff.id.0, &slug).await? };
    let skill = skill.ok_or_else(|| SkillError::Unknown(slug.clone()))?;
    let decides = staff.role == Role::Admin;
    match (skill.level, skill.confirmed) {
        (Some(known), Some(true)) if !decides && known != level => {
            return Err(SkillError::Confirmed { slug, level: known });
        }
        (Some(known), Some(true)) if known == level => {}
        _ => sql::set_skill(&mut tx, staff.id.0, skill.id, level, decides).await?,
    }
    let confirmed = decides || skill.confirmed == Some(true);
    if confirmed {
        // Someone may fit now whom nobody fit before.
        queue::enqueue(&mut tx, &queue::REASSIGN, 0, now).await?;
    }
    tx.commit().await?;
    Ok(OwnSkill { slug, name: skill.name, level, confirmed })
}
