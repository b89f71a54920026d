//! What decides what an event comes to: detectors, and the stages that their alerts pass.

use std::sync::Arc;

use crate::alert::{AgentIdentity, Alert};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::rule::Detection;
use crate::source::{AlertStage, Detector, Gaps, Stateful};
use crate::time::Timestamp;

/// The detectors and alert stages of a pipeline, in order.
pub(super) struct Judges {
    pub(super) detectors: Vec<Box<dyn Detector>>,
    pub(super) stages: Vec<Box<dyn AlertStage>>,
}

/// What detections came to.
pub(super) struct Raised {
    /// The alerts, the worst first.
    pub(super) raised: Vec<Alert>,
    /// What is not told again, and is to be answered all the same.
    pub(super) repeated: Vec<Alert>,
}

impl Judges {
    pub(super) fn detect(&mut self, event: &Arc<Event>, out: &mut Vec<Detection>) {
        for detector in &mut self.detectors {
            detector.detect(event, out);
        }
    }

    /// Makes alerts of what was detected together.
    pub(super) fn judge(
        &mut self,
        identity: &AgentIdentity,
        detections: impl Iterator<Item = Detection>,
        now: Timestamp,
    ) -> Raised {
        let mut raised: Vec<Alert> =
            detections.map(|detection| Alert::from_detection(identity, detection, now)).collect();
        let mut repeated = Vec::new();
        for stage in &mut self.stages {
            stage.pass(&mut raised, &mut repeated);
        }
        raised.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
        Raised { raised, repeated }
    }

    /// What has changed about alerts that were raised before.
    pub(super) fn updates(&mut self, last: bool) -> Vec<Arc<Alert>> {
        let mut updates = Vec::new();
        for stage in &mut self.stages {
            stage.updates(last, &mut updates);
        }
        updates.into_iter().map(Arc::new).collect()
    }

    /// Takes back a part of a state, by the name and the key that [`each_state`](Self::each_state) gave.
    pub(super) fn restore_part(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let (name, key) = key.split_once('/').unwrap_or_default();
        match self.state(name) {
            Some(state) => state.restore(key, value),
            None => {
                let reason = "nothing is there that it is of";
                Err(Error::new(ErrorKind::Invalid, key.to_owned(), reason))
            }
        }
    }

    pub(super) fn suppressed(&self) -> u64 {
        self.stages.iter().map(|stage| stage.suppressed()).sum()
    }

    /// What their states could not take into account, all together.
    pub(super) fn gaps(&mut self) -> Gaps {
        let mut gaps = Gaps::default();
        self.each_state(&mut |_, state| gaps += state.gaps());
        gaps
    }

    /// Gives `visit` the state of each that has any, and the name that it goes by.
    pub(super) fn each_state(&mut self, visit: &mut dyn FnMut(&str, &mut dyn Stateful)) {
        for (number, detector) in self.detectors.iter_mut().enumerate() {
            if let Some(state) = detector.state() {
                visit(&number.to_string(), state);
            }
        }
        for (number, stage) in self.stages.iter_mut().enumerate() {
            if let Some(state) = stage.state() {
                visit(&format!("{STAGE}{number}"), state);
            }
        }
    }

    /// The state that goes by this name.
    fn state(&mut self, name: &str) -> Option<&mut dyn Stateful> {
        match name.strip_prefix(STAGE) {
            Some(number) => self.stages.get_mut(number.parse::<usize>().ok()?)?.state(),
            None => self.detectors.get_mut(name.parse::<usize>().ok()?)?.state(),
        }
    }
}

const STAGE: &str = "stage-";
