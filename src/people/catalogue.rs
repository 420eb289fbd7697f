//! The catalogue of skills, as an admin changes it. A skill's slug stays: tickets, reports and files name it by that.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::Skill;
use crate::audit::{self, Actor};
use crate::queue::Tx;

mod sql;

const LONGEST_SLUG: usize = 64;
const LONGEST_NAME: usize = 100;
const LONGEST_DESCRIPTION: usize = 2000;
const MOST_ALIASES: usize = 100;

/// Why the catalogue was not changed, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("there is no skill `{0}`")]
    Unknown(String),
    #[error("there is a skill `{0}` already: change that one, or choose another slug")]
    Exists(String),
    #[error(
        "`{0}` cannot be a slug: 1 to {LONGEST_SLUG} of a-z, 0-9, - and _, beginning with a letter or digit"
    )]
    Slug(String),
    #[error("a name or an alias has 1 to {LONGEST_NAME} characters, in one line")]
    Name,
    #[error("at most {MOST_ALIASES} aliases are taken")]
    TooManyAliases,
    #[error("a description has at most {LONGEST_DESCRIPTION} characters")]
    Description,
    #[error("`{alias}` stands for the skill `{skill}` already: an alias stands for one skill")]
    AliasTaken { alias: String, skill: String },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A skill of the catalogue with who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub skill: Skill,
    /// Active staff who have it, confirmed.
    pub staff: i64,
    /// Those who say to have it, and wait for an admin's word.
    pub proposals: i64,
}

/// What is to be changed; `None`: stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub aliases: Option<Vec<String>>,
    pub description: Option<String>,
}

/// The whole catalogue, by slug.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<Listed>> {
    sql::list(db).await
}

/// One skill. `None`: there is none of that slug.
pub async fn get(db: &PgPool, slug: &str) -> sqlx::Result<Option<Listed>> {
    Ok(list(db).await?.into_iter().find(|listed| listed.skill.slug == slug))
}

