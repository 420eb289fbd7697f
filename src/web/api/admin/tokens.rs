//! Everybody's API tokens, as admins see them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::ids::PersonId;
use crate::people::{self, Role, api_tokens};
use crate::web::State as Shared;
use crate::web::api::auth::tokens::{Create, Created, Token, make};
use crate::web::error::{Error, Fault, Problem};
use crate::web::request::{Caller, Input, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many; 50 where nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct HeldToken {
    /// For whom it acts.
    person_id: PersonId,
    person_name: String,
    #[serde(flatten)]
    token: Token,
}

#[derive(Serialize, ToSchema)]
struct Tokens {
    tokens: Vec<HeldToken>,
    next_cursor: Option<String>,
}

/// Everybody's API tokens that are good, with their last use.
#[utoipa::path(
    get,
    path = "/api/admin/tokens",
    tag = "people",
    params(ListQuery),
    responses((status = 200, description = "The newest first, without their secrets", body = Tokens))
)]
async fn list(State(state): State<Shared>, Params(query): Params<ListQuery>) -> Result<Json<Tokens>, Error> {
    let limit = page::limit(query.limit)?;
    let before = page::after::<i64>(query.cursor.as_deref())?;
    let held = api_tokens::list_all(&state.db, before, limit + 1, state.clock.now()).await?;
    let (held, next_cursor) = page::cut(held, limit, |held| held.token.id.to_string());
    let tokens = held.into_iter().map(|held| HeldToken {
        person_id: held.person,
        person_name: held.person_name,
        token: held.token.into(),
    });
    Ok(Json(Tokens { tokens: tokens.collect(), next_cursor }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateFor {
    /// For whom it acts; left out: for oneself. Not for another admin: what an admin does carries their name.
    person_id: Option<PersonId>,
    /// What it is for: 1 to 100 characters.
    #[schema(example = "nightly export")]
    name: String,
    /// What it may be used for, as at `/api/auth/me/tokens`.
    #[schema(example = json!(["tickets:read"]))]
    scopes: Vec<String>,
    /// Within a year; left out: 90 days.
    expires_at: Option<DateTime<Utc>>,
}

/// Makes an API token, for oneself or for somebody who is no admin. It is shown this once: `Idempotency-Key` is not heeded, for
/// the answer is kept nowhere.
#[utoipa::path(
    post,
    path = "/api/admin/tokens",
    tag = "people",
    request_body = CreateFor,
    responses(
        (status = 201, description = "The token", body = Created),
        (status = 409, description = "The person has too many already", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, .. }: Input<CreateFor>,
) -> Result<(StatusCode, Json<Created>), Error> {
    let id = body.person_id.unwrap_or(caller.person);
    let person = people::person(&state.db, id).await?.filter(|person| person.active);
    let refused = |detail: &str| {
        Error::Invalid(vec![Fault { field: "person_id".to_owned(), detail: detail.to_owned() }])
    };
    let person = person.ok_or_else(|| refused("there is nobody active with this id"))?;
    if person.role == Role::Admin && person.id != caller.person {
        return Err(refused("another admin makes their tokens themselves"));
    }
    let about = Create { name: body.name, scopes: body.scopes, expires_at: body.expires_at };
    make(&state, &caller, person.id, about).await
}

/// Revokes anybody's API token, at once.
#[utoipa::path(
    delete,
    path = "/api/admin/tokens/{id}",
    tag = "people",
    params(("id" = i64, Path, description = "The token's id")),
    responses((status = 204, description = "It is void"))
)]
async fn revoke(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<i64>,
) -> Result<StatusCode, Error> {
    let revoked = api_tokens::revoke_any(&state.db, caller.actor(), id, state.clock.now()).await?;
    if revoked { Ok(StatusCode::NO_CONTENT) } else { Err(Error::NotFound) }
}
