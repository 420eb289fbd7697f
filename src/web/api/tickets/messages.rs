//! The conversation.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{act, files, locked, seen, tagged};
use crate::ids::{MessageId, TicketId, UploadId};
use crate::tickets::read::{self, Message};
use crate::tickets::{self, Channel, StaffMessage, Status, actions, opening};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named, Number, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(messages, write)).routes(routes!(take_back))
}

#[derive(Serialize, ToSchema)]
struct Messages {
    messages: Vec<Message>,
    /// Always null: the conversation comes whole.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MessagesQuery {
    /// Load pictures from the net in `html`: their senders learn that it is read. Without it they
    /// have no `src`.
    #[serde(default)]
    remote_images: bool,
}

/// The HTML of messages made ready to be shown, aside: mails may be large.
pub(super) async fn shown(
    mut messages: Vec<Message>,
    number: TicketId,
    remote_images: bool,
) -> Result<Vec<Message>, Error> {
    if messages.iter().all(|message| message.html.is_none()) {
        return Ok(messages);
    }
    let work = tokio::task::spawn_blocking(move || {
        read::show_html(&mut messages, number, remote_images);
        messages
    });
    work.await.map_err(|error| Error::Internal(error.into()))
}

/// Reads the conversation of a ticket. Staff also read notes, and what was withdrawn or deleted.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/messages",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number"), MessagesQuery),
    responses((status = 200, description = "Oldest first", body = Messages))
)]
async fn messages(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    Params(query): Params<MessagesQuery>,
) -> Result<Json<Messages>, Error> {
    seen(&state, &caller, number).await?;
    let messages = read::messages(&state.db, number, caller.is_staff(), state.clock.now()).await?;
    let messages = shown(messages, number, query.remote_images).await?;
    Ok(Json(Messages { messages, next_cursor: None }))
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    #[default]
    Public,
    /// A note: only staff see it.
    Internal,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    #[schema(min_length = 1)]
    body: String,
    #[serde(default)]
    visibility: Visibility,
    /// And that settles it.
    #[serde(default)]
    resolve: bool,
    /// Files sent before by `POST /api/uploads`: at most 20, of 25 MiB together.
    #[serde(default)]
    #[schema(value_type = Vec<i64>)]
    attachments: Vec<UploadId>,
}

#[derive(Serialize, ToSchema)]
struct Written {
    id: MessageId,
    status: Status,
    /// The ticket's version after it.
    version: i64,
    /// When staff's answer leaves; until then it can be taken back.
    leaves_at: Option<DateTime<Utc>>,
}

/// Writes a message: staff an answer or a note, requesters into their own tickets, which opens again what was resolved.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/messages",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    request_body = NewMessage,
    responses(
        (status = 201, description = "It is written", body = Written,
         headers(("ETag" = String, description = "The ticket's version after it"))),
    )
)]
async fn write(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    Input { value: body, once }: Input<NewMessage>,
) -> Result<Response, Error> {
    let summary = seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    files::may_go(&state, &body.attachments)?;
    let is_public = body.visibility == Visibility::Public;
    let as_requester = summary.requester_id == caller.person && is_public;
    if !as_requester && !caller.is_staff() {
        return Err(Error::Forbidden);
    }
    if !caller.is_staff() {
        state.limits.ticket(caller.person)?;
    }
    let act = act(&state, &caller);
    let leaves_at = act.now + TimeDelta::seconds(state.settings.known().mail.undo_seconds);
    let mut tx = state.db.begin().await?;
    let number = if as_requester {
        // What they say goes on where the ticket goes on.
        tickets::current(&mut tx, number).await?.unwrap_or(number)
    } else {
        number
    };
    let ticket = locked(&mut tx, number, &headers).await?;
    let message = StaffMessage {
        author: caller.person,
        channel: Channel::Web,
        text: &body.body,
        inbound: None,
        uploads: &body.attachments,
    };
    let id = if as_requester {
        let days = state.settings.known().assignment.reopen_days;
        if !tickets::takes_replies(&ticket, days, act.now) {
            return Err(closed_too_long(number, days));
        }
        opening::say(&mut tx, &ticket, &body.body, &body.attachments, act).await?
    } else if is_public {
        tickets::reply(&mut tx, &ticket, &message, leaves_at, act.now).await?
    } else {
        tickets::note(&mut tx, &ticket, &message, act.now).await?
    };
    if body.resolve {
        let ticket = tickets::lock(&mut tx, number).await?;
        tickets::resolve(&mut tx, &ticket, caller.person, Channel::Web, act.now).await?;
    }
    let after = tickets::lock(&mut tx, number).await?;
    let leaves_at = (is_public && !as_requester).then_some(leaves_at);
    let written = Written { id, status: after.status, version: after.version, leaves_at };
    let answer = once.commit(tx, &state, &caller, StatusCode::CREATED, &written).await?;
    Ok(tagged(answer, after.version))
}

/// What is history takes no more messages.
pub(super) fn closed_too_long(number: TicketId, days: i64) -> Error {
    Error::Conflict(format!("ticket #{number} was closed more than {days} days ago: open a new one"))
}

/// Takes an answer back before it leaves: nothing of it is sent, staff see that it was withdrawn.
#[utoipa::path(
    delete,
    path = "/api/tickets/{number}/messages/{id}",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("id" = i64, Path, description = "The message"),
    ),
    responses(
        (status = 204, description = "It is taken back"),
        (status = 409, description = "It has left already, or is no answer of staff", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn take_back(
    State(state): State<Shared>,
    caller: Caller,
    Named((number, id)): Named<(TicketId, MessageId)>,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let ticket = tickets::lock(&mut tx, number).await?;
    actions::undo(&mut tx, &ticket, id, act(&state, &caller)).await?;
    let version = tickets::lock(&mut tx, number).await?.version;
    let answer = once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await?;
    Ok(tagged(answer, version))
}
