//! Several changes at once: all of them or none, and only to the version that whoever asks for them has seen.

use chrono::{DateTime, Utc};

use super::actions::{self, Act, Caps};
use super::read::Holder;
use super::{Locked, Priority, Status, TicketError, changes, labels};
use crate::ids::TicketId;
use crate::queue::Tx;

/// What is to be as it says here; `None`: as it is.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    pub subject: Option<String>,
    pub priority: Option<Priority>,
    /// One of the configured ones.
    pub category: Option<String>,
    /// Slugs of the required skills.
    pub skills: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub deadline: Option<Deadline>,
    pub assignee: Option<Holder>,
    pub status: Option<Status>,
}

/// What becomes of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    At(DateTime<Utc>),
    Without,
}

impl Patch {
    pub fn is_empty(&self) -> bool {
        let Self { subject, priority, category, skills, tags, deadline, assignee, status } = self;
        subject.is_none()
            && priority.is_none()
            && category.is_none()
            && skills.is_none()
            && tags.is_none()
            && deadline.is_none()
            && assignee.is_none()
            && status.is_none()
    }
}

/// Locks a ticket that is in the expected version still; `None`: any.
pub async fn lock_version(
    tx: &mut Tx,
    ticket: TicketId,
    expected: Option<i64>,
) -> Result<Locked, TicketError> {
    let locked = super::lock(tx, ticket).await?;
    match expected {
        Some(version) if version != locked.version => Err(TicketError::Stale(ticket)),
        _ => Ok(locked),
    }
}

/// Changes what the patch names. Where it changes hands, the turn is taken before the ticket is locked.
pub async fn apply(
    tx: &mut Tx,
    ticket: TicketId,
    expected: Option<i64>,
    patch: &Patch,
    caps: Caps,
    act: Act,
) -> Result<Locked, TicketError> {
    let turn = match patch.assignee {
        Some(Holder::Person(_)) => Some(changes::take_turn_assigning(tx).await?),
        Some(Holder::Nobody) | None => None,
    };
    let mut locked = lock_version(tx, ticket, expected).await?;
    if let Some(subject) = &patch.subject {
        labels::set_subject(tx, &locked, subject, act).await?;
    }
    if let Some(tags) = &patch.tags {
        labels::set_tags(tx, &locked, tags, act).await?;
    }
    if let Some(deadline) = patch.deadline {
        let deadline = match deadline {
            Deadline::At(at) => Some(at),
            Deadline::Without => None,
        };
        labels::set_deadline(tx, &locked, deadline, act).await?;
    }
    if let Some(priority) = patch.priority {
        actions::set_priority(tx, &locked, priority, act).await?;
    }
    if let Some(category) = &patch.category {
        actions::set_category(tx, &locked, category, act).await?;
    }
    // Before the skills: what is given to somebody by hand needs no routing.
    match (patch.assignee, &turn) {
        (Some(Holder::Person(person)), Some(turn)) => {
            actions::assign(tx, turn, &locked, person, caps, act).await?;
        }
        (Some(Holder::Nobody), _) if locked.assignee.is_some() => actions::release(tx, &locked, act).await?,
        _ => {}
    }
    if patch.assignee.is_some() {
        locked = super::lock(tx, ticket).await?;
    }
    if let Some(skills) = &patch.skills {
        actions::set_skills(tx, &locked, skills, act).await?;
    }
    // Last, because changing hands moves the status, too.
    if let Some(status) = patch.status {
        actions::set_status(tx, &locked, status, act).await?;
    }
    super::lock(tx, ticket).await
}
