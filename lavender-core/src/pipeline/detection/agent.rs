//! What is known of one agent, between its store and what decides by it.

use std::sync::Arc;

use bytes::Bytes;

use super::super::judges::Judges;
use super::value::{self, Parts};
use crate::alert::{AgentIdentity, Alert};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::fleet::AgentDetection;
use crate::source::Gaps;
use crate::store::Version;
use crate::time::Timestamp;

/// The part that says whose it is: whoever finds the state by its key has no event that says so.
const IDENTITY: &str = "identity";

/// What is known of an agent, as of a version in the store.
pub(super) struct Agent {
    judges: Judges,
    parts: Parts,
    due: Option<Timestamp>,
    /// What detectors and stages had not seen or kept when it was last asked.
    gaps: Gaps,
    /// The version that it was read or written as; `None` where there is none.
    pub(super) version: Option<Version>,
    /// How many bytes it takes here.
    pub(super) bytes: usize,
    /// How much of it could not be read.
    pub(super) unreadable: u64,
}

/// What an agent's state is given.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    /// Events, of which some concern it.
    Events(&'a AgentIdentity, &'a [Arc<Event>]),
    /// That it is this late, and nothing more has happened.
    Idle(Timestamp),
}

/// What came of it.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) alerts: Vec<Arc<Alert>>,
    pub(super) updates: Vec<Arc<Alert>>,
    pub(super) suppressed: u64,
}

/// What is to be written.
pub(super) struct Change {
    pub(super) value: Bytes,
    /// How many parts there was no room for.
    pub(super) forgotten: u64,
}

impl Agent {
    /// What a store has, if anything.
    pub(super) fn load(detection: AgentDetection, stored: Option<(Bytes, Version)>) -> Self {
        let AgentDetection { detector, stages } = detection;
        let mut judges = Judges { detectors: vec![detector], stages };
        let version = stored.as_ref().map(|(_, version)| *version);
        let parts = Parts::new();
        let gaps = judges.gaps();
        let mut agent = Self { judges, parts, due: None, gaps, version, bytes: 0, unreadable: 0 };
        let Some((bytes, _)) = stored.filter(|(bytes, _)| !bytes.is_empty()) else { return agent };
        agent.due = value::read_due(&bytes).flatten();
        match value::read(&bytes) {
            Ok(parts) => agent.restore(parts),
            Err(error) => {
                tracing::error!(%error, "what was known of an agent is forgotten");
                agent.unreadable += 1;
            }
        }
        agent.bytes = value::held(&agent.parts);
        agent.gaps = agent.judges.gaps();
        agent
    }

    fn restore(&mut self, mut parts: Parts) {
        parts.retain(|key, part| {
            if key == IDENTITY {
                return true;
            }
            let restored =
                value::unpack(part).and_then(|part| self.judges.restore_part(key, &part));
            match restored {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, "a part of what was known of an agent is forgotten");
                    self.unreadable += 1;
                    false
                }
            }
        });
        self.parts = parts;
    }

    /// Takes in that the store has it now.
    pub(super) fn written(&mut self, version: Version) {
        (self.version, self.unreadable) = (Some(version), 0);
        self.bytes = value::held(&self.parts);
    }

    /// When time alone decides something next.
    pub(super) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Decides what work comes to.
    pub(super) fn apply(&mut self, work: Work<'_>, now: Timestamp) -> Result<Outcome> {
        let suppressed = self.judges.suppressed();
        let mut raised = Vec::new();
        let mut found = Vec::new();
        match work {
            Work::Events(identity, events) => {
                if !self.parts.contains_key(IDENTITY) {
                    let packed = value::pack(&identity_to_json(identity)?);
                    self.parts.insert(IDENTITY.to_owned(), packed);
                }
                for event in events {
                    self.judges.detect(event, &mut found);
                    if !found.is_empty() {
                        raised.extend(self.judges.judge(identity, found.drain(..), now).raised);
                    }
                }
            }
            Work::Idle(time) => {
                for detector in &mut self.judges.detectors {
                    detector.idle(time, &mut found);
                }
                if !found.is_empty() {
                    let identity = self.identity()?;
                    raised = self.judges.judge(&identity, found.drain(..), now).raised;
                }
            }
        }
        Ok(Outcome {
            alerts: raised.into_iter().map(Arc::new).collect(),
            updates: self.judges.updates(true),
            suppressed: self.judges.suppressed() - suppressed,
        })
    }

    /// What was forgotten and what came late since this was asked last. Asked once what has changed is known: only then
    /// it is decided for what there is room.
    pub(super) fn take_gaps(&mut self) -> Gaps {
        let now = self.judges.gaps();
        let before = std::mem::replace(&mut self.gaps, now);
        Gaps {
            forgotten: now.forgotten.saturating_sub(before.forgotten),
            late: now.late.saturating_sub(before.late),
        }
    }

    /// What has changed since it was read or written, as the value to write; `None` when nothing has.
    pub(super) fn change(&mut self, bytes_max: usize) -> Option<Change> {
        let Self { judges, parts, .. } = self;
        let mut changed = self.unreadable > 0 || self.version.is_none();
        judges.each_state(&mut |name, state| {
            state.changed(&mut |key, value| {
                let key = format!("{name}/{key}");
                changed |= match value {
                    Some(value) => {
                        let packed = value::pack(&value);
                        let before = parts.insert(key, packed.clone());
                        before.is_none_or(|before| before != packed)
                    }
                    None => parts.remove(&key).is_some(),
                };
            });
        });
        let due = judges.detectors.iter().filter_map(|detector| detector.due()).min();
        changed |= due != std::mem::replace(&mut self.due, due);
        if !changed {
            return None;
        }
        let before = self.parts.len();
        // Bounds of detectors and stages keep it far below this; a store that refuses it would stop everything.
        while value::len(&self.parts) > bytes_max {
            let parts = self.parts.iter().filter(|(key, _)| *key != IDENTITY);
            let largest = parts.max_by_key(|(_, part)| part.len()).map(|(key, _)| key.clone());
            let Some(largest) = largest else { break };
            self.parts.remove(&largest);
        }
        let forgotten = (before - self.parts.len()) as u64;
        Some(Change { value: value::write(self.due, &self.parts), forgotten })
    }

    fn identity(&self) -> Result<AgentIdentity> {
        let fail = |why: String| Error::new(ErrorKind::Corrupt, "the state of an agent", why);
        let part = self.parts.get(IDENTITY).ok_or_else(|| fail("it says not whose".to_owned()))?;
        let part = value::unpack(part)?;
        serde_json::from_slice(&part).map_err(|error| fail(error.to_string()))
    }
}

fn identity_to_json(identity: &AgentIdentity) -> Result<Vec<u8>> {
    serde_json::to_vec(identity)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the identity of an agent", error))
}
