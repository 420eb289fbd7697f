//! Webhooks: servers that are told of events. For admins.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::deliver::webhook::guard;
use crate::ids::{WebhookDeliveryId, WebhookId};
use crate::tickets::webhooks::{self, Change, Delivery, NewWebhook, OVERLAP, Webhook, WebhookError};
use crate::web::State as Shared;
use crate::web::error::{Error, Fault};
use crate::web::idempotency::Once;
use crate::web::request::{Caller, Input, Named, Params};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(detail, change, remove))
        .routes(routes!(rotate))
        .routes(routes!(ping))
        .routes(routes!(deliveries))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

impl From<WebhookError> for Error {
    fn from(error: WebhookError) -> Self {
        let field = match &error {
            WebhookError::Unknown(_) => return Self::NotFound,
            WebhookError::TooMany => return Self::Conflict(error.to_string()),
            WebhookError::Name => "name",
            WebhookError::Url => "url",
            WebhookError::Kind(_) => "kinds",
            WebhookError::Database(_) => "",
        };
        match error {
            WebhookError::Database(error) => error.into(),
            error => Self::Invalid(vec![Fault { field: field.to_owned(), detail: error.to_string() }]),
        }
    }
}

/// What is said here about an address is checked again whenever something is sent there.
async fn advise(state: &Shared, url: &str) -> Result<(), Error> {
    guard::advise(url, &state.config.webhooks.allowed_networks).await.map_err(|refused| {
        Error::Invalid(vec![Fault { field: "url".to_owned(), detail: refused.to_string() }])
    })
}

#[derive(Serialize, ToSchema)]
struct Webhooks {
    webhooks: Vec<Webhook>,
    /// The kinds of events that a webhook can ask for.
    kinds: Vec<&'static str>,
}

/// every webhook, and the kinds of events there are.
#[utoipa::path(
    get,
    path = "/api/admin/webhooks",
    tag = "webhooks",
    responses((status = 200, description = "Oldest first", body = Webhooks))
)]
async fn list(State(state): State<Shared>) -> Result<Json<Webhooks>, Error> {
    Ok(Json(Webhooks { webhooks: webhooks::list(&state.db).await?, kinds: webhooks::kinds() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// By https, at a public address; others are allowed by `webhooks.allowed_networks`.
    #[schema(max_length = 2000, example = "https://example.org/hooks/ticketd")]
    url: String,
    /// Which events it wants; empty: all.
    #[serde(default)]
    #[schema(example = json!(["opened", "status"]))]
    kinds: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookCreated)]
struct Created {
    #[serde(flatten)]
    webhook: Webhook,
    /// What signs; it is shown here and never again.
    #[schema(example = "whsec_…")]
    secret: String,
}

/// a new webhook. Its secret is in the answer, and never shown again.
#[utoipa::path(
    post,
    path = "/api/admin/webhooks",
    tag = "webhooks",
    request_body = Wanted,
    responses((status = 201, description = "It is told of events from now on", body = Created))
)]
async fn create(
    State(state): State<Shared>,
    caller: Caller,
    Input { value: wanted, .. }: Input<Wanted>,
) -> Result<(StatusCode, Json<Created>), Error> {
    advise(&state, &wanted.url).await?;
    let new = NewWebhook { name: wanted.name, url: wanted.url, kinds: wanted.kinds };
    let mut tx = state.db.begin().await?;
    let (webhook, secret) = webhooks::create(&mut tx, &new, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    // `Idempotency-Key` is not heeded: the answer, with the secret in it, is kept nowhere.
    Ok((StatusCode::CREATED, Json(Created { webhook, secret: secret.expose_secret().to_owned() })))
}

/// one webhook.
#[utoipa::path(
    get,
    path = "/api/admin/webhooks/{id}",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The webhook's id")),
    responses((status = 200, description = "The webhook", body = Webhook))
)]
async fn detail(State(state): State<Shared>, Named(id): Named<WebhookId>) -> Result<Json<Webhook>, Error> {
    webhooks::webhook(&state.db, id).await?.map(Json).ok_or(Error::NotFound)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changed {
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    #[schema(max_length = 2000)]
    url: Option<String>,
    /// Empty: all.
    kinds: Option<Vec<String>>,
    /// False: it is told nothing, and what waits for it is cancelled.
    active: Option<bool>,
}

/// changes a webhook; what is left out stays.
#[utoipa::path(
    patch,
    path = "/api/admin/webhooks/{id}",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The webhook's id")),
    request_body = Changed,
    responses((status = 200, description = "As it is now", body = Webhook))
)]
async fn change(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<WebhookId>,
    Input { value: changed, .. }: Input<Changed>,
) -> Result<Json<Webhook>, Error> {
    if let Some(url) = &changed.url {
        advise(&state, url).await?;
    }
    let change =
        Change { name: changed.name, url: changed.url, kinds: changed.kinds, active: changed.active };
    let mut tx = state.db.begin().await?;
    let webhook = webhooks::change(&mut tx, id, &change, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    Ok(Json(webhook))
}

/// removes a webhook, with what was sent to it and what waits for it.
#[utoipa::path(
    delete,
    path = "/api/admin/webhooks/{id}",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The webhook's id")),
    responses((status = 204, description = "It is gone"))
)]
async fn remove(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<WebhookId>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    webhooks::delete(&mut tx, id, caller.actor(), state.clock.now()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct Rotated {
    /// What signs from now on; it is shown here and never again.
    #[schema(example = "whsec_…")]
    secret: String,
    /// Until then the secret before signs too.
    previous_until: DateTime<Utc>,
}

/// a new secret. For a day, everything is signed with both.
#[utoipa::path(
    post,
    path = "/api/admin/webhooks/{id}/rotate",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The webhook's id")),
    responses((status = 200, description = "The new secret", body = Rotated))
)]
async fn rotate(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<WebhookId>,
) -> Result<Json<Rotated>, Error> {
    let now = state.clock.now();
    let mut tx = state.db.begin().await?;
    let secret = webhooks::rotate(&mut tx, id, caller.actor(), now).await?;
    tx.commit().await?;
    Ok(Json(Rotated { secret: secret.expose_secret().to_owned(), previous_until: now + OVERLAP }))
}

