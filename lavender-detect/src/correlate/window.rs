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
//!   the newest as are asked for decide those. What is in the cell before it is then looked at by none, but by those
//!   that end there: it is forgotten as soon as the watermark has passed the end of that cell.
//!
//! So state is in the order of what the condition asks for, whatever the rate and the length of the window.

use super::element::{Element, Firing, cell};
use super::fired::Fired;
use super::log::{Log, View};
use super::plan::WindowTest;

/// The state of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    pub(crate) log: Log,
    pub(crate) fired: Fired,
}

/// Working memory of a step.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) values: Vec<u64>,
    pub(crate) numbers: Vec<f64>,
}

impl Window {
    /// Puts in an element that the watermark has not passed.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        (test, span): (&WindowTest, i64),
        watermark: i64,
        element: Element,
        scratch: &mut Scratch,
        fire: &mut impl FnMut(Firing),
    ) {
        let Some(at) = self.log.put(&element) else { return };
        let home = cell(element.time, span);
        let fired = self.fired.has(home);
        // Mostly it is in no window but its own, and that has its alert.
        let decides = !fired || at + 1 < self.log.len();
        if decides && self.decide((test, span), watermark, at, scratch, fire) {
            return;
        }
        let surplus = match test {
            WindowTest::Count(least) if fired => {
                let view = self.log.view();
                let (begin, end) = bounds(&view, home, span);
                end.checked_sub(*least).filter(|oldest| view.time(*oldest) >= begin)
            }
            // Every element counts until then.
            WindowTest::Count(_) => None,
            _ => {
                let kept = fired.then(|| test.kept());
                superfluous(&self.log.view(), (home, span), element.value, kept)
            }
        };
        match surplus {
            Some(0) => self.log.forget(1),
            Some(at) => self.log.remove(at),
            None => {}
        }
    }

    /// Fires for the windows that a new element is in: they end with itself and with those that are there already behind
    /// it. Whether its own cell has fired, and what is superfluous in it is forgotten.
    fn decide(
        &mut self,
        (test, span): (&WindowTest, i64),
        watermark: i64,
        at: usize,
        scratch: &mut Scratch,
        fire: &mut impl FnMut(Firing),
    ) -> bool {
        let view = self.log.view();
        let new = view.time(at);
        let fired_before = self.fired.cells().len();
        for end in at..view.len() {
            let time = view.time(end);
            if time.saturating_sub(new) > span {
                break;
            }
            let anchor = cell(time, span);
            if self.fired.has(anchor) || adds_nothing(&view, test, span, end) {
                continue;
            }
            let Some(measured) = measure(&view, test, span, end, scratch) else { continue };
            self.fired.add(anchor);
            let from = time.saturating_sub(span);
            fire(Firing {
                anchor: anchor.saturating_mul(span),
                time,
                id: self.log.get(end).id,
                from,
                events: Firing::events(self.log.range(view.start(from)..end + 1)),
                measured: Some(measured),
                repeated: false,
            });
        }
        let fired = self.fired.cells().len();
        if fired == fired_before {
            return false;
        }
        for number in fired_before..fired {
            self.compact_fired(test, self.fired.cells()[number], span, scratch);
        }
        self.settle(watermark, span);
        self.fired.cells()[fired_before..].contains(&cell(new, span))
    }

    /// Forgets what no longer decides anything in a cell that has just fired.
    fn compact_fired(&mut self, test: &WindowTest, cell: i64, span: i64, scratch: &mut Scratch) {
        let view = self.log.view();
        let (begin, end) = bounds(&view, cell, span);
        let first = view.start(begin);
        if let WindowTest::Count(least) = test {
            let surplus = (end - first).saturating_sub(least - 1);
            self.log.remove_range(first..first + surplus);
            return;
        }
        let seen = &mut scratch.values;
        seen.clear();
        for at in (first..end).rev() {
            let value = self.log.view().value(at);
            if seen.len() < test.kept() && !seen.contains(&value) {
                seen.push(value);
            } else {
                self.log.remove(at);
            }
        }
    }

    /// Forgets what no window that may still change reaches back to, or that has not got its alert.
    pub(crate) fn settle(&mut self, watermark: i64, span: i64) {
        let mut reach = watermark.saturating_sub(span);
        for fired in self.fired.cells() {
            let begin = fired.saturating_mul(span);
            if begin <= watermark {
                reach = reach.max(begin);
            }
        }
        let view = self.log.view();
        let over = (0..view.len()).take_while(|at| view.time(*at) < reach).count();
        if over > 0 {
            self.log.forget(over);
        }
        self.fired.retain(|cell| (cell + 1).saturating_mul(span) > watermark);
    }

    /// What it takes on the heap, in bytes.
    #[inline]
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.log.heap_bytes() + self.fired.heap_bytes()
    }

    /// The watermark from which on there is nothing in it.
    pub(crate) fn due(&self, span: i64) -> i64 {
        let last = self.log.last_time().unwrap_or(i64::MIN);
        let fired = self.fired.cells().iter().max();
        let fired = fired.map_or(i64::MIN, |cell| (cell + 1).saturating_mul(span));
        last.saturating_add(span).saturating_add(1).max(fired)
    }
}

