//! The ticket API: the smallest that an admin needs to see tickets and their assignment, and staff to answer.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::State as Shared;
use super::auth::Caller;
use super::error::Error;
use crate::ids::{MessageId, TicketId};
use crate::queue;
use crate::tickets::read::{self, DeliveryState, Event, Message, Participant, Summary};
use crate::tickets::{self, Channel, StaffMessage, Status, changes, transcript};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    status: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Page {
    tickets: Vec<Summary>,
    next_cursor: Option<String>,
}

const LARGEST_PAGE: i64 = 200;

/// `GET /api/tickets`: newest first.
pub(super) async fn list(
    State(state): State<Shared>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Error> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Error::BadRequest(format!("limit is from 1 to {LARGEST_PAGE}")));
    }
    if let Some(status) = query.status.as_deref().filter(|s| Status::parse(s).is_none()) {
        return Err(Error::BadRequest(format!(
            "`{status}` is no status: new, open, pending, resolved, closed"
        )));
    }
    let before = match query.cursor.as_deref().map(|c| c.strip_prefix('b').map(str::parse)) {
        None => None,
        Some(Some(Ok(number))) => Some(TicketId(number)),
        Some(_) => return Err(Error::BadRequest("cursor is not one that was given out".to_owned())),
    };
    let sight = caller.sight(state.settings.current().await.assignment.moderators_see_all);
    let mut tickets = read::list(&state.db, sight, query.status.as_deref(), before, limit + 1).await?;
    let more = i64::try_from(tickets.len()).unwrap_or(0) > limit;
    if more {
        tickets.pop();
    }
    let next_cursor = tickets.last().filter(|_| more).map(|last| format!("b{}", last.number));
    Ok(Json(Page { tickets, next_cursor }))
}

#[derive(Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    summary: Summary,
    participants: Vec<Participant>,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    triage: Option<changes::Triage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliveryState>>,
}

async fn seen(
    state: &Shared,
    caller: &Caller,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Summary, Error> {
    let Path(number) = number?;
    let sight = caller.sight(state.settings.current().await.assignment.moderators_see_all);
    read::ticket(&state.db, sight, TicketId(number)).await?.ok_or(Error::NotFound)
}

/// `GET /api/tickets/{number}`: the ticket with its conversation; for staff with judgement and deliveries.
pub(super) async fn detail(
    State(state): State<Shared>,
    caller: Caller,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Json<Detail>, Error> {
    let summary = seen(&state, &caller, number).await?;
    let is_staff = caller.person.role.is_staff();
    let ticket = summary.number;
    Ok(Json(Detail {
        participants: read::participants(&state.db, ticket).await?,
        messages: read::messages(&state.db, ticket, is_staff).await?,
        triage: if is_staff { changes::triage(&state.db, ticket).await? } else { None },
        deliveries: if is_staff { Some(read::deliveries(&state.db, ticket).await?) } else { None },
        summary,
    }))
}

/// `GET /api/tickets/{number}/messages`
pub(super) async fn messages(
    State(state): State<Shared>,
    caller: Caller,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Json<Vec<Message>>, Error> {
    let summary = seen(&state, &caller, number).await?;
    Ok(Json(read::messages(&state.db, summary.number, caller.person.role.is_staff()).await?))
}

/// `GET /api/tickets/{number}/events`: the timeline, for staff.
pub(super) async fn events(
    State(state): State<Shared>,
    caller: Caller,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Json<Vec<Event>>, Error> {
    caller.staff()?;
    let summary = seen(&state, &caller, number).await?;
    Ok(Json(read::events(&state.db, summary.number).await?))
}

/// `GET /api/tickets/{number}/transcript`: the ticket as a file; for its requester the public part of it. It is an attachment,
/// so that no browser shows it as a page of ours.
pub(super) async fn transcript(
    State(state): State<Shared>,
    caller: Caller,
    number: Result<Path<i64>, PathRejection>,
) -> Result<impl IntoResponse, Error> {
    let summary = seen(&state, &caller, number).await?;
    let is_staff = caller.person.role.is_staff();
    let page = transcript::document(&state.db, &summary, is_staff, state.clock.now()).await?;
    let disposition = format!("attachment; filename=\"{}\"", transcript::file_name(&summary));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, page))
}

/// `GET /api/tickets/{number}/assignment`: who has it and why, with everyone who was looked at; for staff.
pub(super) async fn assignment(
    State(state): State<Shared>,
    caller: Caller,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Json<changes::Assignment>, Error> {
    caller.staff()?;
    let summary = seen(&state, &caller, number).await?;
    changes::assignment(&state.db, summary.number).await?.map(Json).ok_or(Error::NotFound)
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    #[default]
    Public,
    Internal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    body: String,
    #[serde(default)]
    visibility: Visibility,
    #[serde(default)]
    resolve: bool,
}

#[derive(Serialize)]
pub(super) struct Written {
    id: MessageId,
    status: Status,
    /// When a public message leaves; until then its delivery can be cancelled.
    leaves_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// `POST /api/tickets/{number}/messages`: staff's answer, or a note.
pub(super) async fn write(
    State(state): State<Shared>,
    caller: Caller,
    number: Result<Path<i64>, PathRejection>,
    body: Result<Json<NewMessage>, JsonRejection>,
) -> Result<(StatusCode, Json<Written>), Error> {
    let author = caller.staff()?.id;
    let summary = seen(&state, &caller, number).await?;
    let Json(body) = body?;
    if body.body.contains('\0') {
        return Err(Error::BadRequest("body holds a NUL character".to_owned()));
    }
    let now = state.clock.now();
    let undo_seconds = state.settings.current().await.mail.undo_seconds;
    let message = StaffMessage { author, channel: Channel::Web, text: &body.body, inbound: None };
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock(&mut tx, summary.number).await?;
    let leaves_at = now + TimeDelta::seconds(undo_seconds);
    let id = match body.visibility {
        Visibility::Public => tickets::reply(&mut tx, &ticket, &message, leaves_at, now).await?,
        Visibility::Internal => tickets::note(&mut tx, &ticket, &message, now).await?,
    };
    if body.resolve {
        let ticket = tickets::lock(&mut tx, summary.number).await?;
        tickets::resolve(&mut tx, &ticket, author, Channel::Web, now).await?;
    }
    let status = tickets::lock(&mut tx, summary.number).await?.status;
    tx.commit().await?;
    queue::ring(&state.db).await;
    let leaves_at = (body.visibility == Visibility::Public).then_some(leaves_at);
    Ok((StatusCode::CREATED, Json(Written { id, status, leaves_at })))
}
