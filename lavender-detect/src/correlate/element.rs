//! What state is made of: detections, reduced to what correlations ask of them.

use std::cmp::Reverse;

use lavender_core::EventId;

/// A detection inside the state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// When the event happened, in ns since the epoch.
    pub(crate) time: i64,
    /// The event.
    pub(crate) id: EventId,
    /// Which of the correlation's rules matched, where that matters; else 0.
    pub(crate) slot: u16,
    /// What is looked at: the digest of a value, the bits of a number, or the slot again.
    pub(crate) value: u64,
}

/// The order of elements: by time, then by event, and of one event the later rules first, so that an event is never
/// two steps of a sequence.
type Place = (i64, EventId, Reverse<u16>);

impl Element {
    pub(crate) const fn place(&self) -> Place {
        (self.time, self.id, Reverse(self.slot))
    }
}

/// What a correlation found in the state of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Firing {
    /// What the alert's id is made of, beside rule and group; see the module's documentation.
    pub(crate) anchor: i64,
    /// When what was found was complete.
    pub(crate) time: i64,
    /// The event that completed it.
    pub(crate) id: EventId,
    /// From when on its window reaches.
    pub(crate) from: i64,
    /// The events that it rests on, as far as state still has them; at most [`EVENTS`](Self::EVENTS).
    pub(crate) events: Vec<EventId>,
    /// The count, sum or other number that the condition held for.
    pub(crate) measured: Option<f64>,
    /// Whether an alert has this anchor already.
    pub(crate) repeated: bool,
}

impl Firing {
    /// The most events that an alert names.
    pub(crate) const EVENTS: usize = 64;

    /// The newest of these events.
    pub(crate) fn events(elements: impl DoubleEndedIterator<Item = Element>) -> Vec<EventId> {
        let mut events: Vec<EventId> =
            elements.rev().map(|element| element.id).take(Self::EVENTS).collect();
        events.reverse();
        events.dedup();
        events
    }
}

/// The cell of a time: cells are as long as the span, and begin at multiples of it.
pub(crate) const fn cell(time: i64, span: i64) -> i64 {
    time.div_euclid(span)
}
