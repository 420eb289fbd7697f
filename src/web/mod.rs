//! HTTP: health, metrics, and the API.
//!
//! Every request passes, from outside in: limits and time-outs, the table of rights ([`rights`]), its handler.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock::Clock;
use crate::config::Config;
use crate::database::Refusals;
use crate::files::Files;
use crate::mail::token::Signer;
use crate::oauth::Tokens;
use crate::people::letters::LetterKey;
use crate::settings::Settings;

mod account_pages;
mod api;
pub mod auth;
mod cookies;
pub mod error;
pub mod feed;
mod health;
pub use health::describe_metrics;
mod idempotency;
pub mod limits;
pub mod oidc;
mod openapi;
mod request;
pub mod rights;
mod server;
pub use server::{serve, serve_on};

use auth::AccessTokens;
use error::Error;
use feed::Feed;
use limits::Limits;
use request::Client;

/// What handlers share.
#[derive(Clone)]
pub struct State {
    pub db: PgPool,
    /// What reports are read from: the same, or a replica of it.
    pub reports: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub settings: Settings,
    pub tokens: AccessTokens,
    /// Checks the links of surveys.
    pub signer: Signer,
    pub limits: Arc<Limits>,
    /// Makes and checks the links in mails about accounts.
    pub letter_key: LetterKey,
    /// Who else vouches for people.
    pub oidc: Option<Arc<oidc::Provider>>,
    /// Access tokens of mailboxes.
    pub oauth: Tokens,
    pub feed: Feed,
    pub files: Files,
    /// Whether PostgreSQL takes what this process writes.
    pub refusals: Refusals,
    /// `None`: metrics are served by another listener, or not recorded.
    pub metrics: Option<PrometheusHandle>,
}

const TIME_LIMIT: Duration = Duration::from_secs(30);
const BODY_LIMIT: usize = 1024 * 1024;

/// Every path with its handler, and the document that describes them.
fn operations() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(health::about))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::document))
        .merge(api::router())
}

/// The OpenAPI document, as it is served.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = operations().into_openapi();
    openapi::complete(&mut document);
    document
}

/// Every path of the API.
pub fn router(state: State) -> Router {
    let served = openapi::Served(document().to_json().unwrap_or_default().into());
    let (router, _) = operations().split_for_parts();
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    let mut router = router
        .route_layer(middleware::from_fn_with_state(state.clone(), rights::enforce))
        .layer(Extension(served))
        .merge(openapi::page())
        .merge(account_pages::router())
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIME_LIMIT))
        .layer(middleware::from_fn_with_state(state.clone(), limited))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::X_FRAME_OPTIONS, "DENY"))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .layer(fixed(header::CACHE_CONTROL, "no-store"));
    if state.config.http.is_https() {
        // A year, as browsers' preload lists want it (RFC 6797).
        router = router.layer(fixed(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    }
    if let Some(cors) = cors(&state.config.http.cors_origins) {
        router = router.layer(cors);
    }
    router.with_state(state)
}

/// One client cannot take all of us.
async fn limited(
    Shared(state): Shared<State>,
    Client(client): Client,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    state.limits.request(client)?;
    Ok(next.run(request).await)
}

/// Pages of other origins may use the API with a token, never with our cookies.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|o| HeaderValue::from_str(o).ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let own = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            own("idempotency-key"),
            own("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::RETRY_AFTER, own("idempotency-replayed")])
        .max_age(Duration::from_hours(1));
    Some(layer)
}

/// Metrics alone, for a listener of their own.
pub fn metrics_router(state: State) -> Router {
    Router::new()
        .route("/metrics", axum::routing::get(health::metrics_apart))
        .fallback(error::not_found)
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn document_and_table_of_rights_have_the_same_operations() {
        let document = serde_json::to_value(document()).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let rows = rights::TABLE.iter().map(|row| (row.method.to_owned(), row.path.to_owned()));
        assert_eq!(described, rows.collect::<BTreeSet<_>>());
    }
}
