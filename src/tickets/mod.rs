//! Everything that can happen to a ticket.
//!
//! Every change locks the ticket, checks the transition, writes history and enqueues what follows, in the caller's
//! transaction. Owns `tickets`, `messages`, `participants`, `attachments`, `thread_ids`, `ticket_events`, `triages`,
//! `assignments`, `deliveries` and what hangs on them. Does no I/O but SQL, and decides neither who gets a ticket
//! nor what it is about.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::files::Content;
use crate::ids::{DeliveryId, InboundId, MessageId, PersonId, ThreadId, TicketId, UploadId};
use crate::queue::{self, Tx};

pub mod actions;
pub mod changes;
pub mod csat;
mod error;
pub mod expiry;
pub mod feed;
pub mod labels;
pub mod linking;
pub mod loops;
pub mod merging;
pub mod opening;
pub mod outbox;
pub mod pacing;
pub mod parties;
pub mod patch;
pub mod read;
pub mod removal;
pub mod skills;
mod sql;
mod status;
pub mod threads;
pub mod transcript;
pub mod uploads;
pub mod webhooks;

pub use changes::{AssignmentRecord, Outcome, TriageRecord};
pub use error::TicketError;
pub use linking::merge_person;
pub use status::{Happening, Status, next};

/// Staff's answer by mail ends at the line that says this: below stands our notice, with remarks that are not for the
/// requester.
pub const ANSWER_ABOVE: &str = "Write your answer above this line";

/// How soon something must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    Medium,
    High,
    Urgent,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Urgent];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// Where a conversation happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Email,
    Discord,
    Web,
}

impl Channel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Discord => "discord",
            Self::Web => "web",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Email, Self::Discord, Self::Web].into_iter().find(|c| c.as_str() == text)
    }
}

/// The SHA-256 of a Message-ID, as [`find_threads`] and `thread_ids` know it.
pub type IdHash = [u8; 32];

/// A file that came with a message.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    pub filename: Option<String>,
    pub content_type: String,
    pub content_id: Option<String>,
    pub inline: bool,
    /// Kept already ([`crate::files`]): a transaction only refers to it.
    pub content: Content,
}

/// Someone who takes part in a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewParticipant {
    pub person: PersonId,
    /// Where what is said goes: a mail address, or (of a message from Discord) a user id there.
    pub address: String,
}

/// The message in Discord that something was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub message: u64,
    /// The thread it was written in, where it need not be shown again.
    pub thread: Option<ThreadId>,
}

/// One message that came in.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// `None`: it was written here, and is in no ledger.
    pub ledger: Option<InboundId>,
    pub channel: Channel,
    pub author: NewParticipant,
    pub rfc_id: Option<String>,
    pub subject: String,
    pub body: String,
    pub visible: String,
    pub html: Option<String>,
    pub sender_class: &'static str,
    /// A person wrote it: it may move the status and be answered.
    pub from_human: bool,
    pub origin: Option<Origin>,
    pub reply_to: Option<String>,
    /// In-Reply-To and References, oldest first.
    pub refs: Vec<String>,
    /// The ids of `rfc_id` and `refs` that no ticket knows yet.
    pub new_ids: Vec<IdHash>,
    pub cc: Vec<NewParticipant>,
    pub attachments: Vec<NewAttachment>,
    /// What could not be read or was left out.
    pub problems: Option<String>,
    pub sent_at: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
}

/// How a new ticket begins.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The mailbox it came to; `None`: it did not come by mail.
    pub mailbox: Option<String>,
    /// Tell the requester that it arrived, and with which number.
    pub acknowledge: bool,
    pub follow_up_of: Option<TicketId>,
    pub related_to: Option<TicketId>,
    /// Where the acknowledgement goes; `None`: to the author's address in the message.
    pub acknowledge_to: Option<String>,
    /// The member of staff who passed on what the requester wrote to them.
    pub forwarded_by: Option<PersonId>,
}

