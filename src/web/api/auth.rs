//! Log-in.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use chrono::TimeDelta;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ids::PersonId;
use crate::people::{self, Role, access};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Client, Input};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(log_in))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    #[schema(example = "ada@example.org")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// To be sent as `Authorization: Bearer`.
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    person: Me,
}

#[derive(Serialize, ToSchema)]
struct Me {
    id: PersonId,
    name: String,
    role: Role,
    email: Option<String>,
}

/// A session ends by itself after so long.
const SESSION: TimeDelta = TimeDelta::days(30);

/// Logs in with address and password.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "account",
    request_body = LogIn,
    responses(
        (status = 200, description = "An access token", body = LoggedIn),
        (status = 401, description = "Address or password is wrong; which one is not said", body = crate::web::error::Problem,
         content_type = "application/problem+json"),
    )
)]
async fn log_in(
    State(state): State<Shared>,
    Client(client): Client,
    headers: HeaderMap,
    Input { value: body, .. }: Input<LogIn>,
) -> Result<Json<LoggedIn>, Error> {
    state.limits.log_in(client, &body.email)?;
    let Some(person) = people::log_in(&state.db, &body.email, body.password).await? else {
        metrics::counter!("ticketd_logins_total", "outcome" => "refused").increment(1);
        return Err(Error::WrongLogin);
    };
    metrics::counter!("ticketd_logins_total", "outcome" => "done").increment(1);
    let now = state.clock.now();
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let agent: String = agent.chars().take(200).collect();
    let mut tx = state.db.begin().await?;
    let session = access::begin_session(&mut tx, person.id, "password", &agent, now + SESSION, now).await?;
    tx.commit().await?;
    let token = state.tokens.issue(person.id, session, now)?;
    Ok(Json(LoggedIn {
        access_token: token,
        token_type: "Bearer",
        expires_in: state.tokens.lifetime().num_seconds(),
        person: Me { id: person.id, name: person.name, role: person.role, email: person.email },
    }))
}
