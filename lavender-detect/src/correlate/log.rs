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

    /// The elements to look at: finds out once how they are kept.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        let length = self.len();
        let parts = match self {
            Self::One(words, _) => Parts::Words(words, 3),
            Self::Words { words, gone, valued, .. } => {
                let width = width(*valued);
                Parts::Words(&words[*gone as usize * width..], width)
            }
            Self::Whole { elements, gone } => Parts::Whole(&elements[*gone as usize..]),
        };
        View { parts, length }
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

    pub(crate) fn get(&self, at: usize) -> Element {
        let like = match self {
            Self::Whole { elements, gone } => return elements[*gone as usize + at],
            Self::One(_, like) | Self::Words { like, .. } => like,
        };
        let [time, tag, value] = self.view().words(at);
        let id = like.origin().event(tag >> 16);
        Element { time: time.cast_signed(), id, slot: !(tag as u16), value }
    }

    pub(crate) fn last_time(&self) -> Option<i64> {
        self.view().last_time()
    }

    pub(crate) fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = Element> {
        range.map(|at| self.get(at))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Element> {
        self.range(0..self.len())
    }

    /// Puts an element in where it belongs, and says where that is; `None` when it is there already. Costs one comparison
    /// for one that comes in order.
    #[inline]
    pub(crate) fn put(&mut self, element: &Element) -> Option<usize> {
        if let Self::Words { words, like, gone, valued } = self {
            let [time, tag, value] = self::words(element);
            let width = width(*valued);
            if let Some(last) = words.len().checked_sub(width)
                && last >= *gone as usize * width
                && (words[last].cast_signed(), words[last + 1]) < (element.time, tag)
                && (*valued || value == 0)
                && origin(element.id) == origin(*like)
            {
                make_room(words, gone, width);
                let length = if *valued { words.len() / 3 } else { words.len() / 2 };
                words.push(time);
                words.push(tag);
                if *valued {
                    words.push(value);
                }
                return Some(length - *gone as usize);
            }
        }
        let at = self.position(element)?;
        self.insert(at, element);
        Some(at)
    }

    /// Where an element belongs; `None` when it is there already.
    fn position(&self, element: &Element) -> Option<usize> {
        let view = self.view();
        let length = view.len();
        if self.takes(element.id) {
            let place = |at: usize| {
                let [time, tag, _] = view.words(at);
                (time.cast_signed(), tag)
            };
            let [_, tag, _] = words(element);
            let new = (element.time, tag);
            let at = view.first(|at| place(at) >= new);
            return (at == length || place(at) != new).then_some(at);
        }
        let at = view.first(|at| self.get(at).place() >= element.place());
        (at == length || self.get(at).place() != element.place()).then_some(at)
    }

    /// Whether an event is of the origin that all are of, so that sequence numbers tell them apart.
    fn takes(&self, id: EventId) -> bool {
        match self {
            Self::One(_, like) | Self::Words { like, .. } => origin(id) == origin(*like),
            Self::Whole { .. } => false,
        }
    }

    /// Puts an element in where [`position`](Self::position) says that it belongs.
    fn insert(&mut self, at: usize, element: &Element) {
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

/// The elements of a [`Log`], however they are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    parts: Parts<'a>,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Parts<'a> {
    /// So many words to the element.
    Words(&'a [u64], usize),
    Whole(&'a [Element]),
}

impl View<'_> {
    /// How many elements there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// The words of an element.
    #[inline]
    fn words(&self, at: usize) -> [u64; 3] {
        [self.time(at).cast_unsigned(), self.tag(at), self.value(at)]
    }

    #[inline]
    pub(crate) fn time(&self, at: usize) -> i64 {
        match self.parts {
            Parts::Words(words, width) => words[at * width].cast_signed(),
            Parts::Whole(elements) => elements[at].time,
        }
    }

    #[inline]
    fn tag(&self, at: usize) -> u64 {
        match self.parts {
            Parts::Words(words, width) => words[at * width + 1],
            Parts::Whole(elements) => words(&elements[at])[1],
        }
    }

    #[inline]
    pub(crate) fn slot(&self, at: usize) -> u16 {
        !(self.tag(at) as u16)
    }

    #[inline]
    pub(crate) fn value(&self, at: usize) -> u64 {
        match self.parts {
            Parts::Words(words, 3) => words[at * 3 + 2],
            // A value of nothing needs no word.
            Parts::Words(..) => 0,
            Parts::Whole(elements) => elements[at].value,
        }
    }

    #[inline]
    pub(crate) fn first_time(&self) -> Option<i64> {
        (self.length > 0).then(|| self.time(0))
    }

    #[inline]
    pub(crate) fn last_time(&self) -> Option<i64> {
        self.length.checked_sub(1).map(|last| self.time(last))
    }

    /// The first element from `time` on.
    pub(crate) fn start(&self, time: i64) -> usize {
        self.first(|at| self.time(at) >= time)
    }

    /// The elements before `end` that are not older than `from`, the newest first.
    #[inline]
    pub(crate) fn since(&self, from: i64, end: usize) -> impl Iterator<Item = usize> {
        (0..end).rev().take_while(move |at| self.time(*at) >= from)
    }

    /// The first element that something holds for, which holds for all behind it.
    #[inline]
    fn first(&self, holds: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.length);
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
}

/// What an event's id has before its sequence number.
const fn origin(id: EventId) -> u128 {
    id.as_u128() >> 48
}

/// An element in words; without its origin.
#[inline]
fn words(element: &Element) -> [u64; 3] {
    // What is before the sequence number is shifted out.
    let tag = (element.id.as_u128() as u64) << 16 | u64::from(!element.slot);
    [element.time.cast_unsigned(), tag, element.value]
}

/// Makes room for one more, where some at the front may be gone: by those, or by a quarter and not by doubling, because
/// most groups are small, and there are many.
#[inline]
fn make_room<T: Copy>(parts: &mut Vec<T>, gone: &mut u32, width: usize) {
    if parts.len() + width <= parts.capacity() {
        return;
    }
    let dead = *gone as usize * width;
    // Moving the others costs no more than a few times what was put in since the last time.
    if dead > 0 && dead * 4 >= parts.len() {
        parts.copy_within(dead.., 0);
        parts.truncate(parts.len() - dead);
        *gone = 0;
    } else {
        parts.reserve_exact((parts.len() / width / 4).max(2) * width);
    }
}

/// Puts the parts of one element in.
fn open<T: Copy>(parts: &mut Vec<T>, gone: &mut u32, at: usize, new: &[T]) {
    let width = new.len();
    make_room(parts, gone, width);
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
