//! Alerts: list, get, statistics, status, process tree.

use std::time::Duration;

use axum::extract::State;
use lavender_core::store::{
    AlertQuery, AlertRecord, EventQuery, Revision, StatisticsQuery, StatusUpdate, TimeRange,
};
use lavender_core::{AlertId, AlertStatus, TenantId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::access::{Analyst, Viewer};
use crate::extract::{Json, Path, Query, Time, cursor, limit, named, optional, span};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::{AlertDetail, AlertSummary, PageView, ProcessTree, StatisticsView, tree_of};

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertFilter {
    /// Only in this status.
    #[param(example = "open")]
    status: Option<String>,
    /// Only this bad or worse.
    #[param(example = "high")]
    severity: Option<String>,
    /// Only of the rule with this id.
    rule: Option<String>,
    /// Only of this ATT&CK technique; one without a dot includes its sub-techniques.
    #[param(example = "T1059")]
    technique: Option<String>,
    /// Only of this agent.
    agent: Option<String>,
    /// Only of this incident.
    incident: Option<String>,
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

impl AlertFilter {
    fn query(self) -> Result<AlertQuery, Problem> {
        Ok(AlertQuery {
            status: optional(self.status.as_deref())?,
            min_severity: optional(self.severity.as_deref())?,
            rule: self.rule.map(Into::into),
            technique: self.technique.map(Into::into),
            agent: optional(self.agent.as_deref())?,
            incident: optional(self.incident.as_deref())?,
            limit: limit(self.limit)?,
            after: cursor(self.after),
            ..AlertQuery::new(span(self.from, self.to))
        })
    }
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/alerts", tag = "alerts", params(AlertFilter),
    responses((status = 200, body = PageView<AlertSummary>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(filter): Query<AlertFilter>,
) -> Result<axum::Json<PageView<AlertSummary>>, Problem> {
    let page = plane.store().triage(&caller.tenant, &filter.query()?).await?;
    Ok(axum::Json(PageView::of(page, |record| AlertSummary::from(&record))))
}

/// Which alerts are counted, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Counting {
    /// The first moment; a day before `to` unless said.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// The first moment after it; now unless said.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// The length of a bucket in seconds; an hour unless said. There can be a thousand buckets.
    #[param(minimum = 1, maximum = 31_536_000)]
    bucket_s: Option<u32>,
    /// How many techniques, rules and agents, the most frequent first; ten unless said.
    #[param(minimum = 1, maximum = 100)]
    top: Option<u32>,
}

/// Alerts, counted by time, status, severity, technique, rule and agent.
#[utoipa::path(get, path = "/alerts/statistics", tag = "alerts", params(Counting),
    responses((status = 200, body = StatisticsView)))]
pub(crate) async fn statistics(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(counting): Query<Counting>,
) -> Result<axum::Json<StatisticsView>, Problem> {
    let to = counting.to.map_or_else(|| plane.now(), |to| to.0);
    let day = Duration::from_secs(86_400);
    let from = counting.from.map_or_else(|| to.saturating_sub(day), |from| from.0);
    let bucket = Duration::from_secs(counting.bucket_s.unwrap_or(3_600).into());
    let query = StatisticsQuery {
        top: counting.top.unwrap_or(10),
        ..StatisticsQuery::new(TimeRange { from, to }, bucket)
    };
    Ok(axum::Json(plane.store().statistics(&caller.tenant, &query).await?.into()))
}

async fn record(
    plane: &ControlPlane,
    tenant: &TenantId,
    id: AlertId,
) -> Result<AlertRecord, Problem> {
    let record = plane.store().alert_record(tenant, id).await?;
    record.ok_or_else(|| Problem::not_found(format!("there is no alert {id}")))
}

async fn detail(
    plane: &ControlPlane,
    tenant: &TenantId,
    record: &AlertRecord,
) -> Result<AlertDetail, Problem> {
    let history = plane.store().alert_history(tenant, record.alert.id).await?;
    Ok(AlertDetail::of(record, history))
}

/// Everything of one alert.
#[utoipa::path(get, path = "/alerts/{id}", tag = "alerts",
    params(("id" = String, Path, description = "The alert's id", format = "uuid")),
    responses((status = 200, body = AlertDetail)))]
