//! What tickets need of the catalogue, and what becomes of them when a skill is removed from it.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Channel, changes, threads};
use crate::audit::{self, Actor};
use crate::ids::TicketId;
use crate::people::catalogue;
use crate::queue::{self, Tx};

mod sql;

/// How many active tickets need each skill; one that none needs is left out.
pub async fn active_by_skill(db: &sqlx::PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sql::active_by_skill(db).await
}

/// Why a skill was not removed, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("there is no skill `{0}`")]
    Unknown(String),
    #[error(
        "the skill is in use: {people} people have it, {active} active tickets need it, and {all} tickets name it; \
         with `force` it is taken from all of them"
    )]
    InUse { people: i64, active: i64, all: i64 },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Removes a skill from the catalogue. One that is in use is removed only with `force`: from everybody who has it, and from
/// every ticket, which the active ones remember.
pub async fn remove_skill(
    tx: &mut Tx,
    slug: &str,
    force: bool,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(), RemoveError> {
    let shown = || slug.chars().filter(|c| !c.is_control()).take(64).collect();
    if slug.contains('\0') {
        return Err(RemoveError::Unknown(shown()));
    }
    // Tickets first: whoever changes one's skills holds it, and then wants the skill.
    let active = if force { sql::lock_active(tx, slug).await? } else { Vec::new() };
    let people = catalogue::hold(tx, slug).await?.ok_or_else(|| RemoveError::Unknown(shown()))?;
    let tickets = sql::count(tx, slug).await?;
    if !force && (people > 0 || tickets.all > 0) {
        return Err(RemoveError::InUse { people, active: tickets.active, all: tickets.all });
    }
    sql::take_from(tx, slug, &active, now).await?;
    for ticket in active.into_iter().map(TicketId) {
        let left = changes::required_skills(tx, ticket).await?;
        let by = actor.person.map(|p| p.0);
        let data = json!({"to": left, "removed": slug});
        super::sql::insert_event(tx, ticket.0, "skills", by, Channel::Web, &data, now).await?;
        threads::changed(tx, ticket, now).await?;
    }
    catalogue::remove(tx, slug).await?;
    queue::enqueue(tx, &queue::REASSIGN, 0, now).await?;
    let data = json!({"people": people, "active_tickets": tickets.active, "tickets": tickets.all});
    Ok(audit::record(tx, actor, "skill.removed", &format!("skill:{slug}"), &data, now).await?)
}
