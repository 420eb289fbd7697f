//! What was judged of a ticket, and what people say instead.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{act, finish, known_category, locked, seen};
use crate::tickets::actions::{self, Correction};
use crate::tickets::read::Summary;
use crate::tickets::{Priority, changes};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named, Number};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(triages, judge_again, correct))
}

#[derive(Serialize, ToSchema)]
struct Triages {
    triages: Vec<changes::Triage>,
    /// Always null: the list comes whole.
    next_cursor: Option<String>,
}

/// Reads every judgement on a ticket.
#[utoipa::path(
    get,
    path = "/api/tickets/{number}/triage",
    tag = "tickets",
    params(("number" = i64, Path, description = "The ticket's number")),
    responses((status = 200, description = "The last one first", body = Triages))
)]
async fn triages(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
) -> Result<Json<Triages>, Error> {
    seen(&state, &caller, number).await?;
    Ok(Json(Triages { triages: changes::triages(&state.db, number).await?, next_cursor: None }))
}

/// Asks for another judgement. It changes nothing that a person has set, and comes within moments.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/triage",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    responses(
        (status = 202, description = "It is asked for", body = Summary),
    )
)]
async fn judge_again(
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
    actions::judge_again(&mut tx, &ticket, act(&state, &caller)).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::ACCEPTED).await
}

/// What is left out was right.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Corrected {
    /// One of the configured categories.
    category: Option<String>,
    priority: Option<Priority>,
    /// Slugs of the required skills.
    skills: Option<Vec<String>>,
}

/// Corrects a judgement, or confirms it by naming what it said: an example that the judgements are measured by.
#[utoipa::path(
    patch,
    path = "/api/tickets/{number}/triage",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket's number"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    request_body = Corrected,
    responses(
        (status = 200, description = "The ticket as it is now", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
        (status = 409, description = "It was merged into another", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn correct(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    Input { value: body, once }: Input<Corrected>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    if let Some(category) = &body.category {
        known_category(&state, category)?;
    }
    once.replay(&state, &caller).await?;
    let correction = Correction { category: body.category, priority: body.priority, skills: body.skills };
    let mut tx = state.db.begin().await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    actions::correct(&mut tx, &ticket, &correction, act(&state, &caller)).await?;
    finish(tx, &once, &state, &caller, number, StatusCode::OK).await
}
