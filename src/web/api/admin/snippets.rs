//! Answers that are written often: staff reads them, admins keep them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit;
use crate::people::snippets::{self, Snippet};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::request::{Caller, Input, Named};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(detail, save, remove))
}

#[derive(Serialize, ToSchema)]
struct Snippets {
    snippets: Vec<Snippet>,
}

/// All of them.
#[utoipa::path(
    get,
    path = "/api/admin/snippets",
    tag = "snippets",
    responses((status = 200, description = "By name", body = Snippets))
)]
async fn list(State(state): State<Shared>) -> Result<Json<Snippets>, Error> {
    Ok(Json(Snippets { snippets: snippets::list(&state.db).await? }))
}

/// One of them.
#[utoipa::path(
    get,
    path = "/api/admin/snippets/{name}",
    tag = "snippets",
    params(("name" = String, Path, description = "Its name; case does not matter")),
    responses((status = 200, description = "The snippet", body = Snippet))
)]
async fn detail(State(state): State<Shared>, Named(name): Named<String>) -> Result<Json<Snippet>, Error> {
    snippets::get(&state.db, &name).await?.map(Json).ok_or(Error::NotFound)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SnippetText {
    /// Up to 10000 characters.
    body: String,
}

/// Enters it, or changes the one of that name.
#[utoipa::path(
    put,
    path = "/api/admin/snippets/{name}",
    tag = "snippets",
    params(("name" = String, Path, description = "1 to 32 of a-z, 0-9, - and _")),
    request_body = SnippetText,
    responses((status = 200, description = "The snippet as it is now", body = Snippet))
)]
async fn save(
    State(state): State<Shared>,
    caller: Caller,
    Named(name): Named<String>,
    Input { value: body, .. }: Input<SnippetText>,
) -> Result<Json<Snippet>, Error> {
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    let name = snippets::save_in(&mut tx, &name, &body.body, caller.person, now).await?;
    let subject = format!("snippet:{name}");
    audit::record(&mut tx, caller.actor(), "snippet.saved", &subject, &json!({}), now).await?;
    tx.commit().await?;
    snippets::get(&state.db, &name).await?.map(Json).ok_or(Error::NotFound)
}

/// Takes it away.
#[utoipa::path(
    delete,
    path = "/api/admin/snippets/{name}",
    tag = "snippets",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is gone"))
)]
async fn remove(
    State(state): State<Shared>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    if !snippets::remove_in(&mut tx, &name).await? {
        return Err(Error::NotFound);
    }
    // One that is there has a name of the kept form.
    let subject = format!("snippet:{}", name.trim().to_lowercase());
    audit::record(&mut tx, caller.actor(), "snippet.removed", &subject, &json!({}), state.clock.now())
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
