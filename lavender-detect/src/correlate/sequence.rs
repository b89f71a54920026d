//! Rules in their order, decided at once.
//!
//! Of a prefix of the sequence only the latest possible start matters: whatever continues an earlier one in time
//! continues this one too. Behind the watermark that is one number for each length, and the events that led to it.
//! Before it, where elements still come in between, every element is kept with the latest start of the prefixes that
//! end with it; one that comes in order is put behind them in constant time.

use std::ops::Range;

use lavender_core::EventId;

use super::element::{Element, Firing, cell};
use super::log::Log;
use super::resident::allocated;

/// No prefix.
pub(crate) const NONE: i64 = i64::MIN;

/// The state of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sequence {
    /// By length less one.
    steps: Box<[Step]>,
    /// The events of the prefixes that are final, one behind the other, up to the longest that there has been. Each has
    /// its room, whether it is there or not.
    events: Vec<EventId>,
    /// Elements that are not final, sorted. `value` is the latest start, as bits.
    pub(crate) log: Log,
    pub(crate) fired: Vec<i64>,
}

/// The latest starts of the prefixes of a length; [`NONE`] where there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    /// Of those that are final.
    settled: i64,
    /// Of all.
    head: i64,
}

/// The prefix of a sequence that starts the latest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prefix {
    /// When it starts; [`NONE`] where there is none.
    pub(crate) start: i64,
    /// Its events.
    pub(crate) events: Vec<EventId>,
}

/// Where the events of the prefix are that ends with a step: those of all shorter ones are before them.
const fn room(step: usize) -> Range<usize> {
    let start = step * (step + 1) / 2;
    start..start + step + 1
}

/// The most elements of a group that are kept before the watermark.
pub(crate) const LOG_MAX: usize = 4_096;

impl Sequence {
    pub(crate) fn new(steps: u16) -> Self {
        let step = Step { settled: NONE, head: NONE };
        Self {
            steps: vec![step; usize::from(steps)].into(),
            events: Vec::new(),
            log: Log::default(),
            fired: Vec::new(),
        }
    }

    /// The state that has these prefixes, final or not, and elements; `None` when there is none.
    pub(crate) fn restored(
        settled: &[Prefix],
        log: Log,
        heads: &[i64],
        fired: Vec<i64>,
    ) -> Option<Self> {
        let step = |(prefix, head): (&Prefix, &i64)| Step { settled: prefix.start, head: *head };
        let steps = settled.iter().zip(heads).map(step).collect();
        let mut this = Self { steps, events: Vec::new(), log, fired };
        for (step, prefix) in settled.iter().enumerate() {
            match prefix.events.len() {
                0 if prefix.start == NONE => {}
                length if length == step + 1 && prefix.start != NONE => {
                    this.make_room(step);
                    this.events[room(step)].copy_from_slice(&prefix.events);
                }
                _ => return None,
            }
        }
        (heads.len() == settled.len()).then_some(this)
    }

    /// The prefixes that are final, by length: when each starts, and its events.
    pub(crate) fn settled(&self) -> impl ExactSizeIterator<Item = (i64, &[EventId])> {
        self.steps.iter().enumerate().map(|(number, step)| (step.settled, self.settled_by(number)))
    }

    /// The latest start of the prefix of each length, final or not.
    pub(crate) fn heads(&self) -> impl ExactSizeIterator<Item = i64> {
        self.steps.iter().map(|step| step.head)
    }

    /// The events of the final prefix that ends with a step.
    fn settled_by(&self, step: usize) -> &[EventId] {
        if self.steps[step].settled == NONE { &[] } else { &self.events[room(step)] }
    }

    /// Makes room for the events of the prefix that ends with a step.
    fn make_room(&mut self, step: usize) {
        let end = room(step).end;
        if let Some(more) = end.checked_sub(self.events.len()) {
            self.events.reserve_exact(more);
            self.events.resize(end, EventId::UNNUMBERED);
        }
    }

