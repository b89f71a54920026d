//! Which numbers of a sequence have come, and which never will.

use std::time::Duration;

use lavender_core::{EventId, Timestamp};
use serde::{Deserialize, Serialize};

use super::holes::{Hole, Holes, Run};

/// The most holes of a sequence that are watched.
const HOLES_MAX: usize = 64;

/// The most runs of losses above the highest number that are remembered.
const AHEAD_MAX: usize = 64;

/// The most losses told by the agent that are remembered apart from each other.
const GIVEN_UP_MAX: usize = 64;

/// The sequence numbers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    runs: Vec<Run>,
    /// Which of them tell of losses, and how many numbers those take.
    given_up: Vec<(u64, u64)>,
    /// Whether they all do.
    only_losses: bool,
    /// The number with which the agent said that it starts.
    start: Option<u64>,
}

impl Seen {
    /// Of a message's events: the number of each and, if it tells of a loss, how many numbers the agent gave up.
    pub fn new(mut events: Vec<(u64, Option<u64>)>) -> Self {
        events.retain(|(number, _)| *number <= EventId::MAX_RUN_SEQUENCE);
        events.sort_unstable();
        events.dedup_by_key(|(number, _)| *number);
        let mut seen = Self { only_losses: !events.is_empty(), ..Self::default() };
        for (number, given_up) in events {
            match seen.runs.last_mut() {
                Some(run) if run.1 + 1 == number => run.1 = number,
                _ => seen.runs.push(Run(number, number)),
            }
            match given_up {
                None => seen.only_losses = false,
                Some(0) => {}
                Some(count) => seen.given_up.push((number, count)),
            }
        }
        seen
    }

    /// With the number of the event by which the agent says that it starts.
    #[must_use]
    pub const fn with_start(mut self, number: u64) -> Self {
        self.start = Some(number);
        self
    }
}

/// So many numbers that the agent gave up, all of them below one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct GivenUp {
    below: u64,
    count: u64,
}

/// Numbers that did not come, and of which the agent does not say that it gave them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first that is missing.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What has come of a sequence, and what may still come.
///
/// An agent numbers its events from 1 in each boot. What is missing below the highest number that came is a hole;
/// holes close when what was late comes after all, and what is still missing after a wait is a [`Gap`].
///
/// - What the agent gave up itself, and says so, leaves holes too: they are taken off, so that a loss is told once.
/// - Word of losses may be sent long before what has lower numbers: a spool puts it where it gave up. So a message
///   that holds nothing else opens no hole.
/// - What lies below the first start of an agent that was heard of, and of which nothing has come, was of a run that
///   did not send here.
/// - Captures and replays have numbers [above those of runs](EventId::MAX_RUN_SEQUENCE), which begin anywhere: of
///   those nothing can be said to be missing but what was refused.
/// - All of it is bounded; where there are too many holes, the lowest are gaps before their time.
///
/// ```
/// use std::time::Duration;
/// use lavender_core::Timestamp;
/// use lavender_transport::ingest::{Continuity, Gap, Seen};
///
/// let mut continuity = Continuity::default();
/// let numbers = |range: std::ops::RangeInclusive<u64>| Seen::new(range.map(|n| (n, None)).collect());
/// let (start, wait) = (Timestamp::from_millis(1_000), Duration::from_secs(120));
/// continuity.see(&numbers(1..=10), start);
/// continuity.see(&numbers(21..=30), start);
/// // 11 to 18 come late, 19 and 20 never.
/// continuity.see(&numbers(11..=18), start);
/// assert_eq!(continuity.settle(start, wait), []);
/// assert_eq!(continuity.settle(start.saturating_add(wait), wait), [Gap { first: 19, count: 2 }]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuity {
    /// The highest number up to which all have come or are in a hole.
    highest: u64,
    /// Those that may still come.
    #[serde(default, skip_serializing_if = "Holes::is_empty")]
    holes: Holes,
    /// Those that were there, and will not come.
    #[serde(default, skip_serializing_if = "Holes::is_empty")]
    refused: Holes,
    /// Losses above the highest number; in order, apart from each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<Run>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<GivenUp>,
}

impl Continuity {
    /// Takes what came. Taking it again changes nothing. What is returned is a gap before its time, where there
    /// are too many.
    pub fn see(&mut self, seen: &Seen, now: Timestamp) -> Option<Gap> {
        for (number, count) in &seen.given_up {
            if self.is_missing(*number) {
                self.given_up.push(GivenUp { below: *number, count: *count });
                if self.given_up.len() > 2 * GIVEN_UP_MAX {
                    self.bound_given_up();
                }
            }
        }
        let mut early = None;
        for run in &seen.runs {
            // What is left of a hole waits anew: the sequence still goes through it.
            self.holes.take(*run, Some(now.as_millis()));
            self.refused.take(*run, None);
            if run.1 <= self.highest {
            } else if seen.only_losses && self.ahead.len() < AHEAD_MAX {
                self.note_ahead(Run(run.0.max(self.highest + 1), run.1));
            } else {
                self.go_on(run.0, run.1, now);
            }
            self.bound_holes(&mut early);
        }
        if let Some(before) = seen.start.and_then(|start| start.checked_sub(1)) {
            self.holes.take_exactly(Run(1, before));
        }
        self.bound_given_up();
        early
    }

