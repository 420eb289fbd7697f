//! The history of all tickets as one stream, in an order in which nothing is missed, and what of an event is told outside.
//!
//! Ids of events are given before the commit: who remembers only the largest id misses a smaller one that commits later.
//! So the stream is ordered by transaction, and ends before the oldest transaction that still runs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgPool;

use crate::ids::{PersonId, TicketId};

mod sql;

/// A place in the stream. What commits later is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    xid: u64,
    id: i64,
}

/// A ticket in short: neither what was said, nor addresses, nor what the triage remarked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Outline {
    pub number: TicketId,
    pub subject: String,
    pub status: String,
    pub priority: String,
    pub category: Option<String>,
    /// Slugs of the required skills.
    pub skills: Vec<String>,
    pub assignee_id: Option<PersonId>,
    pub requester_id: PersonId,
    /// Grows with every change: of two outlines the one with the greater version is newer.
    pub version: i64,
}

/// One line of the history, and its ticket as it stands when the line is read.
#[derive(Clone, Debug)]
pub struct Happened {
    pub position: Position,
    pub id: i64,
    pub at: DateTime<Utc>,
    pub kind: String,
    /// `None`: ticketd itself.
    pub actor: Option<PersonId>,
    pub channel: String,
    /// As it is stored: for staff only. [`Happened::told`] says what may leave.
    pub data: Value,
    pub ticket: Outline,
}

/// An event as it is told outside: to webhooks, and in the stream of events.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Told {
    /// As in the ticket's events; null: a ping.
    pub id: Option<i64>,
    /// `opened`, `message`, `reply`, `status` …
    pub r#type: String,
    pub created_at: DateTime<Utc>,
    /// As it stands when it is told; null: a ping.
    pub ticket: Option<Outline>,
    /// Who did it; null: ticketd itself, or, to a requester, somebody else.
    pub actor_id: Option<PersonId>,
    pub channel: String,
    /// What follows from the type: ids, and words of closed lists.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl Happened {
    /// As staff's programs are told.
    pub fn told(&self) -> Told {
        self.with(self.actor, told(&self.kind, &self.data))
    }

    /// As its requester is told. `None`: it is none of theirs.
    pub fn told_to_requester(&self) -> Option<Told> {
        let data = told_to_requester(&self.kind, &self.data)?;
        Some(self.with(self.actor.filter(|actor| *actor == self.ticket.requester_id), data))
    }

    fn with(&self, actor_id: Option<PersonId>, data: Value) -> Told {
        Told {
            id: Some(self.id),
            r#type: self.kind.clone(),
            created_at: self.at,
            ticket: Some(self.ticket.clone()),
            actor_id,
            channel: self.channel.clone(),
            data,
        }
    }
}

/// The kinds of events, and what of their data is told to programs: ids, and words of closed lists. Whatever is not named
/// here stays inside, so that a new field of an event leaves nothing by mistake.
pub const TOLD: [(&str, &[&str]); 39] = [
    ("opened", &["follow_up_of", "related_to", "sender_class"]),
    ("message", &["message", "sender_class", "reopened"]),
    ("unverified_note", &["message"]),
    ("address", &["person"]),
    ("linked", &["from", "into"]),
    ("reply", &["message"]),
    ("note", &["message"]),
    ("withdrawn", &["message"]),
    ("revised", &["message", "kind"]),
    ("sent_on", &[]),
    ("status", &["from", "to"]),
    ("priority", &["from", "to"]),
    ("category", &["from", "to"]),
    ("skills", &["to"]),
    ("assigned", &["outcome", "assignee"]),
    ("triaged", &["engine", "category", "priority", "skills", "confidence"]),
    ("triage_asked", &[]),
    ("delivery", &["delivery", "purpose", "state"]),
    ("loop_breaker", &["scope", "per_hour"]),
    ("loop_breaker_reset", &["scope"]),
    ("bounced", &["delivery"]),
    ("delayed", &["delivery"]),
    ("thread_broken", &[]),
    ("thread_repaired", &["anew"]),
    ("entered_for", &["message"]),
    ("subject", &[]),
    ("tags", &["from", "to"]),
    ("deadline", &["from", "to"]),
    ("followed", &[]),
    ("unfollowed", &[]),
    ("participant_added", &["person"]),
    ("participant_removed", &["person"]),
    ("merged", &["into"]),
    ("merged_from", &["from"]),
    ("split", &["message", "into"]),
    ("deleted", &[]),
    ("restored", &[]),
    ("triage_corrected", &["before", "after"]),
    ("csat", &["score", "has_comment", "changed"]),
];

