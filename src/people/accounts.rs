//! Accounts: signing up, logging in, choosing passwords.
//!
//! No answer and no wait tells whether an address is known: every way in does the same work whoever asks.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::json;
use sqlx::PgPool;

use super::letters::{self, Kind, LetterKey, NewLetter, Purpose};
use super::second_factor::{self, SecondFactorError};
use super::sessions::{self, Begun, Method};
use super::{Person, access, password};
use crate::audit::{self, Actor};
use crate::config::Config;
use crate::ids::PersonId;
use crate::mail::address;
use crate::queue::Tx;

mod sql;

const LONGEST_NAME: usize = 100;

/// Why nothing was done about an account, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("nobody can sign up here by themselves: ask an admin for an account, or write us a mail")]
    SignUpOff,
    #[error("that is not a mail address: write it as name@example.org")]
    NotAnAddress,
    #[error("that is our own address: give yours")]
    OwnAddress,
    #[error("a name has 1 to {LONGEST_NAME} characters, and no line ends")]
    Name,
    #[error("{0}")]
    WeakPassword(String),
    #[error("this link is not good any more: ask for another one")]
    BadLink,
    #[error("that is not the password that was chosen when this address signed up (tries left: {left})")]
    NotTheChosenPassword { left: i32 },
    #[error("that is not your password")]
    WrongPassword,
    #[error("there is no password to change: ask for a link to choose one, by POST /api/auth/password/reset")]
    NoPassword,
    #[error(
        "there is an account with this address already: log in, or ask for a link to choose another password"
    )]
    HasAccount,
    #[error("this account was switched off: ask an admin")]
    Inactive,
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Nobody,
    /// Somebody who only wrote mail: no password, no sign-in by another, no rights.
    Wrote(PersonId),
    /// Somebody who can log in, or is staff.
    Account(PersonId),
    /// Somebody who was switched off.
    Off,
}

/// Whose an address is (in canonical form).
pub(super) async fn standing(tx: &mut Tx, address: &str) -> sqlx::Result<Standing> {
    sql::standing(tx, address).await
}

/// An address as it was typed, in canonical form, if mail may be sent there.
fn checked_address(config: &Config, typed: &str) -> Result<String, AccountError> {
    let canonical = address::canonical(typed);
    if !address::is_valid(&canonical) {
        return Err(AccountError::NotAnAddress);
    }
    if super::link::is_own(config, &canonical) {
        return Err(AccountError::OwnAddress);
    }
    Ok(canonical)
}

fn checked_name(typed: &str) -> Result<&str, AccountError> {
    let name = typed.trim();
    let fits = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.contains(char::is_control);
    if fits { Ok(name) } else { Err(AccountError::Name) }
}

fn checked_password(password: &SecretString) -> Result<(), AccountError> {
    password::check_strength(password).map_err(|error| AccountError::WeakPassword(error.to_string()))
}

/// Somebody signs up: a mail to the address says how it goes on. Nothing else is done before the mail's reader has shown
/// the password as well.
pub async fn sign_up(
    db: &PgPool,
    config: &Config,
    email: &str,
    name: &str,
    password: SecretString,
    now: DateTime<Utc>,
) -> Result<(), AccountError> {
    if !config.auth.signup {
        return Err(AccountError::SignUpOff);
    }
    let address = checked_address(config, email)?;
    let name = checked_name(name)?;
    checked_password(&password)?;
    let hash = password::hash(password).await?;
    let mut tx = db.begin().await?;
    let letter = match standing(&mut tx, &address).await? {
        Standing::Nobody | Standing::Wrote(_) => NewLetter {
            name: Some(name),
            password_hash: Some(&hash),
            ..NewLetter::to(&address, Kind::Confirm, None)
        },
        Standing::Account(person) => NewLetter::to(&address, Kind::Exists, Some(person)),
        // To nobody: it is written, and not mailed.
        Standing::Off => NewLetter::to(&address, Kind::Exists, None),
    };
    letters::write(&mut tx, &letter, now).await?;
    tx.commit().await?;
    Ok(())
}

