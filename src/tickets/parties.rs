//! Who takes part in a ticket, and who of the staff follows it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::actions::{Act, event};
use super::{Channel, Locked, NewParticipant, TicketError, threads};
use crate::ids::{PersonId, TicketId};
use crate::people;
use crate::queue::Tx;

mod sql;

/// Lets somebody take part: they get what staff answers from now on. `address`: where; where it is left out, at the address
/// that is theirs for sure. False: they take part already.
pub async fn add_participant(
    tx: &mut Tx,
    ticket: &Locked,
    person: PersonId,
    address: Option<&str>,
    act: Act,
) -> Result<bool, TicketError> {
    let address = match address {
        Some(address) => Some(address.to_owned()),
        None => verified_address(tx, person).await?,
    };
    let address = address.ok_or(TicketError::NoAddress)?;
    if super::address_of(tx, ticket.id, person, Channel::Email).await?.is_some() {
        return Ok(false);
    }
    let list = [NewParticipant { person, address }];
    super::sql::insert_participants(tx, ticket.id.0, "cc", Channel::Email, &list, act.now).await?;
    event(tx, ticket, "participant_added", &json!({"person": person}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    threads::changed(tx, ticket.id, act.now).await?;
    Ok(true)
}

/// The mail address that is this person's for sure.
pub(super) async fn verified_address(tx: &mut Tx, person: PersonId) -> sqlx::Result<Option<String>> {
    sql::verified_address(tx, person.0).await
}

/// Lets somebody take part no more, on no channel. The requester stays.
pub async fn remove_participant(
    tx: &mut Tx,
    ticket: &Locked,
    person: PersonId,
    act: Act,
) -> Result<(), TicketError> {
    if ticket.requester == person {
        return Err(TicketError::RequesterStays);
    }
    if !sql::remove_participant(tx, ticket.id.0, person.0).await? {
        return Err(TicketError::NoParticipant);
    }
    event(tx, ticket, "participant_removed", &json!({"person": person}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// A member of staff follows a ticket. False: they do already.
pub async fn follow(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<bool, TicketError> {
    let person = people::person_in(tx, act.by).await?;
    let Some(person) = person.filter(|p| p.active && p.role.is_staff()) else {
        return Err(TicketError::NotStaff);
    };
    if !sql::follow(tx, ticket.id.0, person.id.0, act.now).await? {
        return Ok(false);
    }
    event(tx, ticket, "followed", &json!({}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    Ok(true)
}

/// And follows it no more. False: they did not.
pub async fn unfollow(tx: &mut Tx, ticket: &Locked, act: Act) -> Result<bool, TicketError> {
    if !sql::unfollow(tx, ticket.id.0, act.by.0).await? {
        return Ok(false);
    }
    event(tx, ticket, "unfollowed", &json!({}), act).await?;
    super::sql::touch(tx, ticket.id.0, act.now).await?;
    Ok(true)
}

/// A member of staff who follows a ticket.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Follower {
    pub person_id: PersonId,
    pub name: String,
    pub since: DateTime<Utc>,
}

/// Who follows a ticket.
pub async fn followers(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Vec<Follower>> {
    sql::followers(db, ticket.0).await
}

/// Whether a person follows a ticket.
pub async fn follows(db: &sqlx::PgPool, ticket: TicketId, person: PersonId) -> sqlx::Result<bool> {
    Ok(followers(db, ticket).await?.iter().any(|follower| follower.person_id == person))
}

/// Active staff to be told of what comes in, but for the author of it and whoever has the ticket, who is told anyway.
pub(super) async fn to_be_told(
    tx: &mut Tx,
    ticket: &Locked,
    author: PersonId,
) -> sqlx::Result<Vec<PersonId>> {
    let assignee = ticket.assignee.filter(|_| ticket.assignee_active);
    let mut list = sql::active_followers(tx, ticket.id.0).await?;
    list.retain(|person| *person != author && Some(*person) != assignee);
    Ok(list)
}
