//! The matchers of one field.

use std::collections::HashMap;

use super::inner::Inner;
use super::radix::{End, NotAscii, Radix};
use crate::matcher::pattern::{Pattern, Piece, Shape};

/// What a literal says when it is found: a test of the plan, and whether it is thereby true or only possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting(u32);

const POSSIBLE: u32 = 1 << 31;

impl Posting {
    pub(crate) const fn certain(test: u32) -> Self {
        Self(test)
    }

    pub(crate) const fn possible(test: u32) -> Self {
        Self(test | POSSIBLE)
    }

    pub(crate) const fn test(self) -> usize {
        (self.0 & !POSSIBLE) as usize
    }

    pub(crate) const fn is_certain(self) -> bool {
        self.0 & POSSIBLE == 0
    }
}

/// Lists of postings by number, in one allocation.
#[derive(Debug, Default)]
struct Postings {
    ends: Box<[u32]>,
    all: Box<[Posting]>,
}

impl Postings {
    fn new(lists: Vec<Vec<Posting>>) -> Self {
        let mut all = Vec::new();
        let mut ends = Vec::with_capacity(lists.len());
        for list in lists {
            all.extend(list);
            ends.push(all.len() as u32);
        }
        Self { ends: ends.into(), all: all.into() }
    }

    fn of(&self, number: u32) -> &[Posting] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.all[start..self.ends[number] as usize]
    }
}

/// A number has to be written out to be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeedsText;

/// What is looked for in one field: every text that some rule waits for.
#[derive(Debug, Default)]
pub(crate) struct FieldGate {
    starts: Option<Anchored>,
    stops: Option<Anchored>,
    inner: Option<(Inner, Postings)>,
    numbers: Option<Numbers>,
    /// Whether only texts are looked for that may stand anywhere, and none of them has a NUL (as UTF-16 makes them).
    plain_inner: bool,
    /// Tests that are possible whenever the field is there.
    pub(crate) present: Box<[Posting]>,
    /// Every test that waits on this field: all are possible when its value is not known in full.
    pub(crate) all: Box<[u32]>,
}

#[derive(Debug)]
struct Anchored {
    tree: Radix,
    /// What is said when the literal stands at the end.
    open: Postings,
    /// What is said when the literal is the whole value.
    whole: Postings,
}

/// The whole numbers that are looked for, where that is all that a number can be found by.
#[derive(Debug)]
struct Numbers {
    sorted: Box<[i64]>,
    postings: Postings,
}

impl Numbers {
    fn new(anchors: &HashMap<Anchor, Vec<Posting>>) -> Option<Self> {
        // A text that is part of a number, and not the whole of it, has to be searched for.
        let is_in_numbers = |text: &[u8]| text.iter().all(|byte| b"-0123456789".contains(byte));
        let mut numbers = Vec::new();
        for (anchor, postings) in anchors {
            match (anchor, canonical_number(anchor.text())) {
                (Anchor::Whole(_), Some(number)) => numbers.push((number, postings.clone())),
                // Of leading zeros and the like no number is written.
                (Anchor::Whole(_), None) => {}
                (anchor, _) if is_in_numbers(anchor.text()) => return None,
                _ => {}
            }
        }
        numbers.sort_unstable_by_key(|(number, _)| *number);
        let (sorted, lists): (Vec<_>, _) = numbers.into_iter().unzip();
        Some(Self { sorted: sorted.into(), postings: Postings::new(lists) })
    }
}

