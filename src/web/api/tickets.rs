//! Tickets: what people see of them, and what they say in them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ids::{MessageId, TicketId};
use crate::tickets::read::{self, DeliveryState, Event, Message, Participant, Summary};
use crate::tickets::{self, Channel, StaffMessage, Status, changes, transcript};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named, Number, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(assignment))
        .routes(routes!(events))
        .routes(routes!(messages, write))
        .routes(routes!(transcript))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
    status: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Page {
    tickets: Vec<Summary>,
    next_cursor: Option<String>,
}

const LARGEST_PAGE: i64 = 200;

/// newest first.
#[utoipa::path(
    get,
    path = "/api/tickets",
    tag = "tickets",
    params(ListQuery),
    responses((status = 200, description = "Newest first", body = Page))
)]
async fn list(
    State(state): State<Shared>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page>, Error> {
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
    let sight = caller.sight(state.config.assignment.moderators_see_all);
    let mut tickets = read::list(&state.db, sight, query.status.as_deref(), before, limit + 1).await?;
    let more = i64::try_from(tickets.len()).unwrap_or(0) > limit;
    if more {
        tickets.pop();
    }
    let next_cursor = tickets.last().filter(|_| more).map(|last| format!("b{}", last.number));
    Ok(Json(Page { tickets, next_cursor }))
}

#[derive(Serialize, ToSchema)]
struct Detail {
    #[serde(flatten)]
    summary: Summary,
    participants: Vec<Participant>,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    triage: Option<changes::Triage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliveryState>>,
}

async fn seen(state: &Shared, caller: &Caller, number: TicketId) -> Result<Summary, Error> {
    let sight = caller.sight(state.config.assignment.moderators_see_all);
    read::ticket(&state.db, sight, number).await?.ok_or(Error::NotFound)
}

/// the ticket with its conversation; for staff with judgement and deliveries.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "The ticket", body = Detail))
)]
async fn detail(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Detail>, Error> {
    let summary = seen(&state, &caller, number).await?;
    let is_staff = caller.is_staff();
    let ticket = summary.number;
    Ok(Json(Detail {
        participants: read::participants(&state.db, ticket).await?,
        messages: read::messages(&state.db, ticket, is_staff).await?,
        triage: if is_staff { changes::triage(&state.db, ticket).await? } else { None },
        deliveries: if is_staff { Some(read::deliveries(&state.db, ticket).await?) } else { None },
        summary,
    }))
}

///
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/messages",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "Oldest first", body = Vec<Message>))
)]
async fn messages(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Vec<Message>>, Error> {
    let summary = seen(&state, &caller, number).await?;
    Ok(Json(read::messages(&state.db, summary.number, caller.is_staff()).await?))
}

/// the timeline, for staff.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/events",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "Oldest first", body = Vec<Event>))
)]
async fn events(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Vec<Event>>, Error> {
    let summary = seen(&state, &caller, number).await?;
    Ok(Json(read::events(&state.db, summary.number).await?))
}

/// the ticket as a file; for its requester the public part of it. It is an attachment,
/// so that no browser shows it as a page of ours.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/transcript",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
async fn transcript(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<impl IntoResponse, Error> {
    let summary = seen(&state, &caller, number).await?;
    let is_staff = caller.is_staff();
    let page = transcript::document(&state.db, &summary, is_staff, state.clock.now()).await?;
    let disposition = format!("attachment; filename=\"{}\"", transcript::file_name(&summary));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, page))
}

/// who has it and why, with everyone who was looked at; for staff.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/assignment",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "The choice", body = changes::Assignment))
)]
async fn assignment(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<changes::Assignment>, Error> {
    let summary = seen(&state, &caller, number).await?;
    changes::assignment(&state.db, summary.number).await?.map(Json).ok_or(Error::NotFound)
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    #[default]
    Public,
    Internal,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    body: String,
    #[serde(default)]
    visibility: Visibility,
    #[serde(default)]
    resolve: bool,
}

#[derive(Serialize, ToSchema)]
struct Written {
    id: MessageId,
    status: Status,
    /// When a public message leaves; until then its delivery can be cancelled.
    leaves_at: Option<DateTime<Utc>>,
}

/// staff's answer, or a note.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/messages",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    request_body = NewMessage,
    responses((status = 201, description = "It is written", body = Written))
)]
async fn write(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    Input { value: body, once }: Input<NewMessage>,
) -> Result<Response, Error> {
    let author = caller.person;
    let summary = seen(&state, &caller, number).await?;
    if let Some(answer) = once.replay(&state, &caller).await? {
        return Ok(answer);
    }
    let now = state.clock.now();
    let message = StaffMessage { author, channel: Channel::Web, text: &body.body, inbound: None };
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock(&mut tx, summary.number).await?;
    let leaves_at = now + TimeDelta::seconds(state.config.mail.undo_seconds);
    let id = match body.visibility {
        Visibility::Public => tickets::reply(&mut tx, &ticket, &message, leaves_at, now).await?,
        Visibility::Internal => tickets::note(&mut tx, &ticket, &message, now).await?,
    };
    if body.resolve {
        let ticket = tickets::lock(&mut tx, summary.number).await?;
        tickets::resolve(&mut tx, &ticket, author, Channel::Web, now).await?;
    }
    let status = tickets::lock(&mut tx, summary.number).await?.status;
    let leaves_at = (body.visibility == Visibility::Public).then_some(leaves_at);
    once.commit(tx, &state, &caller, StatusCode::CREATED, &Written { id, status, leaves_at }).await
}
