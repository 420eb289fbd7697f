//! What somebody must look after.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::alarms::{self, Alarm};
use crate::audit;
use crate::oauth::Grant;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Named};

/// Older ones are history.
const MOST: i64 = 200;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(retry))
}

#[derive(Serialize, ToSchema)]
struct Alarms {
    alarms: Vec<Alarm>,
}

/// Alarms that are open, and those of before.
#[utoipa::path(
    get,
    path = "/api/admin/alarms",
    tag = "operations",
    responses((status = 200, description = "The open ones first, then the newest; at most 200", body = Alarms))
)]
async fn list(State(state): State<Shared>) -> Result<Json<Alarms>, Error> {
    Ok(Json(Alarms { alarms: alarms::newest(&state.db, MOST).await? }))
}

/// Lets a mailbox ask for access tokens again that were refused. It is tried within a minute or so.
#[utoipa::path(
    post,
    path = "/api/admin/mailboxes/{name}/retry",
    tag = "operations",
    params(("name" = String, Path, description = "The mailbox's name in the configuration")),
    responses((status = 204, description = "It is tried again"))
)]
async fn retry(
    State(state): State<Shared>,
    caller: Caller,
    Named(name): Named<String>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let mailbox = state.config.mailbox(&name).ok_or(Error::NotFound)?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    for (_, oauth) in mailbox.grants() {
        let forgiven = state.oauth.forgive(&mut tx, &Grant::new(&name, oauth)).await;
        forgiven.map_err(|error| Error::Conflict(format!("{error:#}")))?;
    }
    audit::record(&mut tx, caller.actor(), "mailbox.retried", &format!("mailbox:{name}"), &json!({}), now)
        .await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
