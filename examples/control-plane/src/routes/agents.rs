//! Agents: which are there, what became of them, what they lost.

use axum::Json;
use axum::extract::State;
use lavender_core::AgentId;
use lavender_core::store::{FleetQuery, TransitionQuery};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Viewer;
use crate::extract::{Path, Query, Time, cursor, limit, named, optional, span};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::{AgentView, LossView, PageView, TransitionView};

/// Which agents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentFilter {
    /// Only those that are `online`, `degraded` or `offline`.
    #[param(example = "offline")]
    liveness: Option<String>,
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Agents, in the order of their ids.
#[utoipa::path(get, path = "/agents", tag = "agents", params(AgentFilter),
    responses((status = 200, body = PageView<AgentView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(filter): Query<AgentFilter>,
) -> Result<Json<PageView<AgentView>>, Problem> {
    let query = FleetQuery {
        liveness: optional(filter.liveness.as_deref())?,
        limit: limit(filter.limit)?,
        after: cursor(filter.after),
    };
    let page = plane.store().fleet(&caller.tenant, &query).await?;
    Ok(Json(PageView::of(page, AgentView::from)))
}

/// One agent.
#[utoipa::path(get, path = "/agents/{agent}", tag = "agents",
    params(("agent" = String, Path, description = "The agent's id")),
    responses((status = 200, body = AgentView)))]
pub(crate) async fn get(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Path(agent): Path<String>,
) -> Result<Json<AgentView>, Problem> {
    let agent: AgentId = named(&agent)?;
    let known = plane.store().fleet_agent(&caller.tenant, &agent).await?;
    let known = known.ok_or_else(|| Problem::not_found(format!("there is no agent {agent}")))?;
    Ok(Json(known.into()))
}

/// Which transitions, or which losses.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TransitionFilter {
    /// Only of this agent.
    agent: Option<String>,
    /// Only from this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Only before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// When agents came, went, or fared otherwise than before: newest first.
#[utoipa::path(get, path = "/transitions", tag = "agents", params(TransitionFilter),
    responses((status = 200, body = PageView<TransitionView>)))]
pub(crate) async fn transitions(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(filter): Query<TransitionFilter>,
) -> Result<Json<PageView<TransitionView>>, Problem> {
    let query = TransitionQuery {
        agent: optional(filter.agent.as_deref())?,
        limit: limit(filter.limit)?,
        after: cursor(filter.after),
        ..TransitionQuery::new(span(filter.from, filter.to))
    };
    let page = plane.store().transitions(&caller.tenant, &query).await?;
    Ok(Json(PageView::of(page, TransitionView::from)))
}

/// Which losses.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LossFilter {
    /// Only of this agent.
    agent: Option<String>,
    /// Only reported from this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Only reported before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
}

/// What was lost, by agent, kind and stage: whether a host was blind, and to what.
#[utoipa::path(get, path = "/losses", tag = "agents", params(LossFilter),
    responses((status = 200, body = Vec<LossView>)))]
pub(crate) async fn losses(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(filter): Query<LossFilter>,
) -> Result<Json<Vec<LossView>>, Problem> {
    let agent: Option<AgentId> = optional(filter.agent.as_deref())?;
    let time = span(filter.from, filter.to);
    let lines = plane.store().tenant_losses(&caller.tenant, agent.as_ref(), time).await?;
    Ok(Json(lines.into_iter().map(LossView::from).collect()))
}
