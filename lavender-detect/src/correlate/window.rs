//! Counts, different values and sets of rules in sliding windows, decided at once.
//!
//! What is kept of a cell (a span of time as long as the window, from a multiple of it on) depends on whether an
//! alert has its anchor already:
//!
//! - While it has not, there is no window inside it that fulfils the condition. Of each value the first and the last
//!   element are kept: a window that ends in the cell reaches back to its beginning at least, so it has the value once
//!   the first one came; a window that ends in the next cell has it as long as the last one is in it. For counts every
//!   element is kept, and there are less than asked for.
//! - Once it has, nothing that comes can add to it. Only windows that end in the next cell look at it, and as many of
//!   the newest as are asked for decide those.
//!
//! So state is in the order of what the condition asks for, whatever the rate and the length of the window.

use super::element::{Element, Firing, cell};
use super::log::Log;
use super::plan::WindowTest;
use super::resident::allocated;

/// The state of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    pub(crate) log: Log,
    /// The cells that an alert was raised for and that elements may still come to.
    pub(crate) fired: Box<[i64]>,
}

/// Working memory of a step.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) values: Vec<u64>,
    pub(crate) numbers: Vec<f64>,
}

impl Window {
    pub(crate) fn insert(
        &mut self,
        (test, span): (&WindowTest, i64),
        element: Element,
        scratch: &mut Scratch,
        fire: &mut impl FnMut(Firing),
    ) {
        let Some(at) = self.log.position(&element) else { return };
        self.log.insert(at, &element);
        let home = cell(element.time, span);
        let fired_before = self.fired.len();
        // The windows that it is in end with itself and with those that are there already behind it.
        for end in at..self.log.len() {
            let time = self.log.time(end);
            if time.saturating_sub(element.time) > span {
                break;
            }
            let anchor = if end == at { home } else { cell(time, span) };
            if self.fired.contains(&anchor) || self.adds_nothing(test, span, end) {
                continue;
            }
            let Some(measured) = self.measure(test, span, end, scratch) else { continue };
            self.fired = self.fired.iter().copied().chain([anchor]).collect();
            let from = time.saturating_sub(span);
            fire(Firing {
                anchor: anchor.saturating_mul(span),
                time,
                id: self.log.get(end).id,
                from,
                events: Firing::events(self.log.range(self.log.start(from)..end + 1)),
                measured: Some(measured),
                repeated: false,
            });
        }
        for new in fired_before..self.fired.len() {
            self.compact_fired(test, self.fired[new], span, scratch);
        }
        if !self.fired[fired_before..].contains(&home) {
            self.compact(test, home, span, &element);
        }
    }

    /// Whether the window that ends with this element has no value that the one before it in the cell lacks: it
    /// begins later, so it fulfils nothing that the other does not.
    fn adds_nothing(&self, test: &WindowTest, span: i64, end: usize) -> bool {
        if matches!(test, WindowTest::Count(_)) {
            return false;
        }
        let begin = cell(self.log.time(end), span).saturating_mul(span);
        let value = self.log.value(end);
        self.since(begin, end).any(|at| self.log.value(at) == value)
    }

    /// The elements before `end` that are not older than `from`, the newest first.
    fn since(&self, from: i64, end: usize) -> impl Iterator<Item = usize> {
        (0..end).rev().take_while(move |at| self.log.time(*at) >= from)
    }

    /// What was measured in the window that ends with the element at `end`, if the condition holds for it.
    fn measure(
        &self,
        test: &WindowTest,
        span: i64,
        end: usize,
        scratch: &mut Scratch,
    ) -> Option<f64> {
        let from = self.log.time(end).saturating_sub(span);
        match test {
            WindowTest::Count(least) => {
                let first = (end + 1).checked_sub(*least)?;
                (self.log.time(first) >= from).then_some(*least as f64)
            }
            WindowTest::Distinct(least) => {
                if end + 1 < *least {
                    return None;
                }
                let values = &mut scratch.values;
                values.clear();
                values.extend(self.since(from, end + 1).map(|at| self.log.value(at)));
                if values.len() < *least {
                    return None;
                }
                values.sort_unstable();
                values.dedup();
                (values.len() >= *least).then_some(values.len() as f64)
            }
            WindowTest::Slots(test) => {
                let newest = self.since(from, end + 1);
                let set = newest.fold(0, |set, at| set | 1_u64 << self.log.slot(at));
                test.holds(set).then(|| f64::from(set.count_ones()))
            }
        }
    }