/// The kinds that the requester of a ticket is told of: what they can see of it has changed.
const TOLD_TO_REQUESTERS: [(&str, &[&str]); 16] = [
    ("opened", &[]),
    ("message", &["message"]),
    ("reply", &["message"]),
    ("withdrawn", &["message"]),
    ("revised", &["message", "kind"]),
    ("status", &["from", "to"]),
    ("priority", &["to"]),
    ("category", &["to"]),
    ("skills", &["to"]),
    ("assigned", &[]),
    ("subject", &[]),
    ("deadline", &["to"]),
    ("merged", &[]),
    ("split", &[]),
    ("deleted", &[]),
    ("restored", &[]),
];

/// What of an event's data is told to staff's programs.
fn told(kind: &str, data: &Value) -> Value {
    let keys = TOLD.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, keys)| keys);
    only(keys, data)
}

/// What of an event's data its requester is told. `None`: the event is none of theirs.
fn told_to_requester(kind: &str, data: &Value) -> Option<Value> {
    let (_, keys) = TOLD_TO_REQUESTERS.iter().find(|(known, _)| *known == kind)?;
    Some(only(keys, data))
}

fn only(keys: &[&str], data: &Value) -> Value {
    let kept = keys.iter().filter_map(|key| Some(((*key).to_owned(), data.get(key)?.clone())));
    Value::Object(kept.collect::<Map<_, _>>())
}

/// Where the stream ends now: what is behind it had not committed.
pub async fn end(db: &PgPool) -> sqlx::Result<Position> {
    Ok(Position { xid: sql::end(db).await?, id: 0 })
}

/// Where an event stands. `None`: there is no such event (any more).
pub async fn position_of(db: &PgPool, event: i64) -> sqlx::Result<Option<Position>> {
    Ok(sql::xid_of(db, event).await?.map(|xid| Position { xid, id: event }))
}

/// The events behind a place, in order, at most `limit`. Of what was deleted only that is told.
pub async fn after(db: &PgPool, position: Position, limit: i64) -> sqlx::Result<Vec<Happened>> {
    sql::after(db, position.xid, position.id, limit).await
}

/// Events of one statement.
const ADOPTED_AT_ONCE: i64 = 20_000;

/// Moves events that were restored from another server's backup to the beginning of the stream: their transactions were
/// counted there, and are not to come again here.
pub async fn adopt_restored(db: &PgPool) -> sqlx::Result<u64> {
    let mut all = 0;
    loop {
        // A few at a time: a statement has a limit, and a restored desk any number of them.
        let moved = sql::adopt_restored(db, ADOPTED_AT_ONCE).await?;
        all += moved;
        if moved == 0 {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_named_is_told() {
        let assigned = json!({"outcome": "matched", "assignee": 7, "reason": "Bea: 2 of 2 skills"});
        let message = json!({"message": 5, "sender_class": "human", "reopened": false, "body": "hello"});
        let table = [
            ("assigned", &assigned, json!({"outcome": "matched", "assignee": 7}), Some(json!({}))),
            (
                "message",
                &message,
                json!({"message": 5, "sender_class": "human", "reopened": false}),
                Some(json!({"message": 5})),
            ),
            ("note", &message, json!({"message": 5}), None),
            ("unverified_note", &message, json!({"message": 5}), None),
            ("status", &json!({"from": "new", "to": "open"}), json!({"from": "new", "to": "open"}), {
                Some(json!({"from": "new", "to": "open"}))
            }),
            ("address", &json!({"person": 1, "from": "a@b", "to": "c@d"}), json!({"person": 1}), None),
            ("bounced", &json!({"delivery": 1, "detail": "<a@b> unknown"}), json!({"delivery": 1}), None),
            ("unheard_of", &json!({"secret": 1}), json!({}), None),
            ("triaged", &json!("no object"), json!({}), None),
        ];
        for (kind, data, outside, requester) in table {
            assert_eq!(told(kind, data), outside, "{kind}");
            assert_eq!(told_to_requester(kind, data), requester, "{kind}");
        }
    }

    #[test]
    fn a_requester_is_told_no_more_than_staff() {
        for (kind, keys) in TOLD_TO_REQUESTERS {
            let staff = TOLD.iter().find(|(known, _)| *known == kind).expect("a known kind").1;
            assert!(keys.iter().all(|key| staff.contains(key)), "{kind}");
        }
    }
}
