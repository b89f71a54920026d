//! The values that a rule has seen: digests in parts, bounded in bytes.

use super::cells::{Cells, Seen, Tick};

/// How many parts the digests are spread over, by their first byte: what changes is saved by the part.
pub(crate) const PARTS: usize = 256;
/// By how many values a part grows.
const GROWTH: usize = 4;

/// A value, and when it was seen: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) digest: u64,
    pub(crate) seen: Seen,
}

const VALUE_BYTES: usize = size_of::<Value>();
/// What the table takes without any value, and what the allocator adds to the parts.
const FIXED_BYTES: usize = PARTS * (size_of::<Vec<Value>>() + 16);

/// One bit for each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartSet([u64; PARTS / 64]);

impl PartSet {
    pub(crate) fn insert(&mut self, part: u8) {
        self.0[usize::from(part) / 64] |= 1 << (part % 64);
    }

    pub(crate) fn remove(&mut self, part: u8) {
        self.0[usize::from(part) / 64] &= !(1 << (part % 64));
    }

    pub(crate) fn contains(&self, part: u8) -> bool {
        self.0[usize::from(part) / 64] & 1 << (part % 64) != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |part| self.contains(*part))
    }
}

/// The values of one rule.
#[derive(Debug)]
pub(crate) struct Values {
    /// Each sorted by digest.
    parts: Box<[Vec<Value>]>,
    bytes_max: usize,
    /// Of the parts.
    capacity: usize,
    count: usize,
    /// The beginning of the cell in which all parts were last looked through for what is stale.
    swept: Tick,
    /// The parts that have changed since they were saved.
    pub(crate) changed: PartSet,
}

/// How a sighting of a value came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) known: bool,
    /// How many values had to be forgotten that still counted.
    pub(crate) forgotten: u64,
}

pub(crate) const fn part_of(digest: u64) -> u8 {
    (digest >> 56) as u8
}

impl Values {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let parts = (0..PARTS).map(|_| Vec::new()).collect();
        Self { parts, bytes_max, capacity: 0, count: 0, swept: 0, changed: PartSet::default() }
    }

    /// The least bound that leaves room for a value.
    pub(crate) const BYTES_MIN: usize = FIXED_BYTES + GROWTH * VALUE_BYTES;

    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// What it takes, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        FIXED_BYTES + self.capacity * VALUE_BYTES
    }

    pub(crate) fn part(&self, part: u8) -> &[Value] {
        &self.parts[usize::from(part)]
    }

    /// Takes in a sighting. Of a value that is there it allocates nothing.
    pub(crate) fn see(&mut self, digest: u64, time: Tick, cells: Cells) -> Outcome {
        let number = part_of(digest);
        let part = &mut self.parts[usize::from(number)];
        match part.binary_search_by_key(&digest, |value| value.digest) {
            Ok(at) => {
                let seen = &mut part[at].seen;
                let before = *seen;
                let known = seen.see(time, cells);
                if *seen != before {
                    self.changed.insert(number);
                }
                Outcome { known, forgotten: 0 }
            }
            Err(at) => {
                let forgotten = self.insert(at, Value { digest, seen: Seen::at(time) }, cells);
                Outcome { known: false, forgotten }
            }
        }
    }

    /// Puts a value where it belongs in its part, and says how many had to make room.
    #[cold]
    fn insert(&mut self, mut at: usize, value: Value, cells: Cells) -> u64 {
        let number = part_of(value.digest);
        let mut forgotten = 0;
        let part = &self.parts[usize::from(number)];
        if part.len() == part.capacity() {
            self.drop_stale(number, value.seen.first, cells);
            let part = &self.parts[usize::from(number)];
            if part.len() == part.capacity() {
                forgotten = self.make_room(number, value.seen.first, cells);
                let part = &mut self.parts[usize::from(number)];
                if part.len() == part.capacity() {
                    let before = part.capacity();
                    part.reserve_exact(GROWTH);
                    self.capacity += part.capacity() - before;
                }
            }
            let part = &self.parts[usize::from(number)];
            at = part.partition_point(|other| other.digest < value.digest);
        }
        self.parts[usize::from(number)].insert(at, value);
        self.count += 1;
        self.changed.insert(number);
        forgotten
    }

    /// Forgets what makes no difference any more.
    fn drop_stale(&mut self, number: u8, now: Tick, cells: Cells) {
        let part = &mut self.parts[usize::from(number)];
        let before = part.len();
        part.retain(|value| !cells.is_stale(value.seen.first, now));
        let gone = before - part.len();
        self.count -= gone;
        if gone > 0 {
            self.changed.insert(number);
        }
    }

    /// Makes a place in a part, be it by room to grow or by forgetting: of the part what was seen first the longest
    /// ago, which is near enough to the oldest of all since digests are spread evenly.
    fn make_room(&mut self, number: u8, now: Tick, cells: Cells) -> u64 {
        let mut forgotten = 0;
        if self.may_grow() {
            return 0;
        }
        let cell = cells.start(now);
        if self.swept < cell {
            self.swept = cell;
            for part in 0..=u8::MAX {
                self.drop_stale(part, now, cells);
                self.shrink(part);
            }
            if self.may_grow() {
                return 0;
            }
        }
        if self.forget_oldest(number) {
            return 1;
        }
        // It has no value to forget: another part gives up its room.
        let mut next = number;
        while !self.may_grow() {
            next = next.wrapping_add(1);
            if next == number {
                break;
            }
            while !self.may_grow() && self.forget_oldest(next) {
                forgotten += 1;
                self.shrink(next);
            }
        }
        forgotten
    }

    const fn may_grow(&self) -> bool {
        self.bytes() + GROWTH * VALUE_BYTES <= self.bytes_max
    }

    fn forget_oldest(&mut self, number: u8) -> bool {
        let part = &mut self.parts[usize::from(number)];
        let oldest = part.iter().enumerate().min_by_key(|(_, value)| value.seen.first);
        let Some((at, _)) = oldest else { return false };
        part.remove(at);
        self.count -= 1;
        self.changed.insert(number);
        true
    }

    fn shrink(&mut self, number: u8) {
        let part = &mut self.parts[usize::from(number)];
        let before = part.capacity();
        part.shrink_to_fit();
        self.capacity -= before - part.capacity();
    }

    /// Puts a saved part in the place of what is there, and says how many values have no room.
    pub(crate) fn restore(&mut self, number: u8, values: Vec<Value>) -> u64 {
        let part = &mut self.parts[usize::from(number)];
        self.count = self.count - part.len() + values.len();
        self.capacity = self.capacity - part.capacity() + values.capacity();
        *part = values;
        self.changed.remove(number);
        let mut forgotten = 0;
        while self.bytes() > self.bytes_max && self.forget_oldest(number) {
            forgotten += 1;
            self.shrink(number);
        }
        forgotten
    }
}
