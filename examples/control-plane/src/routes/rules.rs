//! Rules: list, and test against stored events.

use axum::extract::State;
use lavender_core::event::Event;
use lavender_core::store::EventQuery;
use lavender_core::{Detection, Detector as _, RuleMeta};
use lavender_detect::{RuleHandle, RuleSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use crate::access::{Analyst, Viewer};
use crate::extract::{Json, Query, Time, cursor, limit, optional, span};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::{EvidenceView, PageView, RuleView};

/// Which rules.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

fn view(meta: &RuleMeta, correlation: bool) -> RuleView {
    RuleView {
        id: meta.id.to_string(),
        title: meta.title.to_string(),
        severity: meta.level,
        description: meta.description.as_ref().map(ToString::to_string),
        techniques: meta.techniques().collect(),
        tags: meta.tags.iter().map(ToString::to_string).collect(),
        correlation,
    }
}

/// The rules that this control plane was started with or, in an agent, those in use; in the order of their ids.
#[utoipa::path(get, path = "/rules", tag = "rules", params(Paging),
    responses((status = 200, body = PageView<RuleView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(_): Viewer,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<PageView<RuleView>>, Problem> {
    let (rules, limit) = (plane.options().rules.rules(), limit(paging.limit)? as usize);
    let plain = rules.iter().map(|rule| view(rule.meta(), false));
    let correlations = rules.correlations().iter().map(|rule| view(rule.meta(), true));
    let mut items: Vec<RuleView> = plain
        .chain(correlations)
        .filter(|rule| paging.after.as_ref().is_none_or(|after| rule.id > *after))
        .collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(axum::Json(PageView { items, next }))
}

/// Rules to test, and the events to test them on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleTest {
    /// The rules, as Sigma has them in YAML.
    #[schema(max_length = 65_536)]
    rules: String,
    /// The first moment.
    #[schema(value_type = String, format = DateTime)]
    from: Time,
    /// The first moment after it.
    #[schema(value_type = String, format = DateTime)]
    to: Time,
    /// Only events of this agent.
    agent: Option<String>,
    /// `next` of the answer before.
    after: Option<String>,
}

/// What a rule found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    /// The rule's id.
    rule: String,
    /// The rule's title.
    title: String,
    /// The event's id.
    event: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    observed_at: Time,
    /// The fields and values that made the rule match.
    evidence: Vec<EvidenceView>,
}

impl From<Detection> for Found {
    fn from(detection: Detection) -> Self {
        let evidence = detection.evidence.iter().map(|evidence| EvidenceView {
            field: evidence.field.to_string(),
            value: evidence.value.to_string_lossy().into_owned(),
        });
        Self {
            rule: detection.rule.id.to_string(),
            title: detection.rule.title.to_string(),
            event: detection.event.id.to_string(),
            observed_at: Time(detection.event.observed_at),
            evidence: evidence.collect(),
        }
    }
}

/// The most detections of one test that are shown.
const FOUND: usize = 1_000;

/// What a test found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleTestResult {
    /// How many events were looked at.
    events: usize,
    /// How many matches there were.
    matches: usize,
    /// The first thousand of them.
    found: Vec<Found>,
    /// What to give as `after` to go on with the events that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Tests rules on stored events, a thousand at a time. Correlations and novelty, which need more than one event, are
/// read and not evaluated.
#[utoipa::path(post, path = "/rules/test", tag = "rules", request_body = RuleTest,
    responses((status = 200, body = RuleTestResult)))]
pub(crate) async fn test(
    State(plane): State<ControlPlane>,
    Analyst(caller): Analyst,
    Json(test): Json<RuleTest>,
) -> Result<axum::Json<RuleTestResult>, Problem> {
    if test.rules.len() > 65_536 {
        return Err(Problem::invalid("the rules have more than 65536 bytes"));
    }
    let query = EventQuery {
        tenant: Some(caller.tenant),
        agent: optional(test.agent.as_deref())?,
        limit: EventQuery::MAX_LIMIT,
        after: cursor(test.after),
        ..EventQuery::new(span(Some(test.from), Some(test.to)))
    };
    let Ok(turn) = plane.rule_tests().acquire().await else { return Err(Problem::internal()) };
    let page = plane.store().events(&query).await?;
    let events: Vec<Arc<Event>> = page.items.into_iter().map(|stored| stored.event).collect();
    let count = events.len();
    let run = move || -> Result<Vec<Detection>, String> {
        let rules = RuleSet::from_yaml(&test.rules).map_err(|errors| errors.to_string())?;
        let mut detector = RuleHandle::new(rules).detector();
        let mut found = Vec::new();
        for event in &events {
            detector.detect(event, &mut found);
        }
        Ok(found)
    };
    let detections = tokio::task::spawn_blocking(run).await.map_err(|error| {
        tracing::error!("a test of rules did not end well: {error}");
        Problem::internal()
    })?;
    drop(turn);
    let detections = detections.map_err(Problem::invalid)?;
    Ok(axum::Json(RuleTestResult {
        events: count,
        matches: detections.len(),
        found: detections.into_iter().take(FOUND).map(Found::from).collect(),
        next: page.next.map(|next| next.0),
    }))
}
