//! What people do to a ticket besides writing in it. Each takes a locked ticket, writes history, and wakes its threads.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Channel, Locked, Outcome, Priority, Status, TicketError, changes, csat, outbox, threads};
use crate::ids::{InboundId, MessageId, PersonId, SkillId};
use crate::people::{self, Person};
use crate::queue::{self, Tx};
use crate::tickets::changes::{AssignmentRecord, Turn};

mod sql;

/// Who does it, through which channel, when.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub by: PersonId,
    pub channel: Channel,
    pub now: DateTime<Utc>,
}

/// How many active tickets a person may have, and whether that counts.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Of whoever has no cap of their own.
    pub default: i32,
    /// Somebody insists: more is allowed.
    pub force: bool,
}

/// Takes a ticket that nobody has. One that somebody active has is theirs until they release it or it is reassigned.
pub async fn claim(
    tx: &mut Tx,
    turn: &Turn,
    ticket: &Locked,
    caps: Caps,
    act: Act,
) -> Result<(), TicketError> {
    if ticket.assignee == Some(act.by) {
        return Ok(());
    }
    if ticket.assignee.is_some() && ticket.assignee_active {
        return Err(TicketError::Taken(ticket.id));
    }
    let Some(person) = people::person_in(tx, act.by).await?.filter(|p| p.active && p.role.is_staff()) else {
        return Err(TicketError::NotStaff);
    };
    has_room(tx, turn, ticket, &person, caps, act.now).await?;
    give(tx, ticket, Some(person.id), "claimed", act).await
}

/// Nobody is pushed over their cap, by hand neither: what is taken into account is what the turn holds still.
async fn has_room(
    tx: &mut Tx,
    _turn: &Turn,
    ticket: &Locked,
    person: &Person,
    caps: Caps,
    now: DateTime<Utc>,
) -> Result<(), TicketError> {
    if caps.force {
        return Ok(());
    }
    let own =
        people::staff(tx, now).await?.into_iter().find(|member| member.id == person.id).and_then(|m| m.cap);
    let cap = i64::from(own.unwrap_or(caps.default));
    if changes::load_of(tx, person.id, ticket.id).await? >= cap {
        return Err(TicketError::AtCap { name: person.name.clone(), cap });
    }
    Ok(())
}

