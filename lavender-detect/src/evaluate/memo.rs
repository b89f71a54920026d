//! What was found in values seen before: programs, users and directories recur from record to record.

use crate::index::Posting;

/// So many values are kept per field, each at the one place that its hash says. Hosts run few programs at a time.
const ENTRIES: usize = 256;
/// Longer values are not kept: they are arguments and file names, which seldom recur. What is kept of a value is two
/// lines of the processor's cache.
const LONGEST: usize = 96;
/// A value in which more was found than this is not kept: it is rare.
const MOST_POSTINGS: usize = 6;
/// After so many values it is decided whether keeping them pays.
const TRIAL: u32 = 1_024;
/// It pays when one in so many recurs.
const WORTHWHILE: u32 = 3;
/// If not, it is tried again after so many more.
const REST: u32 = 64 * TRIAL;

/// The values of one field.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Empty until the first value comes: most fields that rules name never do.
    entries: Box<[Entry]>,
    looked: u32,
    found: u32,
    resting: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Entry {
    /// One more than the length of the value; 0 when nothing is kept here.
    length: u8,
    /// Whether keywords have to be looked for in it.
    keywords: bool,
    postings: Kept,
    text: [u8; LONGEST],
}

const _: () = assert!(size_of::<Entry>() == 128);

impl Entry {
    const EMPTY: Self =
        Self { length: 0, keywords: false, postings: Kept::new(), text: [0; LONGEST] };
}

/// What a value says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    count: u8,
    list: [Posting; MOST_POSTINGS],
}

impl Kept {
    pub(super) const fn new() -> Self {
        Self { count: 0, list: [Posting::certain(0); MOST_POSTINGS] }
    }

    /// Adds one; beyond [`MOST_POSTINGS`] it only counts.
    #[inline]
    pub(super) fn push(&mut self, posting: Posting) {
        if let Some(place) = self.list.get_mut(usize::from(self.count)) {
            *place = posting;
        }
        self.count = self.count.saturating_add(1);
    }

    fn is_whole(&self) -> bool {
        usize::from(self.count) <= MOST_POSTINGS
    }
}

/// A place for one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

/// What is known of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recall {
    /// What was found in it is kept there.
    Known(Place),
    /// Nothing; it may be kept there.
    Vacant(Place),
    /// Nothing, and it is not to be kept.
    Pass,
}

impl Memo {
    #[inline]
    pub(super) fn recall(&mut self, text: &[u8]) -> Recall {
        if self.resting > 0 {
            self.resting -= 1;
            return Recall::Pass;
        }
        if text.len() > LONGEST {
            return Recall::Pass;
        }
        if self.entries.is_empty() {
            self.entries = vec![Entry::EMPTY; ENTRIES].into();
        }
        self.looked += 1;
        if self.looked == TRIAL {
            self.resting = if self.found * WORTHWHILE < self.looked { REST } else { 0 };
            (self.looked, self.found) = (0, 0);
        }
        let at = hash(text) as usize % ENTRIES;
        let entry = &self.entries[at];
        if usize::from(entry.length) == text.len() + 1 && entry.text[..text.len()] == *text {
            self.found += 1;
            return Recall::Known(Place(at));
        }
        Recall::Vacant(Place(at))
    }

    /// What was found in the value that is kept there.
    #[inline]
    pub(super) fn posting(&self, place: Place, number: usize) -> Option<Posting> {
        let kept = &self.entries[place.0].postings;
        (number < usize::from(kept.count)).then(|| kept.list[number])
    }

    /// Whether the value that is kept there may hold keywords.
    #[inline]
    pub(super) fn may_hold_keywords(&self, place: Place) -> bool {
        self.entries[place.0].keywords
    }

    pub(super) fn keep(&mut self, place: Place, text: &[u8], postings: Kept, keywords: bool) {
        let entry = &mut self.entries[place.0];
        if let (true, Some(kept)) = (postings.is_whole(), entry.text.get_mut(..text.len())) {
            kept.copy_from_slice(text);
            entry.length = text.len() as u8 + 1;
            entry.postings = postings;
            entry.keywords = keywords;
        }
    }
}

/// A hash of a short text. Whoever makes values collide makes them be searched as if nothing were kept.
#[inline]
fn hash(text: &[u8]) -> u64 {
    // The multiplier is 2⁶⁴ divided by the golden ratio, made odd.
    let mix =
        |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let start = text.len() as u64;
    // Of what is longer than 24 bytes, paths and commands, the middle tells enough.
    let middle = text.get((text.len() / 2).saturating_sub(4)..).and_then(<[u8]>::first_chunk);
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => {
            [Some(first), middle, Some(last)].into_iter().map(word).fold(start, mix) >> 32
        }
        _ => mix(start, text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))) >> 32,
    }
}
