//! Persons: what they are called by, which role and skills they have, how they log in.
//!
//! Owns `persons`, `identities`, `skills`, `person_skills`, `credentials`, `signing_keys`, `link_codes`, `snippets`,
//! `working_hours` and `away_periods`; of
//! accounts, `sessions`, `refresh_tokens`, `api_tokens`, `account_letters`, `second_factors`, `recovery_codes`,
//! `external_identities` and `oidc_logins`. Knows nothing about tickets.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use crate::audit::{self, Actor};
use crate::ids::{PersonId, SkillId};
use crate::queue::{self, Tx};

pub mod access;
pub mod accounts;
pub mod api_tokens;
pub mod catalogue;
mod choices;
pub mod directory;
pub mod external;
pub mod hours;
pub mod letters;
pub mod levels;
pub mod link;
mod merge;
pub mod password;
pub mod second_factor;
pub mod secrets;
pub mod sessions;
pub mod snippets;
mod sql;
mod standing;
mod sweep;

pub use choices::{Colleague, OwnSkill, SkillError, find_skills, find_staff, propose_skill, skills_of};
pub use merge::{hold_alone, merge};
pub use standing::{Granted, granted_by_discord};
pub use sweep::{Swept, sweep};

/// What a person may do. Exactly one each; the greater one may more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Moderator,
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "admin" => Self::Admin,
            "moderator" => Self::Moderator,
            // The column's CHECK leaves nothing else; the role with no rights is the safe reading.
            _ => Self::User,
        }
    }

    pub fn is_staff(self) -> bool {
        self != Self::User
    }
}

/// A person as others see them.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: PersonId,
    pub name: String,
    pub role: Role,
    pub active: bool,
    pub email: Option<String>,
    /// The user id in Discord.
    pub discord: Option<u64>,
}

/// A staff member as the assignment sees one.
#[derive(Clone, Debug)]
pub struct StaffMember {
    pub id: PersonId,
    pub name: String,
    pub role: Role,
    /// Set to away, or in a period away.
    pub away: bool,
    /// Within their working hours, or without any.
    pub at_work: bool,
    pub cap: Option<i32>,
    pub last_assigned_at: Option<DateTime<Utc>>,
    /// Confirmed skills: slug and level 1 to 5.
    pub skills: Vec<(String, i32)>,
}

/// A skill of the catalogue. The order of fields is the order in the TOML file.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[schema(as = CatalogueSkill)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    pub slug: String,
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub description: String,
}

/// The catalogue as a TOML document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(default)]
    pub skill: Vec<Skill>,
}

/// A staff member to be entered.
#[derive(Clone, Debug)]
pub struct NewStaff {
    pub name: String,
    pub email: String,
    pub role: Role,
    pub cap: Option<i32>,
    pub away: bool,
    pub skills: Vec<(String, i32)>,
}

