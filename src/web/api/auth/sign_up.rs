//! Signing up.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::people::accounts;
use crate::queue;
use crate::web::State as Shared;
use crate::web::error::{Error, Problem};
use crate::web::request::{Client, Input};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(sign_up)).routes(routes!(confirm))
}

/// What is answered to whoever has a mail sent: the same whether the address is known or not.
#[derive(Serialize, ToSchema)]
pub(super) struct Mailed {
    #[schema(example = "a mail was sent to this address if it can be used here: it says how it goes on")]
    detail: &'static str,
}

pub(super) const MAILED: Mailed =
    Mailed { detail: "a mail was sent to this address if it can be used here: it says how it goes on" };

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignUp {
    #[schema(example = "ada@example.org")]
    email: String,
    /// 1 to 100 characters.
    #[schema(example = "Ada Lovelace")]
    name: String,
    /// 10 to 512 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Signs up: a mail to the address says how it goes on.
///
/// The answer is the same whether the address has an account or not. Whoever confirms gets role `user`, and the tickets that
/// came from this address before. At most three mails an hour go to one address.
#[utoipa::path(
    post,
    path = "/api/auth/signup",
    tag = "account",
    request_body = SignUp,
    responses(
        (status = 202, description = "A mail is on its way if the address can be used", body = Mailed),
        (status = 403, description = "Signing up is switched off here", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn sign_up(
    State(state): State<Shared>,
    Client(client): Client,
    Input { value: body, .. }: Input<SignUp>,
) -> Result<(StatusCode, Json<Mailed>), Error> {
    state.limits.letter(client)?;
    let now = state.clock.now();
    let config = state.settings.current().await;
    accounts::sign_up(&state.db, &config, &body.email, &body.name, body.password, now).await?;
    queue::ring(&state.db).await;
    Ok((StatusCode::ACCEPTED, Json(MAILED)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignUpCode)]
struct Confirm {
    /// From the link in the mail.
    #[schema(value_type = String)]
    token: SecretString,
    /// The one chosen at sign-up.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Confirms a sign-up, with the link from the mail and the password chosen at sign-up.
///
/// Both are asked for so that nobody confirms what somebody else signed up for. The link is good for 24 hours, and for five
/// passwords.
#[utoipa::path(
    post,
    path = "/api/auth/signup/confirm",
    tag = "account",
    request_body = Confirm,
    responses(
        (status = 204, description = "There is an account now: log in"),
        (status = 403, description = "The person was switched off", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The address has an account meanwhile", body = Problem,
         content_type = "application/problem+json"),
    )
)]
async fn confirm(
    State(state): State<Shared>,
    Client(client): Client,
    Input { value: body, .. }: Input<Confirm>,
) -> Result<StatusCode, Error> {
    state.limits.log_in(client, body.token.expose_secret())?;
    let now = state.clock.now();
    accounts::confirm_sign_up(&state.db, &state.letter_key, &body.token, body.password, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