/// The tickets that know any of these Message-IDs, or that took in those which did. What was deleted knows none.
pub async fn find_threads(tx: &mut Tx, hashes: &[IdHash]) -> sqlx::Result<Vec<(IdHash, TicketId)>> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|h| h.to_vec()).collect();
    let rows = sql::find_threads(tx, &hashes).await?;
    Ok(rows.into_iter().filter_map(|r| Some((r.id_hash.try_into().ok()?, TicketId(r.ticket_id)))).collect())
}

/// Opens a ticket with its first message; triage and, if wanted, the acknowledgement follow.
pub async fn open(
    tx: &mut Tx,
    message: &Inbound,
    opening: &Opening,
    now: DateTime<Utc>,
) -> Result<(TicketId, MessageId), TicketError> {
    let event = json!({
        "mailbox": opening.mailbox,
        "follow_up_of": opening.follow_up_of,
        "related_to": opening.related_to,
        "sender_class": message.sender_class,
        "forwarded_by": opening.forwarded_by,
    });
    let opened = sql::open(tx, message, opening, &event, now).await?;
    if opened.new_ids != i64::try_from(message.new_ids.len()).unwrap_or(i64::MAX) {
        return Err(TicketError::Raced);
    }
    let (ticket, message_id) = (TicketId(opened.ticket_id), MessageId(opened.message_id));
    webhooks::enqueue(tx, opened.webhook_deliveries, now).await?;
    sql::insert_participants(tx, ticket.0, "cc", Channel::Email, &message.cc, now).await?;
    insert_attachments(tx, message_id, &message.attachments).await?;
    threads::relay(tx, ticket, message_id, None, now).await?;
    let mut jobs = vec![(&queue::TRIAGE, ticket.0, now)];
    if let Some(acknowledgement) = opened.delivery_id {
        // Before the triage: the requester should not wait for a judgement.
        jobs.insert(0, (&queue::DELIVER, acknowledgement, now));
    }
    queue::enqueue_all(tx, &jobs, now).await?;
    Ok((ticket, message_id))
}

async fn insert_attachments(tx: &mut Tx, message: MessageId, list: &[NewAttachment]) -> sqlx::Result<()> {
    for attachment in list {
        sql::insert_attachment(tx, message.0, attachment).await?;
    }
    Ok(())
}

/// What is known of a ticket when something is about to happen to it. The row is locked.
#[derive(Clone, Debug)]
pub struct Locked {
    pub id: TicketId,
    pub status: Status,
    pub requester: PersonId,
    pub assignee: Option<PersonId>,
    pub assignee_active: bool,
    pub assignee_set: bool,
    /// What came of the last assignment; `None`: it has not been looked at yet.
    pub outcome: Option<Outcome>,
    pub mailbox: Option<String>,
    pub subject: String,
    pub created_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub channel: Channel,
    /// Grows with every visible change.
    pub version: i64,
    pub deadline_at: Option<DateTime<Utc>>,
    /// The ticket that goes on with this one.
    pub merged_into: Option<TicketId>,
    pub is_deleted: bool,
}

/// Locks a ticket until the transaction ends. What was merged or deleted takes nothing any more.
pub async fn lock(tx: &mut Tx, ticket: TicketId) -> Result<Locked, TicketError> {
    let locked = lock_any(tx, ticket).await?;
    match locked.merged_into {
        _ if locked.is_deleted => Err(TicketError::Deleted(ticket)),
        Some(into) => Err(TicketError::Merged(ticket, into)),
        None => Ok(locked),
    }
}

/// As [`lock`], for what can also be done to a ticket that was merged or deleted.
pub async fn lock_any(tx: &mut Tx, ticket: TicketId) -> Result<Locked, TicketError> {
    sql::lock(tx, ticket.0).await?.ok_or(TicketError::Unknown(ticket))
}

