//! Who has a ticket, and why.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{act, caps, finish, locked, seen};
use crate::ids::PersonId;
use crate::people::Role;
use crate::tickets::read::Summary;
use crate::tickets::{actions, changes};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named, Number};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(assignment, assign)).routes(routes!(claim)).routes(routes!(release))
}

#[derive(Serialize, ToSchema)]
struct Assigned {
    /// The last choice.
    #[serde(flatten)]
    last: changes::Assignment,
    /// Every choice, the last one first.
    history: Vec<changes::Assignment>,
}

/// Says who has the ticket and why, with everyone who was looked at.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/assignment",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "The last choice, and those before; 404 where nothing was chosen yet", body = Assigned))
)]
async fn assignment(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Assigned>, Error> {
    seen(&state, &caller, number).await?;
    let history = changes::assignments(&state.db, number).await?;
    let last = history.first().cloned().ok_or(Error::NotFound)?;
    Ok(Json(Assigned { last, history }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Assignee {
    /// An active member of staff.
    #[schema(value_type = i64)]
    assignee_id: PersonId,
    /// Even if they have as many open tickets as they may have.
    #[serde(default)]
    force: bool,
}

/// Gives the ticket to a member of staff, whoever has it now.
#[utoipa::path(
    put,
    path = "/api/tickets/{number}/assignment",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    request_body = Assignee,
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "They have as many open tickets as they may have, or the ticket is closed",
         body = crate::web::error::Problem, content_type = "application/problem+json"),
    )
)]
async fn assign(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    Input { value: body, once }: Input<Assignee>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let turn = changes::take_turn_assigning(&mut tx).await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    let (caps, act) = (caps(&state, body.force), act(&state, &caller));
    actions::assign(&mut tx, &turn, &ticket, body.assignee_id, caps, act).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}

/// Takes a ticket that nobody has.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/claim",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "Somebody has it, or the caller has as many open tickets as they may have",
         body = crate::web::error::Problem, content_type = "application/problem+json"),
    )
)]
async fn claim(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let turn = changes::take_turn_assigning(&mut tx).await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    actions::claim(&mut tx, &turn, &ticket, caps(&state, false), act(&state, &caller)).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}

/// Gives a ticket back: nobody has it until somebody claims it. Admins do so for others, too.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/release",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
    )
)]
async fn release(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    once: Once,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    let is_theirs = ticket.assignee == Some(caller.person) || caller.role == Role::Admin;
    if ticket.assignee.is_some() && !is_theirs {
        return Err(Error::Conflict(format!("ticket #{number} is somebody else's: an admin can release it")));
    }
    actions::release(&mut tx, &ticket, act(&state, &caller)).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}
