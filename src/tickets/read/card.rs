//! What the card of a ticket shows to staff.

use chrono::{DateTime, Utc};

use super::sql;
use crate::ids::{PersonId, TicketId};

/// Everything a card says, read at once so that its parts agree.
#[derive(Clone, Debug, PartialEq)]
pub struct CardFacts {
    pub number: TicketId,
    pub subject: String,
    pub status: String,
    pub priority: String,
    pub category: Option<String>,
    pub channel: String,
    pub language: Option<String>,
    /// Slugs of the required skills.
    pub skills: Vec<String>,
    pub requester_id: PersonId,
    pub requester_name: String,
    /// Where mail for the requester goes.
    pub requester_address: Option<String>,
    /// Their user id in Discord.
    pub requester_discord: Option<i64>,
    pub assignee_id: Option<PersonId>,
    pub assignee_name: Option<String>,
    pub assignee_discord: Option<i64>,
    pub assignment_outcome: Option<String>,
    /// Why the assignee has it.
    pub reason: Option<String>,
    /// What the triage noted, for staff only; and what it proposes to answer.
    pub notes: Option<String>,
    pub suggested_reply: Option<String>,
    pub engine: Option<String>,
    pub confidence: Option<f32>,
    /// How many deliveries failed or bounced, and why the newest of them did.
    pub unsent: i64,
    pub unsent_reason: Option<String>,
    pub related_to: Option<TicketId>,
    pub follow_up_of: Option<TicketId>,
    pub created_at: DateTime<Utc>,
    pub version: i64,
}

/// What the card of a ticket shows. `None`: there is no such ticket.
pub async fn card_facts(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Option<CardFacts>> {
    sql::card_facts(db, ticket.0).await
}
