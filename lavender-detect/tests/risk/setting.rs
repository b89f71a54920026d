//! Alerts made by hand, and stages that take them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{Event, EventData, Exec, Process};
use lavender_core::{
    AgentId, AgentIdentity, Alert, AlertId, AlertStage, BootId, Bytes, Captured, Certainty,
    Detection, Evidence, ExecId, Origin, ProcessId, RuleMeta, Severity, Stateful, TenantId,
    Timestamp,
};

use crate::support;

pub(crate) const BOOT: BootId = BootId::from_u128(7);
/// A multiple of every timespan in these tests.
pub(crate) const START: i64 = 1_700_006_400_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;

pub(crate) fn source() -> AgentIdentity {
    AgentIdentity {
        tenant: TenantId::new("acme").unwrap(),
        agent: AgentId::new("web-1").unwrap(),
        host: "web-1".into(),
    }
}

/// A rule with points and tags.
pub(crate) fn rule(id: &str, risk: u32, tags: &[&str]) -> Arc<RuleMeta> {
    Arc::new(RuleMeta {
        id: id.into(),
        title: format!("The rule {id}").into(),
        level: Severity::Medium,
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
        risk: Some(risk),
        ..RuleMeta::default()
    })
}

/// A process with this pid, of the tree that begins with `parent`, or of one of its own.
pub(crate) fn process(pid: u32, start_ns: u64, parent: Option<&Arc<Process>>) -> Arc<Process> {
    let id = ProcessId::new(BOOT, start_ns, pid);
    Arc::new(Process {
        exec_id: ExecId { process: id, generation: 1 },
        pid,
        tree: Some(parent.map_or(id, |parent| parent.tree_id())),
        parent_id: parent.map(|parent| parent.exec_id),
        ..support::process("/bin/sh", &["sh"], parent.map(Arc::clone))
    })
}

/// What a rule found in a process, `at` nanoseconds after the start.
pub(crate) fn alert(rule: &Arc<RuleMeta>, process: &Arc<Process>, at: i64, event: u64) -> Alert {
    let origin = Origin::new(&source().tenant, &source().agent, BOOT);
    let filename = Captured::complete("/bin/sh".into());
    let event = Event {
        id: origin.event(event),
        process: Some(Arc::clone(process)),
        observed_at: Timestamp::from_nanos(START + at),
        data: EventData::Exec(Exec { filename, previous_executable: None }),
        ..(*support::exec(support::process("/bin/sh", &[], None))).clone()
    };
    let detection = Detection {
        rule: Arc::clone(rule),
        event: Arc::new(event),
        evidence: vec![Evidence { field: "Image".into(), value: "/bin/sh".into() }],
        certainty: Certainty::Certain,
        correlated: None,
    };
    Alert::from_detection(&source(), detection, Timestamp::from_nanos(START + at))
}

/// What comes out of a stage: the alerts that are raised.
pub(crate) fn pass(stage: &mut impl AlertStage, alert: &Alert) -> Vec<Alert> {
    let mut raised = vec![alert.clone()];
    stage.pass(&mut raised, &mut Vec::new());
    raised
}

/// The alerts of scores among these, each id once.
pub(crate) fn of_scores(alerts: &[Alert]) -> BTreeSet<AlertId> {
    alerts.iter().filter(|alert| alert.rule.is_risk()).map(|alert| alert.id).collect()
}

/// Takes what has changed, as whoever saves state does.
pub(crate) fn save(stage: &mut impl Stateful, saved: &mut BTreeMap<String, Bytes>) {
    stage.changed(&mut |key, value| {
        match value {
            Some(value) => saved.insert(key.to_owned(), value),
            None => saved.remove(key),
        };
    });
}

pub(crate) const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
