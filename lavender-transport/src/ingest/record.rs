//! What all workers together know of an agent's sequences.

use std::time::Duration;

use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
use lavender_core::transport::{Message, Payload, Topic};
use lavender_core::{AgentId, AgentIdentity, BootTime, Origin, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::continuity::{Continuity, Gap, Seen};

/// The most boots of an agent that are watched. An agent that invents boots loses only its own.
const BOOTS_MAX: usize = 8;

/// One agent, as a key of the state store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AgentRecord {
    /// The host's name, as it was last said.
    host: String,
    /// The boot that was last heard of is the last.
    boots: Vec<Boot>,
    /// Gaps that are decided and perhaps not published yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps: Vec<DecidedGap>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    #[serde(with = "origin_text")]
    origin: Origin,
    #[serde(flatten)]
    continuity: Continuity,
}

/// A gap as it is published, whoever does and however often: decided once, so that what comes late does not
/// change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DecidedGap {
    #[serde(with = "origin_text")]
    origin: Origin,
    #[serde(flatten)]
    gap: Gap,
    decided_at: Timestamp,
}

impl DecidedGap {
    /// How many numbers are missing.
    pub(super) const fn count(&self) -> u64 {
        self.gap.count
    }

    /// When it was decided.
    pub(super) const fn decided_at(&self) -> Timestamp {
        self.decided_at
    }

    /// As telemetry: the same whoever makes it, and by its id known when it comes again.
    pub(super) fn message(&self, source: AgentIdentity) -> Message {
        let event = Event {
            id: self.origin.of_gaps().event(self.gap.first),
            observed_at: self.decided_at,
            boot_time: BootTime::default(),
            tid: 0,
            process: None,
            data: EventData::Lost(Loss::new(
                LossStage::Transport,
                EventKind::Unknown,
                self.gap.count,
            )),
        };
        let payload = Payload::Events(vec![event.into()]);
        Message { source, topic: Topic::TelemetryAccepted, payload }
    }
}

/// What a worker has to write down about an agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    /// Which boot.
    pub(super) origin: Origin,
    /// What came of it.
    pub(super) what: Noted,
}

/// See [`Note`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Noted {
    /// These numbers were passed on.
    Seen(Seen),
    /// Numbers from one to another were not let pass.
    Refused(u64, u64),
}

impl AgentRecord {
    pub(super) const fn new(host: String) -> Self {
        Self { host, boots: Vec::new(), gaps: Vec::new() }
    }

    /// Writes down what came. Doing it again changes nothing.
    pub(super) fn note(&mut self, host: Option<&str>, notes: &[Note], now: Timestamp) {
        if let Some(host) = host.filter(|host| *host != self.host) {
            self.host = host.to_owned();
        }
        for note in notes {
            let continuity = self.boot(note.origin, now);
            let early = match &note.what {
                Noted::Seen(seen) => continuity.see(seen, now),
                Noted::Refused(first, last) => continuity.refuse(*first, *last, now),
            };
            self.decide(note.origin, early, now);
        }
    }

    /// Decides what has waited for so long.
    pub(super) fn settle(&mut self, now: Timestamp, wait: Duration) {
        let mut boots = std::mem::take(&mut self.boots);
        for boot in &mut boots {
            let gaps = boot.continuity.settle(now, wait);
            self.decide(boot.origin, gaps, now);
        }
        self.boots = boots;
    }

    /// When there is something to do for it: at once where a gap is not published.
    pub(super) fn due(&self, wait: Duration) -> Option<Timestamp> {
        if !self.gaps.is_empty() {
            return Some(Timestamp::default());
        }
        self.boots.iter().filter_map(|boot| boot.continuity.due(wait)).min()
    }

    pub(super) fn identity(&self, tenant: &TenantId, agent: &AgentId) -> AgentIdentity {
        let (tenant, agent) = (tenant.clone(), agent.clone());
        AgentIdentity { tenant, agent, host: self.host.as_str().into() }
    }

    fn decide(&mut self, origin: Origin, gaps: impl IntoIterator<Item = Gap>, now: Timestamp) {
        let decided = |gap| DecidedGap { origin, gap, decided_at: now };
        self.gaps.extend(gaps.into_iter().map(decided));
    }

    /// The boot, now the last; the one that was not heard of for longest makes room.
    fn boot(&mut self, origin: Origin, now: Timestamp) -> &mut Continuity {
        let at = self.boots.iter().position(|boot| boot.origin == origin);
        let boot = match at {
            Some(at) => self.boots.remove(at),
            None => {
                if self.boots.len() >= BOOTS_MAX {
                    let mut oldest = self.boots.remove(0);
                    let gaps = oldest.continuity.settle(now, Duration::ZERO);
                    self.decide(oldest.origin, gaps, now);
                }
                Boot { origin, continuity: Continuity::default() }
            }
        };
        let last = self.boots.len();
        self.boots.push(boot);
        &mut self.boots[last].continuity
    }
}

/// An origin as its text.
mod origin_text {
    use lavender_core::Origin;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        origin: &Origin,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(origin)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Origin, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
