//! Deliveries: one outbound message on one channel to one recipient.
//!
//! A delivery is entered with the change it follows from; its content and Message-ID are fixed before the first
//! attempt, and every attempt is kept.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::{Channel, IdHash, Locked, parties};
use crate::ids::{DeliveryId, JobId, MessageId, PersonId, TicketId};
use crate::queue::{self, Job, Kind, Tx};
use crate::store::Sha;

pub mod bulk;
mod sql;

/// What a delivery is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To the requester: it arrived, this is its number.
    Acknowledgement,
    /// To staff: this is yours, or there is something new in it.
    Notice,
    /// To a participant: staff's answer.
    Reply,
    /// To the requester: how content are you?
    Survey,
}

/// A delivery with all that composing and sending it needs.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    pub purpose: Purpose,
    pub ticket: TicketId,
    pub ticket_subject: String,
    pub mailbox: Option<String>,
    pub recipient: PersonId,
    pub recipient_name: String,
    pub address: String,
    pub state: String,
    pub rfc_id: Option<String>,
    pub envelope_from: Option<String>,
    /// The mail, where it is written.
    pub content: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    /// The ticket is neither resolved nor closed.
    pub is_active: bool,
    /// It is the first notice this recipient gets about the ticket.
    pub announces_assignment: bool,
    /// The message it carries (a reply).
    pub message: Option<Carried>,
    /// The inbound message it answers or announces.
    pub answers: Option<Carried>,
}

/// A message as a delivery speaks of it.
#[derive(Clone, Debug)]
pub struct Carried {
    pub id: MessageId,
    pub rfc_id: Option<String>,
    pub refs: Vec<String>,
    pub text: String,
    pub written_at: DateTime<Utc>,
    pub author_name: Option<String>,
    pub author_address: Option<String>,
    pub unverified: bool,
    /// Whom it did not reach, and why.
    pub undelivered: Option<String>,
    /// Why a mail that claims to be staff's was kept as a note.
    pub why_unverified: Option<String>,
    /// What of the mail could not be read or was left out.
    pub problems: Option<String>,
    pub attachments: Vec<File>,
}

/// An attachment, without its content.
#[derive(Clone, Debug)]
pub struct File {
    pub filename: Option<String>,
    pub content_type: String,
    /// By which [`crate::files`] gives the content.
    pub sha256: Sha,
    pub size: i64,
}

/// The facts of a ticket that a notice tells staff.
#[derive(Clone, Debug)]
pub struct Facts {
    pub priority: String,
    pub category: Option<String>,
    pub language: Option<String>,
    pub skills: Vec<String>,
    pub requester_name: String,
    pub requester_address: Option<String>,
    pub notes: Option<String>,
    pub suggested_reply: Option<String>,
    pub engine: Option<String>,
    pub reason: Option<String>,
    pub related_to: Option<TicketId>,
}

/// Enters a notice to a staff member, by mail; who has no address is not told.
pub(super) async fn notify_staff(
    tx: &mut Tx,
    ticket: TicketId,
    staff: PersonId,
    about: Option<MessageId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if let Some(id) = sql::insert_notice(tx, ticket.0, staff.0, about.map(|m| m.0), now).await? {
        queue::enqueue(tx, &queue::DELIVER, id, now).await?;
    }
    Ok(())
}

/// Tells staff who follow a ticket of a message that came in.
pub(super) async fn notify_followers(
    tx: &mut Tx,
    ticket: &Locked,
    author: PersonId,
    about: MessageId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    for follower in parties::to_be_told(tx, ticket, author).await? {
        notify_staff(tx, ticket.id, follower, Some(about), now).await?;
    }
    Ok(())
}

/// Tells who has the ticket that an answer did not arrive.
pub async fn notify_undelivered(
    tx: &mut Tx,
    ticket: TicketId,
    message: MessageId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    match sql::active_assignee(tx, ticket.0).await? {
        Some(assignee) => notify_staff(tx, ticket, PersonId(assignee), Some(message), now).await,
        None => Ok(()),
    }
}

/// Enters one delivery of a reply for every participant but its author.
pub(super) async fn reply_to_participants(
    tx: &mut Tx,
    ticket: TicketId,
    message: MessageId,
    author: PersonId,
    leaves_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids = sql::insert_replies(tx, ticket.0, message.0, author.0, leaves_at, now).await?;
    let jobs: Vec<_> = ids.into_iter().map(|id| (&queue::DELIVER, id, leaves_at)).collect();
    queue::enqueue_all(tx, &jobs, now).await
}

