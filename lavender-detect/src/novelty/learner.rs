//! What one rule has learned.

use std::sync::Arc;

use super::cells::{Cells, Tick};
use super::clause::NoveltyClause;
use super::encode::Header;
use super::values::{PartSet, Values};

/// What one rule has learned, since when, and what it had to forget.
#[derive(Debug)]
pub(crate) struct Learner {
    pub(crate) id: Arc<str>,
    pub(crate) content: [u64; 2],
    pub(crate) cells: Cells,
    pub(crate) baseline: Tick,
    /// When it was first in use.
    pub(crate) since: Option<Tick>,
    pub(crate) values: Values,
    /// How many values that still counted had no room, and when that was last.
    pub(crate) forgotten: u64,
    pub(crate) forgot_at: Tick,
    /// The parts that are saved somewhere.
    pub(crate) saved: PartSet,
}

/// How a sighting came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Known,
    Learned,
    New,
}

impl Learner {
    pub(crate) fn new(id: &Arc<str>, clause: &NoveltyClause, lateness: Tick) -> Self {
        Self {
            id: Arc::clone(id),
            content: clause.content(),
            cells: clause.cells(lateness),
            baseline: clause.baseline_ticks(),
            since: None,
            values: Values::new(0),
            forgotten: 0,
            forgot_at: 0,
            saved: PartSet::default(),
        }
    }

    /// Whether this one's state is that of the rule.
    pub(crate) fn is_of(&self, id: &str, clause: &NoveltyClause) -> bool {
        *self.id == *id && self.content == clause.content()
    }

    /// Says that the rule was in use at this time.
    pub(crate) fn start(&mut self, time: Tick) {
        if self.since.is_none_or(|since| time < since) {
            self.since = Some(time);
            self.values.changed.insert(0);
        }
    }

    pub(crate) fn see(&mut self, digest: u64, time: Tick) -> Sight {
        let outcome = self.values.see(digest, time, self.cells);
        self.forget(outcome.forgotten, time);
        let learning = self.since.is_none_or(|since| time < since.saturating_add(self.baseline));
        match outcome.known {
            true => Sight::Known,
            false if learning && self.baseline > 0 => Sight::Learned,
            false => Sight::New,
        }
    }

    /// Whether what is learned at this time would be new, had the rule been in use before what is known of it.
    pub(crate) fn may_be_new(&self, time: Tick) -> bool {
        let over = |since: Tick| since.saturating_add(self.baseline);
        self.since.is_some_and(|since| time >= over(since.saturating_sub(self.cells.lateness())))
    }

    /// Whether nothing comes any more that could have been the first for the rule, at this time.
    pub(crate) fn began_before(&self, time: Tick) -> bool {
        self.since.is_none_or(|since| since.saturating_add(self.cells.lateness()) < time)
    }

    pub(crate) fn forget(&mut self, forgotten: u64, time: Tick) {
        if forgotten > 0 {
            self.forgotten = self.forgotten.saturating_add(forgotten);
            self.forgot_at = self.forgot_at.max(time);
        }
    }

    /// From when on it would know what it was seen, had it been told of it.
    pub(crate) fn horizon(&self, time: Tick) -> Tick {
        let since = self.since.unwrap_or_default();
        self.cells.horizon(time).map_or(since, |horizon| horizon.max(since))
    }

    pub(crate) fn header(&self, key: [u64; 2]) -> Header {
        let Self { content, since, forgotten, forgot_at, .. } = *self;
        Header { content, key, since, forgotten, forgot_at }
    }

    /// Takes back what a part says beside its values.
    pub(crate) fn restore(&mut self, header: &Header) {
        self.since = [self.since, header.since].into_iter().flatten().min();
        self.forgotten = self.forgotten.max(header.forgotten);
        self.forgot_at = self.forgot_at.max(header.forgot_at);
    }
}
