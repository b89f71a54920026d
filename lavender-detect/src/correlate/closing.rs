//! Windows that are decided when they are over: for what must stay low, or must not happen.
//!
//! The first detection that is in no window opens one; it closes when the span is over. Behind the watermark the order
//! is final, so every worker opens the same windows.

use lavender_core::EventId;

use super::element::{Element, Firing};
use super::plan::{Aggregate, ClosingTest};
use super::resident::allocated;
use super::settled::{Fire, Held, VALUES_MAX};
use super::window::Scratch;

/// A window that is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opened {
    /// The element that opened it.
    pub(crate) first: Element,
    /// The fields of its event that correlations of this correlation ask for.
    pub(crate) carried: Option<Box<[u8]>>,
    pub(crate) count: u64,
    /// The rules that matched.
    pub(crate) set: u64,
    pub(crate) sum: i128,
    /// The different values, or the bits of all numbers.
    pub(crate) values: Vec<u64>,
    /// The first events.
    pub(crate) events: Vec<EventId>,
}

impl Opened {
    pub(crate) fn new(held: &Held) -> Self {
        Self {
            first: held.element,
            carried: held.carried.clone(),
            count: 0,
            set: 0,
            sum: 0,
            values: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The last moment that is in it.
    pub(crate) const fn end(&self, span: i64) -> i64 {
        self.first.time.saturating_add(span)
    }

    /// What it takes on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let carried = self.carried.as_ref().map_or(0, |carried| carried.len());
        allocated(carried)
            + allocated(self.values.capacity() * 8)
            + allocated(self.events.capacity() * size_of::<EventId>())
    }

    /// Counts an element in. `false` when its value could not be kept.
    pub(crate) fn take(&mut self, test: &ClosingTest, element: &Element) -> bool {
        self.count = self.count.saturating_add(1);
        if self.events.len() < Firing::EVENTS && self.events.last() != Some(&element.id) {
            self.events.push(element.id);
        }
        match test {
            ClosingTest::Count(_) => true,
            ClosingTest::Slots(_) => {
                self.set |= 1 << element.slot;
                true
            }
            ClosingTest::Distinct(bounds) => {
                let known = self.values.contains(&element.value);
                if !known && self.values.len() < bounds.enough() {
                    self.values.push(element.value);
                }
                true
            }
            ClosingTest::Aggregate(..) => {
                let fits = self.values.len() < VALUES_MAX;
                if fits {
                    self.values.push(element.value);
                    let part = Aggregate::part(f64::from_bits(element.value));
                    self.sum = self.sum.saturating_add(part);
                }
                fits
            }
        }
    }

    /// Decides.
    pub(crate) fn close(
        self,
        test: &ClosingTest,
        span: i64,
        scratch: &mut Scratch,
        fire: &mut Fire<'_>,
    ) {
        let number = match test {
            ClosingTest::Count(_) => self.count as f64,
            ClosingTest::Distinct(_) => self.values.len() as f64,
            ClosingTest::Slots(_) => f64::from(self.set.count_ones()),
            ClosingTest::Aggregate(aggregate, _) => {
                let numbers = &mut scratch.numbers;
                numbers.clear();
                numbers.extend(self.values.iter().map(|bits| f64::from_bits(*bits)));
                aggregate.of(self.sum, numbers)
            }
        };
        let holds = match test {
            ClosingTest::Slots(test) => test.holds(self.set),
            ClosingTest::Count(bounds)
            | ClosingTest::Distinct(bounds)
            | ClosingTest::Aggregate(_, bounds) => bounds.hold(number),
        };
        if holds {
            let firing = Firing {
                anchor: self.first.time,
                time: self.end(span),
                id: self.first.id,
                from: self.first.time,
                events: self.events,
                measured: Some(number),
                repeated: false,
            };
            fire(firing, self.carried);
        }
    }
}
