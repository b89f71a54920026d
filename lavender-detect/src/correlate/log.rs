//! The elements of a group in their order, in as little room as they need.
//!
//! A group mostly sees one agent in one boot, and many correlations look at no value. So an element is two words: its
//! time, and its event's sequence number with the slot; where the event comes from is kept once for all of them. A
//! value is a third word. Only when events of several origins meet in a group are elements kept whole.

use std::ops::Range;

use lavender_core::EventId;

use super::element::Element;
use super::resident::allocated;

/// Elements, sorted by [`Element::place`].
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// One, without heap of its own: most groups never see a second. Its words, and its event, which has its origin.
    One([u64; 3], EventId),
    /// Elements whose events are all of the origin of `like`.
    Words {
        /// Three to the element, the last its value; or two, if not `valued`.
        words: Vec<u64>,
        like: EventId,
        /// How many elements at the front are gone, and still have their room.
        gone: u32,
        valued: bool,
    },
    /// Any; and none.
    Whole { elements: Vec<Element>, gone: u32 },
}

impl Default for Log {
    fn default() -> Self {
        Self::Whole { elements: Vec::new(), gone: 0 }
    }
}

/// How many elements there is room for when the heap is first asked.
const FIRST: usize = 4;

const fn width(valued: bool) -> usize {
    if valued { 3 } else { 2 }
}

