//! Sign-in by another (OpenID Connect): what was begun and has not come back, and whom a provider vouches for.
//!
//! People are known by the provider's own key for them, never by their address: addresses change hands there. What the
//! provider says is checked by whoever speaks with it; this part believes it.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::json;
use sqlx::PgPool;

use super::accounts::{self, Standing};
use super::letters::{self, Kind, LetterKey, NewLetter, Purpose, Row};
use super::second_factor::{self, SecondFactorError};
use super::secrets::{self, Secret};
use crate::audit::Actor;
use crate::ids::PersonId;
use crate::mail::address;
use crate::queue::Tx;

mod sql;

/// How long a sign-in may take at the provider.
pub const PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// OpenID Connect Core §2: a subject has at most 255 characters.
const LONGEST_SUBJECT: usize = 255;

/// A sign-in that begins.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Comes back from the provider.
    pub state: Secret,
    /// Stays in the browser, as a cookie.
    pub browser: Secret,
    pub nonce: String,
}

/// Remembers that a sign-in begins in a browser.
pub async fn begin(
    db: &PgPool,
    pkce_verifier: &str,
    return_to: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Begin> {
    let begin = Begin { state: Secret::fresh(""), browser: Secret::fresh(""), nonce: secrets::nonce() };
    let row = sql::Waiting {
        nonce: begin.nonce.clone(),
        pkce_verifier: pkce_verifier.to_owned(),
        return_to: return_to.to_owned(),
    };
    sql::insert_login(db, &begin.state.hash(), &begin.browser.hash(), &row, now, now + PATIENCE).await?;
    Ok(begin)
}

/// A sign-in that came back to the browser it began in.
#[derive(Clone, Debug)]
pub struct Returned {
    pub nonce: String,
    pub pkce_verifier: String,
    pub return_to: String,
}

/// Takes the sign-in that this state and this browser belong to. It comes back once; `None`: it never began, began in
/// another browser, came back already, or took too long.
pub async fn take(
    db: &PgPool,
    state: &str,
    browser: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Returned>> {
    let row = sql::take_login(db, &secrets::hash(state), &secrets::hash(browser), now).await?;
    Ok(row.map(|row| Returned {
        nonce: row.nonce,
        pkce_verifier: row.pkce_verifier,
        return_to: row.return_to,
    }))
}

/// Whom a provider vouches for.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub issuer: String,
    /// The provider's own key.
    pub subject: String,
    /// Which the provider says is theirs.
    pub email: String,
    pub name: Option<String>,
}

/// Why somebody was not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(
        "the provider says nothing that an account can be made of: no usable mail address, or no usable id"
    )]
    Unusable,
    #[error("this account was switched off: ask an admin")]
    Inactive,
    /// They have to ask again later, or for the password of the account.
    #[error(
        "there is an account with your address, and it was mailed {} links in the last hour: open the newest one",
        letters::PER_HOUR
    )]
    TooMany,
    #[error("this link is not good any more: sign in again to get another one")]
    BadLink,
    #[error("that is not the password of the account (tries left: {left})")]
    WrongPassword { left: i32 },
    #[error("your account asks for a code by your app: type it as well, or a recovery code")]
    NeedsCode,
    #[error(transparent)]
    Code(SecondFactorError),
    #[error("this sign-in belongs to another account already")]
    Taken,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Who a visitor is.
#[derive(Clone, Debug)]
pub enum SignedIn {
    Person(PersonId),
    /// There is an account with this address, and an address proves nothing there: its owner was mailed a link, or shows
    /// the password with this token.
    MustLink {
        token: Secret,
    },
}

/// Whom a provider vouches for is who they were the last time. At the first time: a new person, or the person who wrote
/// by mail from that address; but never whoever has an account, or is staff, without their consent.
pub async fn sign_in(
    db: &PgPool,
    key: &LetterKey,
    visitor: &Visitor,
    now: DateTime<Utc>,
) -> Result<SignedIn, SignInError> {
    let email = address::canonical(&visitor.email);
    let subject = &visitor.subject;
    let odd = subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT || subject.contains('\0');
    if odd || !address::is_valid(&email) {
        return Err(SignInError::Unusable);
    }
    let mut tx = db.begin().await?;
    if let Some(known) = sql::find(&mut tx, &visitor.issuer, subject).await? {
        return recognize(tx, PersonId(known), visitor, now).await;
    }
    match accounts::standing(&mut tx, &email).await? {
        Standing::Nobody | Standing::Wrote(_) => {}
        Standing::Off => return Err(SignInError::Inactive),
        Standing::Account(owner) => return must_link(tx, key, visitor, &email, owner, now).await,
    }
    let name = visitor.name.as_deref().map(clean).unwrap_or_default();
    let person = super::by_address(&mut tx, &email, &name, now).await?;
    super::lock(&mut tx, &[person]).await?;
    // Looked at again, now that nobody else can change it: they may have come in two tabs at once.
    if let Some(known) = sql::find(&mut tx, &visitor.issuer, subject).await? {
        return recognize(tx, PersonId(known), visitor, now).await;
    }
    if let Standing::Account(owner) = accounts::standing(&mut tx, &email).await? {
        return must_link(tx, key, visitor, &email, owner, now).await;
    }
    add(&mut tx, accounts::own(person), person, visitor, &email, now).await?;
    tx.commit().await?;
    Ok(SignedIn::Person(person))
}

