//! Which numbers of a sequence have come, and which never will.
//!
//! An agent numbers its events from 1 in each boot. What is missing below the highest number that came is a hole;
//! holes close when what was late comes after all, and what is still missing after a wait is a [`Gap`].
//!
//! - What the agent gave up itself, and says so, leaves holes too: they are taken off, so that a loss is told
//!   once.
//! - Word of losses may be sent long before what has lower numbers: a spool puts it where it gave up. So a message
//!   that holds nothing else opens no hole.
//! - All of it is bounded; where there are too many holes, the lowest are gaps before their time.

use std::time::Duration;

use lavender_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The most holes of a sequence that are watched.
const HOLES_MAX: usize = 64;

/// The most runs of losses above the highest number that are remembered.
const AHEAD_MAX: usize = 64;

/// The most losses told by the agent that are remembered apart from each other.
const GIVEN_UP_MAX: usize = 64;

/// Numbers from `0` to `1`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run(u64, u64);

/// The sequence numbers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    runs: Vec<Run>,
    /// Which of them tell of losses, and how many numbers those take.
    given_up: Vec<(u64, u64)>,
    /// Whether they all do.
    only_losses: bool,
}

impl Seen {
    /// Of a message's events: the number of each and, if it tells of a loss, how many numbers the agent gave up.
    pub fn new(mut events: Vec<(u64, Option<u64>)>) -> Self {
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
}

/// Numbers that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hole {
    first: u64,
    last: u64,
    /// Since when it is waited for, in ms since the epoch.
    since_ms: i64,
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

/// What has come of a sequence. See the [module](super).
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
    /// In order, apart from each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    holes: Vec<Hole>,
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
            self.fill(*run, now);
            if run.1 <= self.highest {
            } else if seen.only_losses && self.ahead.len() < AHEAD_MAX {
                self.note_ahead(Run(run.0.max(self.highest + 1), run.1));
            } else {
                self.go_on(run.0, run.1, now);
            }
            self.bound_holes(&mut early);
        }
        self.bound_given_up();
        early.filter(|gap| gap.count > 0)
    }

    /// Takes it that numbers up to one were there and will not come.
    pub fn miss(&mut self, last: u64, now: Timestamp) -> Option<Gap> {
        if last > self.highest {
            self.go_on(last + 1, last, now);
        }
        let mut early = None;
        self.bound_holes(&mut early);
        early.filter(|gap| gap.count > 0)
    }

    /// Gives up the holes that have waited for so long; what is left of them when that is taken off which the agent
    /// tells of is missing.
    pub fn settle(&mut self, now: Timestamp, wait: Duration) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let until = now.saturating_sub(wait).as_millis();
        let (due, waiting): (Vec<Hole>, Vec<Hole>) =
            self.holes.drain(..).partition(|hole| hole.since_ms <= until);
        self.holes = waiting;
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
        let since = self.holes.iter().map(|hole| hole.since_ms).min()?;
        Some(Timestamp::from_millis(since).saturating_add(wait))
    }

    /// Whether a number has not come.
    fn is_missing(&self, number: u64) -> bool {
        if number > self.highest {
            let at = self.ahead.partition_point(|run| run.1 < number);
            return self.ahead.get(at).is_none_or(|run| run.0 > number);
        }
        let at = self.holes.partition_point(|hole| hole.last < number);
        self.holes.get(at).is_some_and(|hole| hole.first <= number)
    }

    /// Closes what of the holes has come. What is left of such a hole waits anew: the sequence still goes through it.
    fn fill(&mut self, run: Run, now: Timestamp) {
        let from = self.holes.partition_point(|hole| hole.last < run.0);
        let to = self.holes.partition_point(|hole| hole.first <= run.1);
        if from >= to {
            return;
        }
        let (lowest, highest) = (self.holes[from].first, self.holes[to - 1].last);
        let since_ms = now.as_millis();
        let below = (lowest < run.0).then(|| Hole { first: lowest, last: run.0 - 1, since_ms });
        let above = (highest > run.1).then(|| Hole { first: run.1 + 1, last: highest, since_ms });
        self.holes.splice(from..to, below.into_iter().chain(above));
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
                self.holes.push(Hole { first: from, last: run.0 - 1, since_ms });
            }
            from = from.max(run.1 + 1);
        }
        if from < first {
            self.holes.push(Hole { first: from, last: first - 1, since_ms });
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
        let excess = self.holes.len().saturating_sub(HOLES_MAX);
        for hole in self.holes.drain(..excess).collect::<Vec<_>>() {
            let count = self.unexplained(hole);
            if count > 0 {
                early.get_or_insert(Gap { first: hole.first, count: 0 }).count += count;
            }
        }
    }

    /// How many numbers of a hole the agent does not tell of; what it tells of is used up.
    fn unexplained(&mut self, hole: Hole) -> u64 {
        let mut count = hole.last - hole.first + 1;
        for told in self.given_up.iter_mut().filter(|told| told.below > hole.first) {
            let used = told.count.min(count);
            (told.count, count) = (told.count - used, count - used);
        }
        count
    }

    /// Forgets what the agent told of that is used up, or has no hole below it and gets none.
    fn bound_given_up(&mut self) {
        let lowest = self.holes.first().map(|hole| hole.first);
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
