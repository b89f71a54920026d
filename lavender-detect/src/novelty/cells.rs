//! When values were seen, as far as it decides: pure, and the same in any order.

use lavender_core::Timestamp;

/// A tick is 2^30 ns, a little more than a second: 32 bits of them reach from 1970 to 2116.
const TICK_BITS: u32 = 30;

/// A moment in ticks since the epoch.
pub(crate) type Tick = u32;

/// The tick of a moment; `None` outside of 1970 to 2116.
pub(crate) fn tick(time: Timestamp) -> Option<Tick> {
    Tick::try_from(time.as_nanos() >> TICK_BITS).ok()
}

/// The moment at which a tick begins, in ns since the epoch.
pub(crate) const fn nanos(tick: Tick) -> i64 {
    (tick as i64) << TICK_BITS
}

/// As many ticks as are not shorter than this.
pub(crate) fn ticks_of(ns: i64) -> Tick {
    let ticks = (ns.max(0) + (1 << TICK_BITS) - 1) >> TICK_BITS;
    Tick::try_from(ticks).unwrap_or(Tick::MAX)
}

/// Time cut into cells as long as values are remembered; one cell where they are remembered for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cells {
    /// 0 for one cell.
    length: Tick,
    /// How much later than the newest event another may come: what is not older than that is not known for certain.
    lateness: Tick,
}

impl Cells {
    pub(crate) fn new(forget_ns: Option<i64>, lateness: Tick) -> Self {
        Self { length: forget_ns.map_or(0, ticks_of), lateness }
    }

    pub(crate) const fn length(self) -> Tick {
        self.length
    }

    pub(crate) const fn lateness(self) -> Tick {
        self.lateness
    }

    const fn cell(self, time: Tick) -> u32 {
        match time.checked_div(self.length) {
            Some(cell) => cell,
            None => 0,
        }
    }

    /// When the cell begins in which this is.
    pub(crate) const fn start(self, time: Tick) -> Tick {
        self.cell(time) * self.length
    }

    /// The earliest moment that makes a difference to whether something is new at this one; `None` for any.
    pub(crate) const fn horizon(self, time: Tick) -> Option<Tick> {
        if self.length == 0 {
            return None;
        }
        Some(self.start(time).saturating_sub(self.length))
    }

    /// Whether what was seen last at `seen` makes no difference to what is seen at `now` or later, nor to what comes
    /// late by then.
    pub(crate) const fn is_stale(self, seen: Tick, now: Tick) -> bool {
        self.cell(seen) + 2 < self.cell(now)
    }
}

/// When a value was seen: for the latest cell in which it was, and for the two before it.
///
/// It is the least of times for each cell, so the same sightings lead to the same state in any order, however often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The first time in the latest cell.
    pub(crate) first: Tick,
    /// Of the cell before that, how long before its end the first time was, 0 for never; and [`LONG_BEFORE`].
    pub(crate) before: u32,
}

/// Whether it was seen in the cell but one before the latest.
const LONG_BEFORE: u32 = 1 << 31;

impl Seen {
    pub(crate) const fn at(time: Tick) -> Self {
        Self { first: time, before: 0 }
    }

    /// Takes a sighting in, and says whether it is of a value that was known by then: seen in the same cell or in the
    /// one before, and longer ago than what may still come late.
    pub(crate) fn see(&mut self, time: Tick, cells: Cells) -> bool {
        let settled = time.saturating_sub(cells.lateness);
        let Self { first, before } = *self;
        let (latest, cell) = (cells.cell(first), cells.cell(time));
        let latest_start = cells.start(first);
        let previous = match before & !LONG_BEFORE {
            0 => None,
            ago => Some(latest_start.saturating_sub(ago)),
        };
        if cell == latest {
            self.first = first.min(time);
            first < settled || previous.is_some_and(|previous| previous < settled)
        } else if cell > latest {
            let (known, before) = match cell - latest {
                1 => {
                    let long = if previous.is_some() { LONG_BEFORE } else { 0 };
                    (first < settled, (latest_start.saturating_add(cells.length) - first) | long)
                }
                2 => (false, LONG_BEFORE),
                _ => (false, 0),
            };
            *self = Self { first: time, before };
            known
        } else if latest - cell == 1 {
            let ago = (latest_start - time).max(before & !LONG_BEFORE);
            self.before = ago | (before & LONG_BEFORE);
            let long_before = before & LONG_BEFORE != 0 && cells.start(time) <= settled;
            long_before || previous.is_some_and(|previous| previous < settled)
        } else {
            // So late that what was known at that time is not known any more.
            if latest - cell == 2 {
                self.before |= LONG_BEFORE;
            }
            true
        }
    }
}
