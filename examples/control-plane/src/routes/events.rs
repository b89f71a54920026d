//! Events: a search that is bounded in time.

use axum::Json;
use axum::extract::State;
use lavender_core::store::EventQuery;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Viewer;
use crate::extract::{Query, Time, cursor, kind, limit, optional, span};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::{EventView, PageView};

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventFilter {
    /// The first moment.
    #[param(value_type = String, format = DateTime)]
    from: Time,
    /// The first moment after it.
    #[param(value_type = String, format = DateTime)]
    to: Time,
    /// Only of this agent.
    agent: Option<String>,
    /// Only of this kind.
    #[param(example = "exec")]
    kind: Option<String>,
    /// Only of the process with this id.
    process: Option<String>,
    /// Only what was done about the alert with this id.
    response_to: Option<String>,
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Events in a span of time, the oldest first.
#[utoipa::path(get, path = "/events", tag = "events", params(EventFilter),
    responses((status = 200, body = PageView<EventView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(filter): Query<EventFilter>,
) -> Result<Json<PageView<EventView>>, Problem> {
    let query = EventQuery {
        tenant: Some(caller.tenant),
        agent: optional(filter.agent.as_deref())?,
        kind: kind(filter.kind.as_deref())?,
        process: optional(filter.process.as_deref())?,
        response_to: optional(filter.response_to.as_deref())?,
        limit: limit(filter.limit)?,
        after: cursor(filter.after),
        ..EventQuery::new(span(Some(filter.from), Some(filter.to)))
    };
    let page = plane.store().events(&query).await?;
    let items = page.items.iter().map(EventView::of).collect::<Result<_, _>>()?;
    Ok(Json(PageView { items, next: page.next.map(|next| next.0) }))
}
