//! One's second factor.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fault;
use super::me::session_of;
use crate::people::secrets::Secret;
use crate::people::{self, accounts, second_factor};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Client, Input};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(show, enrol))
        .routes(routes!(confirm))
        .routes(routes!(disable))
        .routes(routes!(renew))
}

#[derive(Serialize, ToSchema)]
struct SecondFactor {
    /// Whether a code is asked for at log-in.
    active: bool,
    recovery_codes_left: i64,
}

/// Whether one has a second factor.
#[utoipa::path(
    get,
    path = "/api/auth/me/second-factor",
    tag = "account",
    responses((status = 200, description = "How it stands", body = SecondFactor))
)]
async fn show(State(state): State<Shared>, caller: Caller) -> Result<Json<SecondFactor>, Error> {
    let found = second_factor::state(&state.db, caller.person).await?;
    Ok(Json(SecondFactor { active: found.active, recovery_codes_left: found.recovery_codes_left }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Enrol {
    /// One's password; left out by who has none.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
}

#[derive(Serialize, ToSchema)]
struct Enrolment {
    /// For the app, to be typed (Base32). It is shown this once.
    secret: String,
    /// For the app, to be shown as a QR code.
    otpauth_url: String,
}

/// Sets up a second factor (TOTP: six digits, 30 s, SHA-1). It is asked for once a first code was confirmed.
#[utoipa::path(
    post,
    path = "/api/auth/me/second-factor",
    tag = "account",
    request_body = Enrol,
    responses((status = 201, description = "What the app needs", body = Enrolment))
)]
async fn enrol(
    State(state): State<Shared>,
    caller: Caller,
    Client(client): Client,
    Input { value: body, .. }: Input<Enrol>,
) -> Result<(StatusCode, Json<Enrolment>), Error> {
    state.limits.own_proof(client, caller.person)?;
    let person = people::person(&state.db, caller.person).await?.ok_or(Error::Unauthorized)?;
    if accounts::has_password(&state.db, person.id).await? {
        let password = body.password.ok_or_else(|| fault("password", &"type your password as well"))?;
        if !accounts::is_password(&state.db, person.id, password).await? {
            return Err(fault("password", &"that is not your password"));
        }
    }
    let account = person.email.unwrap_or(person.name);
    let enrolment = second_factor::enrol(&state.db, person.id, &account, state.clock.now()).await?;
    let body = Enrolment {
        secret: enrolment.secret.expose().to_owned(),
        otpauth_url: enrolment.url.expose().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SecondFactorCode)]
struct Confirm {
    #[schema(example = "123456")]
    code: String,
}

#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    /// For when the app is lost; each is good once. They are shown this once.
    recovery_codes: Vec<String>,
}

impl From<Vec<Secret>> for RecoveryCodes {
    fn from(codes: Vec<Secret>) -> Self {
        Self { recovery_codes: codes.iter().map(|code| code.expose().to_owned()).collect() }
    }
}

/// Switches the second factor on, with a first code by the app.
#[utoipa::path(
    post,
    path = "/api/auth/me/second-factor/confirm",
    tag = "account",
    request_body = Confirm,
    responses((status = 200, description = "It is on", body = RecoveryCodes))
)]
async fn confirm(
    State(state): State<Shared>,
    caller: Caller,
    Client(client): Client,
    Input { value: body, .. }: Input<Confirm>,
) -> Result<Json<RecoveryCodes>, Error> {
    state.limits.own_proof(client, caller.person)?;
    let (session, now) = (session_of(&caller), state.clock.now());
    let codes =
        second_factor::confirm(&state.db, caller.actor(), caller.person, session, &body.code, now).await?;
    Ok(Json(codes.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Proof {
    /// One's password; left out by who has none.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    password: SecretString,
    /// By the app, or a recovery code.
    code: String,
}

/// Switches the second factor off, with password and code.
#[utoipa::path(
    post,
    path = "/api/auth/me/second-factor/disable",
    tag = "account",
    request_body = Proof,
    responses((status = 204, description = "It is off"))
)]
async fn disable(
    State(state): State<Shared>,
    caller: Caller,
    Client(client): Client,
    Input { value: body, .. }: Input<Proof>,
) -> Result<StatusCode, Error> {
    state.limits.own_proof(client, caller.person)?;
    let (db, actor, now) = (&state.db, caller.actor(), state.clock.now());
    accounts::disable_second_factor(db, actor, caller.person, body.password, &body.code, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes, with password and code. Those made before are void.
#[utoipa::path(
    post,
    path = "/api/auth/me/second-factor/recovery-codes",
    tag = "account",
    request_body = Proof,
    responses((status = 200, description = "The new ones", body = RecoveryCodes))
)]
async fn renew(
    State(state): State<Shared>,
    caller: Caller,
    Client(client): Client,
    Input { value: body, .. }: Input<Proof>,
) -> Result<Json<RecoveryCodes>, Error> {
    state.limits.own_proof(client, caller.person)?;
    let (db, actor, now) = (&state.db, caller.actor(), state.clock.now());
    let codes =
        accounts::renew_recovery_codes(db, actor, caller.person, body.password, &body.code, now).await?;
    Ok(Json(codes.into()))
}
