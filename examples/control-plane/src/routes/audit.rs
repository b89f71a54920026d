//! The audit log.

use axum::Json;
use axum::extract::State;
use lavender_core::store::AuditQuery;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Admin;
use crate::extract::{Query, Time, cursor, limit, span};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::{AuditView, PageView};

/// Which lines of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditFilter {
    /// Only by this actor.
    actor: Option<String>,
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

/// Who changed what, newest first.
#[utoipa::path(get, path = "/audit", tag = "access", params(AuditFilter),
    responses((status = 200, body = PageView<AuditView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Admin(caller): Admin,
    Query(filter): Query<AuditFilter>,
) -> Result<Json<PageView<AuditView>>, Problem> {
    let query = AuditQuery {
        actor: filter.actor.map(Into::into),
        limit: limit(filter.limit)?,
        after: cursor(filter.after),
        ..AuditQuery::new(span(filter.from, filter.to))
    };
    let page = plane.store().audit(&caller.tenant, &query).await?;
    Ok(Json(PageView::of(page, AuditView::from)))
}
