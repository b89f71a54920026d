//! What is decided when nothing can change it any more: elements wait until the watermark has passed them, and are
//! then evaluated in their final order.

use std::collections::VecDeque;

use super::closing::Opened;
use super::element::{Element, Firing, cell};
use super::missing::Steps;
use super::plan::{Aggregate, SettledTest, Settling, WindowTest};
use super::resident::allocated;
use super::window::Scratch;

/// An element, and the fields that correlations of this correlation ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) element: Element,
    pub(crate) carried: Option<Box<[u8]>>,
}

/// The state of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settled {
    /// What the watermark has not passed, sorted.
    pub(crate) pending: VecDeque<Held>,
    pub(crate) machine: Machine,
    /// The last cell that fired.
    pub(crate) fired: Option<i64>,
}

/// What the elements behind the watermark have come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Machine {
    /// Those of the window, or as many of them as decide.
    Sliding(VecDeque<Element>),
    /// The same with the sum of their parts.
    Aggregate(VecDeque<Element>, i128),
    Sequence(Steps),
    Closing(Option<Opened>),
}

impl Machine {
    /// The values of a window, with the sum of their parts.
    pub(crate) fn aggregate(window: VecDeque<Element>) -> Self {
        let parts = window.iter().map(|element| Aggregate::part(f64::from_bits(element.value)));
        let sum = parts.fold(0, i128::saturating_add);
        Self::Aggregate(window, sum)
    }
}

/// The most elements of a group that wait, and the most whose values are kept.
pub(crate) const HELD_MAX: usize = 4_096;
pub(crate) const VALUES_MAX: usize = 16_384;

/// What a settled firing goes to: the firing, and the fields that were carried along.
pub(crate) type Fire<'a> = dyn FnMut(Firing, Option<Box<[u8]>>) + 'a;

impl Settled {
    pub(crate) fn new(plan: &Settling) -> Self {
        let machine = match &plan.test {
            SettledTest::Sliding(_) => Machine::Sliding(VecDeque::new()),
            SettledTest::Aggregate(..) => Machine::Aggregate(VecDeque::new(), 0),
            SettledTest::Sequence(roles) => Machine::Sequence(Steps::new(roles)),
            SettledTest::Closing(_) => Machine::Closing(None),
        };
        Self { pending: VecDeque::new(), machine, fired: None }
    }

    /// Puts an element in. `false` when that was one too many, and the oldest became final before its time.
    pub(crate) fn insert(
        &mut self,
        (plan, span): (&Settling, i64),
        held: Held,
        scratch: &mut Scratch,
        fire: &mut Fire<'_>,
    ) -> bool {
        let Some(at) = self.position(&held.element) else { return true };
        self.pending.insert(at, held);
        if self.pending.len() <= HELD_MAX {
            return true;
        }
        if let Some(first) = self.pending.pop_front() {
            self.take(plan, span, first, scratch, fire);
        }
        false
    }

    /// Where an element belongs among those that wait; `None` when it is there already.
    fn position(&self, element: &Element) -> Option<usize> {
        let place = element.place();
        if self.pending.back().is_none_or(|last| last.element.place() < place) {
            return Some(self.pending.len());
        }
        self.pending.binary_search_by(|other| other.element.place().cmp(&place)).err()
    }

    /// Decides what the watermark has passed. `false` when values had to be forgotten that were still needed.
    pub(crate) fn settle(
        &mut self,
        (plan, span): (&Settling, i64),
        watermark: i64,
        scratch: &mut Scratch,
        fire: &mut Fire<'_>,
    ) -> bool {
        let mut complete = true;
        while self.pending.front().is_some_and(|held| held.element.time < watermark) {
            let Some(first) = self.pending.pop_front() else { break };
            complete &= self.take(plan, span, first, scratch, fire);
        }
        match (&mut self.machine, &plan.test) {
            (Machine::Closing(opened), SettledTest::Closing(test)) => {
                if opened.as_ref().is_some_and(|opened| opened.end(span) < watermark)
                    && let Some(over) = opened.take()
                {
                    over.close(test, span, scratch, fire);
                }
            }
            (Machine::Sequence(steps), _) => {
                let mut fire = once_per_cell(&mut self.fired, span, fire);
                steps.release(watermark, &mut fire);
                steps.expire(watermark, span);
            }
            (Machine::Sliding(window) | Machine::Aggregate(window, _), _) => {
                let last = window.back().map_or(i64::MIN, |element| element.time);
                if last.saturating_add(span) < watermark {
                    window.clear();
                    if let Machine::Aggregate(_, sum) = &mut self.machine {
                        *sum = 0;
                    }
                }
            }
            _ => {}
        }
        complete
    }

