//! Choosing another password.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fault;
use super::me::session_of;
use super::sign_up::{MAILED, Mailed};
use crate::people::accounts::{self, AccountError};
use crate::queue;
use crate::web::State as Shared;
use crate::web::error::{Error, Problem};
use crate::web::request::{Caller, Client, Input};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(change)).routes(routes!(ask)).routes(routes!(reset))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    #[schema(value_type = String, format = Password)]
    current: SecretString,
    /// 10 to 512 characters.
    #[schema(value_type = String, format = Password)]
    new: SecretString,
}

/// Changes one's password. All other log-ins end, and a mail says so.
#[utoipa::path(
    put,
    path = "/api/auth/me/password",
    tag = "account",
    request_body = Change,
    responses(
        (status = 204, description = "It is changed"),
        (status = 409, description = "There is no password: who signs in by another sets the first one by a mailed link",
         body = Problem, content_type = "application/problem+json"),
    )
)]
async fn change(
    State(state): State<Shared>,
    caller: Caller,
    Client(client): Client,
    Input { value: body, .. }: Input<Change>,
) -> Result<StatusCode, Error> {
    state.limits.own_proof(client, caller.person)?;
    let (session, now) = (session_of(&caller), state.clock.now());
    let (db, person) = (&state.db, caller.person);
    accounts::change_password(db, caller.actor(), person, session, body.current, body.new, now)
        .await
        .map_err(|error| match error {
            AccountError::WrongPassword => fault("current", &error),
            AccountError::WeakPassword(_) => fault("new", &error),
            other => other.into(),
        })?;
    queue::ring(db).await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[schema(example = "ada@example.org")]
    email: String,
}

/// Asks for a link to choose another password. Staff whom an admin entered choose their first one so.
///
/// The answer is the same whether the address has an account or not.
#[utoipa::path(
    post,
    path = "/api/auth/password/reset",
    tag = "account",
    request_body = Ask,
    responses((status = 202, description = "A mail is on its way if the address has an account", body = Mailed))
)]
async fn ask(
    State(state): State<Shared>,
    Client(client): Client,
    Input { value: body, .. }: Input<Ask>,
) -> Result<(StatusCode, Json<Mailed>), Error> {
    state.limits.letter(client)?;
    accounts::ask_for_reset(&state.db, &state.config, &body.email, state.clock.now()).await?;
    queue::ring(&state.db).await;
    Ok((StatusCode::ACCEPTED, Json(MAILED)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// From the link in the mail.
    #[schema(value_type = String)]
    token: SecretString,
    /// The new one: 10 to 512 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Chooses another password, with the link from the mail. All log-ins end; a second factor stays.
#[utoipa::path(
    post,
    path = "/api/auth/password/reset/confirm",
    tag = "account",
    request_body = Reset,
    responses(
        (status = 204, description = "It is changed: log in"),
        (status = 403, description = "The person was switched off", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn reset(
    State(state): State<Shared>,
    Client(client): Client,
    Input { value: body, .. }: Input<Reset>,
) -> Result<StatusCode, Error> {
    state.limits.log_in(client, body.token.expose_secret())?;
    let now = state.clock.now();
    accounts::reset_password(&state.db, &state.letter_key, &body.token, body.password, now).await?;
    queue::ring(&state.db).await;
    Ok(StatusCode::NO_CONTENT)
}