impl Log {
    /// How many elements there are.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Words { words, gone, valued: true, .. } => words.len() / 3 - *gone as usize,
            Self::Words { words, gone, .. } => words.len() / 2 - *gone as usize,
            Self::Whole { elements, gone } => elements.len() - *gone as usize,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes on the heap, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        match self {
            Self::One(..) => 0,
            Self::Words { words, .. } => allocated(words.capacity() * size_of::<u64>()),
            Self::Whole { elements, .. } => allocated(elements.capacity() * size_of::<Element>()),
        }
    }

    /// The words of an element.
    #[inline]
    fn words(&self, at: usize) -> [u64; 3] {
        match self {
            Self::One(words, _) => *words,
            Self::Words { words, gone, valued: true, .. } => {
                let at = 3 * (*gone as usize + at);
                let words = &words[at..at + 3];
                [words[0], words[1], words[2]]
            }
            Self::Words { words, gone, .. } => {
                let at = 2 * (*gone as usize + at);
                let words = &words[at..at + 2];
                [words[0], words[1], 0]
            }
            Self::Whole { elements, gone } => words(&elements[*gone as usize + at]),
        }
    }

    #[inline]
    pub(crate) fn time(&self, at: usize) -> i64 {
        self.words(at)[0].cast_signed()
    }

    #[inline]
    pub(crate) fn slot(&self, at: usize) -> u16 {
        !(self.words(at)[1] as u16)
    }

    #[inline]
    pub(crate) fn value(&self, at: usize) -> u64 {
        self.words(at)[2]
    }

    pub(crate) fn get(&self, at: usize) -> Element {
        let like = match self {
            Self::Whole { elements, gone } => return elements[*gone as usize + at],
            Self::One(_, like) | Self::Words { like, .. } => like,
        };
        let [time, tag, value] = self.words(at);
        let id = like.origin().event(tag >> 16);
        Element { time: time.cast_signed(), id, slot: !(tag as u16), value }
    }

    pub(crate) fn first_time(&self) -> Option<i64> {
        (!self.is_empty()).then(|| self.time(0))
    }

    pub(crate) fn last_time(&self) -> Option<i64> {
        self.len().checked_sub(1).map(|last| self.time(last))
    }

    pub(crate) fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = Element> {
        range.map(|at| self.get(at))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Element> {
        self.range(0..self.len())
    }

    /// The first three elements of a range that have this value.
    pub(crate) fn with_value(&self, range: Range<usize>, value: u64) -> [Option<usize>; 3] {
        let mut same = range.filter(|at| self.value(*at) == value);
        [same.next(), same.next(), same.next()]
    }

    /// The first element from `time` on.
    pub(crate) fn start(&self, time: i64) -> usize {
        self.first(|at| self.time(at) >= time)
    }

    /// The first element that something holds for, which holds for all behind it.
    #[inline]
    fn first(&self, holds: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if holds(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// Where an element belongs; `None` when it is there already. Costs one comparison for one that comes in order.
    pub(crate) fn position(&self, element: &Element) -> Option<usize> {
        let length = self.len();
        let Some(last) = length.checked_sub(1) else { return Some(0) };
        let [time, tag, _] = words(element);
        if self.takes(element.id) {
            let place = |at: usize| {
                let [time, tag, _] = self.words(at);
                (time.cast_signed(), tag)
            };
            let new = (time.cast_signed(), tag);
            if place(last) < new {
                return Some(length);
            }
            let at = self.first(|at| place(at) >= new);
            return (at == length || place(at) != new).then_some(at);
        }
        let at = self.first(|at| self.get(at).place() >= element.place());
        (at == length || self.get(at).place() != element.place()).then_some(at)
    }

    /// Whether an event is of the origin that all are of, so that sequence numbers tell them apart.
    fn takes(&self, id: EventId) -> bool {
        match self {
            Self::One(_, like) | Self::Words { like, .. } => {
                id.as_u128() >> 48 == like.as_u128() >> 48
            }
            Self::Whole { .. } => false,
        }
    }

    /// Puts an element in where [`position`](Self::position) says that it belongs.
    pub(crate) fn insert(&mut self, at: usize, element: &Element) {
        let new = words(element);
        if self.is_empty() {
            self.begin(new, element.id);
            return;
        }
        if !self.takes(element.id) {
            self.make_whole();
        } else if new[2] != 0 {
            self.make_valued();
        }
        match self {
            Self::Whole { elements, gone } => open(elements, gone, at, &[*element]),
            Self::Words { words, gone, valued: true, .. } => open(words, gone, at, &new),
            Self::Words { words, gone, .. } => open(words, gone, at, &[new[0], new[1]]),
            Self::One(one, like) => {
                let valued = one[2] != 0 || new[2] != 0;
                let width = width(valued);
                let mut words = Vec::with_capacity(FIRST * width);
                words.extend_from_slice(&one[..width]);
                words.splice(at * width..at * width, new[..width].iter().copied());
                *self = Self::Words { words, like: *like, gone: 0, valued };
            }
        }
    }

    /// Puts in the first element.
    fn begin(&mut self, new: [u64; 3], id: EventId) {
        match self {
            Self::Words { words, like, gone, valued } => {
                (*like, *gone, *valued) = (id, 0, new[2] != 0);
                words.clear();
                words.extend_from_slice(&new[..width(*valued)]);
            }
            log => *log = Self::One(new, id),
        }
    }

    fn make_whole(&mut self) {
        if !matches!(self, Self::Whole { .. }) {
            *self = Self::Whole { elements: self.iter().collect(), gone: 0 };
        }
    }

    /// Makes room for values, where there are words that have none.
    fn make_valued(&mut self) {
        if let Self::Words { words, gone, valued: valued @ false, .. } = self {
            let pairs = words[2 * *gone as usize..].chunks_exact(2);
            *words = pairs.flat_map(|pair| [pair[0], pair[1], 0]).collect();
            (*gone, *valued) = (0, true);
        }
    }

    pub(crate) fn set_value(&mut self, at: usize, value: u64) {
        if value != 0 {
            self.make_valued();
        }
        match self {
            Self::One(words, _) => words[2] = value,
            Self::Words { words, gone, valued: true, .. } => {
                words[3 * (*gone as usize + at) + 2] = value;
            }
            // A value of nothing needs no word.
            Self::Words { .. } => {}
            Self::Whole { elements, gone } => elements[*gone as usize + at].value = value,
        }
    }

    pub(crate) fn remove(&mut self, at: usize) {
        self.remove_range(at..at + 1);
    }

    pub(crate) fn remove_range(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self {
            Self::One(..) => *self = Self::default(),
            Self::Words { words, gone, valued, .. } => close(words, gone, range, width(*valued)),
            Self::Whole { elements, gone } => close(elements, gone, range, 1),
        }
    }

    /// Forgets so many at the front.
    pub(crate) fn forget(&mut self, count: usize) {
        let count = count.min(self.len());
        match self {
            Self::One(..) if count > 0 => *self = Self::default(),
            Self::One(..) => {}
            Self::Words { gone, .. } | Self::Whole { gone, .. } => *gone += count as u32,
        }
    }
}

/// An element in words; without its origin.
fn words(element: &Element) -> [u64; 3] {
    let tag = element.id.sequence() << 16 | u64::from(!element.slot);
    [element.time.cast_unsigned(), tag, element.value]
}

/// Puts the parts of one element in, where some at the front may be gone. Makes room by what is gone, or by a quarter and
/// not by doubling: most groups are small, and there are many.
fn open<T: Copy>(parts: &mut Vec<T>, gone: &mut u32, at: usize, new: &[T]) {
    let width = new.len();
    if parts.len() + width > parts.capacity() {
        let dead = *gone as usize * width;
        // Moving the others costs no more than a few times what was put in since the last time.
        if dead > 0 && dead * 8 >= parts.len() {
            parts.copy_within(dead.., 0);
            parts.truncate(parts.len() - dead);
            *gone = 0;
        } else {
            parts.reserve_exact((parts.len() / width / 4).max(2) * width);
        }
    }
    let start = (*gone as usize + at) * width;
    let end = parts.len();
    parts.extend_from_slice(new);
    if start < end {
        parts.copy_within(start..end, start + width);
        parts[start..start + width].copy_from_slice(new);
    }
}

/// Takes elements out by moving those before them or those behind them, whichever are fewer.
fn close<T: Copy>(parts: &mut Vec<T>, gone: &mut u32, range: Range<usize>, width: usize) {
    let front = *gone as usize;
    let (start, end) = ((front + range.start) * width, (front + range.end) * width);
    if range.start * width <= parts.len() - end {
        let removed = range.len();
        parts.copy_within(front * width..start, (front + removed) * width);
        *gone += removed as u32;
    } else {
        parts.copy_within(end.., start);
        parts.truncate(parts.len() - range.len() * width);
    }
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl FromIterator<Element> for Log {
    fn from_iter<I: IntoIterator<Item = Element>>(elements: I) -> Self {
        let mut log = Self::default();
        for element in elements {
            log.insert(log.len(), &element);
        }
        log
    }
}
