//! How the desk fares, in a few numbers.

use chrono::{DateTime, Utc};

use super::sql;
use crate::ids::PersonId;

/// How the desk fares.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// All tickets there are, by status.
    pub by_status: Vec<(String, i64)>,
    /// Since the given time.
    pub opened: i64,
    pub resolved: i64,
    /// Of the tickets opened since then that were answered: half of them within this time.
    pub median_first_response_s: Option<f64>,
    /// Active tickets that nobody has.
    pub unassigned: i64,
    /// Active staff, by name.
    pub moderators: Vec<Worked>,
}

/// What one member of staff has to do and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worked {
    pub person: PersonId,
    pub name: String,
    pub away: bool,
    /// Active tickets they have.
    pub open: i64,
    /// Answers since the given time.
    pub replied: i64,
}

/// How the desk fares, and what was done since `since`.
pub async fn stats(db: &sqlx::PgPool, since: DateTime<Utc>) -> sqlx::Result<Stats> {
    sql::stats(db, since).await
}