async fn recognize(
    mut tx: Tx,
    known: PersonId,
    visitor: &Visitor,
    now: DateTime<Utc>,
) -> Result<SignedIn, SignInError> {
    let active = super::person_in(&mut tx, known).await?.filter(|p| p.active);
    let person = active.ok_or(SignInError::Inactive)?.id;
    sql::note_use(&mut tx, &visitor.issuer, &visitor.subject, now).await?;
    tx.commit().await?;
    Ok(SignedIn::Person(person))
}

async fn must_link(
    mut tx: Tx,
    key: &LetterKey,
    visitor: &Visitor,
    email: &str,
    owner: PersonId,
    now: DateTime<Utc>,
) -> Result<SignedIn, SignInError> {
    let letter = NewLetter {
        external: Some((&visitor.issuer, &visitor.subject)),
        ..NewLetter::to(email, Kind::Link, Some(owner))
    };
    let id = letters::write(&mut tx, &letter, now).await?.ok_or(SignInError::TooMany)?;
    let written = letters::written(&mut tx, id).await?;
    tx.commit().await?;
    Ok(SignedIn::MustLink { token: key.token(Purpose::WithPassword, &written) })
}

/// What a provider calls somebody, as a name of ours.
fn clean(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(100).collect::<String>().trim().to_owned()
}

/// The mailed link was followed: whoever reads the account's mail consents. A second factor is asked for all the same, or
/// a mailbox alone would open the account.
pub async fn link_by_mail(
    db: &PgPool,
    key: &LetterKey,
    token: &SecretString,
    code: Option<&str>,
    now: DateTime<Utc>,
) -> Result<PersonId, SignInError> {
    let letter = letters::open(db, key, Kind::Link, Purpose::ByMail, token, now).await?;
    link(db, &letter.ok_or(SignInError::BadLink)?, code, now).await
}

/// The account's password was typed in the browser that signed in.
pub async fn link_with_password(
    db: &PgPool,
    key: &LetterKey,
    token: &SecretString,
    password: SecretString,
    code: Option<&str>,
    now: DateTime<Utc>,
) -> Result<PersonId, SignInError> {
    let letter = letters::open(db, key, Kind::Link, Purpose::WithPassword, token, now).await?;
    let letter = letter.ok_or(SignInError::BadLink)?;
    let person = letter.person.ok_or(SignInError::BadLink)?;
    let left = letters::count_try(db, letter.id).await?.ok_or(SignInError::BadLink)?;
    if !accounts::is_password(db, person, password).await? {
        return Err(SignInError::WrongPassword { left });
    }
    link(db, &letter, code, now).await
}

async fn link(
    db: &PgPool,
    letter: &Row,
    code: Option<&str>,
    now: DateTime<Utc>,
) -> Result<PersonId, SignInError> {
    let (Some(person), Some((issuer, subject))) = (letter.person, letter.external.clone()) else {
        return Err(SignInError::BadLink);
    };
    let mut tx = db.begin().await?;
    let owner = super::find_by_address(&mut tx, &letter.address).await?;
    super::lock(&mut tx, &[person]).await?;
    match owner {
        Some(owner) if owner.id == person && owner.active => {}
        Some(owner) if owner.id == person => return Err(SignInError::Inactive),
        _ => return Err(SignInError::BadLink),
    }
    if second_factor::is_active(&mut tx, person).await? {
        let code = code.filter(|code| !code.trim().is_empty()).ok_or(SignInError::NeedsCode)?;
        if let Err(error) = second_factor::check(&mut tx, person, code, now).await {
            tx.commit().await?;
            return Err(SignInError::Code(error));
        }
    }
    if !letters::use_up(&mut tx, letter, now).await? {
        return Err(SignInError::BadLink);
    }
    let visitor = Visitor { issuer, subject, email: letter.address.clone(), name: None };
    add(&mut tx, accounts::own(person), person, &visitor, &letter.address, now).await?;
    tx.commit().await?;
    Ok(person)
}

/// The last thing before the commit.
async fn add(
    tx: &mut Tx,
    actor: Actor,
    person: PersonId,
    visitor: &Visitor,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(), SignInError> {
    if !sql::add(tx, person.0, &visitor.issuer, &visitor.subject, now).await? {
        return Err(SignInError::Taken);
    }
    accounts::verify_address(tx, person, email, now).await?;
    let data = json!({"issuer": visitor.issuer});
    accounts::record(tx, actor, "account.linked", person, &data, now).await?;
    Ok(())
}

/// An identity that a provider vouches for, as its owner sees it.
#[derive(Clone, Debug)]
pub struct ExternalIdentity {
    pub issuer: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
}

/// By whom a person can sign in.
pub async fn list(db: &PgPool, person: PersonId) -> sqlx::Result<Vec<ExternalIdentity>> {
    sql::list(db, person.0).await
}

/// Makes the identities of one person another's.
pub(super) async fn take_over(tx: &mut Tx, from: PersonId, into: PersonId) -> sqlx::Result<()> {
    sql::take_over(tx, from.0, into.0).await
}
