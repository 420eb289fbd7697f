//! What people read of tickets.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::{MessageId, PersonId, TicketId};

mod card;
mod sql;
mod stats;

pub use card::{CardFacts, card_facts};
pub use stats::{Stats, Worked, stats};

/// Whose tickets a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    All,
    /// A requester's own.
    Requester(PersonId),
    /// A moderator's, where not all are shown: assigned to them, unassigned, or matching their skills.
    Moderator(PersonId),
}

/// A ticket in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Summary {
    pub number: TicketId,
    pub subject: String,
    pub status: String,
    pub priority: String,
    pub category: Option<String>,
    pub channel: String,
    pub language: Option<String>,
    pub required_skills: Vec<String>,
    pub requester_id: PersonId,
    pub requester_name: String,
    pub assignee_id: Option<PersonId>,
    pub assignee_name: Option<String>,
    pub assignment_outcome: Option<String>,
    pub follow_up_of: Option<TicketId>,
    pub related_to: Option<TicketId>,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A ticket to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub number: TicketId,
    pub subject: String,
    pub status: String,
}

/// One entry of the conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Message {
    pub id: MessageId,
    pub kind: String,
    pub channel: String,
    pub author_id: Option<PersonId>,
    pub author_name: Option<String>,
    pub author_address: Option<String>,
    /// As it stands after the last revision.
    pub visible: String,
    pub body: String,
    pub edited_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
    /// Staff took it back before it left.
    pub withdrawn: bool,
    pub sender_class: String,
    pub unverified: bool,
    pub reply_to: Option<String>,
    /// What of the mail could not be read or was left out.
    pub problems: Option<String>,
    pub sent_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    #[schema(value_type = Vec<Attachment>)]
    pub attachments: sqlx::types::Json<Vec<Attachment>>,
}

/// An attachment's description.
#[derive(Clone, Debug, Serialize, serde::Deserialize, ToSchema)]
pub struct Attachment {
    pub id: i64,
    pub filename: Option<String>,
    pub content_type: String,
    pub size: i64,
    pub inline: bool,
}

/// Someone who takes part.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Participant {
    pub person_id: PersonId,
    pub name: String,
    pub part: String,
    pub address: String,
}

/// One line of the timeline.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub actor_name: Option<String>,
    pub channel: String,
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// What became of an outbound message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeliveryState {
    pub id: i64,
    pub kind: String,
    pub message_id: Option<MessageId>,
    pub address: String,
    pub state: String,
    pub reason: Option<String>,
    pub rfc_id: Option<String>,
    pub attempts: i64,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
}

/// Newest first, at most `limit`, those before ticket `before`, optionally in one status.
pub async fn list(
    db: &sqlx::PgPool,
    sight: Sight,
    status: Option<&str>,
    before: Option<TicketId>,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    Ok(hidden(sight, sql::list(db, sight, status, before.map(|t| t.0), None, limit).await?))
}

/// How a ticket came to its assignee is for staff.
fn hidden(sight: Sight, mut tickets: Vec<Summary>) -> Vec<Summary> {
    if let Sight::Requester(_) = sight {
        for ticket in &mut tickets {
            ticket.assignment_outcome = None;
        }
    }
    tickets
}

/// Tickets to choose from while somebody types: whose number begins with `text`, or whose subject holds it; newest first.
pub async fn search_numbers(
    db: &sqlx::PgPool,
    sight: Sight,
    text: &str,
    limit: i64,
) -> sqlx::Result<Vec<Found>> {
    // PostgreSQL's TEXT cannot hold NUL; no subject does.
    if text.contains('\0') {
        return Ok(Vec::new());
    }
    sql::search_numbers(db, sight, text.trim().trim_start_matches('#'), limit).await
}

/// One ticket, if the caller may see it.
pub async fn ticket(db: &sqlx::PgPool, sight: Sight, ticket: TicketId) -> sqlx::Result<Option<Summary>> {
    Ok(hidden(sight, sql::list(db, sight, None, None, Some(ticket.0), 1).await?).pop())
}

/// The conversation, oldest first. Who is not staff gets no notes, no address of a member of staff, nothing that was
/// withdrawn or deleted, and of what was edited the last version only.
pub async fn messages(db: &sqlx::PgPool, ticket: TicketId, for_staff: bool) -> sqlx::Result<Vec<Message>> {
    let mut messages = sql::messages(db, ticket.0, for_staff).await?;
    if !for_staff {
        messages.retain(|m| !m.withdrawn && m.deleted_at.is_none());
        for message in &mut messages {
            if message.edited_at.is_some() {
                message.body.clone_from(&message.visible);
            }
            if message.kind == "outbound" {
                message.author_address = None;
            }
        }
    }
    Ok(messages)
}

/// One thing that an author made of a message later.
#[derive(Clone, Debug)]
pub struct Revision {
    pub message: MessageId,
    pub at: DateTime<Utc>,
    /// `edited` or `deleted`.
    pub kind: String,
    /// What it says since; empty where it was deleted.
    pub body: String,
}

/// Everything that authors made of a ticket's messages later, oldest first. For staff.
pub async fn revisions(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Revision>> {
    sql::revisions(db, ticket.0).await
}

/// Who takes part.
pub async fn participants(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Participant>> {
    sql::participants(db, ticket.0).await
}

/// The timeline, oldest first.
pub async fn events(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Event>> {
    sql::events(db, ticket.0).await
}

/// What became of everything sent for a ticket.
pub async fn deliveries(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<DeliveryState>> {
    sql::deliveries(db, ticket.0).await
}

/// Tickets by status, for metrics.
pub async fn count_by_status(db: &sqlx::PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sql::count_by_status(db).await
}

/// How many active tickets nobody has although the assignment has looked at them.
pub async fn count_unassigned(db: &sqlx::PgPool) -> sqlx::Result<i64> {
    sql::count_unassigned(db).await
}