/// The ticket that takes what is said to this one now: itself, or what it was merged into. `None`: it was deleted, or
/// there is none.
pub async fn current(tx: &mut Tx, ticket: TicketId) -> sqlx::Result<Option<TicketId>> {
    Ok(sql::current(tx, ticket.0).await?.map(TicketId))
}

/// Whether a reply now belongs to this ticket, or to a new one that follows it up.
pub fn takes_replies(ticket: &Locked, reopen_days: i64, now: DateTime<Utc>) -> bool {
    match (ticket.status, ticket.closed_at) {
        (Status::Closed, Some(at)) => now - at < TimeDelta::days(reopen_days),
        (Status::Closed, None) => false,
        (Status::New | Status::Open | Status::Pending | Status::Resolved, _) => true,
    }
}

/// The newest ticket of this requester that follows this one up.
pub async fn follow_up(tx: &mut Tx, ticket: TicketId, requester: PersonId) -> sqlx::Result<Option<TicketId>> {
    Ok(sql::follow_up(tx, ticket.0, requester.0).await?.map(TicketId))
}

/// Adds a requester's (or other outsider's, or machine's) message to the conversation.
pub async fn append(
    tx: &mut Tx,
    ticket: &Locked,
    message: &Inbound,
    now: DateTime<Utc>,
) -> Result<MessageId, TicketError> {
    let inserted = sql::insert_inbound(tx, ticket.id.0, message, false, "inbound").await?;
    if inserted.new_ids != i64::try_from(message.new_ids.len()).unwrap_or(i64::MAX) {
        return Err(TicketError::Raced);
    }
    let id = MessageId(inserted.message_id);
    insert_attachments(tx, id, &message.attachments).await?;
    if message.from_human {
        // A machine that answers what was forwarded to it takes no part.
        join(tx, ticket.id, message, now).await?;
    }
    sql::insert_participants(tx, ticket.id.0, "cc", Channel::Email, &message.cc, now).await?;
    threads::relay(tx, ticket.id, id, None, now).await?;
    let mut status = ticket.status;
    if message.from_human {
        status = move_on(
            tx,
            ticket,
            Happening::RequesterReplied,
            Some(message.author.person),
            message.channel,
            now,
        )
        .await?;
    } else {
        sql::touch(tx, ticket.id.0, now).await?;
    }
    let reopened = !ticket.status.is_active() && status.is_active();
    let data = json!({"message": id, "sender_class": message.sender_class, "reopened": reopened});
    sql::insert_event(tx, ticket.id.0, "message", Some(message.author.person.0), message.channel, &data, now)
        .await?;
    if message.from_human {
        match ticket.assignee {
            Some(assignee) if ticket.assignee_active => {
                outbox::notify_staff(tx, ticket.id, assignee, Some(id), now).await?;
            }
            // Nobody has it (any more): route it anew. One that was never routed waits for its judgement, which does so.
            _ if reopened || ticket.outcome.is_some() => {
                queue::enqueue(tx, &queue::ASSIGN, ticket.id.0, now).await?;
            }
            _ => {}
        }
        outbox::notify_followers(tx, ticket, message.author.person, id, now).await?;
    }
    Ok(id)
}

/// Enters the author of a message among the participants. Where answers go from now on is news to staff.
async fn join(tx: &mut Tx, ticket: TicketId, message: &Inbound, now: DateTime<Utc>) -> sqlx::Result<()> {
    let author = &message.author;
    if author.address.is_empty() {
        // Whoever has no address to be answered at reads the answers where they wrote.
        return Ok(());
    }
    let before = address_of(tx, ticket, author.person, message.channel).await?;
    let list = std::slice::from_ref(author);
    sql::insert_participants(tx, ticket.0, "joined", message.channel, list, now).await?;
    if let Some(before) = before.filter(|before| *before != author.address) {
        let data = json!({"person": author.person, "from": before, "to": author.address});
        sql::insert_event(tx, ticket.0, "address", Some(author.person.0), message.channel, &data, now)
            .await?;
    }
    Ok(())
}

