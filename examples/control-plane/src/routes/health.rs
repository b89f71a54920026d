//! Whether it works, and what it counts. Neither tells anything of a tenant.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::plane::ControlPlane;
use crate::problem::Problem;

/// Whether it works.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    /// What answered.
    checked: [&'static str; 1],
}

/// Whether the control plane and what it needs work: it reads from the store.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, body = Health)))]
pub(crate) async fn healthz(State(plane): State<ControlPlane>) -> Result<Json<Health>, Problem> {
    match plane.store().feed_end().await {
        Ok(_) => Ok(Json(Health { status: "ok", checked: ["store"] })),
        Err(error) => {
            tracing::warn!("the store does not answer: {error}");
            let detail = "the store does not answer";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}

/// What the control plane counts, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(plane): State<ControlPlane>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], plane.metrics().text())
}
