//! The state of one process tree.

use super::folded::{Folded, Item};
use super::options::{RiskOptions, nanos};

/// What scores are made by, in the units of event times.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) half_life: i64,
    pub(super) episode: i64,
    pub(super) lateness: i64,
    pub(super) sequence_points: u32,
    pub(super) rules_min: usize,
    /// The scores, the lowest first.
    pub(super) thresholds: Vec<u32>,
}

impl Terms {
    pub(super) fn new(options: &RiskOptions) -> Self {
        let mut thresholds: Vec<u32> = options.thresholds.iter().map(|t| t.score).collect();
        thresholds.sort_unstable();
        Self {
            half_life: nanos(options.half_life),
            episode: nanos(options.episode),
            lateness: nanos(options.lateness),
            sequence_points: options.sequence_points,
            rules_min: options.rules_min,
            thresholds,
        }
    }
}

/// A threshold that was reached: with the match at `time`, in the episode that begins at `anchor`.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) threshold: u32,
    pub(super) anchor: i64,
    pub(super) time: i64,
    /// What the score was made of then.
    pub(super) folded: Folded,
}

/// What became of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Counted,
    /// It had been taken before.
    Again,
    /// It came later than allowed.
    Late,
    /// It counts, and something else had to be forgotten for it.
    Overflowed,
}

/// The most matches that are kept apart because earlier ones may still come.
const RECENT_MAX: usize = 128;

/// What has gathered in a tree. Pure: what comes out depends on what was taken and on nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Before this, nothing is taken any more.
    pub(super) floor: Option<i64>,
    /// All matches before the floor.
    pub(super) base: Folded,
    /// The matches since, in order.
    pub(super) recent: Vec<Item>,
    /// All of both.
    pub(super) now: Folded,
    /// The thresholds that were reached in episodes which matches may still fall into, with the episode's begin.
    pub(super) reached: Vec<(u32, i64)>,
    /// Whether it has changed since it was saved, and whether it ever was.
    pub(super) unsaved: bool,
    pub(super) saved: bool,
}

impl Tree {
    /// The time of its newest match.
    pub(super) fn newest(&self) -> i64 {
        let recent = self.recent.last().map(|item| item.time);
        recent.or(self.floor).unwrap_or(i64::MIN)
    }

    /// Takes a match.
    pub(super) fn take(&mut self, item: Item, terms: &Terms, out: &mut Vec<Reached>) -> Taken {
        let at = match self.recent.binary_search_by(|other| other.order().cmp(&item.order())) {
            Ok(_) => return Taken::Again,
            Err(at) => at,
        };
        if self.floor.is_some_and(|floor| item.time < floor) {
            return Taken::Late;
        }
        self.unsaved = true;
        let mut whole = true;
        if at == self.recent.len() {
            whole &= self.now.take(&item, terms.half_life);
            self.recent.push(item);
            Self::look(&self.now, &self.recent[at], terms, &mut self.reached, out);
        } else {
            self.recent.insert(at, item);
            self.now = self.base.clone();
            for (place, item) in self.recent.iter().enumerate() {
                whole &= self.now.take(item, terms.half_life);
                if place >= at {
                    Self::look(&self.now, item, terms, &mut self.reached, out);
                }
            }
        }
        whole &= self.settle(terms);
        if whole { Taken::Counted } else { Taken::Overflowed }
    }

    /// Whether the score has reached anything with this match.
    fn look(
        now: &Folded,
        item: &Item,
        terms: &Terms,
        reached: &mut Vec<(u32, i64)>,
        out: &mut Vec<Reached>,
    ) {
        let (score, rules) = now.score_at(item.time, terms.sequence_points, terms.half_life);
        if rules < terms.rules_min {
            return;
        }
        let anchor = item.time.div_euclid(terms.episode).saturating_mul(terms.episode);
        for threshold in terms.thresholds.iter().take_while(|threshold| score >= **threshold) {
            if !reached.contains(&(*threshold, anchor)) {
                reached.push((*threshold, anchor));
                let (time, folded) = (item.time, now.clone());
                out.push(Reached { threshold: *threshold, anchor, time, folded });
            }
        }
    }

    /// Puts together what nothing can come before any more. `false` when that was before its time.
    fn settle(&mut self, terms: &Terms) -> bool {
        let floor = self.newest().saturating_sub(terms.lateness);
        let mut over = self.recent.partition_point(|item| item.time < floor);
        let mut floor = self.floor.map_or(floor, |old| old.max(floor));
        let too_many = self.recent.len() - over > RECENT_MAX;
        if too_many {
            over = self.recent.len() - RECENT_MAX;
            // What happened at the same moment stays open, so that order makes no difference.
            floor = self.recent[over].time;
        }
        for item in self.recent.drain(..over) {
            self.base.take(&item, terms.half_life);
        }
        self.floor = Some(floor);
        self.reached.retain(|(_, anchor)| anchor.saturating_add(terms.episode) > floor);
        !too_many
    }

    /// Whether it makes no difference to anything that comes from this moment on.
    pub(super) fn is_over(&self, time: i64, terms: &Terms) -> bool {
        self.newest() < time
            && self.now.is_over(time, terms.half_life)
            && self.reached.iter().all(|(_, anchor)| anchor.saturating_add(terms.episode) <= time)
    }

    /// By which it is forgotten when there is no room: what would be least at any one moment is least here.
    pub(super) fn rank(&self, terms: &Terms) -> i64 {
        let newest = self.newest();
        let (score, _) = self.now.score_at(newest, terms.sequence_points, terms.half_life);
        let half_lives = newest as f64 / terms.half_life as f64;
        ((f64::from(score).max(0.001).log2() + half_lives) * 1e6) as i64
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.base.heap_bytes()
            + self.now.heap_bytes()
            + self.recent.capacity() * size_of::<Item>()
            + self.reached.capacity() * size_of::<(u32, i64)>()
    }
}