/// The person behind a mail address, made if the address is new. The address is taken in canonical form. Until the
/// transaction ends the address stays with this person: who is merged meanwhile would keep what is entered for them.
pub async fn by_address(
    tx: &mut Tx,
    address: &str,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<PersonId> {
    by_identity(tx, "email", address, name, now).await
}

/// The person behind a user of Discord, made if the user is new. It stays this person's until the transaction ends. Look
/// people up before you lock tickets: a merge goes that way too.
pub async fn by_discord(tx: &mut Tx, user: u64, name: &str, now: DateTime<Utc>) -> sqlx::Result<PersonId> {
    by_identity(tx, "discord", &user.to_string(), name, now).await
}

/// The person behind a user of Discord, if it is known.
pub async fn find_by_discord(tx: &mut Tx, user: u64) -> sqlx::Result<Option<Person>> {
    match sql::find(tx, "discord", &user.to_string()).await? {
        Some(id) => sql::person(&mut **tx, id).await,
        None => Ok(None),
    }
}

/// Sets the role that a person has by a Discord role; `None`: none. A moderator who is new to us may take what nobody
/// fit before.
pub async fn set_discord_role(
    tx: &mut Tx,
    person: PersonId,
    role: Option<Role>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let role = role.filter(|role| role.is_staff());
    if sql::set_discord_role(tx, person.0, role.map(Role::as_str)).await? {
        queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    }
    Ok(())
}

/// Who is staff by a Discord role, with their users there: to be asked about again.
pub async fn staff_by_discord(db: &PgPool) -> sqlx::Result<Vec<(PersonId, u64)>> {
    let rows = sql::staff_by_discord(db).await?;
    Ok(rows.into_iter().filter_map(|(id, user)| Some((PersonId(id), user.parse().ok()?))).collect())
}

async fn by_identity(
    tx: &mut Tx,
    channel: &str,
    address: &str,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<PersonId> {
    let name = if name.trim().is_empty() { address } else { name };
    let found = sql::find_or_insert(tx, channel, address, name, now).await?;
    match (found.known.or(found.entered), found.made) {
        (Some(person), _) => Ok(person.into()),
        // Another transaction entered the address while we did: it has committed, and the person we made is nobody.
        (None, orphan) => {
            if let Some(orphan) = orphan {
                sql::delete_person(tx, orphan).await?;
            }
            sql::find(tx, channel, address).await?.map(PersonId).ok_or(sqlx::Error::RowNotFound)
        }
    }
}

/// The person behind a mail address, if it is known.
pub async fn find_by_address(tx: &mut Tx, address: &str) -> sqlx::Result<Option<Person>> {
    match sql::find(tx, "email", address).await? {
        Some(id) => sql::person(&mut **tx, id).await,
        None => Ok(None),
    }
}

/// One person, as the transaction sees them. Who was merged into another is that other one.
pub async fn person_in(tx: &mut Tx, id: PersonId) -> sqlx::Result<Option<Person>> {
    sql::person(&mut **tx, id.0).await
}

/// One person. Who was merged into another is that other one.
pub async fn person(db: &PgPool, id: PersonId) -> sqlx::Result<Option<Person>> {
    sql::person(db, id.0).await
}

/// All active staff with their confirmed skills, as they are `now`, in a stable order.
pub async fn staff(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<Vec<StaffMember>> {
    let mut staff = sql::staff(tx, now).await?;
    for (person, hours) in hours::all_hours(tx).await? {
        if let Some(member) = staff.iter_mut().find(|member| member.id == person) {
            member.at_work = hours.cover(now);
        }
    }
    Ok(staff)
}

/// Active staff who may be meant by an address, a name or its beginning: those whom it fits best.
pub async fn staff_named(tx: &mut Tx, text: &str) -> sqlx::Result<Vec<(PersonId, String)>> {
    Ok(sql::staff_named(tx, text).await?.into_iter().map(|(id, name)| (PersonId(id), name)).collect())
}

/// Where every active admin reads mail.
pub async fn admin_addresses(db: &PgPool) -> sqlx::Result<Vec<String>> {
    sql::admin_addresses(db).await
}

/// Remembers when this person was last given a ticket: the tie-break.
pub async fn note_assigned(tx: &mut Tx, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::note_assigned(tx, person.0, now).await
}

/// Locks a person until the transaction ends, so that two tickets don't fill the same free place.
pub async fn lock(tx: &mut Tx, people: &[PersonId]) -> sqlx::Result<()> {
    let mut ids: Vec<i64> = people.iter().map(|p| p.0).collect();
    // One order for everybody, or two transactions wait for each other.
    ids.sort_unstable();
    sql::lock(tx, &ids).await
}

/// The skills of the catalogue, by slug.
pub async fn skills(db: &PgPool) -> sqlx::Result<Vec<Skill>> {
    sql::skills(db).await
}

/// Ids of the skills with these slugs; unknown ones are left out.
pub async fn skill_ids(tx: &mut Tx, slugs: &[String]) -> sqlx::Result<Vec<SkillId>> {
    Ok(sql::skill_ids(tx, slugs).await?.into_iter().map(SkillId).collect())
}

/// Adds and changes skills; never removes one. Returns how many the document holds.
pub async fn import_skills(db: &PgPool, document: &str, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let catalogue: Catalogue =
        toml::from_str(document).map_err(|error| crate::config::toml_fault(document, &error))?;
    if catalogue.skill.is_empty() {
        bail!("there is no [[skill]] in the document");
    }
    let mut tx = db.begin().await?;
    for skill in &catalogue.skill {
        let shaped =
            skill.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        if skill.slug.is_empty() || skill.slug.len() > 64 || !shaped || skill.slug.starts_with(['-', '_']) {
            bail!(
                "skill `{}`: a slug has 1 to 64 of a-z, 0-9, - and _, and starts with a letter or digit",
                skill.slug
            );
        }
        sql::upsert_skill(&mut tx, skill, now).await.with_context(|| format!("skill `{}`", skill.slug))?;
    }
    tx.commit().await?;
    Ok(catalogue.skill.len())
}

/// The catalogue as TOML, in the form that [`import_skills`] takes.
pub async fn export_skills(db: &PgPool) -> anyhow::Result<String> {
    Ok(toml::to_string(&Catalogue { skill: skills(db).await? })?)
}

/// Staff as a TOML document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaffDocument {
    #[serde(default)]
    person: Vec<StaffEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaffEntry {
    name: String,
    email: String,
    role: Role,
    cap: Option<i32>,
    #[serde(default)]
    away: bool,
    /// Slug and level 1 to 5.
    #[serde(default)]
    skills: std::collections::BTreeMap<String, i32>,
}

/// One person of an imported document.
#[derive(Clone, Copy, Debug)]
pub struct Imported {
    pub id: PersonId,
    pub role: Role,
}

/// Enters and changes staff, by address; removes nobody.
pub async fn import_staff(db: &PgPool, document: &str, now: DateTime<Utc>) -> anyhow::Result<Vec<Imported>> {
    let document: StaffDocument =
        toml::from_str(document).map_err(|error| crate::config::toml_fault(document, &error))?;
    if document.person.is_empty() {
        bail!("there is no [[person]] in the document");
    }
    let mut imported = Vec::new();
    for entry in document.person {
        let address = crate::mail::address::canonical(&entry.email);
        if !crate::mail::address::is_valid(&address) {
            bail!("{}: `{}` is not a mail address", entry.name, entry.email);
        }
        if let Some((slug, level)) = entry.skills.iter().find(|(_, level)| !(1..=5).contains(*level)) {
            bail!("{}: level {level} in {slug}: levels are from 1 to 5", entry.name);
        }
        let staff = NewStaff {
            name: entry.name,
            email: entry.email,
            role: entry.role,
            cap: entry.cap,
            away: entry.away,
            skills: entry.skills.into_iter().collect(),
        };
        imported.push(Imported { id: save_staff(db, &staff, now).await?, role: staff.role });
    }
    Ok(imported)
}

/// Enters or changes a staff member, skills included.
pub async fn save_staff(db: &PgPool, staff: &NewStaff, now: DateTime<Utc>) -> anyhow::Result<PersonId> {
    let mut tx = db.begin().await?;
    let person =
        by_address(&mut tx, &crate::mail::address::canonical(&staff.email), &staff.name, now).await?;
    sql::set_staff(&mut tx, person.0, staff).await?;
    let known =
        sql::skill_ids(&mut tx, &staff.skills.iter().map(|(slug, _)| slug.clone()).collect::<Vec<_>>())
            .await?;
    if known.len() != staff.skills.len() {
        bail!("{}: has a skill that is not in the catalogue", staff.name);
    }
    let (slugs, levels): (Vec<String>, Vec<i32>) = staff.skills.iter().cloned().unzip();
    sql::set_skills(&mut tx, person.0, &slugs, &levels).await?;
    // Someone may fit now whom nobody fit before.
    queue::enqueue(&mut tx, &queue::REASSIGN, 0, now).await?;
    tx.commit().await?;
    Ok(person)
}

/// Sets whether a staff member takes part: the assignment leaves out who is away. Who is back has ended their period
/// away, too.
pub async fn set_away(db: &PgPool, person: PersonId, away: bool, now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sql::set_away(&mut tx, person.0, away).await?;
    if !away {
        hours::end_periods(&mut tx, person, now).await?;
        queue::enqueue(&mut tx, &queue::REASSIGN, 0, now).await?;
    }
    tx.commit().await
}

/// Makes the person behind `email` an active admin with this password; for `ticketd admin create`.
pub async fn create_admin(
    db: &PgPool,
    email: &str,
    name: &str,
    password: SecretString,
    now: DateTime<Utc>,
) -> anyhow::Result<PersonId> {
    let address = crate::mail::address::canonical(email);
    if !crate::mail::address::is_valid(&address) {
        bail!("`{email}` is not a mail address");
    }
    password::check_strength(&password)?;
    let hash = password::hash(password).await?;
    let mut tx = db.begin().await?;
    let person = by_address(&mut tx, &address, name, now).await?;
    sql::make_admin(&mut tx, person.0, name).await?;
    sql::set_password(&mut tx, person.0, &hash, now).await?;
    // What was begun with less rights, or with another password, does not go on with these.
    access::end_sessions(&mut tx, person, None, now).await?;
    api_tokens::revoke_all(&mut tx, person, now).await?;
    // What nobody could be given waits for this.
    queue::enqueue(&mut tx, &queue::REASSIGN, 0, now).await?;
    let data = serde_json::json!({"to": Role::Admin});
    let subject = format!("person:{person}");
    audit::record(&mut tx, audit::Actor::COMMAND, "person.role_changed", &subject, &data, now).await?;
    tx.commit().await?;
    Ok(person)
}

/// Sets a person's password, and ends what was begun with another one.
pub async fn set_password(
    db: &PgPool,
    person: PersonId,
    password: SecretString,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let hash = password::hash(password).await?;
    let mut tx = db.begin().await?;
    sql::set_password(&mut tx, person.0, &hash, now).await?;
    access::end_sessions(&mut tx, person, None, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes another signing key, which signs from the next start of each process on; what the older ones signed stays good.
/// Returns how many there are now.
pub async fn rotate_signing_key(db: &PgPool, now: DateTime<Utc>) -> anyhow::Result<usize> {
    signing_keys(db, now).await?;
    let fresh: [u8; 32] = rand::random();
    let mut tx = db.begin().await?;
    sql::insert_signing_key(&mut tx, &fresh, now).await?;
    audit::record(&mut tx, Actor::COMMAND, "signing_key.rotated", "signing_key", &json!({}), now).await?;
    tx.commit().await?;
    Ok(sql::signing_keys(db).await?.len())
}

/// The signing keys kept in the database, newest first; the first one is made when there is none.
pub async fn signing_keys(db: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<Vec<u8>>> {
    let keys = sql::signing_keys(db).await?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    let fresh: [u8; 32] = rand::random();
    sql::insert_first_signing_key(db, &fresh, now).await?;
    sql::signing_keys(db).await
}
