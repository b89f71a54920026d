//! Sequences in their final order: with steps that must be missing, and with rules that end them.

use lavender_core::EventId;

use super::element::Firing;
use super::plan::Role;
use super::resident::allocated;
use super::sequence::{NONE, Prefix};
use super::settled::{HELD_MAX, Held};

/// How far sequences have come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Steps {
    /// The prefixes that start the latest, by length less one.
    pub(crate) prefixes: Vec<Prefix>,
    /// When what must be missing before the first step was last seen.
    pub(crate) forbidden_at: i64,
    /// Sequences that are whole, unless what must be missing at their end comes before their span is over.
    pub(crate) whole: Vec<Whole>,
}

/// A sequence that is whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    /// The last moment at which what must be missing would undo it.
    pub(crate) end: i64,
    pub(crate) start: i64,
    pub(crate) events: Vec<EventId>,
    pub(crate) last: Held,
}

impl Steps {
    pub(crate) fn new(roles: &[Role]) -> Self {
        let prefix = Prefix { start: NONE, events: Vec::new() };
        let prefixes = vec![prefix; usize::from(Role::steps(roles))];
        Self { prefixes, forbidden_at: NONE, whole: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.prefixes.iter_mut().for_each(|prefix| prefix.start = NONE);
        self.forbidden_at = NONE;
        self.whole.clear();
    }

    /// Takes the next element in order. `false` when there are too many whole sequences to keep.
    pub(crate) fn take(
        &mut self,
        roles: &[Role],
        span: i64,
        held: Held,
        fire: &mut impl FnMut(Firing, Option<Box<[u8]>>),
    ) -> bool {
        let time = held.element.time;
        let steps = self.prefixes.len();
        match roles.get(usize::from(held.element.slot)) {
            Some(Role::Missing(0)) => self.forbidden_at = time,
            Some(Role::Missing(after)) if usize::from(*after) == steps => {
                // Those whose span was over were raised before.
                self.whole.clear();
            }
            Some(Role::Missing(after)) => self.prefixes[usize::from(*after) - 1].start = NONE,
            Some(Role::Step(step)) => {
                let step = usize::from(*step);
                let Some(start) = self.start(step, time, span) else { return true };
                self.extend(step, start, held.element.id);
                if step + 1 < steps {
                    return true;
                }
                let end = if roles.last() == Some(&Role::Missing(steps as u16)) {
                    start.saturating_add(span)
                } else {
                    NONE
                };
                let events = self.prefixes[step].events.clone();
                let whole = Whole { end, start, events, last: held };
                if end == NONE {
                    whole.fire(time, fire);
                } else if self.whole.len() < HELD_MAX {
                    self.whole.push(whole);
                } else {
                    return false;
                }
            }
            None => {}
        }
        true
    }

    /// When a prefix that ends with this step now starts, at the latest.
    fn start(&self, step: usize, time: i64, span: i64) -> Option<i64> {
        let recent = |since: i64| since != NONE && time.saturating_sub(since) <= span;
        match step.checked_sub(1) {
            None => (!recent(self.forbidden_at)).then_some(time),
            Some(before) => Some(self.prefixes[before].start).filter(|start| recent(*start)),
        }
    }

    fn extend(&mut self, step: usize, start: i64, id: EventId) {
        let (before, rest) = self.prefixes.split_at_mut(step);
        // One that starts earlier may not take the place of one that is still good.
        if start < rest[0].start {
            return;
        }
        rest[0].start = start;
        rest[0].events.clear();
        if let Some(before) = before.last() {
            rest[0].events.extend_from_slice(&before.events);
        }
        rest[0].events.push(id);
    }

    /// What it takes on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let events = |events: &Vec<EventId>| allocated(events.capacity() * size_of::<EventId>());
        let prefixes = self.prefixes.iter().map(|prefix| events(&prefix.events));
        let whole = self.whole.iter().map(|whole| events(&whole.events));
        prefixes.chain(whole).sum::<usize>()
            + allocated(self.prefixes.capacity() * size_of::<Prefix>())
            + allocated(self.whole.capacity() * size_of::<Whole>())
    }

    /// Raises what nothing can undo any more.
    pub(crate) fn release(&mut self, time: i64, fire: &mut impl FnMut(Firing, Option<Box<[u8]>>)) {
        let mut at = 0;
        while at < self.whole.len() {
            if self.whole[at].end < time {
                let whole = self.whole.remove(at);
                let end = whole.end;
                whole.fire(end, fire);
            } else {
                at += 1;
            }
        }
    }

    /// Forgets what is too old to be continued.
    pub(crate) fn expire(&mut self, watermark: i64, span: i64) {
        let starts = self.prefixes.iter_mut().map(|prefix| &mut prefix.start);
        for start in starts.chain([&mut self.forbidden_at]) {
            if *start != NONE && start.saturating_add(span) < watermark {
                *start = NONE;
            }
        }
    }

    /// The last moment at which anything that it holds makes a difference.
    pub(crate) fn end(&self, span: i64) -> Option<i64> {
        let whole = self.whole.iter().map(|whole| whole.end).min();
        let starts = self.prefixes.iter().map(|prefix| prefix.start).chain([self.forbidden_at]);
        let last = starts.filter(|start| *start != NONE).max();
        whole.or(last.map(|start| start.saturating_add(span)))
    }
}

impl Whole {
    fn fire(self, time: i64, fire: &mut impl FnMut(Firing, Option<Box<[u8]>>)) {
        let firing = Firing {
            anchor: 0,
            time,
            id: self.last.element.id,
            from: self.start,
            events: self.events,
            measured: None,
            repeated: false,
        };
        fire(firing, self.last.carried);
    }
}