/// The link of a sign-up was followed, and the password typed again: whoever does both chose the password and reads the
/// mail. One without the other is somebody who signed up with another's address, or whom somebody else signed up.
pub async fn confirm_sign_up(
    db: &PgPool,
    key: &LetterKey,
    token: &SecretString,
    password: SecretString,
    now: DateTime<Utc>,
) -> Result<PersonId, AccountError> {
    let letter = letters::open(db, key, Kind::Confirm, Purpose::ByMail, token, now).await?;
    let letter = letter.ok_or(AccountError::BadLink)?;
    let left = letters::count_try(db, letter.id).await?.ok_or(AccountError::BadLink)?;
    if !password::verify(password, letter.password_hash.clone()).await? {
        return Err(AccountError::NotTheChosenPassword { left });
    }
    let name = letter.name.as_deref().unwrap_or_default();
    let hash = letter.password_hash.as_deref().unwrap_or_default();
    let mut tx = db.begin().await?;
    let person = super::by_address(&mut tx, &letter.address, name, now).await?;
    super::lock(&mut tx, &[person]).await?;
    match standing(&mut tx, &letter.address).await? {
        Standing::Nobody | Standing::Wrote(_) => {}
        Standing::Account(_) => return Err(AccountError::HasAccount),
        Standing::Off => return Err(AccountError::Inactive),
    }
    if !letters::use_up(&mut tx, &letter, now).await? {
        return Err(AccountError::BadLink);
    }
    sql::set_name(&mut tx, person.0, name).await?;
    super::sql::set_password(&mut tx, person.0, hash, now).await?;
    sql::verify_address(&mut tx, person.0, &letter.address, now).await?;
    record(&mut tx, own(person), "account.confirmed", person, &json!({}), now).await?;
    tx.commit().await?;
    Ok(person)
}

/// Who shows address and password, and perhaps a code.
#[derive(Debug)]
pub struct LogIn<'a> {
    pub email: &'a str,
    pub password: SecretString,
    /// By the app, or a recovery code.
    pub code: Option<&'a str>,
    pub user_agent: &'a str,
    /// How long the session may last.
    pub lifetime: TimeDelta,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    #[error("address or password is wrong")]
    Wrong,
    /// Address and password are right.
    #[error("a second factor is asked for: send `code` as well, from your app or one of your recovery codes")]
    SecondFactor,
    #[error(transparent)]
    Code(SecondFactorError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    pub person: Person,
    pub begun: Begun,
}

/// Checks address, password and, where there is a second factor, the code; begins a session.
pub async fn log_in(db: &PgPool, given: LogIn<'_>, now: DateTime<Utc>) -> Result<LoggedIn, LogInError> {
    let address = address::canonical(given.email);
    // PostgreSQL's TEXT cannot hold NUL; nobody's address does.
    let known = if address.contains('\0') { None } else { super::sql::credential(db, &address).await? };
    let hash = known.as_ref().map(|c| c.password_hash.clone());
    let matches = password::verify(given.password.clone(), hash).await?;
    let person = known.as_ref().map(|c| PersonId(c.person_id));
    let Some(known) = known.filter(|_| matches) else {
        note_failure(db, person, "password", now).await?;
        return Err(LogInError::Wrong);
    };
    let mut tx = db.begin().await?;
    let id = PersonId(known.person_id);
    super::lock(&mut tx, &[id]).await?;
    let person = super::person_in(&mut tx, id).await?.filter(|p| p.active && p.id == id);
    let unchanged = sql::is_hash(&mut tx, id.0, &known.password_hash).await?;
    let Some(person) = person.filter(|_| unchanged) else {
        drop(tx);
        note_failure(db, Some(id), "account", now).await?;
        return Err(LogInError::Wrong);
    };
    let mut method = Method::Password;
    if second_factor::is_active(&mut tx, id).await? {
        method = Method::Totp;
        let code = given.code.filter(|code| !code.trim().is_empty()).ok_or(LogInError::SecondFactor)?;
        if let Err(error) = second_factor::check(&mut tx, id, code, now).await {
            if let SecondFactorError::WrongCode | SecondFactorError::TooMany = error {
                record(&mut tx, Actor::STRANGER, "login.failed", id, &json!({"wrong": "code"}), now).await?;
            }
            tx.commit().await?;
            return Err(LogInError::Code(error));
        }
    }
    let begun = sessions::begin(&mut tx, id, method, given.user_agent, given.lifetime, now).await?;
    tx.commit().await?;
    if password::is_outdated(&known.password_hash) {
        let fresh = password::hash(given.password).await?;
        sql::renew_hash(db, id.0, &known.password_hash, &fresh).await?;
    }
    Ok(LoggedIn { person, begun })
}