/// When a cell begins, and how many elements there are up to its end.
#[inline]
fn bounds(view: &View<'_>, cell: i64, span: i64) -> (i64, usize) {
    let (begin, end) = (cell.saturating_mul(span), (cell + 1).saturating_mul(span));
    // Mostly it is the newest cell.
    let newest = view.last_time().is_some_and(|last| last < end);
    (begin, if newest { view.len() } else { view.start(end) })
}

/// Whether the window that ends with this element has no value that the one before it in the cell lacks: it begins later,
/// so it fulfils nothing that the other does not.
fn adds_nothing(view: &View<'_>, test: &WindowTest, span: i64, end: usize) -> bool {
    if matches!(test, WindowTest::Count(_)) {
        return false;
    }
    let begin = cell(view.time(end), span).saturating_mul(span);
    let value = view.value(end);
    view.since(begin, end).any(|at| view.value(at) == value)
}

/// What was measured in the window that ends with the element at `end`, if the condition holds for it.
fn measure(
    view: &View<'_>,
    test: &WindowTest,
    span: i64,
    end: usize,
    scratch: &mut Scratch,
) -> Option<f64> {
    let from = view.time(end).saturating_sub(span);
    match test {
        WindowTest::Count(least) => {
            let first = (end + 1).checked_sub(*least)?;
            (view.time(first) >= from).then_some(*least as f64)
        }
        WindowTest::Distinct(least) => {
            if end + 1 < *least {
                return None;
            }
            let values = &mut scratch.values;
            values.clear();
            values.extend(view.since(from, end + 1).map(|at| view.value(at)));
            if values.len() < *least {
                return None;
            }
            values.sort_unstable();
            values.dedup();
            (values.len() >= *least).then_some(values.len() as f64)
        }
        WindowTest::Slots(test) => {
            let newest = view.since(from, end + 1);
            let set = newest.fold(0, |set, at| set | 1_u64 << view.slot(at));
            test.holds(set).then(|| f64::from(set.count_ones()))
        }
    }
}

/// Which element of a cell a new one of this value has made superfluous. `kept` is how many a cell keeps that has fired.
#[inline]
fn superfluous(
    view: &View<'_>,
    (cell, span): (i64, i64),
    value: u64,
    kept: Option<usize>,
) -> Option<usize> {
    let (begin, end) = bounds(view, cell, span);
    let (mut first, mut found, mut same) = (end, 0, [0; 2]);
    for at in view.since(begin, end) {
        first = at;
        if view.value(at) == value {
            found += 1;
            same = [at, same[0]];
        }
    }
    match found {
        // The last of a value is enough.
        2.. if kept.is_some() => Some(same[0]),
        // There were two of it at the most, so this is the third, and one of them is in between.
        3.. => Some(same[1]),
        _ => kept.filter(|kept| end - first > *kept).map(|_| first),
    }
}
