//! Mails that were not sent, or came back.

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
use crate::ids::DeliveryId;
use crate::tickets::outbox::{self, Tried, UNSENT_STATES, Unsent, UnsentFilter};
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(retry))
        .routes(routes!(cancel))
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
    /// waiting, failed, cancelled, suppressed, delayed or bounced
    state: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct UnsentDeliveries {
    deliveries: Vec<Unsent>,
    next_cursor: Option<String>,
}

/// Lists what was not sent.
#[utoipa::path(
    get,
    path = "/api/admin/deliveries",
    tag = "operations",
    params(ListQuery),
    responses((status = 200, description = "By number", body = UnsentDeliveries))
)]
async fn list(
    State(state): State<Shared>,
    Params(query): Params<ListQuery>,
) -> Result<Json<UnsentDeliveries>, Error> {
    let limit = page::limit(query.limit)?;
    if query.state.as_deref().is_some_and(|wanted| !UNSENT_STATES.contains(&wanted)) {
        return Err(Error::BadRequest(format!("state is one of {}", UNSENT_STATES.join(", "))));
    }
    let states = query.state.into_iter().collect();
    let filter = UnsentFilter { states, before: None, after: page::after(query.cursor.as_deref())? };
    let found = outbox::unsent_page(&state.db, &filter, limit + 1).await?;
    let (deliveries, next_cursor) = page::cut(found, limit, |delivery| delivery.id.to_string());
    Ok(Json(UnsentDeliveries { deliveries, next_cursor }))
}

#[derive(Serialize, ToSchema)]
struct UnsentDelivery {
    #[serde(flatten)]
    delivery: Unsent,
    /// Oldest first.
    attempts: Vec<Tried>,
}

/// One mail with every attempt to send it.
#[utoipa::path(
    get,
    path = "/api/admin/deliveries/{id}",
    tag = "operations",
    params(("id" = i64, Path, description = "The delivery's number")),
    responses((status = 200, description = "The delivery", body = UnsentDelivery))
)]
async fn detail(
    State(state): State<Shared>,
    Named(id): Named<DeliveryId>,
) -> Result<Json<UnsentDelivery>, Error> {
    let (delivery, attempts) = outbox::one(&state.db, id).await?.ok_or(Error::NotFound)?;
    Ok(Json(UnsentDelivery { delivery, attempts }))
}

/// Sends it after all.
#[utoipa::path(
    post,
    path = "/api/admin/deliveries/{id}/retry",
    tag = "operations",
    params(("id" = i64, Path, description = "The delivery's number")),
    responses((status = 204, description = "It is back at work"))
)]
async fn retry(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<DeliveryId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let (found, _) = outbox::one(&state.db, id).await?.ok_or(Error::NotFound)?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    if !outbox::retry(&mut tx, id, now).await? {
        return Err(Error::Conflict(format!("delivery {id} is {}: there is nothing to repeat", found.state)));
    }
    let data = json!({"ticket": found.ticket_id, "state": found.state});
    audit::record(&mut tx, caller.actor(), "delivery.retried", &format!("delivery:{id}"), &data, now).await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}

/// Gives it up, if it has not left.
#[utoipa::path(
    post,
    path = "/api/admin/deliveries/{id}/cancel",
    tag = "operations",
    params(("id" = i64, Path, description = "The delivery's number")),
    responses((status = 204, description = "It will not be sent"))
)]
async fn cancel(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<DeliveryId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let (found, _) = outbox::one(&state.db, id).await?.ok_or(Error::NotFound)?;
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    if !outbox::cancel(&mut tx, id, now).await? {
        return Err(Error::Conflict(format!("delivery {id} is {}: there is nothing to cancel", found.state)));
    }
    let data = json!({"ticket": found.ticket_id, "state": found.state});
    audit::record(&mut tx, caller.actor(), "delivery.cancelled", &format!("delivery:{id}"), &data, now)
        .await?;
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