pub(crate) async fn get(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<axum::Json<AlertDetail>, Problem> {
    let record = record(&plane, &caller.tenant, named(&id)?).await?;
    Ok(axum::Json(detail(&plane, &caller.tenant, &record).await?))
}

/// A change of an alert's status.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStatus {
    /// `open`, `acknowledged`, `resolved` or `dismissed`.
    #[schema(value_type = String, example = "acknowledged", pattern = "^(open|acknowledged|resolved|dismissed)$")]
    status: AlertStatus,
    /// The alert's `revision` as it was seen.
    revision: u64,
    /// Why.
    #[schema(max_length = 2_000)]
    reason: Option<String>,
}

/// Changes an alert's status: forward, or back to `open`. Refused as a conflict when somebody else was first.
#[utoipa::path(put, path = "/alerts/{id}/status", tag = "alerts",
    params(("id" = String, Path, description = "The alert's id", format = "uuid")),
    request_body = NewStatus, responses((status = 200, body = AlertDetail)))]
pub(crate) async fn set_status(
    State(plane): State<ControlPlane>,
    Analyst(caller): Analyst,
    Path(id): Path<String>,
    Json(new): Json<NewStatus>,
) -> Result<axum::Json<AlertDetail>, Problem> {
    let id = named(&id)?;
    if new.reason.as_ref().is_some_and(|reason| reason.chars().count() > 2_000) {
        return Err(Problem::invalid("the reason has more than 2,000 characters"));
    }
    let update = StatusUpdate {
        revision: Revision(new.revision),
        to: new.status,
        actor: caller.actor,
        reason: new.reason.map(Into::into),
        at: plane.now(),
    };
    let record = plane.store().update_status(&caller.tenant, id, &update).await?;
    Ok(axum::Json(detail(&plane, &caller.tenant, &record).await?))
}

/// How far around an alert.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Around {
    /// How many seconds before and after the alert events are looked at; ten minutes unless said.
    #[param(minimum = 1, maximum = 86_400)]
    around_s: Option<u32>,
}

/// The most events that are looked at for a tree.
const TREE_EVENTS: u32 = EventQuery::MAX_LIMIT;

/// The process tree around an alert: what led to it, and what came of it. At most a thousand events before it and a
/// thousand after it are looked at.
#[utoipa::path(get, path = "/alerts/{id}/process-tree", tag = "alerts",
    params(("id" = String, Path, description = "The alert's id", format = "uuid"), Around),
    responses((status = 200, body = ProcessTree)))]
pub(crate) async fn tree(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
    Query(around): Query<Around>,
) -> Result<axum::Json<ProcessTree>, Problem> {
    let seconds = around.around_s.unwrap_or(600);
    if !(1..=86_400).contains(&seconds) {
        return Err(Problem::invalid("`around_s` can be 1 to 86400"));
    }
    let AlertRecord { alert, .. } = record(&plane, &caller.tenant, named(&id)?).await?;
    let (at, reach) = (alert.observed_at, Duration::from_secs(seconds.into()));
    let mut events = Vec::new();
    let mut truncated = false;
    for time in [
        TimeRange { from: at.saturating_sub(reach), to: at },
        TimeRange { from: at, to: at.saturating_add(reach) },
    ] {
        let query = EventQuery {
            tenant: Some(caller.tenant.clone()),
            agent: Some(alert.source.agent.clone()),
            limit: TREE_EVENTS,
            ..EventQuery::new(time)
        };
        let page = plane.store().events(&query).await?;
        truncated |= page.next.is_some();
        events.extend(page.items);
    }
    Ok(axum::Json(tree_of(&alert, &events, truncated)))
}
