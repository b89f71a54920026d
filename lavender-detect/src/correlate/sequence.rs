//! Rules in their order, decided at once.
//!
//! Of a prefix of the sequence only the latest possible start matters: whatever continues an earlier one in time
//! continues this one too. Behind the watermark that is one number for each length, and the events that led to it.
//! Before it, where elements still come in between, every element is kept with the latest start of the prefixes that
//! end with it; one that comes in order is put behind them in constant time.

use lavender_core::EventId;

use super::element::{Element, Firing, cell};
use super::log::Log;
use super::resident::allocated;

/// No prefix.
pub(crate) const NONE: i64 = i64::MIN;

/// The state of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sequence {
    /// Prefixes that are final, by length less one.
    pub(crate) settled: Vec<Prefix>,
    /// Elements that are not, sorted. `value` is the latest start, as bits.
    pub(crate) log: Log,
    /// The latest start of each prefix, final or not.
    pub(crate) heads: Vec<i64>,
    pub(crate) fired: Vec<i64>,
}

/// The prefix of a sequence that starts the latest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prefix {
    /// When it starts; [`NONE`] where there is none.
    pub(crate) start: i64,
    /// Its events.
    pub(crate) events: Vec<EventId>,
}

/// The most elements of a group that are kept before the watermark.
pub(crate) const LOG_MAX: usize = 4_096;

impl Sequence {
    pub(crate) fn new(steps: u16) -> Self {
        let prefix = Prefix { start: NONE, events: Vec::new() };
        Self {
            settled: vec![prefix; usize::from(steps)],
            log: Log::default(),
            heads: vec![NONE; usize::from(steps)],
            fired: Vec::new(),
        }
    }

    /// Puts an element in. `false` when that was one too many, and the oldest became final before its time.
    pub(crate) fn insert(
        &mut self,
        (steps, span): (u16, i64),
        element: Element,
        fire: &mut impl FnMut(Firing),
    ) -> bool {
        let Some(at) = self.log.position(&element) else { return true };
        // A new element says nothing of its own start yet.
        self.log.insert(at, &Element { value: NONE as u64, ..element });
        if at + 1 == self.log.len() {
            let mut heads = std::mem::take(&mut self.heads);
            self.link(at, steps, span, &mut heads, fire);
            self.heads = heads;
        } else {
            let mut heads: Vec<i64> = self.settled.iter().map(|prefix| prefix.start).collect();
            for at in 0..self.log.len() {
                self.link(at, steps, span, &mut heads, fire);
            }
            self.heads = heads;
        }
        let fits = self.log.len() <= LOG_MAX;
        if !fits {
            self.settle_first(span);
        }
        fits
    }

    /// Finds the latest start of an element's prefix, given those before it.
    fn link(
        &mut self,
        at: usize,
        steps: u16,
        span: i64,
        heads: &mut [i64],
        fire: &mut impl FnMut(Firing),
    ) {
        let (time, slot, value) = (self.log.time(at), self.log.slot(at), self.log.value(at));
        let step = usize::from(slot);
        let start = match step.checked_sub(1) {
            None => time,
            Some(before) if heads[before] != NONE && time.saturating_sub(heads[before]) <= span => {
                heads[before]
            }
            Some(_) => NONE,
        };
        heads[step] = heads[step].max(start);
        self.log.set_value(at, start as u64);
        if slot + 1 < steps || start == NONE || value as i64 != NONE {
            return;
        }
        let anchor = cell(time, span);
        if self.fired.contains(&anchor) {
            return;
        }
        self.fired.push(anchor);
        fire(Firing {
            anchor: anchor.saturating_mul(span),
            time,
            id: self.log.get(at).id,
            from: start,
            events: self.events(at),
            measured: None,
            repeated: false,
        });
    }

    /// The events of the prefix that ends with an element.
    fn events(&self, at: usize) -> Vec<EventId> {
        let mut events = vec![self.log.get(at).id];
        let (mut slot, mut before) = (self.log.slot(at), at);
        while let Some(step) = slot.checked_sub(1) {
            // The one that starts the latest; of those, the last.
            let unsettled = (0..before).rev().filter(|at| self.log.slot(*at) == step);
            let best = unsettled.max_by_key(|at| (self.log.value(*at) as i64, *at));
            let settled = &self.settled[usize::from(step)];
            match best.filter(|at| self.log.value(*at) as i64 > settled.start) {
                Some(at) => events.push(self.log.get(at).id),
                None => {
                    events.extend(settled.events.iter().rev());
                    break;
                }
            }
            (slot, before) = (step, best.unwrap_or(0));
        }
        events.reverse();
        events.truncate(Firing::EVENTS);
        events
    }

    fn settle_first(&mut self, span: i64) {
        if self.log.is_empty() {
            return;
        }
        let Element { time, id, slot, value } = self.log.get(0);
        self.log.forget(1);
        let (start, step) = (value as i64, usize::from(slot));
        if start == NONE || start < self.settled[step].start {
            return;
        }
        let (before, rest) = self.settled.split_at_mut(step);
        rest[0].start = start;
        let events = &mut rest[0].events;
        events.clear();
        events.reserve_exact(step + 1);
        if let Some(before) =
            before.last().filter(|prefix| time.saturating_sub(prefix.start) <= span)
        {
            events.extend_from_slice(&before.events);
        }
        events.push(id);
    }

    /// Makes final what nothing can come before any more.
    pub(crate) fn settle(&mut self, watermark: i64, span: i64) {
        while self.log.first_time().is_some_and(|time| time < watermark) {
            self.settle_first(span);
        }
        self.fired.retain(|cell| (cell + 1).saturating_mul(span) > watermark);
    }

    /// What it takes on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let events = |prefix: &Prefix| allocated(prefix.events.capacity() * size_of::<EventId>());
        allocated(size_of::<Self>())
            + self.log.heap_bytes()
            + allocated(self.settled.capacity() * size_of::<Prefix>())
            + self.settled.iter().map(events).sum::<usize>()
            + allocated(self.heads.capacity() * size_of::<i64>())
            + allocated(self.fired.capacity() * size_of::<i64>())
    }

    /// The watermark from which on there is nothing in it.
    pub(crate) fn due(&self, span: i64) -> i64 {
        let fired = self.fired.iter().max().map_or(NONE, |cell| (cell + 1).saturating_mul(span));
        let start = self.heads.iter().max().copied().unwrap_or(NONE);
        let last = self.log.last_time().unwrap_or(NONE);
        start.max(last).saturating_add(span).saturating_add(1).max(fired)
    }
}