/// Keeps a message that claims to be staff's but did not prove it, as a note that only staff see.
pub async fn append_unverified(
    tx: &mut Tx,
    ticket: &Locked,
    message: &Inbound,
    why: &str,
    now: DateTime<Utc>,
) -> Result<MessageId, TicketError> {
    let inserted = sql::insert_inbound(tx, ticket.id.0, message, true, "note").await?;
    let id = MessageId(inserted.message_id);
    insert_attachments(tx, id, &message.attachments).await?;
    let data = json!({"message": id, "why": why});
    sql::touch(tx, ticket.id.0, now).await?;
    sql::insert_event(tx, ticket.id.0, "unverified_note", None, message.channel, &data, now).await?;
    threads::relay(tx, ticket.id, id, None, now).await?;
    match ticket.assignee.filter(|_| ticket.assignee_active) {
        _ if !message.from_human => {}
        Some(assignee) => outbox::notify_staff(tx, ticket.id, assignee, Some(id), now).await?,
        // Whoever gets it reads it.
        None if ticket.outcome.is_some() => queue::enqueue(tx, &queue::ASSIGN, ticket.id.0, now).await?,
        None => {}
    }
    Ok(id)
}

/// What a staff member writes into a ticket.
#[derive(Clone, Debug)]
pub struct StaffMessage<'a> {
    pub author: PersonId,
    pub channel: Channel,
    pub text: &'a str,
    /// The mail or message it was read from, with its files.
    pub inbound: Option<&'a Inbound>,
    /// Files that the author sent before: they go along.
    pub uploads: &'a [UploadId],
}

