//! What the machine proposes and decides about a ticket: triage results and assignments, written so that a
//! person's work is never undone.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Channel, Happening, Locked, Priority, Status, TicketError, outbox, threads};
use crate::ids::{PersonId, TicketId};
use crate::queue::{self, Tx};

mod sql;

/// The text that a judgement is asked about, and what may still be changed.
#[derive(Clone, Debug)]
pub struct TriageSubject {
    pub id: TicketId,
    pub subject: String,
    pub body: String,
    pub status: Status,
    pub created_at: DateTime<Utc>,
    /// A person has set something, or staff has written: a later judgement has nothing to add.
    pub touched: bool,
    /// The engine of the last judgement.
    pub judged_by: Option<String>,
    /// Staff asked for another judgement since the last one.
    pub asked: bool,
}

/// A judgement as it is stored.
#[derive(Clone, Debug)]
pub struct TriageRecord {
    /// The ticket was judged before: this judgement must not undo what people did since.
    pub is_again: bool,
    pub engine: &'static str,
    pub model: String,
    pub prompt_version: String,
    pub category: Option<String>,
    pub priority: Option<Priority>,
    pub language: Option<String>,
    /// Slugs of the catalogue.
    pub skills: Vec<String>,
    pub notes: Option<String>,
    pub suggested_reply: Option<String>,
    pub confidence: f32,
    pub discarded: Vec<String>,
    pub fallback_reason: Option<String>,
    pub tokens_in: Option<i32>,
    pub tokens_out: Option<i32>,
    pub took_ms: i32,
}

/// The text to judge. `None`: there is no such ticket.
pub async fn triage_subject(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Option<TriageSubject>> {
    sql::triage_subject(db, ticket.0).await
}

/// Stores a judgement and writes it to the fields that no person has set; assignment follows. A later judgement on a
/// ticket that staff has touched while it was made is stored only.
pub async fn record_triage(
    tx: &mut Tx,
    ticket: TicketId,
    record: &TriageRecord,
    now: DateTime<Utc>,
) -> Result<(), TicketError> {
    let locked = super::lock_any(tx, ticket).await?;
    sql::insert_triage(tx, ticket.0, record, now).await?;
    if record.is_again && sql::is_touched(tx, ticket.0).await? {
        return Ok(());
    }
    let priority = record.priority.map(Priority::as_str);
    let skills_set = sql::apply_triage(
        tx,
        ticket.0,
        record.category.as_deref(),
        priority,
        record.language.as_deref(),
        now,
    )
    .await?;
    if !skills_set {
        sql::replace_skills(tx, ticket.0, &record.skills).await?;
    }
    let data = json!({
        "engine": record.engine,
        "category": record.category,
        "priority": priority,
        "skills": record.skills,
        "confidence": record.confidence,
        "fallback_reason": record.fallback_reason,
    });
    super::sql::insert_event(tx, ticket.0, "triaged", None, Channel::Web, &data, now).await?;
    threads::changed(tx, ticket, now).await?;
    let is_there = locked.status.is_active() && !locked.is_deleted;
    if is_there && locked.outcome != Some(Outcome::Matched) && !locked.assignee_set {
        queue::enqueue(tx, &queue::ASSIGN, ticket.0, now).await?;
    }
    Ok(())
}

/// Tokens that judgements have used since `since`.
pub async fn tokens_since(db: &sqlx::PgPool, since: DateTime<Utc>) -> sqlx::Result<i64> {
    sql::tokens_since(db, since).await
}

/// How an assignment came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A moderator fits.
    Matched,
    /// Nobody fits: an admin has it, with the reason.
    Fallback,
    /// There is not even an admin.
    Unassigned,
    /// A person decided.
    Manual,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Fallback => "fallback",
            Self::Unassigned => "unassigned",
            Self::Manual => "manual",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Matched, Self::Fallback, Self::Unassigned, Self::Manual]
            .into_iter()
            .find(|o| o.as_str() == text)
    }
}

/// An assignment as it is stored: the choice, the reason, and everyone who was looked at.
#[derive(Clone, Debug)]
pub struct AssignmentRecord {
    pub outcome: Outcome,
    pub assignee: Option<PersonId>,
    /// One line people read.
    pub reason: String,
    /// A list, one object a candidate.
    pub candidates: Value,
}

/// The required skills of a ticket, as slugs.
pub async fn required_skills(tx: &mut Tx, ticket: TicketId) -> sqlx::Result<Vec<String>> {
    sql::required_skills(tx, ticket.0).await
}

/// How many active tickets each person holds; who holds none is left out.
pub async fn loads(tx: &mut Tx) -> sqlx::Result<Vec<(PersonId, i64)>> {
    Ok(sql::loads(tx).await?.into_iter().map(|(id, n)| (PersonId(id), n)).collect())
}

