//! Everybody there is, as an admin sees and changes them.
//!
//! The last active admin stays one: nobody could make another. Removing a person is switching them off; what they wrote,
//! and what they are called by, stays with the tickets.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::PgPool;

use super::hours::{self, AwayPeriod, WorkingHours};
use super::{OwnSkill, Role, access};
use crate::audit::{self, Actor};
use crate::config::Config;
use crate::ids::PersonId;
use crate::mail::address;
use crate::queue::{self, Tx};

mod sql;

const LONGEST_NAME: usize = 200;
const LARGEST_CAP: i32 = 10_000;

/// Which persons are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// What counts: the greater of what an admin and what Discord gave.
    pub role: Option<Role>,
    pub active: Option<bool>,
    /// Part of a name or an address; case does not matter.
    pub text: Option<String>,
    /// Slug of a skill that they have, confirmed or not.
    pub skill: Option<String>,
    /// Only persons after this one.
    pub after: Option<PersonId>,
}

/// A person in the list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = PersonListed)]
pub struct Listed {
    pub id: PersonId,
    pub name: String,
    /// What counts.
    pub role: Role,
    /// What an admin made of them.
    pub granted_role: Role,
    /// By a role in Discord.
    pub discord_role: Option<Role>,
    pub active: bool,
    /// Set to away, by themselves or an admin.
    pub away: bool,
    /// Set to away, or in a period away.
    pub away_now: bool,
    /// Active tickets they may hold at once; `None`: the configured number.
    pub cap: Option<i32>,
    pub email: Option<String>,
    pub created_at: DateTime<Utc>,
    /// The same person, known by an address that was linked since.
    pub merged_into: Option<PersonId>,
}

/// What a person is called by on one channel.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Identity {
    /// `email` or `discord`.
    pub channel: String,
    pub address: String,
    /// When they proved that it is theirs.
    pub verified_at: Option<DateTime<Utc>>,
}

/// How a person logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = PersonAccount)]
pub struct Account {
    pub has_password: bool,
    /// Codes by an app are asked for after the password.
    pub has_second_factor: bool,
    pub last_login_at: Option<DateTime<Utc>>,
    /// Log-ins that have not ended.
    pub sessions: i64,
}

/// Everything of one person.
#[derive(Clone, Debug)]
pub struct Profile {
    pub person: Listed,
    pub identities: Vec<Identity>,
    pub skills: Vec<OwnSkill>,
    /// Those that are not over.
    pub away_periods: Vec<AwayPeriod>,
    /// `None`: always.
    pub hours: Option<WorkingHours>,
    pub account: Account,
    pub last_assigned_at: Option<DateTime<Utc>>,
}

/// Why nothing was changed, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("there is no person {0}")]
    Unknown(PersonId),
    #[error("person {0} and person {1} are one since their addresses were linked: change person {1}")]
    Merged(PersonId, PersonId),
    #[error("this is the last active admin: make somebody else an admin first")]
    LastAdmin,
    #[error("that is not a mail address: give one such as name@example.org")]
    NotAnAddress,
    #[error("that is an address of ours, which becomes tickets: give the person's own")]
    OwnAddress,
    #[error("that address is person {0}'s already: change that person instead")]
    Taken(PersonId),
    #[error("a name has 1 to {LONGEST_NAME} characters, in one line")]
    Name,
    #[error("a cap is a number of tickets from 0 to {LARGEST_CAP}")]
    Cap,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Somebody to be entered.
#[derive(Clone, Debug)]
pub struct NewPerson {
    pub name: String,
    pub email: String,
    pub role: Role,
}

/// What is to be changed; `None`: stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    /// What an admin makes of them; a role by Discord counts beside it.
    pub role: Option<Role>,
    pub active: Option<bool>,
    pub away: Option<bool>,
    pub cap: Option<Cap>,
}

/// How many active tickets somebody may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// As many as the configuration says.
    Configured,
    Own(i32),
}

impl Cap {
    fn own(self) -> Option<i32> {
        match self {
            Self::Configured => None,
            Self::Own(cap) => Some(cap),
        }
    }
}

