//! The groups that have state, found by key.

use super::resident::allocated;
use super::state::State;

/// A group of a correlation, and its state.
pub(super) struct Group {
    /// The two halves of its key: as one number it would have room around it.
    key: [u64; 2],
    pub(super) correlation: u32,
    /// What it takes beside [`GROUP_BYTES`], as it was last accounted for.
    pub(super) heap_bytes: u32,
    /// For which watermark its timer is set.
    pub(super) queued: i64,
    /// Up to when something of it may have been forgotten before it was begun.
    pub(super) gap: i64,
    pub(super) values: Box<[u8]>,
    pub(super) state: State,
    /// Whether it is among the [`Changes`](super::changes::Changes).
    pub(super) changed: bool,
}

/// A group's watermark, and its place.
pub(super) type Timer = (i64, u32);

/// What a group takes beside what its values and state take on the heap: itself; its place; up to two places in an index
/// that has just doubled and half of one in the index that it came from; its timer, and once more while those move.
/// Held against what is resident by `make bench-peers ARGS="correlations"`.
pub(super) const GROUP_BYTES: usize = allocated(size_of::<Group>())
    + size_of::<Option<Box<Group>>>()
    + 7 * size_of::<u64>() / 2
    + 2 * size_of::<Timer>();

impl Group {
    /// A group that nothing was found in so far, whose timer is not set.
    pub(super) fn new(
        key: u128,
        correlation: u32,
        values: Box<[u8]>,
        state: State,
        gap: i64,
    ) -> Self {
        Self {
            key: [(key >> 64) as u64, key as u64],
            correlation,
            heap_bytes: 0,
            queued: i64::MAX,
            gap,
            values,
            state,
            changed: false,
        }
    }

    pub(super) const fn key(&self) -> u128 {
        (self.key[0] as u128) << 64 | self.key[1] as u128
    }

    /// Keeps the sum of bytes up to date.
    pub(super) fn account(&mut self, bytes: &mut usize) {
        let now = allocated(self.values.len()) + self.state.heap_bytes();
        *bytes = *bytes + now - self.heap_bytes as usize;
        self.heap_bytes = u32::try_from(now).unwrap_or(u32::MAX);
    }

    /// All that it takes.
    pub(super) const fn bytes(&self) -> usize {
        GROUP_BYTES + self.heap_bytes as usize
    }
}

/// Groups in places that they keep as long as they are there, and an index of their keys, which are digests already.
#[derive(Default)]
pub(super) struct Groups {
    places: Vec<Option<Box<Group>>>,
    vacant: Vec<u32>,
    /// A power of two of entries, at most seven in eight taken: 32 bits of the key and the place, or [`FREE`]. One lies
    /// at its home, which those bits say, or behind it without a gap.
    index: Vec<u64>,
    len: usize,
}

/// An entry of no group: no place has this number.
const FREE: u64 = u64::MAX;
/// The smallest index.
const INDEX_MIN: usize = 16;

impl Groups {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Where the group of a key is.
    pub(super) fn find(&self, key: u128) -> Option<u32> {
        self.entry(key).map(|at| self.index[at] as u32)
    }

    fn entry(&self, key: u128) -> Option<usize> {
        let mask = self.index.len().checked_sub(1)?;
        let mut at = key as u32 as usize & mask;
        loop {
            let entry = self.index[at];
            if entry == FREE {
                return None;
            }
            if entry >> 32 == u64::from(key as u32)
                && self.get(entry as u32).is_some_and(|group| group.key() == key)
            {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&Group> {
        self.places.get(place as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Group> {
        self.places.get_mut(place as usize)?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.places.iter().filter_map(Option::as_deref)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.places.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// Puts in a group that is not there, and says where.
    pub(super) fn insert(&mut self, group: Group) -> u32 {
        if (self.len + 1) * 8 > self.index.len() * 7 {
            self.build_index((self.index.len() * 2).max(INDEX_MIN));
        }
        let key = group.key();
        let place = match self.vacant.pop() {
            Some(place) => {
                self.places[place as usize] = Some(Box::new(group));
                place
            }
            None => {
                self.places.push(Some(Box::new(group)));
                (self.places.len() - 1) as u32
            }
        };
        self.len += 1;
        enter(&mut self.index, u64::from(key as u32) << 32 | u64::from(place));
        place
    }

    /// Takes a group out.
    pub(super) fn remove(&mut self, place: u32) -> Option<Box<Group>> {
        let key = self.get(place)?.key();
        let mut hole = self.entry(key)?;
        let group = self.places[place as usize].take();
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
            return group;
        }
        self.vacant.push(place);
        // Those behind the hole that may lie there move up.
        let mask = self.index.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.index[at];
            if entry == FREE {
                break;
            }
            let home = (entry >> 32) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = entry;
                hole = at;
            }
        }
        self.index[hole] = FREE;
        if self.index.len() > INDEX_MIN && self.len * 8 < self.index.len() {
            self.build_index(self.index.len() / 2);
        }
        group
    }

    fn build_index(&mut self, size: usize) {
        let mut index = vec![FREE; size];
        for entry in self.index.iter().filter(|entry| **entry != FREE) {
            enter(&mut index, *entry);
        }
        self.index = index;
    }
}

fn enter(index: &mut [u64], entry: u64) {
    let mask = index.len() - 1;
    let mut at = (entry >> 32) as usize & mask;
    while index[at] != FREE {
        at = (at + 1) & mask;
    }
    index[at] = entry;
}
