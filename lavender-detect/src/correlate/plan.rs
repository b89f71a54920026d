//! How a correlation is evaluated: decided once, when it is compiled.

use super::condition::{Bounds, SlotTest};

/// What is done with each detection.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The timespan, in ns.
    pub(crate) span: i64,
    pub(crate) engine: Engine,
}

impl Plan {
    /// Whether it can ever find anything when only the rules of these slots match.
    pub(crate) fn can_fire(&self, slots: u64) -> bool {
        match &self.engine {
            Engine::Window(test) => test.can_hold(slots),
            Engine::Sequence(steps) => (0..*steps).all(|step| slots & 1 << step != 0),
            Engine::Settled(settling) => {
                let slots = slots & !u64::MAX.checked_shl(settling.until.into()).unwrap_or(0);
                match &settling.test {
                    SettledTest::Sliding(test) => test.can_hold(slots),
                    SettledTest::Sequence(roles) => roles.iter().enumerate().all(|(slot, role)| {
                        matches!(role, Role::Missing(_)) || slots & 1 << slot != 0
                    }),
                    // Something must come for a window to be there.
                    SettledTest::Aggregate(..) | SettledTest::Closing(_) => slots != 0,
                }
            }
        }
    }
}

/// When a correlation decides, and by what.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    /// At once: one more detection can only make it true.
    Window(WindowTest),
    /// At once: so many rules in their order.
    Sequence(u16),
    /// When nothing that comes can change it any more.
    Settled(Settling),
}

/// A question to the detections in a window that only becomes true by more of them.
#[derive(Clone, Debug)]
pub(crate) enum WindowTest {
    /// At least so many.
    Count(usize),
    /// At least so many different values.
    Distinct(usize),
    /// These rules.
    Slots(SlotTest),
}

impl WindowTest {
    /// More only makes it true, so all that can match at once is the best that can come.
    fn can_hold(&self, slots: u64) -> bool {
        match self {
            Self::Count(_) | Self::Distinct(_) => slots != 0,
            Self::Slots(test) => test.holds(slots),
        }
    }

    /// How many different values of the newest decide it whatever came before them.
    pub(crate) fn kept(&self) -> usize {
        match self {
            Self::Count(least) | Self::Distinct(least) => *least,
            Self::Slots(_) => 64,
        }
    }
}

/// What is evaluated in order, behind the watermark.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    /// The first slot whose detections clear what there is; those after it do so too.
    pub(crate) until: u16,
    pub(crate) test: SettledTest,
}

/// A question to detections in their final order.
#[derive(Clone, Debug)]
pub(crate) enum SettledTest {
    /// In the window that ends with each.
    Sliding(WindowTest),
    /// A number made of the values in the window that ends with each.
    Aggregate(Aggregate, Bounds),
    /// Rules in their order, of which some must be missing.
    Sequence(Box<[Role]>),
    /// In windows that one opens and the span closes.
    Closing(ClosingTest),
}

/// A question to all of a window that is over.
#[derive(Clone, Debug)]
pub(crate) enum ClosingTest {
    Count(Bounds),
    Distinct(Bounds),
    Slots(SlotTest),
    Aggregate(Aggregate, Bounds),
}

/// A number made of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aggregate {
    Sum,
    Average,
    Percentile(f64),
    Median,
}

/// What a rule is in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The step of this number.
    Step(u16),
    /// It must be missing after so many steps.
    Missing(u16),
}

impl Role {
    /// How many steps there are.
    pub(crate) fn steps(roles: &[Self]) -> u16 {
        roles.iter().filter(|role| matches!(role, Self::Step(_))).count() as u16
    }
}

/// Sums are kept in units of 2^-40, so that they do not depend on the order of their parts.
const UNIT: f64 = (1_u64 << 40) as f64;

impl Aggregate {
    /// Numbers beyond this are refused: sums of them could leave what 128 bits hold.
    pub(crate) const LARGEST: f64 = 1e24;

    /// A number as a part of a sum.
    pub(crate) fn part(number: f64) -> i128 {
        (number * UNIT).round() as i128
    }

    /// The number that these values make; `values` is put in some other order. `sum` is that of their parts.
    pub(crate) fn of(self, sum: i128, values: &mut [f64]) -> f64 {
        let total = sum as f64 / UNIT;
        if values.is_empty() {
            return total;
        }
        let count = values.len();
        let mut nth =
            |rank: usize| *values.select_nth_unstable_by(rank.min(count - 1), f64::total_cmp).1;
        match self {
            Self::Sum => total,
            Self::Average => total / count as f64,
            Self::Percentile(percentile) => {
                let rank = (percentile / 100.0 * count as f64).ceil() as usize;
                nth(rank.max(1) - 1)
            }
            Self::Median if count % 2 == 1 => nth(count / 2),
            Self::Median => (nth(count / 2 - 1) + nth(count / 2)) / 2.0,
        }
    }
}
