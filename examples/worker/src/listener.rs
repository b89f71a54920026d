//! `/healthz` and `/metrics`, on the loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::exit::{Exit, Failure};
use crate::health::Health;

/// What OpenMetrics calls its text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Begins to listen.
///
/// # Errors
///
/// [`Exit::Configuration`] when the address cannot be had.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let failed = |error| {
        Failure::new(Exit::Configuration, format!("[listener] address: {address}: {error}"))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    tracing::info!("/healthz and /metrics on {}", listener.local_addr().map_err(failed)?);
    Ok(listener)
}

/// Answers until it is dropped.
///
/// # Errors
///
/// When the listener cannot go on.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    registry: Arc<Registry>,
) -> Result<(), Failure> {
    let router = Router::new()
        .route("/healthz", get(healthz).with_state(health))
        .route("/metrics", get(metrics).with_state(registry));
    let served = axum::serve(listener, router).await;
    served.map_err(|error| Failure::new(Exit::Failure, format!("listener: {error}")))
}

/// 200 when everything answers, else 503; a line for each dependency. Why stays in the log.
async fn healthz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let mut status = StatusCode::OK;
    let mut text = String::new();
    for (name, result) in health.check().await {
        let word = match result {
            Ok(()) => "ok",
            Err(error) => {
                tracing::warn!(%error, "{name}: not healthy");
                status = StatusCode::SERVICE_UNAVAILABLE;
                "failed"
            }
        };
        text.push_str(&format!("{name} {word}\n"));
    }
    (status, text)
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text),
        Err(error) => {
            let failed = StatusCode::INTERNAL_SERVER_ERROR;
            (failed, [(header::CONTENT_TYPE, "text/plain")], error.to_string())
        }
    }
}
