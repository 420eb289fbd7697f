//! What linking two identities means for tickets: they follow the person.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Channel, changes, threads};
use crate::audit::{self, Actor};
use crate::ids::{PersonId, TicketId};
use crate::people;
use crate::people::link::{self, CodeKey, LinkError, Linked};
use crate::queue::{self, Tx};
use crate::settings;

mod sql;

/// Takes the code that a person in Discord typed. If it is right, the address is theirs, and where it was somebody's
/// before, the two are one person with the tickets of both.
///
/// The caller commits on an error too ([`link::check`] says why), but on [`LinkError::Database`]. Call it in a transaction
/// that has looked nobody up yet: [`people::by_discord`] holds the identity, so two such calls for one person would wait
/// for each other until PostgreSQL ends one of them.
pub async fn redeem(
    tx: &mut Tx,
    key: &CodeKey,
    person: PersonId,
    typed: &str,
    now: DateTime<Utc>,
) -> Result<Linked, LinkError> {
    // Nobody is given a ticket while they are merged. The assignment takes its turn before everything else, so must we.
    let _turn = changes::take_turn_assigning(tx).await?;
    let proven = link::check(tx, key, person, typed, now).await?;
    let linked = link::join(tx, proven, now).await?;
    if let Some(from) = linked.merged {
        merge_person(tx, from, linked.person, now).await?;
        settings::take_over(tx, from, linked.person).await?;
        people::merge(tx, from, linked.person, now).await?;
        let actor = Actor { person: Some(linked.person), token: None, channel: "discord" };
        let subject = format!("person:{}", linked.person);
        audit::record(tx, actor, "person.merged", &subject, &json!({"from": from}), now).await?;
    }
    Ok(linked)
}

/// Moves everything that points to `from` in this module's tables to `into`, and shows it where the tickets are shown.
/// [`people::merge`] follows, in the same transaction.
///
/// What a mail says of its recipient stays true: of a reply that went to both of them, the copy that went to `from`
/// remains theirs.
pub async fn merge_person(
    tx: &mut Tx,
    from: PersonId,
    into: PersonId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if from == into {
        return Ok(());
    }
    people::hold_alone(tx, &[from, into]).await?;
    let tickets = sql::lock_tickets_of(tx, from.0).await?;
    sql::move_tickets(tx, from.0, into.0, now).await?;
    sql::move_participants(tx, from.0, into.0).await?;
    sql::move_history(tx, from.0, into.0).await?;
    sql::move_deliveries(tx, from.0, into.0).await?;
    sql::move_webhooks(tx, from.0, into.0).await?;
    let data = json!({"from": from, "into": into});
    for ticket in tickets {
        super::sql::insert_event(tx, ticket, "linked", Some(into.0), Channel::Discord, &data, now).await?;
        threads::changed(tx, TicketId(ticket), now).await?;
    }
    // Skills and load of one person have changed.
    queue::enqueue(tx, &queue::REASSIGN, 0, now).await
}
