//! The loop breaker: what holds automatic mail back, and letting it go again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::audit;
use crate::tickets::loops::{self, Tripped};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(reset))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct LoopBreakers {
    loop_breakers: Vec<Tripped>,
    next_cursor: Option<String>,
}

/// Lists the loop breakers that have tripped: what they hold back is among the deliveries, `suppressed`.
#[utoipa::path(
    get,
    path = "/api/admin/loop-breakers",
    tag = "operations",
    params(ListQuery),
    responses((status = 200, description = "By number", body = LoopBreakers))
)]
async fn list(
    State(state): State<Shared>,
    Params(query): Params<ListQuery>,
) -> Result<Json<LoopBreakers>, Error> {
    let limit = page::limit(query.limit)?;
    let after = page::after(query.cursor.as_deref())?.unwrap_or(0);
    let found = loops::tripped(&state.db, after, limit + 1).await?;
    let (loop_breakers, next_cursor) = page::cut(found, limit, |one| one.id.to_string());
    Ok(Json(LoopBreakers { loop_breakers, next_cursor }))
}

/// Resets a loop breaker: automatic mail leaves again. What it held back is sent by retrying the deliveries.
#[utoipa::path(
    delete,
    path = "/api/admin/loop-breakers/{id}",
    tag = "operations",
    params(("id" = i64, Path, description = "The loop breaker's number")),
    responses((status = 204, description = "It is reset"))
)]
async fn reset(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<i64>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    let reset = loops::reset(&mut tx, id, caller.person, now).await?.ok_or(Error::NotFound)?;
    let data = json!({"scope": reset.scope, "ticket": reset.ticket_id});
    audit::record(&mut tx, caller.actor(), "loop_breaker.reset", &format!("loop_breaker:{id}"), &data, now)
        .await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