/// Staff's answer: a public message and one delivery for every participant, to leave at `leaves_at`.
pub async fn reply(
    tx: &mut Tx,
    ticket: &Locked,
    message: &StaffMessage<'_>,
    leaves_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<MessageId, TicketError> {
    if message.text.trim().is_empty() {
        return Err(TicketError::EmptyReply);
    }
    move_on(tx, ticket, Happening::StaffReplied, Some(message.author), message.channel, now).await?;
    let id = MessageId(
        sql::insert_staff_message(tx, ticket.id.0, "outbound", message, Some(leaves_at), now).await?,
    );
    if let Some(inbound) = message.inbound {
        insert_attachments(tx, id, &inbound.attachments).await?;
        // What answers this very mail belongs here, whatever else its sender's program leaves out.
        if !sql::insert_thread_ids(tx, ticket.id.0, &inbound.new_ids).await? {
            return Err(TicketError::Raced);
        }
    }
    uploads::attach(tx, message.author, id, message.uploads).await?;
    sql::note_response(tx, ticket.id.0, now).await?;
    let data = json!({"message": id});
    sql::insert_event(tx, ticket.id.0, "reply", Some(message.author.0), message.channel, &data, now).await?;
    outbox::reply_to_participants(tx, ticket.id, id, message.author, leaves_at, now).await?;
    if let Some(inbound) = message.inbound {
        // Only now: they have this one from its author already.
        sql::insert_participants(tx, ticket.id.0, "cc", Channel::Email, &inbound.cc, now).await?;
    }
    threads::relay(tx, ticket.id, id, (leaves_at > now).then_some(leaves_at), now).await?;
    Ok(id)
}

/// Staff's remark, which only staff see.
pub async fn note(
    tx: &mut Tx,
    ticket: &Locked,
    message: &StaffMessage<'_>,
    now: DateTime<Utc>,
) -> Result<MessageId, TicketError> {
    if message.text.trim().is_empty() {
        return Err(TicketError::EmptyReply);
    }
    let id = MessageId(sql::insert_staff_message(tx, ticket.id.0, "note", message, None, now).await?);
    uploads::attach(tx, message.author, id, message.uploads).await?;
    let data = json!({"message": id});
    sql::insert_event(tx, ticket.id.0, "note", Some(message.author.0), message.channel, &data, now).await?;
    sql::touch(tx, ticket.id.0, now).await?;
    if let Some(inbound) = message.inbound {
        insert_attachments(tx, id, &inbound.attachments).await?;
    }
    threads::relay(tx, ticket.id, id, None, now).await?;
    Ok(id)
}

/// Staff or the requester says that it is done.
pub async fn resolve(
    tx: &mut Tx,
    ticket: &Locked,
    by: PersonId,
    channel: Channel,
    now: DateTime<Utc>,
) -> Result<(), TicketError> {
    move_on(tx, ticket, Happening::Resolved, Some(by), channel, now).await?;
    csat::ask(tx, ticket, by, now).await?;
    // A place is free: someone may fit now whom nobody fit before.
    queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    Ok(threads::changed(tx, ticket.id, now).await?)
}

/// Closes what was resolved before `before`. Returns how many.
pub async fn close_resolved(tx: &mut Tx, before: DateTime<Utc>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let closed = sql::close_resolved(tx, before, now).await?;
    for ticket in &closed {
        threads::changed(tx, TicketId(*ticket), now).await?;
    }
    Ok(closed.len() as u64)
}

/// Moves the status by the table, and writes it down where it changed.
async fn move_on(
    tx: &mut Tx,
    ticket: &Locked,
    happening: Happening,
    actor: Option<PersonId>,
    channel: Channel,
    now: DateTime<Utc>,
) -> Result<Status, TicketError> {
    let Some(status) = next(ticket.status, happening) else {
        return Err(TicketError::WrongStatus(ticket.id, ticket.status.as_str()));
    };
    sql::set_status(tx, ticket.id.0, status, now).await?;
    if status != ticket.status {
        let data = json!({"from": ticket.status, "to": status});
        sql::insert_event(tx, ticket.id.0, "status", actor.map(|a| a.0), channel, &data, now).await?;
    }
    Ok(status)
}

/// Links a bounce to the delivery it speaks of, which turns `bounced` or `delayed`. `None`: no such delivery.
pub async fn bounced(
    tx: &mut Tx,
    delivery: DeliveryId,
    permanent: bool,
    detail: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<TicketId>> {
    let state = if permanent { "bounced" } else { "delayed" };
    let Some(bounced) = sql::set_bounced(tx, delivery.0, state, detail).await? else { return Ok(None) };
    let ticket = TicketId(bounced.ticket_id);
    let data = json!({"delivery": delivery, "detail": detail});
    sql::insert_event(tx, ticket.0, state, None, Channel::Email, &data, now).await?;
    // Only answers carry a message.
    if let Some(message) = bounced.message_id.filter(|_| permanent) {
        outbox::notify_undelivered(tx, ticket, MessageId(message), now).await?;
    }
    Ok(Some(ticket))
}

/// Whether this person takes part in the ticket.
pub async fn is_participant(tx: &mut Tx, ticket: TicketId, person: PersonId) -> sqlx::Result<bool> {
    sql::is_participant(tx, ticket.0, person.0).await
}

/// Where a participant is answered on this channel.
pub async fn address_of(
    tx: &mut Tx,
    ticket: TicketId,
    person: PersonId,
    channel: Channel,
) -> sqlx::Result<Option<String>> {
    sql::address_of(tx, ticket.0, person.0, channel).await
}

/// Whether a mail with this Message-ID is in the ticket, and not only named there.
pub async fn holds_message(tx: &mut Tx, ticket: TicketId, rfc_id: &str) -> sqlx::Result<bool> {
    sql::holds_message(tx, ticket.0, rfc_id).await
}

/// What was said in the open (by both sides), and the remarks for staff only: notes of the triage, reasons of the
/// assignment.
pub async fn public_and_remarks(tx: &mut Tx, ticket: TicketId) -> sqlx::Result<(String, Vec<String>)> {
    let public = sql::public_texts(tx, ticket.0).await?.join("\n");
    Ok((public, sql::remarks(tx, ticket.0).await?))
}
