//! Out of sight, and back: an admin deletes a ticket and can restore it. Nothing of it is lost meanwhile.

use serde_json::json;

use super::actions::{Act, event};
use super::{Locked, TicketError, threads};
use crate::queue::{self, Tx};

mod sql;

/// Takes a ticket out of sight: it is in no list, nobody has it, mail to it opens a new ticket, and what was to be sent for it
/// is not.
pub async fn delete(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<(), TicketError> {
    if ticket.is_deleted {
        return Err(TicketError::Deleted(ticket.id));
    }
    sql::delete(tx, ticket.id.0, act.by.0, act.now).await?;
    sql::cancel_deliveries(tx, ticket.id.0).await?;
    event(tx, ticket, "deleted", &json!({}), act).await?;
    // A place may be free.
    queue::enqueue(tx, &queue::REASSIGN, 0, act.now).await?;
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// Brings a deleted ticket back as it was. False: it is not deleted. What was to be sent when it was deleted stays unsent.
pub async fn restore(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<bool, TicketError> {
    if !ticket.is_deleted {
        return Ok(false);
    }
    sql::restore(tx, ticket.id.0, act.now).await?;
    event(tx, ticket, "restored", &json!({}), act).await?;
    if ticket.status.is_active() && !ticket.assignee_active {
        queue::enqueue(tx, &queue::ASSIGN, ticket.id.0, act.now).await?;
    }
    threads::changed(tx, ticket.id, act.now).await?;
    Ok(true)
}
