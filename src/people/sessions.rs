//! Log-ins: each is a session, kept going by refresh tokens that are good for one use.
//!
//! A refresh token that is shown twice was copied, and nobody can tell which of the two is the owner: the session ends for
//! both (RFC 9700 §4.14.2). Only hashes are stored.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::access;
use super::secrets::{self, Secret};
use crate::audit::{self, Actor};
use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

/// What stands in front of every refresh token.
const PREFIX: &str = "tdr_";
const LONGEST_USER_AGENT: usize = 200;

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Password,
    /// Password and a code by an app, or a recovery code.
    Totp,
    /// Another's sign-in.
    Oidc,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Totp => "totp",
            Self::Oidc => "oidc",
        }
    }
}

/// A session that began or went on, and the token that keeps it going.
#[derive(Clone, Debug)]
pub struct Begun {
    pub session: i64,
    pub person: PersonId,
    pub refresh_token: Secret,
    /// When the session ends whatever is done.
    pub expires_at: DateTime<Utc>,
}

/// Begins a session of a person who proved who they are.
pub async fn begin(
    tx: &mut Tx,
    person: PersonId,
    method: Method,
    user_agent: &str,
    lifetime: TimeDelta,
    now: DateTime<Utc>,
) -> sqlx::Result<Begun> {
    let expires_at = now + lifetime;
    // Headers hold no NUL and no line ends, but who calls us may be no header.
    let user_agent: String =
        user_agent.chars().filter(|c| !c.is_control()).take(LONGEST_USER_AGENT).collect();
    let session = access::begin_session(tx, person, method.as_str(), &user_agent, expires_at, now).await?;
    let refresh_token = Secret::fresh(PREFIX);
    sql::issue(tx, session, &refresh_token.hash(), now).await?;
    Ok(Begun { session, person, refresh_token, expires_at })
}

/// Why a session does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Unknown, expired, revoked, or of somebody who was switched off: which of them is nobody's business.
    #[error("this log-in has ended: log in again")]
    Ended,
    /// The session has ended for everybody who holds a token of it.
    #[error("this log-in was used in two places at once, so it has ended: log in again")]
    Reused,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Takes a refresh token and gives the next one. The old one is used up.
pub async fn refresh(db: &PgPool, token: &str, now: DateTime<Utc>) -> Result<Begun, RefreshError> {
    if !token.starts_with(PREFIX) {
        return Err(RefreshError::Ended);
    }
    let mut tx = db.begin().await?;
    let shown = secrets::hash(token);
    let found = sql::locked_by_token(&mut tx, &shown).await?.ok_or(RefreshError::Ended)?;
    if found.revoked_at.is_some() || found.expires_at <= now || !found.active {
        return Err(RefreshError::Ended);
    }
    if found.used_at.is_some() {
        sql::revoke(&mut tx, found.person_id, found.session_id, now).await?;
        let (subject, data) = (format!("person:{}", found.person_id), json!({"session": found.session_id}));
        audit::record(&mut tx, Actor::STRANGER, "session.reuse_detected", &subject, &data, now).await?;
        tx.commit().await?;
        tracing::warn!(
            session.id = found.session_id,
            "a refresh token was shown twice; session {} has ended",
            found.session_id
        );
        return Err(RefreshError::Reused);
    }
    let refresh_token = Secret::fresh(PREFIX);
    sql::rotate(&mut tx, found.session_id, &shown, &refresh_token.hash(), now).await?;
    tx.commit().await?;
    Ok(Begun {
        session: found.session_id,
        person: PersonId(found.person_id),
        refresh_token,
        expires_at: found.expires_at,
    })
}

/// A session as its owner sees it.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: i64,
    pub method: String,
    pub user_agent: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// The sessions of a person that go on, the newest first.
pub async fn list(db: &PgPool, person: PersonId, now: DateTime<Utc>) -> sqlx::Result<Vec<Session>> {
    sql::list(db, person.0, now).await
}

/// Ends a session of a person, at once. False: they have no such session, or it has ended already.
pub async fn revoke(tx: &mut Tx, person: PersonId, session: i64, now: DateTime<Utc>) -> sqlx::Result<bool> {
    Ok(sql::revoke(tx, person.0, session, now).await? > 0)
}

/// Ends the session that a refresh token belongs to: who holds it may throw it away. False: there is none.
pub async fn revoke_by_token(tx: &mut Tx, token: &str, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let Some(found) = sql::locked_by_token(tx, &secrets::hash(token)).await? else { return Ok(false) };
    Ok(sql::revoke(tx, found.person_id, found.session_id, now).await? > 0)
}

/// Notes that a second factor was shown in a session that had begun without one.
pub(super) async fn note_second_factor(tx: &mut Tx, session: i64) -> sqlx::Result<()> {
    sql::set_method(tx, session, Method::Totp.as_str()).await
}
