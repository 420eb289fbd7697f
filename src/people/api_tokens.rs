//! API tokens: what a program shows in place of a person, with no more rights than the person has.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::secrets::Secret;
use crate::audit::{self, Actor};
use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

/// What stands in front of every API token.
const PREFIX: &str = "tdk_";
/// How long a token is good for where nobody says.
pub const DEFAULT_LIFETIME: TimeDelta = TimeDelta::days(90);
/// And at most.
pub const LONGEST_LIFETIME: TimeDelta = TimeDelta::days(365);
/// Tokens that one person may have at once.
pub const MOST: i64 = 50;
const LONGEST_NAME: usize = 100;
const MOST_SCOPES: usize = 50;
const HINT_LETTERS: usize = 4;

/// Why a token was not made, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("give the token a name of 1 to {LONGEST_NAME} characters that says what it is for")]
    Name,
    #[error("say what the token is for: `scopes` holds at least one scope, and at most {MOST_SCOPES}")]
    NoScopes,
    #[error("a token expires within a year, and not before it is made: choose another `expires_at`")]
    Expiry,
    #[error("you have {MOST} tokens already: revoke one that is not used any more")]
    TooMany,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A token as its owner sees it.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub id: i64,
    pub name: String,
    /// Its last four characters.
    pub hint: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A token that was just made: the secret is shown this once.
#[derive(Clone, Debug)]
pub struct Created {
    pub token: ApiToken,
    pub secret: Secret,
}

/// Makes a token. What the scopes mean, and that they are known, is the caller's business.
pub async fn create(
    db: &PgPool,
    actor: Actor,
    person: PersonId,
    name: &str,
    scopes: &[String],
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Created, TokenError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(char::is_control) {
        return Err(TokenError::Name);
    }
    if scopes.is_empty() || scopes.len() > MOST_SCOPES || scopes.iter().any(|s| s.contains('\0')) {
        return Err(TokenError::NoScopes);
    }
    let expires_at = expires_at.unwrap_or(now + DEFAULT_LIFETIME);
    if expires_at <= now || expires_at > now + LONGEST_LIFETIME {
        return Err(TokenError::Expiry);
    }
    let mut tx = db.begin().await?;
    // Two that are made at once are counted one after the other.
    super::lock(&mut tx, &[person]).await?;
    if sql::count(&mut tx, person.0, now).await? >= MOST {
        return Err(TokenError::TooMany);
    }
    let secret = Secret::fresh(PREFIX);
    let shown: Vec<char> = secret.expose().chars().collect();
    let hint: String = shown.iter().skip(shown.len().saturating_sub(HINT_LETTERS)).collect();
    let token = ApiToken {
        id: 0,
        name: name.to_owned(),
        hint,
        scopes: scopes.to_vec(),
        created_at: now,
        expires_at,
        last_used_at: None,
    };
    let id = sql::insert(&mut tx, person.0, &token, &secret.hash()).await?;
    let data = json!({"name": name, "scopes": scopes, "expires_at": expires_at, "person": person});
    audit::record(&mut tx, actor, "token.created", &format!("token:{id}"), &data, now).await?;
    tx.commit().await?;
    Ok(Created { token: ApiToken { id, ..token }, secret })
}

/// The tokens of a person that are good, the newest first.
pub async fn list(db: &PgPool, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<Vec<ApiToken>> {
    sql::list(db, person.0, now).await
}

/// Revokes a token of a person, at once. False: they have no such token, or it is void already.
pub async fn revoke(
    db: &PgPool,
    actor: Actor,
    person: PersonId,
    token: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let revoked = sql::revoke(&mut tx, person.0, token, now).await?;
    if revoked {
        let data = json!({"person": person});
        audit::record(&mut tx, actor, "token.revoked", &format!("token:{token}"), &data, now).await?;
    }
    tx.commit().await?;
    Ok(revoked)
}

/// A token as admins see it.
#[derive(Clone, Debug)]
pub struct Held {
    pub person: PersonId,
    pub person_name: String,
    pub token: ApiToken,
}

/// Everybody's tokens that are good, the newest first, those before one of them, at most `limit`.
pub async fn list_all(
    db: &PgPool,
    before: Option<i64>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Held>> {
    sql::list_all(db, before, limit, now).await
}

/// Revokes anybody's token, at once. False: there is no such token, or it is void already.
pub async fn revoke_any(db: &PgPool, actor: Actor, token: i64, now: DateTime<Utc>) -> sqlx::Result<bool> {
    match sql::holder(db, token).await? {
        Some(person) => revoke(db, actor, PersonId(person), token, now).await,
        None => Ok(false),
    }
}

/// Revokes all tokens of a person.
pub async fn revoke_all(tx: &mut Tx, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<u64> {
    sql::revoke_all(tx, person.0, now).await
}
