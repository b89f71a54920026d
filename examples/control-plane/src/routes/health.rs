//! Whether it works, and what it counts. Neither tells anything of a tenant.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::metrics::OPEN_METRICS;
use crate::plane::ControlPlane;
use crate::problem::Problem;

/// Whether it works.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded` where something is away without which it serves all the same.
    status: &'static str,
    /// What was looked at.
    checked: Vec<&'static str>,
    /// What of it is away: without the `broker`, commands and published rules wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    away: Vec<&'static str>,
}

/// Whether the broker is connected; nothing where there is none.
fn broker_connected(plane: &ControlPlane) -> Option<bool> {
    plane.options().broker.as_ref().map(Broker::is_connected)
}

/// Whether the control plane and what it needs work: it reads from the store, and looks whether its broker is connected, if it
/// has one. 503 when the store does not answer.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, body = Health)))]
pub(crate) async fn healthz(State(plane): State<ControlPlane>) -> Result<Json<Health>, Problem> {
    if let Err(error) = plane.store().feed_end().await {
        tracing::warn!("the store does not answer: {error}");
        let detail = "the store does not answer";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let mut health = Health { status: "ok", checked: vec!["store"], away: Vec::new() };
    if let Some(connected) = broker_connected(&plane) {
        health.checked.push("broker");
        if !connected {
            health.status = "degraded";
            health.away.push("broker");
        }
    }
    Ok(Json(health))
}

/// What the control plane counts, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(plane): State<ControlPlane>) -> impl IntoResponse {
    let text = plane.metrics().text(broker_connected(&plane));
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text)
}
