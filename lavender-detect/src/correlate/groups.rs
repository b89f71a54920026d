//! The groups that have state, found by their values.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use hashbrown::HashTable;

use super::resident::allocated;
use super::row::{LENGTH, single};
use super::state::State;

/// A group of a correlation, and its state.
pub(super) struct Group {
    /// The two halves of its key: as one number it would have room around it.
    key: [u64; 2],
    pub(super) correlation: u32,
    /// What it is looked for by in the index.
    hash: u32,
    /// What it takes beside [`GROUP_BYTES`], as it was last accounted for.
    heap_bytes: u32,
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

/// What an entry of the index takes: a place, and the byte by which it is looked for.
const ENTRY_BYTES: usize = size_of::<u32>() + 1;

/// What a group takes beside what its values and state take on the heap: itself; its place; up to two and a third entries of
/// an index that has just doubled, and half as many in the index that it came from; its timer, and once more while those
/// move. Held against what is resident by `make bench-peers ARGS="correlations"`.
const GROUP_BYTES: usize = allocated(size_of::<Group>())
    + size_of::<Option<Box<Group>>>()
    + (7 * ENTRY_BYTES).div_ceil(2)
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
            hash: 0,
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
    #[inline]
    pub(super) fn account(&mut self, bytes: &mut usize) {
        let now = self.state.heap_bytes();
        *bytes = *bytes + now - self.heap_bytes as usize;
        self.heap_bytes = u32::try_from(now).unwrap_or(u32::MAX);
    }

    /// All that it takes, as it was last accounted for.
    pub(super) const fn bytes(&self) -> usize {
        GROUP_BYTES + allocated(self.values.len()) + self.heap_bytes as usize
    }
}

/// A group that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) correlation: u32,
    /// The digest of the correlation, or a part of it.
    pub(super) content: u64,
    pub(super) values: Values<'a>,
}

/// The values of a group.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values<'a> {
    /// Of one field, whose text this is.
    Text(&'a [u8]),
    /// As a group keeps them.
    Kept(&'a [u8]),
}

impl Values<'_> {
    #[inline]
    fn are(&self, kept: &[u8]) -> bool {
        match self {
            Self::Text(text) => single(kept) == Some(*text),
            Self::Kept(others) => kept == *others,
        }
    }
}

/// Groups in places that they keep as long as they are there, and an index of them by a digest of their values. Whoever
/// chooses values does not know its seed, and so cannot choose those that are all looked for in one place.
pub(super) struct Groups {
    places: Vec<Option<Box<Group>>>,
    vacant: Vec<u32>,
    index: HashTable<u32>,
    seed: u64,
    seeds: SharedSeed,
}

/// The least that an index has room for.
const INDEX_MIN: usize = 14;

impl Default for Groups {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            places: Vec::new(),
            vacant: Vec::new(),
            index: HashTable::new(),
            seed: random.hash_one(0),
            seeds: SharedSeed::from_u64(random.hash_one(1)),
        }
    }
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the group of a correlation is that has these values.
    #[inline]
    pub(super) fn find(&self, wanted: Wanted<'_>) -> Option<u32> {
        let hash = self.hash(wanted.content, wanted.values);
        let is_it = |place: &u32| {
            self.get(*place).is_some_and(|group| {
                group.hash == hash
                    && group.correlation == wanted.correlation
                    && wanted.values.are(&group.values)
            })
        };
        self.index.find(spread(hash), is_it).copied()
    }

    /// By what a group is looked for: the same for one text and for the values that it makes.
    #[inline]
    fn hash(&self, content: u64, values: Values<'_>) -> u32 {
        let (length, rest) = match values {
            Values::Text(text) => (text.len() as u32, text),
            Values::Kept(values) => match values.split_first_chunk::<LENGTH>() {
                Some((length, rest)) => (u32::from_le_bytes(*length), rest),
                None => (0, values),
            },
        };
        let seed = self.seed ^ content ^ u64::from(length);
        let mut hasher = FoldHasher::with_seed(seed, &self.seeds);
        hasher.write(rest);
        hasher.finish() as u32
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Group> {
        self.places.get(place as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Group> {
        self.places.get_mut(place as usize)?.as_deref_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.places.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// The groups with their places.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u32, &Group)> {
        (0..).zip(&self.places).filter_map(|(place, group)| Some((place, group.as_deref()?)))
    }

    pub(super) fn placed_mut(&mut self) -> impl Iterator<Item = (u32, &mut Group)> {
        (0..)
            .zip(&mut self.places)
            .filter_map(|(place, group)| Some((place, group.as_deref_mut()?)))
    }

    /// Puts in a group that is not there, of a correlation with this digest, and says where.
    pub(super) fn insert(&mut self, content: u64, mut group: Group) -> u32 {
        if self.index.len() == self.index.capacity() {
            // Some of the room may only be taken by what was removed.
            let full = self.full();
            self.build_index(if self.len() * 2 > full { full * 2 } else { full.max(INDEX_MIN) });
        }
        group.hash = self.hash(content, Values::Kept(&group.values));
        let hash = spread(group.hash);
        let group = Some(Box::new(group));
        let place = match self.vacant.pop() {
            Some(place) => {
                self.places[place as usize] = group;
                place
            }
            None => {
                self.places.push(group);
                (self.places.len() - 1) as u32
            }
        };
        let Self { places, index, .. } = self;
        index.insert_unique(hash, place, |place| hash_of(places, *place));
        place
    }

    /// Takes a group out.
    pub(super) fn remove(&mut self, place: u32) -> Option<Box<Group>> {
        let group = self.places.get_mut(place as usize)?.take()?;
        if let Ok(entry) = self.index.find_entry(spread(group.hash), |other| *other == place) {
            entry.remove();
        }
        if self.index.is_empty() {
            (self.places, self.vacant, self.index) = (Vec::new(), Vec::new(), HashTable::new());
            return Some(group);
        }
        self.vacant.push(place);
        let full = self.full();
        if full > INDEX_MIN && self.len() * 8 < full {
            self.build_index(full / 2);
        }
        Some(group)
    }

    /// How many the index has room for without what was removed.
    fn full(&self) -> usize {
        self.index.num_buckets() / 8 * 7
    }

    /// In the order of places, in which groups mostly lie in memory.
    fn build_index(&mut self, room: usize) {
        let mut index = HashTable::with_capacity(room);
        for (place, group) in self.placed() {
            index.insert_unique(spread(group.hash), place, |place| hash_of(&self.places, *place));
        }
        self.index = index;
    }
}

/// The index takes the place from the lower bits and looks at the upper ones.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

fn hash_of(places: &[Option<Box<Group>>], place: u32) -> u64 {
    places[place as usize].as_ref().map_or(0, |group| spread(group.hash))
}
