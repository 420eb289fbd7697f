//! What people read of tickets.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::{MessageId, PersonId, TicketId};
use crate::mail::html;

mod card;
mod list;
mod overview;
mod sql;
mod stats;

pub use card::{CardFacts, card_facts};
pub use list::{
    Filter, Holder, ListError, NoCursor, Page, Sort, at_hand, count_by_status, list, search_numbers, ticket,
    ticket_in,
};
pub use overview::{Overview, Waiting, overview};
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
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
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
    /// For staff.
    pub assignment_outcome: Option<String>,
    /// For staff.
    pub tags: Vec<String>,
    /// A promise to the requester; overdue once it has passed while the ticket is active.
    pub deadline_at: Option<DateTime<Utc>>,
    pub follow_up_of: Option<TicketId>,
    pub related_to: Option<TicketId>,
    /// The ticket that goes on with this one.
    pub merged_into: Option<TicketId>,
    /// The ticket that the first message was taken from.
    pub split_from: Option<TicketId>,
    /// When staff first answered.
    pub first_response_at: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub closed_at: Option<DateTime<Utc>>,
    /// Only of what admins list as deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    /// Grows with every visible change.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A ticket to be chosen.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
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
    /// The HTML of a mail, cleaned; nothing where it was edited or deleted since. Pictures in the mail point to its attachments.
    pub html: Option<String>,
    /// Its HTML has pictures from the net: loading them tells their sender who reads it, when and where.
    pub remote_images: bool,
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
    /// By which the message's HTML speaks of it.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub content_id: Option<String>,
}

/// Someone who takes part.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Participant {
    pub person_id: PersonId,
    pub name: String,
    pub part: String,
    /// Others' addresses are for staff: to a requester they are empty.
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

/// How a ticket came to its assignee is for staff, and so is what they sort it by.
fn hidden(sight: Sight, mut tickets: Vec<Summary>) -> Vec<Summary> {
    if let Sight::Requester(_) = sight {
        for ticket in &mut tickets {
            ticket.assignment_outcome = None;
            ticket.tags = Vec::new();
            ticket.related_to = None;
        }
    }
    tickets
}

/// The conversation, oldest first. Who is not staff gets no notes, nobody's address, nothing that was
/// withdrawn or deleted, and of what was edited the last version only.
pub async fn messages(
    db: &sqlx::PgPool,
    ticket: TicketId,
    for_staff: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Message>> {
    let mut messages = sql::messages(db, ticket.0, for_staff, now).await?;
    if !for_staff {
        messages.retain(|m| !m.withdrawn && m.deleted_at.is_none());
        for message in &mut messages {
            if message.edited_at.is_some() {
                message.body.clone_from(&message.visible);
            }
            // Others' addresses are for staff; their own they know.
            message.author_address = None;
            message.reply_to = None;
        }
    }
    Ok(messages)
}

/// Makes the HTML of messages ready to be shown: until then, no picture in it loads. Pictures from the net are loaded only if
/// that is wanted. Work for the processor alone.
pub fn show_html(messages: &mut [Message], ticket: TicketId, remote_images: bool) {
    for message in messages {
        let Some(kept) = &message.html else { continue };
        let named = message.attachments.iter().filter_map(|file| Some((file.content_id.clone()?, file.id)));
        let own = named.map(|(cid, id)| (cid, format!("/api/tickets/{ticket}/attachments/{id}"))).collect();
        let shown = html::show(kept, own, remote_images);
        message.html = Some(shown.html);
        message.remote_images = shown.has_remote_images;
    }
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

/// The tickets that were merged into this one, in order.
pub async fn merged_from(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<TicketId>> {
    sql::merged_from(db, ticket.0).await
}

/// The timeline, oldest first.
pub async fn events(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Event>> {
    sql::events(db, ticket.0).await
}

/// What became of everything sent for a ticket.
pub async fn deliveries(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<DeliveryState>> {
    sql::deliveries(db, ticket.0).await
}

/// How many active tickets nobody has although the assignment has looked at them.
pub async fn count_unassigned(db: &sqlx::PgPool) -> sqlx::Result<i64> {
    sql::count_unassigned(db).await
}
