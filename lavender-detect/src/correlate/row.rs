//! The fields that a correlation asks for, taken from a record while it is at hand.

use std::hash::Hasher as _;
use std::ops::{ControlFlow, Range};

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher13 as SipHasher13x128};

use super::correlation::Feed;
use super::plan::Aggregate;
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Record};
use crate::schema::FieldId;

/// Texts of fields, one cell for each column: none, one, or those of a list.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The texts, each with its length behind it: that is what ends a text, and no text holds.
    bytes: Vec<u8>,
    /// The texts in `bytes`, by the end of their lengths.
    ends: Vec<u32>,
    /// The cells in `ends`, by end.
    cells: Vec<u32>,
}

/// The most values of a list that are looked at: a process has at most 64 ancestors.
const LIST_MAX: u32 = 128;
/// What the length of a text takes.
pub(super) const LENGTH: usize = size_of::<u32>();
/// The longest text that is taken whole: `PATH_MAX`. A longer one counts by its first bytes.
const TEXT_MAX: usize = 4_096;

impl Row {
    /// Takes the fields that a correlation asks of a record.
    pub(crate) fn fill<R: Record + ?Sized>(&mut self, record: &R, feed: &Feed<FieldId>) {
        self.clear();
        for field in &feed.columns {
            match record.value(*field) {
                FieldValue::List => {
                    let mut room = LIST_MAX;
                    let _ = record.elements(*field, &mut |value| {
                        self.push(&value);
                        room -= 1;
                        if room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                }
                value => self.push(&value),
            }
            self.cells.push(self.ends.len() as u32);
        }
    }

    /// Takes fields that were carried along.
    pub(crate) fn fill_carried(&mut self, carried: &[u8], columns: &[u16]) {
        self.clear();
        let cells: Vec<&[u8]> = parts(carried).collect();
        for column in columns {
            for text in cells.get(usize::from(*column)).into_iter().flat_map(|cell| parts(cell)) {
                self.push_text(text);
            }
            self.cells.push(self.ends.len() as u32);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.cells.clear();
    }

    fn push(&mut self, value: &FieldValue<'_>) {
        let mut buffer = TextBuffer::new();
        if let Some(text) = value.text(&mut buffer) {
            self.push_text(text);
        }
    }

    #[inline]
    fn push_text(&mut self, text: &[u8]) {
        let text = cut(text);
        self.bytes.reserve(text.len() + LENGTH);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.ends.push(self.bytes.len() as u32);
    }

    /// How many texts a cell has.
    fn count(&self, cell: usize) -> usize {
        self.start(cell + 1) - self.start(cell)
    }

    /// A text of a cell.
    fn text(&self, cell: usize, number: usize) -> &[u8] {
        let whole = self.ended(self.start(cell) + number);
        &whole[..whole.len() - LENGTH]
    }

    /// The number of a cell's first text.
    fn start(&self, cell: usize) -> usize {
        cell.checked_sub(1).map_or(0, |before| self.cells[before] as usize)
    }

    /// A text with its length.
    fn ended(&self, at: usize) -> &[u8] {
        self.all_ended(at..at + 1)
    }

    /// Texts that follow each other, with their lengths.
    fn all_ended(&self, texts: Range<usize>) -> &[u8] {
        let end_of = |texts: usize| texts.checked_sub(1).map_or(0, |at| self.ends[at] as usize);
        &self.bytes[end_of(texts.start)..end_of(texts.end)]
    }

    /// Gives `each` every group that the first `columns` cells make, as the numbers of the texts in them: one, unless
    /// a cell is a list, and none where one is empty. At most [`LIST_MAX`].
    pub(crate) fn groups(
        &self,
        columns: usize,
        chosen: &mut Vec<u32>,
        mut each: impl FnMut(&[u32]),
    ) {
        chosen.clear();
        chosen.resize(columns, 0);
        if self.are_single(columns) {
            each(chosen);
            return;
        }
        if (0..columns).any(|cell| self.count(cell) == 0) {
            return;
        }
        for _ in 0..LIST_MAX {
            each(chosen);
            // The next in the order of an odometer.
            let next =
                (0..columns).rev().find(|cell| chosen[*cell] as usize + 1 < self.count(*cell));
            let Some(next) = next else { return };
            chosen[next] += 1;
            chosen[next + 1..].fill(0);
        }
    }

    /// Whether each of the first `columns` cells has one text.
    #[inline]
    fn are_single(&self, columns: usize) -> bool {
        self.cells[..columns].iter().zip(1..).all(|(end, texts)| *end == texts)
    }

    /// The key of a group of a correlation.
    pub(crate) fn key(&self, content: [u64; 2], chosen: &[u32]) -> u128 {
        let mut hasher = SipHasher13x128::new_with_keys(content[0], content[1]);
        if self.are_single(chosen.len()) {
            // What is to be digested lies there in one piece.
            return hasher.hash(self.all_ended(0..chosen.len())).as_u128();
        }
        for (cell, number) in chosen.iter().enumerate() {
            hasher.write(self.ended(self.start(cell) + *number as usize));
        }
        hasher.finish128().as_u128()
    }

    /// Puts the values of a group, as they are kept, into `values`.
    pub(crate) fn group(&self, chosen: &[u32], values: &mut Vec<u8>) {
        values.clear();
        for (cell, number) in chosen.iter().enumerate() {
            push_part(values, self.text(cell, *number as usize));
        }
    }

    /// The digest of what is in some cells; `None` where one is empty.
    pub(crate) fn digest(&self, content: [u64; 2], cells: Range<usize>) -> Option<u64> {
        if cells.clone().any(|cell| self.count(cell) == 0) {
            return None;
        }
        let texts = self.start(cells.start)..self.start(cells.end);
        let hasher = SipHasher13::new_with_keys(content[0], content[1]);
        Some(hasher.hash(self.all_ended(texts)))
    }

    /// The number in a cell; `None` where there is none that can be reckoned with.
    pub(crate) fn number(&self, cell: usize) -> Option<f64> {
        if self.count(cell) == 0 {
            return None;
        }
        let text = std::str::from_utf8(self.text(cell, 0)).ok()?;
        let number: f64 = text.trim().parse().ok()?;
        // The comparison is false for what is no number.
        (number.abs() <= Aggregate::LARGEST).then_some(number)
    }

    /// The texts of some cells, to be carried along.
    pub(crate) fn carry(&self, cells: Range<usize>) -> Box<[u8]> {
        let (mut carried, mut one) = (Vec::new(), Vec::new());
        for cell in cells {
            one.clear();
            for number in 0..self.count(cell) {
                push_part(&mut one, self.text(cell, number));
            }
            push_part(&mut carried, &one);
        }
        carried.into()
    }
}

/// A value that is one text and needs no buffer, as far as it is taken.
#[inline]
pub(crate) fn text<'v>(value: &'v FieldValue<'_>) -> Option<&'v [u8]> {
    match value {
        FieldValue::Text(text) | FieldValue::Truncated(text, _) => Some(cut(text)),
        FieldValue::Short(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// The values of a group of one text, as they are kept.
pub(crate) fn kept(text: &[u8]) -> Box<[u8]> {
    let mut values = Vec::with_capacity(LENGTH + text.len());
    push_part(&mut values, text);
    values.into()
}

/// The text of a group of one; `None` for any other group.
#[inline]
pub(crate) fn single(values: &[u8]) -> Option<&[u8]> {
    let (length, text) = values.split_first_chunk::<LENGTH>()?;
    (u32::from_le_bytes(*length) as usize == text.len()).then_some(text)
}

/// As much of a text as is taken.
#[inline]
fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT_MAX)]
}

fn push_part(to: &mut Vec<u8>, part: &[u8]) {
    to.extend_from_slice(&(part.len() as u32).to_le_bytes());
    to.extend_from_slice(part);
}

/// The parts of what [`push_part`] made; of anything else, what can be read.
pub(crate) fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(part)
    })
}
