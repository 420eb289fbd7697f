//! How content requesters were: a survey when staff resolves, and its answers.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;

use super::{Channel, Locked, TicketError};
use crate::ids::{PersonId, TicketId};
use crate::queue::{self, Tx};

mod sql;

/// The longest comment, in characters; what is longer is cut.
pub const LONGEST_COMMENT: usize = 2000;
/// The survey follows the answer that settled it, and does not overtake it.
const ASKED_AFTER: TimeDelta = TimeDelta::minutes(1);
/// How long an answer can be changed.
const CHANGEABLE: TimeDelta = TimeDelta::days(14);

/// Says at start whether requesters are asked.
pub async fn configure(db: &sqlx::PgPool, survey: bool) -> sqlx::Result<()> {
    sql::configure(db, survey).await
}

/// Staff has resolved it: the requester is asked by mail, once a ticket, where surveys are switched on; and not where it is
/// open again by then.
pub(super) async fn ask(tx: &mut Tx, ticket: &Locked, by: PersonId, now: DateTime<Utc>) -> sqlx::Result<()> {
    if by == ticket.requester {
        return Ok(());
    }
    match sql::insert_survey(tx, ticket.id.0, ticket.requester.0, now + ASKED_AFTER).await? {
        Some((delivery, due)) => queue::enqueue(tx, &queue::DELIVER, delivery, due).await,
        None => Ok(()),
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rating {
    /// From 1 (not at all content) to 5 (fully).
    pub score: i32,
    pub comment: String,
    /// When it was first given.
    pub answered_at: DateTime<Utc>,
}

/// The answer to a ticket's survey.
pub async fn rating(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Option<Rating>> {
    sql::rating(db, ticket.0).await
}

/// What a requester who follows the link in a survey is shown: the ticket's subject, and their answer so far. `None`: there is
/// no such ticket (any more).
pub async fn asked(db: &sqlx::PgPool, ticket: TicketId) -> sqlx::Result<Option<(String, Option<Rating>)>> {
    let Some(subject) = sql::subject(db, ticket.0).await? else { return Ok(None) };
    Ok(Some((subject, rating(db, ticket).await?)))
}

/// Keeps an answer, or another one in its place, as long as it may be changed. `score` is from 1 to 5.
pub async fn answer(
    tx: &mut Tx,
    ticket: TicketId,
    by: PersonId,
    score: i32,
    comment: &str,
    now: DateTime<Utc>,
) -> Result<Rating, TicketError> {
    let locked = super::lock_any(tx, ticket).await?;
    if locked.is_deleted {
        return Err(TicketError::Deleted(ticket));
    }
    let before = sql::answered_at(tx, ticket.0).await?;
    if before.is_some_and(|at| at + CHANGEABLE < now) {
        return Err(TicketError::RatingClosed);
    }
    let comment: String = comment.chars().filter(|c| *c != '\0').take(LONGEST_COMMENT).collect();
    let comment = comment.trim();
    sql::keep(tx, ticket.0, score, comment, now).await?;
    super::sql::touch(tx, ticket.0, now).await?;
    let data = json!({"score": score, "has_comment": !comment.is_empty(), "changed": before.is_some()});
    super::sql::insert_event(tx, ticket.0, "csat", Some(by.0), Channel::Web, &data, now).await?;
    Ok(Rating { score, comment: comment.to_owned(), answered_at: before.unwrap_or(now) })
}
