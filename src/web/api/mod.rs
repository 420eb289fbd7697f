//! The API, one file for each resource.

use utoipa_axum::router::OpenApiRouter;

use super::State as Shared;

mod admin;
mod auth;
mod events;
mod reports;
mod tickets;
mod webhooks;

/// Every path below `/api` but the document itself.
pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(admin::router())
        .merge(auth::router())
        .merge(tickets::router())
        .merge(events::router())
        .merge(reports::router())
        .merge(webhooks::router())
}
