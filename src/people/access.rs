//! Who makes a request: a session or an API token, looked up at every request, so that ending one ends it at once.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::Role;
use crate::ids::PersonId;
use crate::queue::Tx;

mod sql;

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Holder {
    pub person: PersonId,
    pub name: String,
    pub role: Role,
    pub by: By,
    /// Showed a second factor that they still have, or was let in by another's sign-in, which has its own rules; by a token:
    /// has one of the two.
    pub second_factor: bool,
}

/// What was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// An access token of this session.
    Session(i64),
    /// An API token, with what it may be used for.
    Token { id: i64, scopes: Vec<String> },
}

/// The person of a session, if it was not ended and the person is still active.
pub async fn by_session(db: &PgPool, session: i64, now: DateTime<Utc>) -> sqlx::Result<Option<Holder>> {
    sql::by_session(db, session, now).await
}

/// How exact the last use of an API token is: not every request writes.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// The person of an API token, by its SHA-256, if it is good and the person is still active. Its use is noted.
pub async fn by_token(db: &PgPool, hash: &[u8; 32], now: DateTime<Utc>) -> sqlx::Result<Option<Holder>> {
    let Some((holder, last_used)) = sql::by_token(db, hash, now).await? else { return Ok(None) };
    if let By::Token { id, .. } = holder.by
        && last_used.is_none_or(|at| now - at >= USE_NOTED_EVERY)
    {
        sql::note_used(db, id, now).await?;
    }
    Ok(Some(holder))
}

/// Ends every session of a person but this one.
pub async fn end_sessions(
    tx: &mut Tx,
    person: PersonId,
    but: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sql::end_sessions(tx, person.0, but, now).await
}

/// Begins a session.
pub async fn begin_session(
    tx: &mut Tx,
    person: PersonId,
    method: &str,
    user_agent: &str,
    ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sql::begin_session(tx, person.0, method, user_agent, ends, now).await
}