/// Persons by number, at most `limit`. Who was merged into another is not listed.
pub async fn list(db: &PgPool, filter: &Filter, limit: i64, now: DateTime<Utc>) -> sqlx::Result<Vec<Listed>> {
    let texts = [&filter.text, &filter.skill];
    // PostgreSQL's TEXT cannot hold NUL; nobody's name does.
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Vec::new());
    }
    sql::list(db, filter, limit, now).await
}

/// One person with everything. `None`: there is none of that number.
pub async fn profile(db: &PgPool, id: PersonId, now: DateTime<Utc>) -> sqlx::Result<Option<Profile>> {
    let Some((person, last_assigned_at)) = sql::one(db, id.0, now).await? else { return Ok(None) };
    Ok(Some(Profile {
        person,
        identities: sql::identities(db, id.0).await?,
        skills: super::skills_of(db, id).await?,
        away_periods: hours::away_periods(db, id, now).await?,
        hours: hours::working_hours(db, id).await?,
        account: sql::account(db, id.0, now).await?,
        last_assigned_at,
    }))
}

/// Staff that is away now, by name.
pub async fn away_now(db: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<(PersonId, String)>> {
    sql::away_now(db, now).await
}

/// Enters somebody. An admin means whoever reads mail at that address, so nothing needs to be proven.
pub async fn create(
    tx: &mut Tx,
    config: &Config,
    new: &NewPerson,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<PersonId, DirectoryError> {
    let name = checked_name(&new.name)?;
    let address = address::canonical(&new.email);
    if !address::is_valid(&address) {
        return Err(DirectoryError::NotAnAddress);
    }
    if super::link::is_own(config, &address) {
        return Err(DirectoryError::OwnAddress);
    }
    let id = sql::insert(tx, &name, new.role, now).await?;
    if !sql::insert_address(tx, id, &address, now).await? {
        // The caller rolls back, and with it the person who is nobody.
        let owner = super::find_by_address(tx, &address).await?.map_or(PersonId(id), |owner| owner.id);
        return Err(DirectoryError::Taken(owner));
    }
    if new.role.is_staff() {
        queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    }
    let person = PersonId(id);
    let data = json!({"name": name, "role": new.role});
    audit::record(tx, actor, "person.created", &subject(person), &data, now).await?;
    Ok(person)
}

/// What of a person decides about rights, as it is locked.
#[derive(Clone, Debug)]
struct Standing {
    name: String,
    granted: Role,
    discord: Option<Role>,
    active: bool,
    away: bool,
    cap: Option<i32>,
    merged_into: Option<PersonId>,
}

impl Standing {
    fn is_admin(&self) -> bool {
        self.active && (self.granted == Role::Admin || self.discord == Some(Role::Admin))
    }

    fn is_granted_admin(&self) -> bool {
        self.active && self.granted == Role::Admin
    }
}

/// Changes a person. Who loses a role or is switched off is logged out, and what they have is given to others.
pub async fn change(
    tx: &mut Tx,
    id: PersonId,
    change: &Change,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(), DirectoryError> {
    let name = change.name.as_deref().map(checked_name).transpose()?;
    if change.cap.and_then(Cap::own).is_some_and(|cap| !(0..=LARGEST_CAP).contains(&cap)) {
        return Err(DirectoryError::Cap);
    }
    let takes_away = change.role.is_some_and(|role| role < Role::Admin) || change.active == Some(false);
    // With all admins, where one might be lost: of two who demote each other, the second one sees what the first did.
    sql::lock(tx, id.0, takes_away).await?;
    let before = sql::standing(tx, id.0).await?.ok_or(DirectoryError::Unknown(id))?;
    if let Some(into) = before.merged_into {
        return Err(DirectoryError::Merged(id, into));
    }
    let after = Standing {
        name: name.unwrap_or_else(|| before.name.clone()),
        granted: change.role.unwrap_or(before.granted),
        active: change.active.unwrap_or(before.active),
        away: change.away.unwrap_or(before.away),
        cap: change.cap.map_or(before.cap, Cap::own),
        ..before.clone()
    };
    if takes_away {
        keep_an_admin(tx, id, &before, &after).await?;
    }
    let entries = entries(&before, &after);
    if entries.is_empty() {
        return Ok(());
    }
    sql::update(tx, id.0, &after).await?;
    if after.granted < before.granted || before.active && !after.active {
        access::end_sessions(tx, id, None, now).await?;
        super::api_tokens::revoke_all(tx, id, now).await?;
    }
    // What they have is to be given to others, or they may take what nobody fit before.
    queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    for (action, data) in entries {
        audit::record(tx, actor, action, &subject(id), &data, now).await?;
    }
    Ok(())
}

/// Somebody must be left who can make admins. An admin by Discord may be none tomorrow, so as long as one was made by an
/// admin, one such stays.
async fn keep_an_admin(
    tx: &mut Tx,
    id: PersonId,
    before: &Standing,
    after: &Standing,
) -> Result<(), DirectoryError> {
    let others = sql::other_admins(tx, id.0).await?;
    let loses_granted = before.is_granted_admin() && !after.is_granted_admin() && others.granted == 0;
    let loses_any = before.is_admin() && !after.is_admin() && others.any == 0;
    if loses_granted || loses_any { Err(DirectoryError::LastAdmin) } else { Ok(()) }
}

/// What the log says of a change: nothing where there is none.
fn entries(before: &Standing, after: &Standing) -> Vec<(&'static str, Value)> {
    let mut entries = Vec::new();
    if before.granted != after.granted {
        entries.push(("person.role_changed", json!({"from": before.granted, "to": after.granted})));
    }
    if before.active != after.active {
        let action = if after.active { "person.activated" } else { "person.deactivated" };
        entries.push((action, json!({})));
    }
    let mut changed = Map::new();
    if before.name != after.name {
        changed.insert("name".to_owned(), json!({"from": before.name, "to": after.name}));
    }
    if before.away != after.away {
        changed.insert("away".to_owned(), json!({"from": before.away, "to": after.away}));
    }
    if before.cap != after.cap {
        changed.insert("cap".to_owned(), json!({"from": before.cap, "to": after.cap}));
    }
    if !changed.is_empty() {
        entries.push(("person.changed", Value::Object(changed)));
    }
    entries
}

/// Ends every log-in of a person. Returns how many there were.
pub async fn log_out(
    tx: &mut Tx,
    id: PersonId,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<u64, DirectoryError> {
    sql::lock(tx, id.0, false).await?;
    if sql::standing(tx, id.0).await?.is_none() {
        return Err(DirectoryError::Unknown(id));
    }
    let ended = access::end_sessions(tx, id, None, now).await?;
    super::api_tokens::revoke_all(tx, id, now).await?;
    audit::record(tx, actor, "person.logged_out", &subject(id), &json!({"sessions": ended}), now).await?;
    Ok(ended)
}

/// Takes the second factor of somebody away who has lost it, and ends every log-in of theirs. False: there was none.
pub async fn reset_second_factor(
    tx: &mut Tx,
    id: PersonId,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<bool, DirectoryError> {
    sql::lock(tx, id.0, false).await?;
    if sql::standing(tx, id.0).await?.is_none() {
        return Err(DirectoryError::Unknown(id));
    }
    if !super::second_factor::disable(tx, id).await? {
        return Ok(false);
    }
    access::end_sessions(tx, id, None, now).await?;
    audit::record(tx, actor, "person.second_factor_reset", &subject(id), &json!({}), now).await?;
    Ok(true)
}

fn subject(id: PersonId) -> String {
    format!("person:{id}")
}

fn checked_name(name: &str) -> Result<String, DirectoryError> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(DirectoryError::Name);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_and_not_long() {
        assert_eq!(checked_name("  Bea van Dam ").unwrap(), "Bea van Dam");
        for name in ["", " ", "a\nb", "a\0b", &"x".repeat(201)] {
            assert!(checked_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_log_says_what_changed_and_nothing_else() {
        let bea = Standing {
            name: "Bea".to_owned(),
            granted: Role::Moderator,
            discord: None,
            active: true,
            away: false,
            cap: None,
            merged_into: None,
        };
        assert!(entries(&bea, &bea).is_empty());
        let other = Standing { granted: Role::User, active: false, cap: Some(3), ..bea.clone() };
        let said: Vec<String> =
            entries(&bea, &other).into_iter().map(|(action, data)| format!("{action} {data}")).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        person.role_changed {"from":"moderator","to":"user"}
        person.deactivated {}
        person.changed {"cap":{"from":null,"to":3}}
        "#);
    }
}
