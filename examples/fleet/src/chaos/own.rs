//! What simulated agents find by themselves, as agents do: by a rule that the workers do not have.

use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{AgentIdentity, Alert, Detector as _, Timestamp};
use lavender_detect::{RuleHandle, RuleSet, SigmaDetector};

use crate::error::{FleetError, Result};

/// The rule's id.
pub const RULE: &str = "own";

const TEXT: &str = "title: Found by the agent\nid: own\nlevel: low\n\
    logsource: {category: process_creation, product: linux}\n\
    detection: {s: {Image|endswith: /wget}, condition: s}\n";

/// Looks at the events of one agent.
#[derive(Debug)]
pub struct OwnDetector(SigmaDetector);

impl OwnDetector {
    /// Has the rule.
    ///
    /// # Errors
    ///
    /// When the rule is none.
    pub fn new() -> Result<Self> {
        let rules =
            RuleSet::from_yaml(TEXT).map_err(|errors| FleetError::Broken(errors.to_string()))?;
        Ok(Self(RuleHandle::new(rules).detector()))
    }

    /// What it raises, now.
    pub fn alerts(
        &mut self,
        source: &AgentIdentity,
        events: &[Arc<Event>],
        now: Timestamp,
    ) -> Vec<Arc<Alert>> {
        let mut found = Vec::new();
        for event in events {
            self.0.detect(event, &mut found);
        }
        let alerts = found.into_iter();
        alerts.map(|found| Arc::new(Alert::from_detection(source, found, now))).collect()
    }
}