fn canonical_number(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

impl Anchored {
    #[inline]
    fn post(&self, literal: u32, whole: bool, visit: &mut impl FnMut(Posting)) {
        self.open.of(literal).iter().for_each(|posting| visit(*posting));
        if whole {
            self.whole.of(literal).iter().for_each(|posting| visit(*posting));
        }
    }
}

impl FieldGate {
    /// Gives `visit` what this text says at its ends, as far as it can be said before the text is folded.
    ///
    /// # Errors
    ///
    /// [`NotAscii`] when it cannot be said: [`search`](Self::search) then says all.
    #[inline]
    pub(crate) fn search_ends(
        &self,
        text: &[u8],
        mut visit: impl FnMut(Posting),
    ) -> Result<(), NotAscii> {
        for anchored in [&self.stops, &self.starts].into_iter().flatten() {
            anchored.tree.walk(text, |literal, whole| anchored.post(literal, whole, &mut visit))?;
        }
        Ok(())
    }

    /// Gives `visit` everything that this folded text says.
    pub(crate) fn search(&self, text: &[u8], mut visit: impl FnMut(Posting)) {
        for anchored in [&self.stops, &self.starts].into_iter().flatten() {
            anchored
                .tree
                .walk_folded(text, |literal, whole| anchored.post(literal, whole, &mut visit));
        }
        self.search_inner(text, visit);
    }

    /// Gives `visit` what this folded text says wherever it stands in it.
    #[inline]
    pub(crate) fn search_inner(&self, text: &[u8], mut visit: impl FnMut(Posting)) {
        if let Some((inner, postings)) = &self.inner {
            inner.find(text, |literal| {
                postings.of(literal).iter().for_each(|posting| visit(*posting));
            });
        }
    }

    /// Whether any text is looked for, and not only presence.
    pub(crate) const fn has_texts(&self) -> bool {
        self.starts.is_some() || self.stops.is_some() || self.inner.is_some()
    }

    /// Whether values can be searched together with NULs between them.
    pub(crate) const fn fits_between_nuls(&self) -> bool {
        self.plain_inner
    }

    /// Gives `visit` everything that this number says.
    ///
    /// # Errors
    ///
    /// [`NeedsText`] when only the number's text can say it.
    pub(crate) fn search_number(
        &self,
        number: i64,
        visit: impl FnMut(Posting),
    ) -> Result<(), NeedsText> {
        let numbers = self.numbers.as_ref().ok_or(NeedsText)?;
        if let Ok(at) = numbers.sorted.binary_search(&number) {
            numbers.postings.of(at as u32).iter().copied().for_each(visit);
        }
        Ok(())
    }

    /// Whether any text is looked for that may stand anywhere.
    pub(crate) const fn has_inner(&self) -> bool {
        self.inner.is_some()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let postings =
            |postings: &Postings| size_of_val(&*postings.all) + size_of_val(&*postings.ends);
        let anchored = |anchored: &Anchored| {
            anchored.tree.heap_bytes() + postings(&anchored.open) + postings(&anchored.whole)
        };
        [&self.starts, &self.stops].into_iter().flatten().map(anchored).sum::<usize>()
            + self.inner.as_ref().map_or(0, |(inner, list)| inner.heap_bytes() + postings(list))
            + self
                .numbers
                .as_ref()
                .map_or(0, |numbers| size_of_val(&*numbers.sorted) + postings(&numbers.postings))
            + (self.present.len() + self.all.len()) * 4
    }
}

/// A literal that a pattern cannot match without, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Anchor {
    Whole(Vec<u8>),
    Start(Vec<u8>),
    Stop(Vec<u8>),
    Inside(Vec<u8>),
}

impl Anchor {
    /// The literal of a pattern, and whether finding it is matching the pattern. `None` when the pattern needs
    /// no text in particular. Of several literals it is the one that is the best to look for: `worth` says how good.
    pub(crate) fn of(pattern: &Pattern, worth: fn(&[u8]) -> usize) -> Option<(Self, bool)> {
        use crate::matcher::fold::fold;
        let certain = !pattern.cased;
        let text = |bytes: &[u8]| if pattern.cased { fold(bytes) } else { bytes.to_vec() };
        let some = |bytes: &[u8], anchor: fn(Vec<u8>) -> Self| {
            (!bytes.is_empty()).then(|| (anchor(text(bytes)), certain))
        };
        match &pattern.shape {
            Shape::Exact(bytes) => some(bytes, Self::Whole),
            Shape::Prefix(bytes) => some(bytes, Self::Start),
            Shape::Suffix(bytes) => some(bytes, Self::Stop),
            Shape::Contains(needle) => some(&needle.bytes, Self::Inside),
            Shape::Glob(pieces) => {
                let best = pieces
                    .iter()
                    .filter_map(|piece| match piece {
                        Piece::Literal(bytes) => Some(bytes),
                        _ => None,
                    })
                    .max_by_key(|bytes| worth(bytes))?;
                (!best.is_empty()).then(|| (Self::Inside(text(best)), false))
            }
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        match self {
            Self::Whole(text) | Self::Start(text) | Self::Stop(text) | Self::Inside(text) => text,
        }
    }
}

/// A field's gate under construction.
#[derive(Debug, Default)]
pub(crate) struct GateBuilder {
    anchors: HashMap<Anchor, Vec<Posting>>,
    present: Vec<Posting>,
    all: Vec<u32>,
}

impl GateBuilder {
    pub(crate) fn add_anchor(&mut self, anchor: Anchor, posting: Posting) {
        self.anchors.entry(anchor).or_default().push(posting);
        self.all.push(posting.test() as u32);
    }

