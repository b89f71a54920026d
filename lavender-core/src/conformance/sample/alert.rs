//! Alerts, and what is done about them.

use std::sync::Arc;

use super::Sample;
use crate::event::{Event, EventData, Process};
use crate::{
    Alert, AlertId, ByteString, Certainty, Detection, Evidence, FileIdentity, FileTarget, Outcome,
    ResponseAction, ResponseCause, ResponseOrder, ResponseOutcome, ResponseTarget, Risk,
    RiskContribution, RiskSequence, RuleMeta, Severity,
};

impl Sample {
    /// What the kernel prevented by itself.
    pub(super) fn prevented(&mut self, process: &Arc<Process>) -> Arc<Event> {
        let order = ResponseOrder {
            cause: ResponseCause::Rule("a rule".into()),
            action: ResponseAction::Deny,
            target: ResponseTarget::Process(process.id()),
            decided_by: "the kernel".into(),
        };
        self.event(None, EventData::Response(ResponseOutcome::new(order, Outcome::Done)))
    }

    /// What was done about an alert: something to everything that something can be done to.
    pub fn responses(&mut self, process: &Arc<Process>, alert: AlertId) -> Vec<Arc<Event>> {
        let response = |action, target, outcome| {
            let order = ResponseOrder {
                cause: ResponseCause::Alert(alert),
                action,
                target,
                decided_by: "severity".into(),
            };
            ResponseOutcome::new(order, outcome)
        };
        let target = ResponseTarget::Process(process.id());
        let in_tree = ResponseOutcome {
            tree_of: Some(process.id()),
            ..response(ResponseAction::KillTree, target.clone(), Outcome::Gone)
        };
        let file = FileTarget {
            path: ByteString::from(vec![b'/', 0xff, b'x']),
            identity: Some(FileIdentity { inode: u64::MAX, device: u32::MAX }),
        };
        let quarantined = ResponseOutcome {
            quarantine_entry: Some("00-1".into()),
            ..response(ResponseAction::Quarantine, ResponseTarget::File(file), Outcome::Done)
        };
        let failed = Outcome::Failed { reason: "EPERM".into() };
        let open = Outcome::CircuitOpen { closes_in_secs: 7 };
        [
            response(ResponseAction::Kill, target.clone(), Outcome::DryRun),
            response(ResponseAction::Stop, target, failed),
            response(ResponseAction::Isolate, ResponseTarget::Host, open),
            in_tree,
            quarantined,
        ]
        .map(|answer| self.event(Some(process), EventData::Response(answer)))
        .into()
    }

    /// An alert about an event.
    pub fn alert(&self, event: &Arc<Event>, rule: &str, severity: Severity) -> Arc<Alert> {
        let rule = RuleMeta {
            id: rule.into(),
            title: format!("The rule {rule}").into(),
            level: severity,
            description: Some("what it is about".into()),
            tags: vec!["attack.t1059.004".into()],
            false_positives: vec!["administrators".into()],
            references: Vec::new(),
            response: vec![ResponseAction::KillTree],
            risk: Some(40),
            unsuppressed: true,
        };
        let detection = Detection {
            rule: Arc::new(rule),
            event: Arc::clone(event),
            evidence: vec![Evidence {
                field: "Image".into(),
                value: ByteString::from(vec![b'/', 0xff, 0x00]),
            }],
            certainty: Certainty::Undetermined { fields: vec!["CommandLine".into()] },
            correlated: None,
        };
        let created_at = event.observed_at.saturating_add(std::time::Duration::from_millis(3));
        let risk = event.process.as_ref().map(|process| Risk {
            tree: process.tree_id(),
            score: 50,
            contributions: vec![RiskContribution {
                rule: "earlier".into(),
                title: "An earlier rule".into(),
                points: 40,
                why: "40 by the rule".into(),
                observed_at: event.observed_at,
                event: event.id,
            }],
            other_points: 0,
            sequence: Some(RiskSequence {
                points: 10,
                tactics: vec!["execution".into(), "impact".into()],
            }),
        });
        let alert = Alert::from_detection(&self.source, detection, created_at);
        Arc::new(Alert { risk: risk.map(Arc::new), ..alert })
    }
}