/// About as many bytes as the mail of a delivery has: what it carries has most of them. 0 where there is none of that number.
pub async fn bytes(db: &sqlx::PgPool, id: DeliveryId) -> sqlx::Result<i64> {
    sql::bytes(db, id.0).await.map(Option::unwrap_or_default)
}

/// Reads a delivery.
pub async fn delivery(db: &sqlx::PgPool, id: DeliveryId) -> sqlx::Result<Option<Delivery>> {
    let Some(mut delivery) = sql::delivery(db, id.0).await? else { return Ok(None) };
    if let Some(message) = &mut delivery.message {
        message.attachments = sql::files(db, message.id.0).await?;
    }
    Ok(Some(delivery))
}

/// The files that came with a message.
pub async fn files(db: &sqlx::PgPool, message: MessageId) -> sqlx::Result<Vec<File>> {
    sql::files(db, message.0).await
}

/// Whether a delivery is a notice to staff.
pub async fn is_notice(tx: &mut Tx, delivery: DeliveryId) -> sqlx::Result<bool> {
    sql::is_notice(tx, delivery.0).await
}

/// The newest notices about a ticket that a member of staff was sent, as they were sent.
pub async fn notices_to(tx: &mut Tx, ticket: TicketId, staff: PersonId) -> sqlx::Result<Vec<Vec<u8>>> {
    sql::notices_to(tx, ticket.0, staff.0).await
}

/// Reads what a notice tells of its ticket.
pub async fn facts(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Facts> {
    sql::facts(db, ticket.0).await
}

/// Whether a mail to this address came back for good, and neither has anybody written from it since nor has anything
/// been sent there after all.
pub async fn has_bounced(db: &sqlx::PgPool, address: &str) -> sqlx::Result<bool> {
    sql::has_bounced(db, address).await
}

/// A mail as it will be sent, every time the same.
#[derive(Clone, Debug)]
pub struct Fixed {
    pub rfc_id: String,
    pub id_hash: IdHash,
    pub envelope_from: String,
    pub content: Vec<u8>,
}

/// Stores content and Message-ID before the first attempt. False: there is one already, and it stays.
pub async fn fix(db: &sqlx::PgPool, delivery: &Delivery, fixed: &Fixed) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let is_first = sql::fix(&mut tx, delivery.id.0, delivery.ticket.0, fixed).await?;
    tx.commit().await?;
    Ok(is_first)
}

/// How one attempt came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Sent {
        answer: String,
    },
    /// A 4xx answer: try again.
    Temporary {
        answer: String,
    },
    /// A 5xx answer: trying again is pointless.
    Permanent {
        answer: String,
    },
    /// No answer: try again; it may have been sent.
    Network {
        error: String,
    },
}

impl Attempt {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Sent { answer } => ("sent", answer),
            Self::Temporary { answer } => ("temporary", answer),
            Self::Permanent { answer } => ("permanent", answer),
            Self::Network { error } => ("network", error),
        }
    }
}

/// Keeps an attempt.
pub async fn record_attempt(
    tx: &mut Tx,
    delivery: DeliveryId,
    attempt: &Attempt,
    took_ms: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (outcome, detail) = attempt.parts();
    let detail: String = detail.chars().take(500).collect();
    sql::insert_attempt(tx, delivery.0, outcome, &detail, took_ms, now).await
}

/// It left.
pub async fn mark_sent(tx: &mut Tx, delivery: &Delivery, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::set_state(tx, delivery.id.0, "sent", None, Some(now)).await
}

/// It will not leave (any more): `failed`, `suppressed` or `cancelled`, shown on the ticket with the reason.
pub async fn mark_unsent(
    tx: &mut Tx,
    delivery: &Delivery,
    state: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sql::set_state(tx, delivery.id.0, state, Some(reason), None).await?;
    let data =
        json!({"delivery": delivery.id, "purpose": delivery.purpose, "state": state, "reason": reason});
    super::sql::insert_event(tx, delivery.ticket.0, "delivery", None, Channel::Email, &data, now).await
}

/// A mail that was not sent, or came back.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Unsent {
    pub id: DeliveryId,
    pub ticket_id: TicketId,
    pub kind: String,
    pub address: String,
    pub state: String,
    /// Why it did not leave; for one that is tried again, what the last try met with.
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Which mails that were not sent are wanted.
#[derive(Clone, Debug, Default)]
pub struct UnsentFilter {
    /// Of [`UNSENT_STATES`]; empty: any.
    pub states: Vec<String>,
    /// Only those that were entered before this.
    pub before: Option<DateTime<Utc>>,
    /// Only those after this one.
    pub after: Option<DeliveryId>,
}