    /// Evaluates the next element in order.
    fn take(
        &mut self,
        plan: &Settling,
        span: i64,
        held: Held,
        scratch: &mut Scratch,
        fire: &mut Fire<'_>,
    ) -> bool {
        let ends_it = held.element.slot >= plan.until;
        match (&mut self.machine, &plan.test) {
            (Machine::Sliding(window), _) if ends_it => window.clear(),
            (Machine::Sliding(window), SettledTest::Sliding(test)) => {
                slide(window, test, span, held.element);
                if let Some(measured) = fulfilled(window, test) {
                    let firing = ending(window, &held.element, span, measured);
                    once_per_cell(&mut self.fired, span, fire)(firing, held.carried);
                }
            }
            (Machine::Aggregate(window, sum), _) if ends_it => {
                window.clear();
                *sum = 0;
            }
            (Machine::Aggregate(window, sum), SettledTest::Aggregate(aggregate, bounds)) => {
                window.push_back(held.element);
                *sum = sum.saturating_add(Aggregate::part(f64::from_bits(held.element.value)));
                let begin = held.element.time.saturating_sub(span);
                let complete = window.len() <= VALUES_MAX;
                while window.len() > VALUES_MAX || window.front().is_some_and(|e| e.time < begin) {
                    let Some(gone) = window.pop_front() else { break };
                    *sum = sum.saturating_sub(Aggregate::part(f64::from_bits(gone.value)));
                }
                let numbers = &mut scratch.numbers;
                numbers.clear();
                numbers.extend(window.iter().map(|e| f64::from_bits(e.value)));
                let measured = aggregate.of(*sum, numbers);
                if bounds.hold(measured) {
                    let firing = ending(window, &held.element, span, measured);
                    once_per_cell(&mut self.fired, span, fire)(firing, held.carried);
                }
                return complete;
            }
            (Machine::Sequence(steps), SettledTest::Sequence(roles)) => {
                let mut fire = once_per_cell(&mut self.fired, span, fire);
                steps.release(held.element.time, &mut fire);
                if ends_it {
                    steps.clear();
                } else {
                    return steps.take(roles, span, held, &mut fire);
                }
            }
            (Machine::Closing(opened), SettledTest::Closing(test)) => {
                if opened.as_ref().is_some_and(|opened| opened.end(span) < held.element.time)
                    && let Some(over) = opened.take()
                {
                    over.close(test, span, scratch, fire);
                }
                if ends_it {
                    *opened = None;
                } else {
                    return opened
                        .get_or_insert_with(|| Opened::new(&held))
                        .take(test, &held.element);
                }
            }
            // A machine is made for its plan.
            _ => {}
        }
        true
    }

    /// The watermark from which on there is something to decide, or to forget.
    pub(crate) fn due(&self, span: i64) -> i64 {
        let pending = self.pending.front().map(|held| held.element.time);
        let machine = match &self.machine {
            Machine::Sliding(window) | Machine::Aggregate(window, _) => {
                window.back().map(|element| element.time.saturating_add(span))
            }
            Machine::Sequence(steps) => steps.end(span),
            Machine::Closing(opened) => opened.as_ref().map(|opened| opened.end(span)),
        };
        let fired = self.fired.map(|cell| (cell + 1).saturating_mul(span));
        let next = pending.into_iter().chain(machine).min();
        next.or(fired).unwrap_or(i64::MIN).saturating_add(1)
    }

    /// What it takes, in bytes; of what is carried along, the first stands for all.
    pub(crate) fn heap_bytes(&self) -> usize {
        let carried =
            |held: &Held| held.carried.as_ref().map_or(0, |carried| allocated(carried.len()));
        let machine = match &self.machine {
            Machine::Sliding(window) | Machine::Aggregate(window, _) => {
                allocated(window.capacity() * size_of::<Element>())
            }
            Machine::Sequence(steps) => steps.heap_bytes(),
            Machine::Closing(Some(opened)) => opened.heap_bytes(),
            Machine::Closing(None) => 0,
        };
        allocated(size_of::<Self>())
            + allocated(self.pending.capacity() * size_of::<Held>())
            + self.pending.front().map_or(0, carried) * self.pending.len()
            + machine
    }

    /// Whether nothing that it holds can make a difference to anything that is still to come.
    pub(crate) fn is_over(&self, watermark: i64, span: i64) -> bool {
        self.pending.is_empty()
            && match &self.machine {
                Machine::Sliding(window) | Machine::Aggregate(window, _) => window.is_empty(),
                Machine::Sequence(steps) => steps.end(span).is_none_or(|end| end < watermark),
                Machine::Closing(opened) => opened.is_none(),
            }
            && self.fired.is_none_or(|fired| fired < cell(watermark, span))
    }
}

/// Marks firings in a cell that has fired before.
fn once_per_cell<'a>(
    last: &'a mut Option<i64>,
    span: i64,
    fire: &'a mut Fire<'_>,
) -> impl FnMut(Firing, Option<Box<[u8]>>) + 'a {
    move |mut firing, carried| {
        let home = cell(firing.time, span);
        firing.anchor = home.saturating_mul(span);
        firing.repeated = *last == Some(home);
        *last = Some(home);
        fire(firing, carried);
    }
}

/// The firing of the window that ends with this element.
fn ending(window: &VecDeque<Element>, last: &Element, span: i64, measured: f64) -> Firing {
    Firing {
        anchor: 0,
        time: last.time,
        id: last.id,
        from: last.time.saturating_sub(span),
        events: Firing::events(window.iter().copied()),
        measured: Some(measured),
        repeated: false,
    }
}

/// Puts the next element into a window, and forgets what has left it or does not decide.
fn slide(window: &mut VecDeque<Element>, test: &WindowTest, span: i64, element: Element) {
    let begin = element.time.saturating_sub(span);
    while window.front().is_some_and(|first| first.time < begin) {
        window.pop_front();
    }
    if !matches!(test, WindowTest::Count(_))
        && let Some(earlier) = window.iter().position(|other| other.value == element.value)
    {
        window.remove(earlier);
    }
    window.push_back(element);
    if window.len() > test.kept() {
        window.pop_front();
    }
}

/// What was measured, if the condition holds: a window holds each value once, and as many as decide.
fn fulfilled(window: &VecDeque<Element>, test: &WindowTest) -> Option<f64> {
    match test {
        WindowTest::Count(least) | WindowTest::Distinct(least) => {
            (window.len() >= *least).then_some(window.len() as f64)
        }
        WindowTest::Slots(test) => {
            let set = window.iter().fold(0_u64, |set, element| set | 1 << element.slot);
            test.holds(set).then(|| f64::from(set.count_ones()))
        }
    }
}
