//! Two tickets that are one matter, and one ticket that is two.
//!
//! A merged ticket closes and points to the one that goes on. Its conversation stays where it is; mail and messages to it
//! land where it points. Pointers are kept one step long: whoever follows one follows it once.

use serde_json::json;

use super::actions::{Act, event};
use super::{Channel, Locked, Status, TicketError, threads};
use crate::ids::{MessageId, TicketId};
use crate::queue::{self, Tx};

mod sql;

/// Merges `source` into `target`, or into what that was merged into. Returns the ticket that goes on.
pub async fn merge(
    tx: &mut Tx,
    source: TicketId,
    target: TicketId,
    expected: Option<i64>,
    act: Act,
) -> Result<TicketId, TicketError> {
    let target = super::current(tx, target).await?.ok_or(TicketError::Unknown(target))?;
    if source == target {
        return Err(TicketError::IntoItself);
    }
    // In the order of their numbers, with all that point to the source: two merges do not wait for each other.
    sql::lock_all(tx, source.0, target.0).await?;
    let from = super::patch::lock_version(tx, source, expected).await?;
    let into = match super::lock(tx, target).await {
        // It was merged while we waited.
        Err(TicketError::Merged(..)) => return Err(TicketError::Raced),
        into => into?,
    };
    if into.channel != Channel::Discord && sql::is_reached_in_discord_only(tx, source.0).await? {
        return Err(TicketError::OutOfReach(target));
    }
    let at = act.now;
    sql::point(tx, source.0, target.0, at).await?;
    sql::join_people(tx, source.0, target.0, into.channel, at).await?;
    super::sql::touch(tx, target.0, at).await?;
    if from.status != Status::Closed {
        event(tx, &from, "status", &json!({"from": from.status, "to": Status::Closed}), act).await?;
    }
    event(tx, &from, "merged", &json!({"into": target}), act).await?;
    event(tx, &into, "merged_from", &json!({"from": source}), act).await?;
    if from.status.is_active() {
        queue::enqueue(tx, &queue::REASSIGN, 0, at).await?;
    }
    threads::changed(tx, source, at).await?;
    threads::changed(tx, target, at).await?;
    Ok(target)
}

/// Makes a ticket of one message that came in: its author asks, it is copied with its files, and judged like any other.
pub async fn split(
    tx: &mut Tx,
    ticket: &Locked,
    message: MessageId,
    subject: Option<&str>,
    act: Act,
) -> Result<TicketId, TicketError> {
    let subject = subject.map(super::labels::subject_line).filter(|subject| !subject.is_empty());
    let made = sql::split(tx, ticket.id.0, message.0, subject.as_deref(), act.now).await?;
    let (new, copy) = made.ok_or(TicketError::UnknownMessage(message))?;
    let (new, copy) = (TicketId(new), MessageId(copy));
    sql::copy_attachments(tx, message.0, copy.0).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    event(tx, ticket, "split", &json!({"message": message, "into": new}), act).await?;
    let data = json!({"split_from": ticket.id, "message": message});
    super::sql::insert_event(tx, new.0, "opened", Some(act.by.0), act.channel, &data, act.now).await?;
    threads::relay(tx, new, copy, None, act.now).await?;
    threads::changed(tx, ticket.id, act.now).await?;
    queue::enqueue(tx, &queue::TRIAGE, new.0, act.now).await?;
    Ok(new)
}
