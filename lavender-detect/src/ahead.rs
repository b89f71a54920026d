//! What rules hit in events that are looked at a second time.

use std::sync::Arc;

use lavender_core::event::Event;

use crate::event::AuditView;
use crate::truth::Truth;

/// A rule that an event hit, and as which record: as itself, or as one of audit's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) rule: u32,
    pub(crate) truth: Truth,
    pub(crate) view: Option<AuditView>,
}

/// How many events are known at the most.
const EVENTS_MAX: usize = 8_192;

/// Events that were evaluated and are to be looked at again, with what they hit, in order.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Each event, and where its hits end: they begin where those of the one before it end. Held, so that no other event
    /// comes to lie where it does.
    events: Vec<(Arc<Event>, usize)>,
    hits: Vec<Hit>,
    /// Where the next one is expected: events come again in the order in which they came.
    next: usize,
}

impl Ahead {
    /// Takes in an event and what it hit.
    pub(crate) fn keep(&mut self, event: &Arc<Event>, hits: impl Iterator<Item = Hit>) {
        if self.events.len() == EVENTS_MAX {
            self.clear();
        }
        self.hits.extend(hits);
        self.events.push((Arc::clone(event), self.hits.len()));
    }

    /// What an event hit, by itself and not by its id; `None` for one that is not known.
    pub(crate) fn recall(&mut self, event: &Arc<Event>) -> Option<&[Hit]> {
        let count = self.events.len();
        let mut places = (self.next..count).chain(0..self.next.min(count));
        let at = places.find(|at| Arc::ptr_eq(&self.events[*at].0, event))?;
        self.next = at + 1;
        let from = at.checked_sub(1).map_or(0, |before| self.events[before].1);
        Some(&self.hits[from..self.events[at].1])
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.hits.clear();
        self.next = 0;
    }
}