/// Gives a ticket back: nobody has it until somebody claims it or it is given to somebody.
pub async fn release(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<(), TicketError> {
    if ticket.assignee.is_none() {
        return Err(TicketError::Unassigned(ticket.id));
    }
    give(tx, ticket, None, "released", act).await
}

/// Gives a ticket to a member of staff, whoever has it now.
pub async fn assign(
    tx: &mut Tx,
    turn: &Turn,
    ticket: &Locked,
    to: PersonId,
    caps: Caps,
    act: Act,
) -> Result<(), TicketError> {
    if ticket.assignee == Some(to) {
        return Ok(());
    }
    let person = people::person_in(tx, to).await?;
    let Some(person) = person.filter(|p| p.active && p.role.is_staff()) else {
        return Err(TicketError::NotStaff);
    };
    has_room(tx, turn, ticket, &person, caps, act.now).await?;
    // Who was merged since they were chosen is another one.
    give(tx, ticket, Some(person.id), "given by hand", act).await
}

async fn give(
    tx: &mut Tx,
    ticket: &Locked,
    to: Option<PersonId>,
    reason: &str,
    act: Act,
) -> Result<(), TicketError> {
    if ticket.status == Status::Closed {
        return Err(TicketError::WrongStatus(ticket.id, ticket.status.as_str()));
    }
    let record = AssignmentRecord {
        outcome: Outcome::Manual,
        assignee: to,
        reason: reason.to_owned(),
        candidates: json!([]),
    };
    sql::insert_manual(tx, ticket.id.0, act.by.0, &record, act.now).await?;
    sql::give(tx, ticket.id.0, to.map(|t| t.0), act.now).await?;
    let data = json!({"outcome": Outcome::Manual, "assignee": to, "reason": reason});
    event(tx, ticket, "assigned", &data, act).await?;
    let status = match (ticket.status, to) {
        (Status::New, Some(_)) => Some(Status::Open),
        (Status::Open, None) => Some(Status::New),
        _ => None,
    };
    if let Some(status) = status {
        put(tx, ticket, status, act).await?;
    }
    if let Some(to) = to {
        people::note_assigned(tx, to, act.now).await?;
        if to != act.by {
            outbox::notify_staff(tx, ticket.id, to, None, act.now).await?;
        }
    }
    // A place became free or was taken.
    queue::enqueue(tx, &queue::REASSIGN, 0, act.now).await?;
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Corrects what a judgement said, as one event beside those of the fields: an example to learn from, and what the accuracy
/// of judgements is measured by.
pub async fn correct(
    tx: &mut Tx,
    ticket: &Locked,
    correction: &Correction,
    act: Act,
) -> Result<(), TicketError> {
    let before = sql::labels(tx, ticket.id.0).await?;
    if let Some(category) = &correction.category {
        set_category(tx, ticket, category, act).await?;
    }
    if let Some(priority) = correction.priority {
        set_priority(tx, ticket, priority, act).await?;
    }
    if let Some(skills) = &correction.skills {
        set_skills(tx, ticket, skills, act).await?;
    }
    let after = sql::labels(tx, ticket.id.0).await?;
    let judged = sql::judged(tx, ticket.id.0).await?;
    event(
        tx,
        ticket,
        "triage_corrected",
        &json!({"judgement": judged, "before": before, "after": after}),
        act,
    )
    .await
}

/// What a person says instead of a judgement; `None`: as it stands.
#[derive(Clone, Debug, Default)]
pub struct Correction {
    pub category: Option<String>,
    pub priority: Option<Priority>,
    /// Slugs.
    pub skills: Option<Vec<String>>,
}

/// What a judgement is about, as it stands.
#[derive(Clone, Debug, serde::Serialize)]
struct Labels {
    category: Option<String>,
    priority: String,
    skills: Vec<String>,
}

/// Sets the priority; no automatic result changes it afterwards.
pub async fn set_priority(
    tx: &mut Tx,
    ticket: &Locked,
    priority: Priority,
    act: Act,
) -> Result<(), TicketError> {
    let before = sql::set_priority(tx, ticket.id.0, priority.as_str(), act.now).await?;
    event(tx, ticket, "priority", &json!({"from": before, "to": priority}), act).await?;
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Sets the category (one of the configured ones); no automatic result changes it afterwards.
pub async fn set_category(tx: &mut Tx, ticket: &Locked, category: &str, act: Act) -> Result<(), TicketError> {
    let before = sql::set_category(tx, ticket.id.0, category, act.now).await?;
    event(tx, ticket, "category", &json!({"from": before, "to": category}), act).await?;
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Sets the required skills; no automatic result changes them afterwards. What nobody works on yet is routed anew.
pub async fn set_skills(tx: &mut Tx, ticket: &Locked, slugs: &[String], act: Act) -> Result<(), TicketError> {
    let ids = people::skill_ids(tx, slugs).await?;
    if ids.len() != slugs.len() {
        return Err(TicketError::UnknownSkill);
    }
    let ids: Vec<i64> = ids.into_iter().map(|SkillId(id)| id).collect();
    sql::set_skills(tx, ticket.id.0, &ids, act.now).await?;
    event(tx, ticket, "skills", &json!({"to": slugs}), act).await?;
    if ticket.status.is_active() && !ticket.assignee_set && ticket.outcome != Some(Outcome::Matched) {
        queue::enqueue(tx, &queue::ASSIGN, ticket.id.0, act.now).await?;
    }
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Asks for another judgement. It changes nothing that a person has set.
pub async fn judge_again(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<(), TicketError> {
    event(tx, ticket, "triage_asked", &json!({}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    Ok(queue::enqueue(tx, &queue::TRIAGE, ticket.id.0, act.now).await?)
}

/// Staff puts a ticket into a status. `new` is for what nobody has; a closed one is opened again.
pub async fn set_status(tx: &mut Tx, ticket: &Locked, status: Status, act: Act) -> Result<(), TicketError> {
    if ticket.status == status {
        return Ok(());
    }
    if !super::status::may_set(ticket.status, status, ticket.assignee.is_some()) {
        return Err(TicketError::WrongStatus(ticket.id, ticket.status.as_str()));
    }
    put(tx, ticket, status, act).await?;
    let held = ticket.assignee.is_some() && ticket.assignee_active;
    if status.is_active() && !ticket.status.is_active() && !held {
        queue::enqueue(tx, &queue::ASSIGN, ticket.id.0, act.now).await?;
    }
    if status == Status::Resolved {
        csat::ask(tx, ticket, act.by, act.now).await?;
    }
    follow(tx, ticket, status, act).await
}

/// Requester or staff says that it is over: history at once, and its threads are locked.
pub async fn close(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<(), TicketError> {
    if ticket.status == Status::Closed {
        return Ok(());
    }
    put(tx, ticket, Status::Closed, act).await?;
    follow(tx, ticket, Status::Closed, act).await
}

/// Opens again what was resolved or closed.
pub async fn reopen(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<(), TicketError> {
    if ticket.status.is_active() {
        return Ok(());
    }
    let held = ticket.assignee.is_some() && ticket.assignee_active;
    let status = if held { Status::Open } else { Status::New };
    put(tx, ticket, status, act).await?;
    if !held {
        queue::enqueue(tx, &queue::ASSIGN, ticket.id.0, act.now).await?;
    }
    follow(tx, ticket, status, act).await
}

async fn put(tx: &mut Tx, ticket: &Locked, status: Status, act: Act) -> Result<(), TicketError> {
    super::sql::set_status(tx, ticket.id.0, status, act.now).await?;
    event(tx, ticket, "status", &json!({"from": ticket.status, "to": status}), act).await
}

async fn follow(tx: &mut Tx, ticket: &Locked, status: Status, act: Act) -> Result<(), TicketError> {
    if !status.is_active() {
        queue::enqueue(tx, &queue::REASSIGN, 0, act.now).await?;
    }
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Takes a reply back before it leaves: nothing of it is sent, staff see that it was withdrawn. Fails whole where any
/// copy of it may have left.
pub async fn undo(tx: &mut Tx, ticket: &Locked, message: MessageId, act: Act) -> Result<(), TicketError> {
    if !sql::withdraw(tx, ticket.id.0, message.0, act.now).await? {
        return Err(TicketError::TooLate);
    }
    event(tx, ticket, "withdrawn", &json!({"message": message}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    if ticket.status == Status::Pending {
        put(tx, ticket, Status::Open, act).await?;
    }
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Notes that staff had a message of theirs sent on to the requester. False: it was sent on before, and once is enough.
pub async fn send_on(
    tx: &mut Tx,
    ticket: &Locked,
    discord_message: u64,
    act: Act,
) -> Result<bool, TicketError> {
    let name = discord_message.to_string();
    if sql::was_sent_on(tx, ticket.id.0, &name).await? {
        return Ok(false);
    }
    event(tx, ticket, "sent_on", &json!({"discord_message": name}), act).await?;
    Ok(true)
}

/// What an author made of a message later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision<'a> {
    Edited(&'a str),
    Deleted,
}

/// Keeps an edit or a deletion beside the message, and shows it wherever the message was shown. Mail that left stays as
/// it was. False: the ledger row was kept already, or nothing changed.
pub async fn revise(
    tx: &mut Tx,
    ticket: &Locked,
    message: MessageId,
    revision: Revision<'_>,
    ledger: InboundId,
    act: Act,
) -> Result<bool, TicketError> {
    let (kind, body) = match revision {
        Revision::Edited(text) => ("edited", text),
        Revision::Deleted => ("deleted", ""),
    };
    if !sql::insert_revision(tx, message.0, kind, body, ledger.0, act.now).await? {
        return Ok(false);
    }
    event(tx, ticket, "revised", &json!({"message": message, "kind": kind}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    threads::changed(tx, ticket.id, act.now).await?;
    Ok(true)
}

pub(super) async fn event(
    tx: &mut Tx,
    ticket: &Locked,
    kind: &str,
    data: &serde_json::Value,
    act: Act,
) -> Result<(), TicketError> {
    Ok(super::sql::insert_event(tx, ticket.id.0, kind, Some(act.by.0), act.channel, data, act.now).await?)
}

/// How many active tickets a requester has, and when the last one was opened. The caller has locked the person.
pub async fn opened_by(tx: &mut Tx, requester: PersonId) -> sqlx::Result<(i64, Option<DateTime<Utc>>)> {
    sql::opened_by(tx, requester.0).await
}