    /// Puts an element in. `false` when that was one too many, and the oldest became final before its time.
    pub(crate) fn insert(
        &mut self,
        span: i64,
        element: Element,
        fire: &mut impl FnMut(Firing),
    ) -> bool {
        // A new element says nothing of its own start yet.
        let Some(at) = self.log.put(&Element { value: NONE as u64, ..element }) else {
            return true;
        };
        let length = self.log.len();
        if at + 1 == length {
            self.link(at, span, fire);
        } else {
            self.steps.iter_mut().for_each(|step| step.head = step.settled);
            for at in 0..length {
                self.link(at, span, fire);
            }
        }
        let fits = length <= LOG_MAX;
        if !fits {
            self.settle_first();
        }
        fits
    }

    /// Finds the latest start of an element's prefix, given those before it.
    fn link(&mut self, at: usize, span: i64, fire: &mut impl FnMut(Firing)) {
        let view = self.log.view();
        let (time, step, before) = (view.time(at), usize::from(view.slot(at)), view.value(at));
        let start = match step.checked_sub(1).map(|shorter| self.steps[shorter].head) {
            None => time,
            Some(head) if head != NONE && time.saturating_sub(head) <= span => head,
            Some(_) => NONE,
        };
        self.steps[step].head = self.steps[step].head.max(start);
        if before as i64 != start {
            self.log.set_value(at, start as u64);
        }
        if step + 1 < self.steps.len() || start == NONE || before as i64 != NONE {
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
        let view = self.log.view();
        let mut events = vec![self.log.get(at).id];
        let (mut step, mut before) = (usize::from(view.slot(at)), at);
        while let Some(shorter) = step.checked_sub(1) {
            // The one that starts the latest; of those, the last.
            let unsettled = (0..before).rev().filter(|at| usize::from(view.slot(*at)) == shorter);
            let best = unsettled.max_by_key(|at| (view.value(*at) as i64, *at));
            match best.filter(|at| view.value(*at) as i64 > self.steps[shorter].settled) {
                Some(at) => events.push(self.log.get(at).id),
                None => {
                    events.extend(self.settled_by(shorter).iter().rev());
                    break;
                }
            }
            (step, before) = (shorter, best.unwrap_or(0));
        }
        events.reverse();
        events.truncate(Firing::EVENTS);
        events
    }

    /// Makes the first element final, and with it the prefix that it ends, unless there is one that starts later.
    fn settle_first(&mut self) {
        let view = self.log.view();
        if view.len() == 0 {
            return;
        }
        let (start, step) = (view.value(0) as i64, usize::from(view.slot(0)));
        if start != NONE && start >= self.steps[step].settled {
            let id = self.log.get(0).id;
            self.make_room(step);
            self.steps[step].settled = start;
            // What it extends became final before it.
            if let Some(shorter) = step.checked_sub(1) {
                self.events.copy_within(room(shorter), room(step).start);
            }
            self.events[room(step).end - 1] = id;
        }
        self.log.forget(1);
    }

    /// Makes final what nothing can come before any more.
    pub(crate) fn settle(&mut self, watermark: i64, span: i64) {
        while self.log.view().first_time().is_some_and(|time| time < watermark) {
            self.settle_first();
        }
        self.fired.retain(|cell| (cell + 1).saturating_mul(span) > watermark);
    }

    /// What it takes on the heap, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        allocated(size_of::<Self>())
            + self.log.heap_bytes()
            + allocated(size_of_val(&*self.steps))
            + allocated(self.events.capacity() * size_of::<EventId>())
            + allocated(self.fired.capacity() * size_of::<i64>())
    }

    /// The watermark from which on there is nothing in it.
    pub(crate) fn due(&self, span: i64) -> i64 {
        let fired = self.fired.iter().max().map_or(NONE, |cell| (cell + 1).saturating_mul(span));
        let start = self.heads().max().unwrap_or(NONE);
        let last = self.log.last_time().unwrap_or(NONE);
        start.max(last).saturating_add(span).saturating_add(1).max(fired)
    }
}