/// What a mail is that was not sent, or came back.
pub const UNSENT_STATES: [&str; 6] = ["waiting", "failed", "cancelled", "suppressed", "delayed", "bounced"];

/// Those that [`retry`] takes.
pub const RETRIABLE_STATES: [&str; 4] = ["failed", "suppressed", "bounced", "cancelled"];

/// Those that [`cancel`] takes.
pub const CANCELLABLE_STATES: [&str; 2] = ["waiting", "failed"];

/// One try to send a mail.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DeliveryAttempt)]
pub struct Tried {
    pub at: DateTime<Utc>,
    /// `sent`, `temporary`, `permanent` or `network`.
    pub outcome: String,
    /// What the server said, or what went wrong.
    pub detail: String,
    pub took_ms: i32,
}

/// The mails that were not sent or came back, by number, at most `limit`.
pub async fn unsent_page(db: &sqlx::PgPool, filter: &UnsentFilter, limit: i64) -> sqlx::Result<Vec<Unsent>> {
    sql::unsent_page(db, filter, limit).await
}

/// One mail, sent or not, with every try. `None`: there is none of that number.
pub async fn one(db: &sqlx::PgPool, id: DeliveryId) -> sqlx::Result<Option<(Unsent, Vec<Tried>)>> {
    let Some(found) = sql::one(db, id.0).await? else { return Ok(None) };
    Ok(Some((found, sql::tries(db, id.0).await?)))
}

/// How many mails are in each state that is not `sent`.
pub async fn count_unsent(db: &sqlx::PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sql::count_unsent(db).await
}

/// Mails that a mailbox has tried in vain since it last had an answer that was an end.
#[derive(Clone, Debug)]
pub struct Stuck {
    pub mailbox: String,
    pub mails: i64,
    pub attempts: i64,
    /// When the first of these attempts was.
    pub since: DateTime<Utc>,
}

/// Of all mailboxes that are sent from. What belongs to none of them leaves by `default`.
pub async fn stuck(db: &sqlx::PgPool, mailboxes: &[String], default: &str) -> sqlx::Result<Vec<Stuck>> {
    sql::stuck(db, mailboxes, default).await
}

/// Why a job was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("there is no job {0}: it may be done by now")]
    Unknown(JobId),
    #[error("a job of the kind `{0}` cannot be cancelled: what it is about would wait for ever")]
    Needed(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Takes a job away for good, and with it the mail that it would have sent. The caller rolls back on an error.
pub async fn cancel_job(tx: &mut Tx, id: JobId, now: DateTime<Utc>) -> Result<Job, CancelError> {
    let job = queue::cancel(tx, id).await?.ok_or(CancelError::Unknown(id))?;
    if !Kind::named(&job.kind).is_none_or(|kind| queue::CANCELLABLE.contains(&kind)) {
        return Err(CancelError::Needed(job.kind));
    }
    if job.kind == queue::DELIVER.name {
        cancel(tx, DeliveryId(job.subject), now).await?;
    }
    Ok(job)
}

/// A ticket is locked before what belongs to it, whoever begins where; and of several tickets the one with the smaller number.
async fn lock_tickets_of(tx: &mut Tx, deliveries: &[DeliveryId]) -> sqlx::Result<()> {
    let deliveries: Vec<i64> = deliveries.iter().map(|delivery| delivery.0).collect();
    sql::lock_tickets_of(tx, &deliveries).await
}

/// Puts a mail back to work that was given up, suppressed or cancelled, or that came back. False: there is none.
pub async fn retry(tx: &mut Tx, delivery: DeliveryId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    lock_tickets_of(tx, &[delivery]).await?;
    let Some(ticket) = sql::retry(tx, delivery.0).await? else { return Ok(false) };
    queue::forget_dead(tx, &queue::DELIVER, delivery.0).await?;
    queue::enqueue(tx, &queue::DELIVER, delivery.0, now).await?;
    let data = json!({"delivery": delivery, "state": "waiting"});
    super::sql::insert_event(tx, ticket, "delivery", None, Channel::Email, &data, now).await?;
    Ok(true)
}

/// Cancels a delivery that has not left. False: it has, or there is none.
pub async fn cancel(tx: &mut Tx, delivery: DeliveryId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    lock_tickets_of(tx, &[delivery]).await?;
    let Some(ticket) = sql::cancel(tx, delivery.0).await? else { return Ok(false) };
    let data = json!({"delivery": delivery, "state": "cancelled"});
    super::sql::insert_event(tx, ticket, "delivery", None, Channel::Email, &data, now).await?;
    Ok(true)
}