/// Enters that a log-in to somebody's account failed. Where there is no account, the same is done and taken back: the wait
/// does not tell.
async fn note_failure(
    db: &PgPool,
    person: Option<PersonId>,
    wrong: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sql::begin_part(&mut tx).await?;
    let whose = person.unwrap_or(PersonId(0));
    record(&mut tx, Actor::STRANGER, "login.failed", whose, &json!({"wrong": wrong}), now).await?;
    if person.is_none() {
        sql::take_part_back(&mut tx).await?;
    }
    // With what was taken back the commit is written to disk all the same.
    tx.commit().await
}

/// Somebody who is logged in chooses another password. All their other sessions end, and a mail says so.
pub async fn change_password(
    db: &PgPool,
    actor: Actor,
    person: PersonId,
    session: Option<i64>,
    current: SecretString,
    new: SecretString,
    now: DateTime<Utc>,
) -> Result<(), AccountError> {
    let known = sql::own_hash(db, person.0).await?.ok_or(AccountError::NoPassword)?;
    if !password::verify(current, Some(known.clone())).await? {
        return Err(AccountError::WrongPassword);
    }
    checked_password(&new)?;
    let hash = password::hash(new).await?;
    let mut tx = db.begin().await?;
    super::lock(&mut tx, &[person]).await?;
    if !sql::is_hash(&mut tx, person.0, &known).await? {
        // Somebody else has changed it meanwhile.
        return Err(AccountError::WrongPassword);
    }
    super::sql::set_password(&mut tx, person.0, &hash, now).await?;
    access::end_sessions(&mut tx, person, session, now).await?;
    tell_of_change(&mut tx, person, now).await?;
    record(&mut tx, actor, "password.changed", person, &json!({}), now).await?;
    tx.commit().await?;
    Ok(())
}

/// Whether a person has a password: who signs in by another may have none.
pub async fn has_password(db: &PgPool, person: PersonId) -> sqlx::Result<bool> {
    Ok(sql::own_hash(db, person.0).await?.is_some())
}

/// Whether this is a person's password: asked again before something that a stolen session must not do.
pub async fn is_password(db: &PgPool, person: PersonId, password: SecretString) -> anyhow::Result<bool> {
    let known = sql::own_hash(db, person.0).await?;
    password::verify(password, known).await
}

