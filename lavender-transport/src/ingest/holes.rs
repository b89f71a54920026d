//! Runs of numbers that are missing: in order, apart from each other, each with since when.

use serde::{Deserialize, Serialize};

/// Numbers from `0` to `1`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run(pub(super) u64, pub(super) u64);

/// Numbers that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hole {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Since when, in ms since the epoch.
    pub(super) since_ms: i64,
}

impl Hole {
    pub(super) const fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Holes(Vec<Hole>);

impl Holes {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn lowest(&self) -> Option<u64> {
        self.0.first().map(|hole| hole.first)
    }

    /// Since when the oldest is there.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.0.iter().map(|hole| hole.since_ms).min()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|hole| hole.last < number);
        self.0.get(at).is_some_and(|hole| hole.first <= number)
    }

    /// Adds numbers that are in none. Next to others they are theirs, and as old as they are.
    pub(super) fn add(&mut self, run: Run, since_ms: i64) {
        let at = self.0.partition_point(|hole| hole.last < run.0);
        if let Some(before) = at.checked_sub(1).and_then(|at| self.0.get_mut(at))
            && before.last + 1 == run.0
        {
            before.last = run.1;
            return;
        }
        match self.0.get_mut(at) {
            Some(after) if run.1 + 1 == after.first => after.first = run.0,
            _ => self.0.insert(at, Hole { first: run.0, last: run.1, since_ms }),
        }
    }

    /// Takes numbers out, as far as they are in any. What is left of those that they were in is as old as
    /// `left_since_ms`, where that is said.
    pub(super) fn take(&mut self, run: Run, left_since_ms: Option<i64>) -> Vec<Run> {
        let from = self.0.partition_point(|hole| hole.last < run.0);
        let to = self.0.partition_point(|hole| hole.first <= run.1);
        if from >= to {
            return Vec::new();
        }
        let left = |hole: &Hole, first, last| {
            let since_ms = left_since_ms.unwrap_or(hole.since_ms);
            (first <= last).then_some(Hole { first, last, since_ms })
        };
        let (lowest, highest) = (self.0[from], self.0[to - 1]);
        let below = left(&lowest, lowest.first, run.0.wrapping_sub(1)).filter(|_| run.0 > 0);
        let above = left(&highest, run.1 + 1, highest.last);
        let cut = |hole: Hole| Run(hole.first.max(run.0), hole.last.min(run.1));
        self.0.splice(from..to, below.into_iter().chain(above)).map(cut).collect()
    }

    /// Takes out the one that is this, and no more than this.
    pub(super) fn take_exactly(&mut self, run: Run) {
        self.0.retain(|hole| (hole.first, hole.last) != (run.0, run.1));
    }

    /// Takes out those that are as old as this.
    pub(super) fn take_due(&mut self, until_ms: i64) -> Vec<Hole> {
        self.0.extract_if(.., |hole| hole.since_ms <= until_ms).collect()
    }

    /// Takes out the lowest that are too many.
    pub(super) fn take_excess(&mut self, most: usize) -> Vec<Hole> {
        self.0.drain(..self.0.len().saturating_sub(most)).collect()
    }
}
