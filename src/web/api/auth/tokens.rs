//! API tokens: for programs that act for a person.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fault;
use crate::ids::PersonId;
use crate::people::api_tokens::{self, ApiToken, TokenError};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named};
use crate::web::rights::Scope;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Serialize, ToSchema)]
pub(in crate::web::api) struct Token {
    id: i64,
    name: String,
    /// The last four characters of the token.
    hint: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<ApiToken> for Token {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            hint: token.hint,
            scopes: token.scopes,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// One's API tokens that are good, the newest first.
#[utoipa::path(
    get,
    path = "/api/auth/me/tokens",
    tag = "account",
    responses((status = 200, description = "Tokens, without their secrets", body = Vec<Token>))
)]
async fn list(State(state): State<Shared>, caller: Caller) -> Result<Json<Vec<Token>>, Error> {
    let tokens = api_tokens::list(&state.db, caller.person, state.clock.now()).await?;
    Ok(Json(tokens.into_iter().map(Token::from).collect()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::web::api) struct Create {
    /// What it is for: 1 to 100 characters.
    #[schema(example = "nightly export")]
    pub(in crate::web::api) name: String,
    /// What it may be used for: `tickets:read`, `tickets:write`, `reports:read`, `admin:read`, `admin:write`. It never gives
    /// more than the person may do.
    #[schema(example = json!(["tickets:read"]))]
    pub(in crate::web::api) scopes: Vec<String>,
    /// Within a year; left out: 90 days.
    pub(in crate::web::api) expires_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiTokenCreated)]
pub(in crate::web::api) struct Created {
    /// To be sent as `Authorization: Bearer`. It is shown this once.
    #[schema(example = "tdk_…")]
    token: String,
    #[serde(flatten)]
    about: Token,
}

/// Makes an API token. It is shown this once: `Idempotency-Key` is not heeded, for the answer is kept nowhere.
#[utoipa::path(
    post,
    path = "/api/auth/me/tokens",
    tag = "account",
    request_body = Create,
    responses((status = 201, description = "The token", body = Created))
)]
async fn create(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: body, .. }: Input<Create>,
) -> Result<(StatusCode, Json<Created>), Error> {
    make(&state, &caller, caller.person, body).await
}

/// Makes a token that acts for a person.
pub(in crate::web::api) async fn make(
    state: &Shared,
    caller: &Caller,
    person: PersonId,
    body: Create,
) -> Result<(StatusCode, Json<Created>), Error> {
    let unknown = body.scopes.iter().position(|scope| Scope::ALL.iter().all(|known| known.as_str() != scope));
    if let Some(index) = unknown {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        return Err(fault(&format!("scopes[{index}]"), &format!("is none of {}", known.join(", "))));
    }
    let (db, now) = (&state.db, state.clock.now());
    let mut scopes = body.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    let created = api_tokens::create(db, caller.actor(), person, &body.name, &scopes, body.expires_at, now)
        .await
        .map_err(|error| match error {
            TokenError::Name => fault("name", &error),
            TokenError::NoScopes => fault("scopes", &error),
            TokenError::Expiry => fault("expires_at", &error),
            TokenError::TooMany => Error::Conflict(error.to_string()),
            TokenError::Database(error) => error.into(),
        })?;
    let body = Created { token: created.secret.expose().to_owned(), about: created.token.into() };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Revokes one of one's API tokens, at once.
#[utoipa::path(
    delete,
    path = "/api/auth/me/tokens/{id}",
    tag = "account",
    params(("id" = i64, Path, description = "The token's id")),
    responses((status = 204, description = "It is void"))
)]
async fn revoke(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<i64>,
) -> Result<StatusCode, Error> {
    let now = state.clock.now();
    let revoked = api_tokens::revoke(&state.db, caller.actor(), caller.person, id, now).await?;
    if revoked { Ok(StatusCode::NO_CONTENT) } else { Err(Error::NotFound) }
}