/// Somebody wants to choose another password: whoever has an account is mailed a link. So are staff that an admin entered,
/// who have none yet.
pub async fn ask_for_reset(
    db: &PgPool,
    config: &Config,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(), AccountError> {
    let address = checked_address(config, email)?;
    let mut tx = db.begin().await?;
    let person = match standing(&mut tx, &address).await? {
        Standing::Account(person) => Some(person),
        // To nobody: it is written, and not mailed.
        Standing::Nobody | Standing::Wrote(_) | Standing::Off => None,
    };
    letters::write(&mut tx, &NewLetter::to(&address, Kind::Reset, person), now).await?;
    tx.commit().await?;
    Ok(())
}

/// The link was followed: the password is this one from now on, and all sessions end. The second factor stays.
pub async fn reset_password(
    db: &PgPool,
    key: &LetterKey,
    token: &SecretString,
    new: SecretString,
    now: DateTime<Utc>,
) -> Result<PersonId, AccountError> {
    let letter = letters::open(db, key, Kind::Reset, Purpose::ByMail, token, now).await?;
    let letter = letter.ok_or(AccountError::BadLink)?;
    let person = letter.person.ok_or(AccountError::BadLink)?;
    checked_password(&new)?;
    let hash = password::hash(new).await?;
    let mut tx = db.begin().await?;
    // The address stays this person's until the end; it may have become another's since.
    let owner = super::find_by_address(&mut tx, &letter.address).await?;
    super::lock(&mut tx, &[person]).await?;
    if owner.is_none_or(|owner| owner.id != person) {
        return Err(AccountError::BadLink);
    }
    match standing(&mut tx, &letter.address).await? {
        Standing::Account(_) => {}
        Standing::Off => return Err(AccountError::Inactive),
        Standing::Nobody | Standing::Wrote(_) => return Err(AccountError::BadLink),
    }
    if !letters::use_up(&mut tx, &letter, now).await? {
        return Err(AccountError::BadLink);
    }
    super::sql::set_password(&mut tx, person.0, &hash, now).await?;
    sql::verify_address(&mut tx, person.0, &letter.address, now).await?;
    access::end_sessions(&mut tx, person, None, now).await?;
    // Whoever had got in may have made some.
    super::api_tokens::revoke_all(&mut tx, person, now).await?;
    letters::write(&mut tx, &NewLetter::to(&letter.address, Kind::Changed, Some(person)), now).await?;
    record(&mut tx, own(person), "password.reset", person, &json!({}), now).await?;
    tx.commit().await?;
    Ok(person)
}

/// Switches the second factor off: with password and code, so that neither a stolen session nor a stolen phone does it.
pub async fn disable_second_factor(
    db: &PgPool,
    actor: Actor,
    person: PersonId,
    password: SecretString,
    code: &str,
    now: DateTime<Utc>,
) -> Result<(), AccountError> {
    let mut tx = with_password_and_code(db, person, password, code, now).await?;
    second_factor::disable(&mut tx, person).await?;
    record(&mut tx, actor, "second_factor.disabled", person, &json!({}), now).await?;
    tx.commit().await?;
    Ok(())
}

/// Hands out new recovery codes: with password and code. Those of before are void.
pub async fn renew_recovery_codes(
    db: &PgPool,
    actor: Actor,
    person: PersonId,
    password: SecretString,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Vec<super::secrets::Secret>, AccountError> {
    let mut tx = with_password_and_code(db, person, password, code, now).await?;
    let codes = second_factor::hand_out(&mut tx, person).await?;
    record(&mut tx, actor, "recovery_codes.renewed", person, &json!({}), now).await?;
    tx.commit().await?;
    Ok(codes)
}

/// A transaction in which both were right. Who has no password, signing in elsewhere, shows the code alone.
async fn with_password_and_code(
    db: &PgPool,
    person: PersonId,
    password: SecretString,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Tx, AccountError> {
    let known = sql::own_hash(db, person.0).await?;
    let has_none = known.is_none();
    let matches = password::verify(password, known).await?;
    if !matches && !has_none {
        return Err(AccountError::WrongPassword);
    }
    let mut tx = db.begin().await?;
    if let Err(error) = second_factor::check(&mut tx, person, code, now).await {
        tx.commit().await?;
        return Err(error.into());
    }
    Ok(tx)
}

/// A person calls themselves otherwise.
pub async fn rename(db: &PgPool, person: PersonId, name: &str) -> Result<(), AccountError> {
    let name = checked_name(name)?;
    let mut tx = db.begin().await?;
    sql::set_name(&mut tx, person.0, name).await?;
    tx.commit().await?;
    Ok(())
}

/// Notes that an address was proven to be a person's.
pub(super) async fn verify_address(
    tx: &mut Tx,
    person: PersonId,
    address: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sql::verify_address(tx, person.0, address, now).await
}

async fn tell_of_change(tx: &mut Tx, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<()> {
    let known = super::person_in(tx, person).await?;
    if let Some(address) = known.and_then(|p| p.email) {
        letters::write(tx, &NewLetter::to(&address, Kind::Changed, Some(person)), now).await?;
    }
    Ok(())
}

/// Somebody who proved who they are by what they were mailed.
pub(super) fn own(person: PersonId) -> Actor {
    Actor { person: Some(person), ..Actor::STRANGER }
}

/// Enters what happened to an account.
pub(super) async fn record(
    tx: &mut Tx,
    actor: Actor,
    action: &str,
    person: PersonId,
    data: &serde_json::Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    audit::record(tx, actor, action, &format!("person:{person}"), data, now).await
}
