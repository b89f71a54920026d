//! What was raised of late, and by which event.

use std::collections::VecDeque;

use lavender_core::EventId;

use super::cells::Tick;

/// How many are remembered. What is raised again beyond that has the same id as before.
const RECENT: usize = 256;

/// The new values that were raised last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    raised: VecDeque<Raised>,
}

#[derive(Clone, Copy, Debug)]
struct Raised {
    learner: u32,
    digest: u64,
    /// The beginning of the cell in which it was.
    cell: Tick,
    event: EventId,
}

impl Recent {
    /// Whether this event is the one that raises the value: nothing did yet, or it was this very event.
    pub(crate) fn raises(&mut self, learner: u32, digest: u64, cell: Tick, event: EventId) -> bool {
        let is_it = |raised: &&Raised| {
            raised.digest == digest && raised.learner == learner && raised.cell == cell
        };
        if let Some(raised) = self.raised.iter().rev().find(is_it) {
            return raised.event == event;
        }
        if self.raised.len() == RECENT {
            self.raised.pop_front();
        }
        self.raised.push_back(Raised { learner, digest, cell, event });
        true
    }

    pub(crate) fn clear(&mut self) {
        self.raised.clear();
    }
}
