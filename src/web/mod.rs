//! HTTP: health, metrics, log-in and the ticket API.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::clock::Clock;
use crate::config::Config;
use crate::settings::Settings;

pub mod auth;
pub mod error;
mod health;
pub use health::describe_metrics;
mod tickets;

use auth::AccessTokens;

/// What handlers share.
#[derive(Clone)]
pub struct State {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub settings: Settings,
    pub tokens: AccessTokens,
    /// `None`: metrics are served by another listener, or not recorded.
    pub metrics: Option<PrometheusHandle>,
}

const TIME_LIMIT: Duration = Duration::from_secs(30);
const BODY_LIMIT: usize = 1024 * 1024;

/// Every path of the API.
pub fn router(state: State) -> Router {
    let metrics_here = state.config.telemetry.metrics_listen.is_none();
    let mut router = Router::new()
        .route("/", get(health::about))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/auth/login", post(auth::log_in))
        .route("/api/tickets", get(tickets::list))
        .route("/api/tickets/{number}", get(tickets::detail))
        .route("/api/tickets/{number}/assignment", get(tickets::assignment))
        .route("/api/tickets/{number}/events", get(tickets::events))
        .route("/api/tickets/{number}/messages", get(tickets::messages).post(tickets::write))
        .route("/api/tickets/{number}/transcript", get(tickets::transcript));
    if metrics_here {
        router = router.route("/metrics", get(health::metrics));
    }
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIME_LIMIT))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .layer(fixed(header::CACHE_CONTROL, "no-store"))
        .with_state(state)
}

/// Metrics alone, for a listener of their own.
pub fn metrics_router(state: State) -> Router {
    Router::new().route("/metrics", get(health::metrics)).fallback(error::not_found).with_state(state)
}

/// Serves until told to stop, then lets requests in hand finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the web server ended");
    }
}