/// Enters a skill.
pub async fn create(
    tx: &mut Tx,
    skill: &Skill,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Skill, CatalogueError> {
    let skill = Skill {
        slug: checked_slug(&skill.slug)?,
        name: checked_name(&skill.name)?,
        aliases: checked_aliases(&skill.aliases)?,
        description: checked_description(&skill.description)?,
    };
    sql::take_turn(tx).await?;
    refuse_taken(tx, &skill.slug, &skill.aliases).await?;
    if !sql::insert(tx, &skill, now).await? {
        return Err(CatalogueError::Exists(skill.slug));
    }
    let data = json!({"name": skill.name, "aliases": skill.aliases, "description": skill.description});
    audit::record(tx, actor, "skill.created", &subject(&skill.slug), &data, now).await?;
    Ok(skill)
}

/// Changes a skill.
pub async fn change(
    tx: &mut Tx,
    slug: &str,
    change: &Change,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Skill, CatalogueError> {
    let name = change.name.as_deref().map(checked_name).transpose()?;
    let aliases = change.aliases.as_deref().map(checked_aliases).transpose()?;
    let description = change.description.as_deref().map(checked_description).transpose()?;
    let slug = checked_slug(slug).map_err(|_odd| unknown(slug))?;
    sql::take_turn(tx).await?;
    let before = sql::skill(tx, &slug).await?.ok_or_else(|| unknown(&slug))?;
    // What was entered otherwise, and stands for two, may stay until somebody changes it.
    if let Some(aliases) = &aliases {
        refuse_taken(tx, &slug, aliases).await?;
    }
    let after = Skill {
        slug: slug.clone(),
        name: name.unwrap_or_else(|| before.name.clone()),
        aliases: aliases.unwrap_or_else(|| before.aliases.clone()),
        description: description.unwrap_or_else(|| before.description.clone()),
    };
    if before == after {
        return Ok(after);
    }
    sql::update(tx, &after).await?;
    let shown = |s: &Skill| json!({"name": s.name, "aliases": s.aliases, "description": s.description});
    let data = json!({"from": shown(&before), "to": shown(&after)});
    audit::record(tx, actor, "skill.changed", &subject(&slug), &data, now).await?;
    Ok(after)
}

/// Holds a skill, so that nothing new points to it until the transaction ends. `None`: there is none of that slug. Else how
/// many people have it, or say so.
pub async fn hold(tx: &mut Tx, slug: &str) -> sqlx::Result<Option<i64>> {
    if slug.contains('\0') || !sql::hold(tx, slug).await? {
        return Ok(None);
    }
    Ok(Some(sql::count_people(tx, slug).await?))
}

/// Takes a skill away from the catalogue, from everybody who has it and from every ticket. The caller holds it, and has
/// written the tickets' history.
pub async fn remove(tx: &mut Tx, slug: &str) -> sqlx::Result<()> {
    sql::remove(tx, slug).await
}

async fn refuse_taken(tx: &mut Tx, slug: &str, aliases: &[String]) -> Result<(), CatalogueError> {
    let lower: Vec<String> = aliases.iter().map(|alias| alias.to_lowercase()).collect();
    match sql::taken(tx, slug, &lower).await? {
        Some((alias, skill)) => Err(CatalogueError::AliasTaken { alias, skill }),
        None => Ok(()),
    }
}

fn unknown(slug: &str) -> CatalogueError {
    CatalogueError::Unknown(shown(slug))
}

/// What is shown again is short, and in one line.
fn shown(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(LONGEST_SLUG).collect()
}

fn subject(slug: &str) -> String {
    format!("skill:{slug}")
}

fn checked_slug(slug: &str) -> Result<String, CatalogueError> {
    let slug = slug.trim();
    let shaped = slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    if slug.is_empty() || slug.len() > LONGEST_SLUG || !shaped || slug.starts_with(['-', '_']) {
        return Err(CatalogueError::Slug(shown(slug)));
    }
    Ok(slug.to_owned())
}

fn checked_name(name: &str) -> Result<String, CatalogueError> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(CatalogueError::Name);
    }
    Ok(name.to_owned())
}

/// Trimmed, each once whatever its case, in the order in which they were given.
fn checked_aliases(aliases: &[String]) -> Result<Vec<String>, CatalogueError> {
    let mut kept: Vec<String> = Vec::new();
    for alias in aliases {
        let alias = checked_name(alias)?;
        if !kept.iter().any(|known| known.to_lowercase() == alias.to_lowercase()) {
            kept.push(alias);
        }
    }
    if kept.len() > MOST_ALIASES {
        return Err(CatalogueError::TooManyAliases);
    }
    Ok(kept)
}

fn checked_description(description: &str) -> Result<String, CatalogueError> {
    let description = description.trim();
    if description.chars().count() > LONGEST_DESCRIPTION || description.contains('\0') {
        return Err(CatalogueError::Description);
    }
    Ok(description.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_trimmed_and_each_is_kept_once() {
        let given = [" DNS ", "name server", "dns", "Router"].map(str::to_owned);
        assert_eq!(checked_aliases(&given).unwrap(), ["DNS", "name server", "Router"]);
        assert!(checked_aliases(&[" ".to_owned()]).is_err());
        assert!(checked_aliases(&["a\nb".to_owned()]).is_err());
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        assert!(matches!(checked_aliases(&many), Err(CatalogueError::TooManyAliases)));
    }

    #[test]
    fn a_slug_is_short_and_plain() {
        assert_eq!(checked_slug(" name-servers_2 ").unwrap(), "name-servers_2");
        for slug in ["", "-a", "Größe", "a b", "A", &"a".repeat(65)] {
            assert!(matches!(checked_slug(slug), Err(CatalogueError::Slug(_))), "{slug}");
        }
    }
}