    /// The elements of a cell.
    fn of_cell(&self, cell: i64, span: i64) -> std::ops::Range<usize> {
        let (begin, end) = (cell.saturating_mul(span), (cell + 1).saturating_mul(span));
        // Mostly it is the newest cell.
        let newest = self.log.last_time().is_some_and(|last| last < end);
        self.log.start(begin)..if newest { self.log.len() } else { self.log.start(end) }
    }

    /// Forgets what no longer decides anything in a cell that has just fired.
    fn compact_fired(&mut self, test: &WindowTest, cell: i64, span: i64, scratch: &mut Scratch) {
        let range = self.of_cell(cell, span);
        if let WindowTest::Count(least) = test {
            let surplus = range.len().saturating_sub(least - 1);
            self.log.remove_range(range.start..range.start + surplus);
            return;
        }
        let seen = &mut scratch.values;
        seen.clear();
        for at in range.rev() {
            let value = self.log.value(at);
            if seen.len() < test.kept() && !seen.contains(&value) {
                seen.push(value);
            } else {
                self.log.remove(at);
            }
        }
    }

    /// Forgets what the element that was just put into a cell has made superfluous.
    fn compact(&mut self, test: &WindowTest, cell: i64, span: i64, element: &Element) {
        let fired = self.fired.contains(&cell);
        if let WindowTest::Count(least) = test {
            if fired && let Some(oldest) = self.surplus(*least, cell, span) {
                self.log.remove(oldest);
            }
            return;
        }
        let range = self.of_cell(cell, span);
        let (first, length) = (range.start, range.len());
        let surplus = match self.log.with_value(range, element.value) {
            // The last of a value is enough.
            [Some(earlier), Some(_), _] if fired => Some(earlier),
            // There were two of it at the most, so this is the third, and one of them is in between.
            [Some(_), Some(middle), Some(_)] => Some(middle),
            _ if fired && length > test.kept() => Some(first),
            _ => None,
        };
        if let Some(at) = surplus {
            self.log.remove(at);
        }
    }

    /// The oldest element of a cell, if it has this many.
    fn surplus(&self, many: usize, cell: i64, span: i64) -> Option<usize> {
        let (begin, end) = (cell.saturating_mul(span), (cell + 1).saturating_mul(span));
        let length = self.log.len();
        // Mostly it is the newest cell.
        let after = match self.log.last_time() {
            Some(last) if last >= end => self.log.start(end),
            _ => length,
        };
        let oldest = after.checked_sub(many)?;
        (self.log.time(oldest) >= begin).then_some(oldest)
    }

    /// Forgets what no window that may still change reaches back to.
    pub(crate) fn settle(&mut self, watermark: i64, span: i64) {
        let reach = watermark.saturating_sub(span);
        let over = (0..self.log.len()).take_while(|at| self.log.time(*at) < reach).count();
        self.log.forget(over);
        let lasts = |cell: &i64| (cell + 1).saturating_mul(span) > watermark;
        if !self.fired.iter().all(lasts) {
            self.fired = self.fired.iter().copied().filter(lasts).collect();
        }
    }

    /// What it takes on the heap, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.log.heap_bytes() + allocated(size_of_val(&*self.fired))
    }

    /// The watermark from which on there is nothing in it.
    pub(crate) fn due(&self, span: i64) -> i64 {
        let last = self.log.last_time().unwrap_or(i64::MIN);
        let fired =
            self.fired.iter().max().map_or(i64::MIN, |cell| (cell + 1).saturating_mul(span));
        last.saturating_add(span).saturating_add(1).max(fired)
    }
}
