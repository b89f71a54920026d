//! What agents count, for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use lavender_core::store::FleetQuery;

use crate::access::Viewer;
use crate::agent_metrics::AgentMetrics;
use crate::metrics::OPEN_METRICS;
use crate::plane::ControlPlane;
use crate::problem::Problem;

/// How many agents are read at a time, and the most that are told of.
const PAGE: u32 = 1_000;
const PAGES: usize = 10;

/// What the agents of the caller's tenant count, for Prometheus: how each fares, and of its last heartbeat the events,
/// alerts and losses, and what was filtered, throttled, not hashed and not described since it started. Of the first ten
/// thousand agents, in the order of their ids.
#[utoipa::path(get, path = "/metrics", tag = "agents",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn agents(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
) -> Result<impl IntoResponse, Problem> {
    let metrics = AgentMetrics::new();
    let mut query = FleetQuery { limit: PAGE, ..FleetQuery::default() };
    for _ in 0..PAGES {
        let page = plane.store().fleet(&caller.tenant, &query).await?;
        for agent in &page.items {
            metrics.add(agent);
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()))
}
