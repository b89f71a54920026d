//! Which of an agent's sequence numbers have come, and which are missing.

use std::time::Duration;

use lavender_core::Timestamp;
use lavender_core::event::{Event, EventData, LossStage};
use serde::{Deserialize, Serialize};

/// The most gaps of one boot that are waited for; the oldest of more count as lost at once.
const MISSING_MAX: usize = 256;

/// What is known of one boot of one agent. Kept in the state store, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Continuity {
    /// The host's name, for what is reported.
    pub(super) host: String,
    /// The number that comes next; 0 when none has come.
    next: u64,
    /// Gaps that may still be filled, in the order of their numbers.
    missing: Vec<Missing>,
    /// Gaps that count as lost and are being reported. They do not change any more: a report that is published again
    /// must be the same.
    pub(super) settled: Vec<Settled>,
    /// How many the agent says that it has shed itself, not yet held against gaps.
    shed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Missing {
    first: u64,
    last: u64,
    /// Since when, in ns since the epoch.
    since: i64,
}

/// A gap that counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Settled {
    /// The first missing number.
    pub(super) first: u64,
    /// How many were lost on the way.
    pub(super) count: u64,
    /// When it was noticed, in ns since the epoch.
    pub(super) since: i64,
}

impl Continuity {
    /// Takes note of an event. Seen again, it changes nothing.
    pub(super) fn observe(&mut self, event: &Event, now: Timestamp) {
        let sequence = event.id.sequence();
        if self.next == 0 {
            self.next = sequence;
        }
        let new = if sequence >= self.next {
            if sequence > self.next {
                let (first, last) = (self.next, sequence - 1);
                self.missing.push(Missing { first, last, since: now.as_nanos() });
            }
            self.next = sequence + 1;
            true
        } else {
            self.fill(sequence)
        };
        if let EventData::Lost(loss) = &event.data
            && new
            && matches!(loss.stage, LossStage::Queue | LossStage::Spool)
        {
            self.shed = self.shed.saturating_add(loss.count);
        }
        while self.missing.len() > MISSING_MAX {
            let oldest = self.missing.remove(0);
            self.settle_one(oldest);
        }
    }

    /// Whether the number was missing, and is not any more.
    fn fill(&mut self, sequence: u64) -> bool {
        let holds = |gap: &Missing| gap.first <= sequence && sequence <= gap.last;
        let Some(at) = self.missing.iter().position(holds) else { return false };
        let gap = self.missing.remove(at);
        let behind = Missing { first: sequence + 1, ..gap };
        if behind.first <= behind.last {
            self.missing.insert(at, behind);
        }
        if gap.first < sequence {
            self.missing.insert(at, Missing { last: sequence - 1, ..gap });
        }
        true
    }

    fn settle_one(&mut self, gap: Missing) {
        let missing = gap.last - gap.first + 1;
        let shed = self.shed.min(missing);
        self.shed -= shed;
        if missing > shed {
            let (first, since) = (gap.first, gap.since);
            self.settled.push(Settled { first, count: missing - shed, since });
        }
    }

    /// Gives up waiting for gaps that have been open for `wait`.
    pub(super) fn settle(&mut self, now: Timestamp, wait: Duration) {
        let due = now.saturating_sub(wait).as_nanos();
        let (over, open): (Vec<_>, Vec<_>) =
            self.missing.drain(..).partition(|gap| gap.since <= due);
        self.missing = open;
        over.into_iter().for_each(|gap| self.settle_one(gap));
    }

    /// Whether there is anything to wait for or to report.
    pub(super) fn is_open(&self) -> bool {
        !self.missing.is_empty() || !self.settled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use lavender_core::conformance::sample::Sample;
    use lavender_core::event::EventKind;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn what_comes_late_or_again_is_not_missing() {
        let events = Sample::new("acme", "web-1", 1).busy(20);
        let mut known = Continuity::default();
        for index in [0, 1, 5, 6, 3, 3, 2, 4, 0, 7] {
            known.observe(&events[index], at(1));
        }
        assert!(!known.is_open(), "{known:?}");
        known.observe(&events[12], at(1));
        known.observe(&events[10], at(2));
        known.settle(at(10), WAIT);
        assert_eq!(known.settled, []);
        known.settle(at(11), WAIT);
        let lost: Vec<_> = known.settled.iter().map(|gap| (gap.first, gap.count)).collect();
        let first = events[8].id.sequence();
        assert_eq!(lost, [(first, 2), (first + 3, 1)]);
        // Too late: it is reported.
        let before = known.clone();
        known.observe(&events[8], at(12));
        assert_eq!(known, before);
    }

    #[test]
    fn what_the_agent_has_shed_is_not_lost_on_the_way() {
        let mut sample = Sample::new("acme", "web-1", 1);
        let events = sample.busy(20);
        let told = sample.lost(LossStage::Spool, EventKind::FileOpen, 10);
        let mut known = Continuity::default();
        known.observe(&events[0], at(1));
        known.observe(&events[13], at(1));
        known.observe(&told, at(2));
        known.observe(&told, at(2));
        events[14..].iter().for_each(|event| known.observe(event, at(2)));
        known.settle(at(12), WAIT);
        let lost: Vec<_> = known.settled.iter().map(|gap| gap.count).collect();
        assert_eq!(lost, [2]);
    }

    #[test]
    fn gaps_are_bounded() {
        let mut sample = Sample::new("acme", "web-1", 1);
        let mut known = Continuity::default();
        for event in sample.busy(2_000).iter().step_by(2) {
            known.observe(event, at(1));
        }
        assert_eq!(known.missing.len(), MISSING_MAX);
        assert_eq!(known.settled.len(), 999 - MISSING_MAX);
    }
}