    /// Takes it that numbers from `first` to `last` were there, and were not let pass. Those of them that have passed
    /// at another time are not missing.
    pub fn refuse(&mut self, first: u64, last: u64, now: Timestamp) -> Option<Gap> {
        let last = last.min(EventId::MAX_SEQUENCE);
        if first > last {
            return None;
        }
        if last > EventId::MAX_RUN_SEQUENCE {
            return Some(Gap { first, count: last - first + 1 });
        }
        let mut refused = self.holes.take(Run(first, last), None);
        if last > self.highest {
            let mut from = first.max(self.highest + 1);
            for run in self.ahead.iter().take_while(|run| run.0 <= last) {
                if from < run.0 {
                    refused.push(Run(from, run.0 - 1));
                }
                from = from.max(run.1 + 1);
            }
            if from <= last {
                refused.push(Run(from, last));
            }
            self.go_on(first, last, now);
        }
        for run in refused {
            self.refused.add(run, now.as_millis());
        }
        let mut early = None;
        self.bound_holes(&mut early);
        early
    }

    /// Gives up the holes that have waited for so long; what is left of them when that is taken off which the agent
    /// tells of is missing.
    pub fn settle(&mut self, now: Timestamp, wait: Duration) -> Vec<Gap> {
        let until_ms = now.saturating_sub(wait).as_millis();
        let mut due = self.holes.take_due(until_ms);
        due.extend(self.refused.take_due(until_ms));
        due.sort_unstable_by_key(|hole| hole.first);
        let mut gaps = Vec::new();
        for hole in due {
            let count = self.unexplained(hole);
            if count > 0 {
                gaps.push(Gap { first: hole.first, count });
            }
        }
        self.bound_given_up();
        gaps
    }

    /// When the first hole has waited for so long; `None` when there is none.
    pub fn due(&self, wait: Duration) -> Option<Timestamp> {
        let oldest = [self.holes.oldest_ms(), self.refused.oldest_ms()];
        let since = oldest.into_iter().flatten().min()?;
        Some(Timestamp::from_millis(since).saturating_add(wait))
    }

    /// Whether a number has not come.
    fn is_missing(&self, number: u64) -> bool {
        if number > self.highest {
            let at = self.ahead.partition_point(|run| run.1 < number);
            return self.ahead.get(at).is_none_or(|run| run.0 > number);
        }
        self.holes.contains(number) || self.refused.contains(number)
    }

    /// The highest number is now `last`, and what is missing below `first` is holes.
    fn go_on(&mut self, first: u64, last: u64, now: Timestamp) {
        let since_ms = now.as_millis();
        let mut from = self.highest + 1;
        for run in &self.ahead {
            if run.0 >= first {
                break;
            }
            if from < run.0 {
                self.holes.add(Run(from, run.0 - 1), since_ms);
            }
            from = from.max(run.1 + 1);
        }
        if from < first {
            self.holes.add(Run(from, first - 1), since_ms);
        }
        self.highest = last.max(self.highest);
        self.ahead.retain(|run| run.1 > self.highest);
        if let Some(run) = self.ahead.first_mut() {
            run.0 = run.0.max(self.highest + 1);
        }
    }

    /// Remembers a run above the highest number.
    fn note_ahead(&mut self, run: Run) {
        let from = self.ahead.partition_point(|other| other.1 + 1 < run.0);
        let to = self.ahead.partition_point(|other| other.0 <= run.1 + 1);
        let joined =
            match (self.ahead.get(from), to.checked_sub(1).and_then(|at| self.ahead.get(at))) {
                (Some(first), Some(last)) if from < to => {
                    Run(first.0.min(run.0), last.1.max(run.1))
                }
                _ => run,
            };
        self.ahead.splice(from..to.max(from), [joined]);
    }

    fn bound_holes(&mut self, early: &mut Option<Gap>) {
        let mut excess = self.holes.take_excess(HOLES_MAX);
        excess.extend(self.refused.take_excess(HOLES_MAX));
        for hole in excess {
            let count = self.unexplained(hole);
            if count > 0 {
                early.get_or_insert(Gap { first: hole.first, count: 0 }).count += count;
            }
        }
    }

    /// How many numbers of a hole the agent does not tell of; what it tells of is used up.
    fn unexplained(&mut self, hole: Hole) -> u64 {
        let mut count = hole.len();
        for told in self.given_up.iter_mut().filter(|told| told.below > hole.first) {
            let used = told.count.min(count);
            (told.count, count) = (told.count - used, count - used);
        }
        count
    }

    /// Forgets what the agent told of that is used up, or has no hole below it and gets none.
    fn bound_given_up(&mut self) {
        let lowest = [self.holes.lowest(), self.refused.lowest()].into_iter().flatten().min();
        let highest = self.highest;
        self.given_up.retain(|told| {
            let needed = told.below > highest || lowest.is_some_and(|first| first < told.below);
            told.count > 0 && needed
        });
        let excess = self.given_up.len().saturating_sub(GIVEN_UP_MAX);
        if excess > 0 {
            let many: Vec<GivenUp> = self.given_up.drain(..=excess).collect();
            let below = many.iter().map(|told| told.below).max().unwrap_or(0);
            let count = many.iter().fold(0_u64, |sum, told| sum.saturating_add(told.count));
            self.given_up.insert(0, GivenUp { below, count });
        }
    }
}