#[derive(Serialize, ToSchema)]
struct Pinged {
    /// What becomes of it is among the webhook's deliveries.
    delivery_id: WebhookDeliveryId,
}

/// sends an event of the type `ping`, also where the webhook is switched off.
#[utoipa::path(
    post,
    path = "/api/admin/webhooks/{id}/ping",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The webhook's id")),
    responses((status = 202, description = "It will be sent", body = Pinged))
)]
async fn ping(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<WebhookId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    let delivery_id = webhooks::ping(&mut tx, id, state.clock.now()).await?;
    once.commit(tx, &state, &caller, StatusCode::ACCEPTED, &Pinged { delivery_id }).await
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookDeliveryState)]
enum DeliveryState {
    Waiting,
    Sent,
    Failed,
    Cancelled,
}

impl DeliveryState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    #[param(inline)]
    state: Option<DeliveryState>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct WebhookDeliveries {
    deliveries: Vec<Delivery>,
    next_cursor: Option<String>,
}

const LARGEST_PAGE: i64 = 200;

/// what was and is to be sent to a webhook in the last 30 days, with every attempt.
#[utoipa::path(
    get,
    path = "/api/admin/webhooks/{id}/deliveries",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The webhook's id"), DeliveriesQuery),
    responses((status = 200, description = "Newest first", body = WebhookDeliveries))
)]
async fn deliveries(
    State(state): State<Shared>,
    Named(id): Named<WebhookId>,
    Params(query): Params<DeliveriesQuery>,
) -> Result<Json<WebhookDeliveries>, Error> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Error::BadRequest(format!("limit is from 1 to {LARGEST_PAGE}")));
    }
    let before = match query.cursor.as_deref().map(|c| c.strip_prefix('b').map(str::parse)) {
        None => None,
        Some(Some(Ok(id))) => Some(WebhookDeliveryId(id)),
        Some(_) => return Err(Error::BadRequest("cursor is not one that was given out".to_owned())),
    };
    if webhooks::webhook(&state.db, id).await?.is_none() {
        return Err(Error::NotFound);
    }
    let wanted = query.state.map(DeliveryState::as_str);
    let mut deliveries = webhooks::deliveries(&state.db, id, wanted, before, limit + 1).await?;
    let more = i64::try_from(deliveries.len()).unwrap_or(0) > limit;
    if more {
        deliveries.pop();
    }
    let next_cursor = deliveries.last().filter(|_| more).map(|last| format!("b{}", last.id));
    Ok(Json(WebhookDeliveries { deliveries, next_cursor }))
}

/// puts a delivery back to work that failed or was cancelled.
#[utoipa::path(
    post,
    path = "/api/admin/webhooks/deliveries/{id}/retry",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The delivery's id")),
    responses((status = 204, description = "It will be sent"))
)]
async fn retry(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<WebhookDeliveryId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    if !webhooks::retry(&mut tx, id, caller.actor(), state.clock.now()).await? {
        return Err(Error::NotFound);
    }
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}

/// cancels a delivery that has not arrived.
#[utoipa::path(
    post,
    path = "/api/admin/webhooks/deliveries/{id}/cancel",
    tag = "webhooks",
    params(("id" = i64, Path, description = "The delivery's id")),
    responses((status = 204, description = "It will not be sent"))
)]
async fn cancel(
    State(state): State<Shared>,
    caller: Caller,
    Named(id): Named<WebhookDeliveryId>,
    once: Once,
) -> Result<Response, Error> {
    once.replay(&state, &caller).await?;
    let mut tx = state.db.begin().await?;
    if !webhooks::cancel(&mut tx, id, caller.actor(), state.clock.now()).await? {
        return Err(Error::NotFound);
    }
    once.commit(tx, &state, &caller, StatusCode::NO_CONTENT, &()).await
}
