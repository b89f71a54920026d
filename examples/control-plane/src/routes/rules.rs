//! Rules: those in use, and tests against stored events.

use axum::extract::State;
use lavender_core::event::Event;
use lavender_core::store::EventQuery;
use lavender_core::{Detection, Detector as _};
use lavender_detect::{RuleHandle, RuleSet, builtin};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::access::{Analyst, Caller, Viewer};
use crate::extract::{Json, Query, Time, cursor, limit, optional, span};
use crate::in_force::published_rules;
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::routes::rulesets::{self, GivenFile};
use crate::rulesets::is_builtin;
use crate::turns::in_turn;
use crate::view::{EvidenceView, PageView, RuleInForce, RuleSource, RuleView};

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

/// The rules in force, in the order of their ids: those that come with Lavender and those of this control plane's files or,
/// in an agent, of the agent's; and those of what was published last, which take the place of others with the same id.
#[utoipa::path(get, path = "/rules", tag = "rules", params(Paging),
    responses((status = 200, body = PageView<RuleInForce>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<PageView<RuleInForce>>, Problem> {
    let (base, limit) = (plane.options().rules.rules(), limit(paging.limit)? as usize);
    let published = published_rules(&plane, &caller.tenant).await?;
    let (revision, published) = published.unzip();
    let published = published.unwrap_or_default();
    let plain = base.iter().map(|rule| (rule.meta(), rule.file(), false));
    let correlations = base.correlations().iter().map(|rule| (rule.meta(), rule.file(), true));
    let is_replaced = |id: &str| published.binary_search_by(|rule| (*rule.id).cmp(id)).is_ok();
    let base = plain.chain(correlations).filter(|(meta, ..)| !is_replaced(&meta.id)).map(
        |(meta, file, correlation)| RuleInForce {
            rule: RuleView::of(meta, correlation),
            source: if comes_with_lavender(file) { RuleSource::Bundled } else { RuleSource::File },
            revision: None,
        },
    );
    let published = published.iter().map(|rule| RuleInForce {
        rule: rule.clone(),
        source: RuleSource::Published,
        revision,
    });
    let mut items: Vec<RuleInForce> = base
        .chain(published)
        .filter(|it| paging.after.as_ref().is_none_or(|after| it.rule.id > *after))
        .collect();
    items.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.rule.id.clone());
    Ok(axum::Json(PageView { items, next }))
}

fn comes_with_lavender(file: &str) -> bool {
    builtin::rules().any(|(name, _)| name == file)
}

/// Rules to test, and the events to test them on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleTest {
    /// The rules, as Sigma has them in YAML. These, or `files`, or `ruleset`.
    #[schema(max_length = 65_536)]
    rules: Option<String>,
    /// The files of a ruleset that is not uploaded yet.
    files: Option<Vec<GivenFile>>,
    /// The digest of a ruleset that was uploaded.
    ruleset: Option<String>,
    /// The first moment.
    #[schema(value_type = String, format = DateTime)]
    from: Time,
    /// The first moment after it.
    #[schema(value_type = String, format = DateTime)]
    to: Time,
    /// Only events of this agent.
    agent: Option<String>,
    /// The most events to look at, a thousand unless said; pages of a thousand are looked at whole.
    #[schema(minimum = 1, maximum = 100_000)]
    max_events: Option<usize>,
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

/// The most events that one test looks at.
const MAX_EVENTS: usize = 100_000;

/// For how long a test goes on reading, well below what a request may take.
const TEST_TIME: Duration = Duration::from_secs(15);

/// Why a test looked at no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stopped {
    /// There are no more.
    End,
    /// It was to look at no more.
    MaxEvents,
    /// It took long enough.
    Time,
}

/// What a test found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleTestResult {
    /// How many events were looked at.
    events: usize,
    /// Why no more were.
    stopped: Stopped,
    /// How many matches there were.
    matches: usize,
    /// The first thousand of them.
    found: Vec<Found>,
    /// What to give as `after` to go on with the events that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The rules that a test is about, compiled.
async fn tested(
    plane: &ControlPlane,
    caller: &Caller,
    test: &mut RuleTest,
) -> Result<RuleSet, Problem> {
    let given = (test.rules.take(), test.files.take(), test.ruleset.take());
    let rules = match given {
        (Some(text), None, None) => {
            if text.len() > 65_536 {
                return Err(Problem::invalid("the rules have more than 65536 bytes"));
            }
            let parse = move || RuleSet::from_yaml(&text);
            let rules = in_turn(plane, parse).await?;
            return rules.map_err(|errors| {
                Problem::invalid(errors.to_string()).with_faults(&errors.faults)
            });
        }
        (None, Some(files), None) => rulesets::given(files)?,
        (None, None, Some(digest)) => rulesets::find(plane, caller, &digest).await?.1,
        _ => return Err(Problem::invalid("give one of `rules`, `files` and `ruleset`")),
    };
    Ok(rulesets::compiled(plane, &rules).await?.rules)
}

/// Tests rules on stored events. Correlations and novelty, which need more than one event, are read and not evaluated.
/// What the rules that come with Lavender find is not told.
#[utoipa::path(post, path = "/rules/test", tag = "rules", request_body = RuleTest,
    responses((status = 200, body = RuleTestResult)))]
pub(crate) async fn test(
    State(plane): State<ControlPlane>,
    Analyst(caller): Analyst,
    Json(mut test): Json<RuleTest>,
) -> Result<axum::Json<RuleTestResult>, Problem> {
    let max_events = test.max_events.unwrap_or(EventQuery::MAX_LIMIT as usize);
    if !(1..=MAX_EVENTS).contains(&max_events) {
        return Err(Problem::invalid(format!("`max_events` can be 1 to {MAX_EVENTS}")));
    }
    let mut query = EventQuery {
        tenant: Some(caller.tenant.clone()),
        agent: optional(test.agent.as_deref())?,
        limit: EventQuery::MAX_LIMIT,
        after: cursor(test.after.take()),
        ..EventQuery::new(span(Some(test.from), Some(test.to)))
    };
    let rules = tested(&plane, &caller, &mut test).await?;
    let (mut detector, started) = (RuleHandle::new(rules.clone()).detector(), Instant::now());
    let (mut events, mut matches, mut found) = (0, 0, Vec::new());
    let stopped = loop {
        let page = plane.store().events(&query).await?;
        let looked_at: Vec<Arc<Event>> = page.items.into_iter().map(|it| it.event).collect();
        events += looked_at.len();
        let run = move || {
            let mut found = Vec::new();
            for event in &looked_at {
                detector.detect(event, &mut found);
            }
            (detector, found)
        };
        let more;
        (detector, more) = in_turn(&plane, run).await?;
        let own = more.into_iter().filter(|detection| is_own(&rules, detection));
        for detection in own {
            matches += 1;
            if found.len() < FOUND {
                found.push(Found::from(detection));
            }
        }
        query.after = page.next;
        match &query.after {
            None => break Stopped::End,
            Some(_) if events >= max_events => break Stopped::MaxEvents,
            Some(_) if started.elapsed() >= TEST_TIME => break Stopped::Time,
            Some(_) => {}
        }
    };
    let next = query.after.map(|next| next.0);
    Ok(axum::Json(RuleTestResult { events, stopped, matches, found, next }))
}

/// Whether a rule is not one that comes with Lavender.
fn is_own(rules: &RuleSet, detection: &Detection) -> bool {
    rules.rule(&detection.rule.id).is_none_or(|rule| !is_builtin(rule.file()))
}
