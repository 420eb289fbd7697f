//! What an admin looks at first: how many tickets there are, and what nobody has or nobody answers.

use chrono::{DateTime, Utc};

use crate::ids::TicketId;

mod sql;

/// How the tickets stand now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// All tickets there are, by status, in the order of a ticket's life.
    pub by_status: Vec<(String, i64)>,
    /// Active tickets that nobody has.
    pub unassigned: i64,
    /// Active tickets that an admin has because nobody fit.
    pub fallback: i64,
    /// The one whose requester has waited longest for an answer.
    pub oldest_waiting: Option<Waiting>,
}

/// A ticket that waits for staff.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = WaitingTicket)]
pub struct Waiting {
    pub ticket: TicketId,
    pub subject: String,
    /// When its requester first wrote without having been answered since.
    pub since: DateTime<Utc>,
}

/// How the tickets stand now.
pub async fn overview(db: &sqlx::PgPool) -> sqlx::Result<Overview> {
    let (unassigned, fallback) = sql::without_owner(db).await?;
    Ok(Overview {
        by_status: sql::by_status(db).await?,
        unassigned,
        fallback,
        oldest_waiting: sql::oldest_waiting(db).await?,
    })
}
