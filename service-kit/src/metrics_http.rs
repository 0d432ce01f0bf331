//! `/metrics` for Prometheus and `/healthz` for a plain liveness check, on their own port.

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::health::Health;
use crate::telemetry::Telemetry;

/// Longest time to answer; gathering takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a request body; none is expected.
const BODY_BYTES_MAX: usize = 1024;

/// The two routes, for a process that has an HTTP server of its own.
pub fn routes(telemetry: Telemetry, health: Health) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(move || {
                let telemetry = telemetry.clone();
                async move {
                    (
                        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                        telemetry.metrics_text(),
                    )
                }
            }),
        )
        .route(
            "/healthz",
            get(move || {
                let health = health.clone();
                async move {
                    match health.is_serving() {
                        true => (StatusCode::OK, "SERVING\n").into_response(),
                        false => (StatusCode::SERVICE_UNAVAILABLE, "NOT_SERVING\n").into_response(),
                    }
                }
            }),
        )
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
}

/// Serves both until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    telemetry: Telemetry,
    health: Health,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, routes(telemetry, health)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}