/// The proof that assignments take turns until the transaction ends. It is taken before any ticket is locked.
#[derive(Debug)]
pub struct Turn(());

/// Makes assignments take turns until the transaction ends: nobody is pushed over the cap by a race.
pub async fn take_turn_assigning(tx: &mut Tx) -> sqlx::Result<Turn> {
    sql::take_turn_assigning(tx).await?;
    Ok(Turn(()))
}

/// How many active tickets one person holds, but for this one.
pub(super) async fn load_of(tx: &mut Tx, person: PersonId, but: TicketId) -> sqlx::Result<i64> {
    sql::load_of(tx, person.0, but.0).await
}

/// Whether the automatic assignment may (still) decide about this ticket. What fell back to an admin is no longer
/// moved once staff has written in it. What a person gave to somebody who has left since is nobody's.
pub async fn wants_assignment(tx: &mut Tx, ticket: &Locked) -> sqlx::Result<bool> {
    let decided = ticket.assignee_set && (ticket.assignee.is_none() || ticket.assignee_active);
    if !ticket.status.is_active() || decided {
        return Ok(false);
    }
    let held = ticket.assignee_active
        && (ticket.outcome == Some(Outcome::Matched) || sql::has_staff_message(tx, ticket.id.0).await?);
    Ok(!held)
}

/// Writes the choice down, gives the ticket to the chosen one and tells them.
pub async fn record_assignment(
    tx: &mut Tx,
    ticket: &Locked,
    record: &AssignmentRecord,
    now: DateTime<Utc>,
) -> Result<(), TicketError> {
    sql::insert_assignment(tx, ticket.id.0, record, now).await?;
    sql::apply_assignment(tx, ticket.id.0, record, now).await?;
    let data = json!({"outcome": record.outcome, "assignee": record.assignee, "reason": record.reason});
    super::sql::insert_event(tx, ticket.id.0, "assigned", None, Channel::Web, &data, now).await?;
    threads::changed(tx, ticket.id, now).await?;
    let Some(assignee) = record.assignee else { return Ok(()) };
    super::move_on(tx, ticket, Happening::Assigned, None, Channel::Web, now).await?;
    crate::people::note_assigned(tx, assignee, now).await?;
    outbox::notify_staff(tx, ticket.id, assignee, None, now).await?;
    Ok(())
}

/// Tickets that fell back and that nobody touched since, that stayed unassigned, or that somebody has who is no longer
/// staff; and those that had no judgement for so long that it will not come. Oldest first.
pub async fn waiting_for_someone(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<Vec<TicketId>> {
    let waiting = sql::waiting_for_someone(tx, now - LONGEST_WAIT).await?;
    Ok(waiting.into_iter().map(TicketId).collect())
}

/// A judgement takes minutes at most; after this long its job is dead.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// The last choice made for a ticket.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Assignment {
    pub at: DateTime<Utc>,
    pub outcome: String,
    pub assignee_id: Option<PersonId>,
    pub assignee_name: Option<String>,
    pub decided_by: Option<PersonId>,
    pub reason: String,
    /// Everyone who was looked at, with score parts and verdict.
    #[schema(value_type = Vec<Object>)]
    pub candidates: Value,
}

/// Reads the last choice made for a ticket.
pub async fn assignment(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Option<Assignment>> {
    sql::assignment(db, ticket.0).await
}

/// The last judgement on a ticket, as staff read it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Triage {
    pub at: DateTime<Utc>,
    pub engine: String,
    pub model: String,
    pub prompt_version: String,
    pub category: Option<String>,
    pub priority: Option<String>,
    pub language: Option<String>,
    pub skills: Vec<String>,
    pub notes: Option<String>,
    pub suggested_reply: Option<String>,
    pub confidence: f32,
    pub fallback_reason: Option<String>,
    pub took_ms: i32,
}

/// Every choice made for a ticket, the last one first.
pub async fn assignments(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Assignment>> {
    sql::assignments(db, ticket.0).await
}

/// Every judgement on a ticket, the last one first.
pub async fn triages(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Triage>> {
    sql::triages(db, ticket.0).await
}

/// Reads the last judgement on a ticket.
pub async fn triage(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Option<Triage>> {
    sql::triage(db, ticket.0).await
}

/// Tickets that the offline engine judged because Gemini did not answer, and none was judged by Gemini after them.
#[derive(Clone, Debug)]
pub struct Fallbacks {
    pub tickets: i64,
    /// When the first of them was.
    pub since: DateTime<Utc>,
    /// Why the last of them was.
    pub reason: String,
}

/// Of the judgements after `after`. `None`: Gemini judges, or there was nothing to judge.
pub async fn fallbacks(db: &sqlx::PgPool, after: DateTime<Utc>) -> sqlx::Result<Option<Fallbacks>> {
    sql::fallbacks(db, after).await
}