    pub(crate) fn add_present(&mut self, posting: Posting) {
        self.present.push(posting);
        self.all.push(posting.test() as u32);
    }

    /// The literals of which a value needs one; `None` when it needs none.
    pub(crate) fn literals(&self) -> Option<impl Iterator<Item = &[u8]>> {
        self.present.is_empty().then(|| self.anchors.keys().map(Anchor::text))
    }

    /// Whether literals are looked for wherever they stand, and none of them has a NUL.
    pub(crate) fn is_plain_inner(&self) -> bool {
        self.anchors
            .keys()
            .all(|anchor| matches!(anchor, Anchor::Inside(text) if !text.contains(&0)))
    }

    pub(crate) fn build(mut self) -> FieldGate {
        let mut starts: HashMap<Vec<u8>, [Vec<Posting>; 2]> = HashMap::new();
        let mut stops: HashMap<Vec<u8>, [Vec<Posting>; 2]> = HashMap::new();
        let mut inside: HashMap<Vec<u8>, Vec<Posting>> = HashMap::new();
        let numbers = Numbers::new(&self.anchors);
        let plain_inner = self.is_plain_inner();
        // A whole value goes into the tree that is there anyway.
        let any_start = self.anchors.keys().any(|anchor| matches!(anchor, Anchor::Start(_)));
        for (anchor, postings) in self.anchors {
            match anchor {
                Anchor::Start(text) => starts.entry(text).or_default()[0].extend(postings),
                Anchor::Stop(text) => stops.entry(text).or_default()[0].extend(postings),
                Anchor::Whole(text) if any_start => {
                    starts.entry(text).or_default()[1].extend(postings);
                }
                Anchor::Whole(text) => stops.entry(text).or_default()[1].extend(postings),
                Anchor::Inside(text) => inside.entry(text).or_default().extend(postings),
            }
        }
        self.all.sort_unstable();
        self.all.dedup();
        let mut inside: Vec<_> = inside.into_iter().collect();
        inside.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let literals: Vec<&[u8]> = inside.iter().map(|(text, _)| text.as_slice()).collect();
        let inner = if literals.is_empty() { None } else { Inner::new(&literals) };
        let lists: Vec<_> = inside.into_iter().map(|(_, postings)| postings).collect();
        if inner.is_none() {
            // Too many for the automaton: those tests are possible whenever the field is there.
            let possible = lists.iter().flatten().map(|p| Posting::possible(p.test() as u32));
            self.present.extend(possible);
        }
        FieldGate {
            starts: anchored(End::Start, starts),
            stops: anchored(End::Stop, stops),
            inner: inner.map(|inner| (inner, Postings::new(lists))),
            numbers,
            plain_inner,
            present: self.present.into(),
            all: self.all.into(),
        }
    }
}

fn anchored(end: End, literals: HashMap<Vec<u8>, [Vec<Posting>; 2]>) -> Option<Anchored> {
    let mut literals: Vec<_> = literals.into_iter().collect();
    if literals.is_empty() {
        return None;
    }
    literals.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let texts: Vec<&[u8]> = literals.iter().map(|(text, _)| text.as_slice()).collect();
    let tree = Radix::new(end, &texts);
    let (open, whole) = literals.into_iter().map(|(_, [open, whole])| (open, whole)).unzip();
    Some(Anchored { tree, open: Postings::new(open), whole: Postings::new(whole) })
}
