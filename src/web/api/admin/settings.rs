//! What of the configuration may change while ticketd runs.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::queue;
use crate::settings::Setting;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(detail, set, unset))
}

#[derive(Serialize, ToSchema)]
struct AllSettings {
    settings: Vec<Setting>,
}

/// Every setting: what counts, what the file says, and who changed it when.
#[utoipa::path(
    get,
    path = "/api/admin/settings",
    tag = "settings",
    responses((status = 200, description = "AllSettings of them", body = AllSettings))
)]
async fn list(State(state): State<Shared>) -> Result<Json<AllSettings>, Error> {
    Ok(Json(AllSettings { settings: state.settings.list().await? }))
}

/// One setting.
#[utoipa::path(
    get,
    path = "/api/admin/settings/{key}",
    tag = "settings",
    params(("key" = String, Path, description = "As in the file: `assignment.cap_default`")),
    responses((status = 200, description = "The setting", body = Setting))
)]
async fn detail(State(state): State<Shared>, Named(key): Named<String>) -> Result<Json<Setting>, Error> {
    Ok(Json(state.settings.get(&key).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingValue {
    /// Of the kind that the file has there: a number, true or false, a list of texts.
    value: Value,
}

/// Sets a value. It counts at once here, and within 5 s in other processes on the same database.
#[utoipa::path(
    put,
    path = "/api/admin/settings/{key}",
    tag = "settings",
    params(("key" = String, Path, description = "As in the file: `assignment.cap_default`")),
    request_body = SettingValue,
    responses((status = 200, description = "The setting as it is now", body = Setting))
)]
async fn set(
    State(state): State<Shared>,
    caller: Caller,
    Named(key): Named<String>,
    Input { value: body, .. }: Input<SettingValue>,
) -> Result<Json<Setting>, Error> {
    let mut tx = state.db.begin().await?;
    state.settings.set(&mut tx, &key, &body.value, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    state.settings.refresh().await;
    queue::ring(&state.db).await;
    Ok(Json(state.settings.get(&key).await?))
}

/// Goes back to what the file says.
#[utoipa::path(
    delete,
    path = "/api/admin/settings/{key}",
    tag = "settings",
    params(("key" = String, Path, description = "As in the file: `assignment.cap_default`")),
    responses((status = 200, description = "The setting as it is now", body = Setting))
)]
async fn unset(
    State(state): State<Shared>,
    caller: Caller,
    Named(key): Named<String>,
) -> Result<Json<Setting>, Error> {
    let mut tx = state.db.begin().await?;
    state.settings.unset(&mut tx, &key, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    state.settings.refresh().await;
    queue::ring(&state.db).await;
    Ok(Json(state.settings.get(&key).await?))
}
