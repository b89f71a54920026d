//! What rules hit in events that are looked at a second time.

use std::collections::HashMap;
use std::ops::Range;
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

/// How many events are known at the most: as many as a worker looks at together, and none of them takes room of its own
/// while they are looked at.
const EVENTS_MAX: usize = 65_536;

/// Events that were evaluated and are to be looked at again, with what they hit.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// By where each lies: it is held, so that no other comes to lie there.
    events: HashMap<usize, (Arc<Event>, Range<usize>)>,
    hits: Vec<Hit>,
}

impl Ahead {
    /// Takes in an event and what it hit.
    pub(crate) fn keep(&mut self, event: &Arc<Event>, hits: impl Iterator<Item = Hit>) {
        if self.events.len() == EVENTS_MAX {
            self.clear();
        }
        let from = self.hits.len();
        self.hits.extend(hits);
        let hits = from..self.hits.len();
        self.events.insert(Arc::as_ptr(event).addr(), (Arc::clone(event), hits));
    }

    /// What an event hit, by itself and not by its id; `None` for one that is not known.
    pub(crate) fn recall(&self, event: &Arc<Event>) -> Option<&[Hit]> {
        let (_, hits) = self.events.get(&Arc::as_ptr(event).addr())?;
        Some(&self.hits[hits.clone()])
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.hits.clear();
    }
}
