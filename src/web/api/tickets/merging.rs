//! Two tickets that are one matter, and one ticket that is two.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{act, expected, finish, locked, seen};
use crate::ids::{MessageId, TicketId};
use crate::tickets::merging;
use crate::tickets::read::Summary;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named, Number};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(merge)).routes(routes!(split))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Into {
    /// The ticket that goes on.
    #[schema(value_type = i64)]
    into: TicketId,
}

/// Merges this ticket into another: it closes, and what is said to it from now on lands there. This cannot be undone.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/merge",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket that closes"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    request_body = Into,
    responses(
        (status = 200, description = "The ticket that goes on", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
    )
)]
async fn merge(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    Input { value: body, once }: Input<Into>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    seen(&state, &caller, body.into).await?;
    once.replay(&state, &caller).await?;
    let expected = expected(&headers)?;
    let mut tx = state.db.begin().await?;
    let into = merging::merge(&mut tx, number, body.into, expected, act(&state, &caller)).await?;
    if into != body.into {
        // What they named was merged itself: into something that they must see as well.
        let sight = caller.sight(state.settings.known().assignment.moderators_see_all);
        crate::tickets::read::ticket_in(&mut tx, sight, into).await?.ok_or(Error::NotFound)?;
    }
    finish(tx, &once, &state, &caller, into, StatusCode::OK).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Taken {
    /// A message that came in.
    #[schema(value_type = i64)]
    message_id: MessageId,
    /// Of the new ticket; left out: the message's own.
    #[schema(max_length = 500)]
    subject: Option<String>,
}

/// Makes a ticket of one message that came in. Its author asks, and it is judged like any other.
#[utoipa::path(
    post,
    path = "/api/tickets/{number}/split",
    tag = "tickets",
    params(
        ("number" = i64, Path, description = "The ticket that the message is in"),
        ("If-Match" = Option<String>, Header, description = "Only if the ticket is in this version still"),
    ),
    request_body = Taken,
    responses(
        (status = 201, description = "The new ticket", body = Summary,
         headers(("ETag" = String, description = "Its version"))),
    )
)]
async fn split(
    State(state): State<Shared>,
    caller: Caller,
    Named(number): Number,
    headers: HeaderMap,
    Input { value: body, once }: Input<Taken>,
) -> Result<Response, Error> {
    seen(&state, &caller, number).await?;
    once.replay(&state, &caller).await?;
    let act = act(&state, &caller);
    let mut tx = state.db.begin().await?;
    let ticket = locked(&mut tx, number, &headers).await?;
    let new = merging::split(&mut tx, &ticket, body.message_id, body.subject.as_deref(), act).await?;
    finish(tx, &once, &state, &caller, new, StatusCode::CREATED).await
}
