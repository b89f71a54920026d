//! The fields that a correlation asks for, taken from a record while it is at hand.

use std::hash::Hasher as _;
use std::ops::ControlFlow;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher13 as SipHasher13x128};

use super::plan::Aggregate;
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Record};
use crate::schema::FieldId;

/// Texts of fields, one cell for each column: none, one, or those of a list.
#[derive(Debug, Default)]
pub(crate) struct Row {
    bytes: Vec<u8>,
    /// The texts in `bytes`, by end.
    ends: Vec<u32>,
    /// The cells in `ends`, by end.
    cells: Vec<u32>,
}

/// The most values of a list that are looked at: a process has at most 64 ancestors.
const LIST_MAX: u32 = 128;
/// The longest text that is taken whole: `PATH_MAX`. A longer one counts by its first bytes.
const TEXT_MAX: usize = 4_096;

impl Row {
    /// Takes the fields of a record.
    pub(crate) fn fill<R: Record + ?Sized>(&mut self, record: &R, columns: &[FieldId]) {
        self.clear();
        for field in columns {
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

    fn push_text(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(&text[..text.len().min(TEXT_MAX)]);
        self.ends.push(self.bytes.len() as u32);
    }

    /// How many texts a cell has.
    fn count(&self, cell: usize) -> usize {
        let start = cell.checked_sub(1).map_or(0, |before| self.cells[before]);
        (self.cells[cell] - start) as usize
    }

    /// A text of a cell.
    fn text(&self, cell: usize, number: usize) -> &[u8] {
        let first = cell.checked_sub(1).map_or(0, |before| self.cells[before] as usize);
        let at = first + number;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.bytes[start..self.ends[at] as usize]
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

    /// The key of a group of a correlation.
    pub(crate) fn key(&self, content: [u64; 2], chosen: &[u32]) -> u128 {
        let mut hasher = SipHasher13x128::new_with_keys(content[0], content[1]);
        for (cell, number) in chosen.iter().enumerate() {
            let text = self.text(cell, *number as usize);
            hasher.write(text);
            // What ends a text and no text holds as its last bytes with this meaning: its length.
            hasher.write(&(text.len() as u32).to_le_bytes());
        }
        hasher.finish128().as_u128()
    }

    /// The values of a group, as they are kept.
    pub(crate) fn group(&self, chosen: &[u32]) -> Box<[u8]> {
        let mut group = Vec::new();
        for (cell, number) in chosen.iter().enumerate() {
            push_part(&mut group, self.text(cell, *number as usize));
        }
        group.into()
    }

    /// The digest of what is in some cells; `None` where one is empty.
    pub(crate) fn digest(&self, content: [u64; 2], cells: std::ops::Range<usize>) -> Option<u64> {
        let mut hasher = SipHasher13::new_with_keys(content[0], content[1]);
        for cell in cells {
            let count = self.count(cell);
            if count == 0 {
                return None;
            }
            for number in 0..count {
                let text = self.text(cell, number);
                hasher.write(text);
                hasher.write(&(text.len() as u32).to_le_bytes());
            }
        }
        Some(hasher.finish())
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
    pub(crate) fn carry(&self, cells: std::ops::Range<usize>) -> Box<[u8]> {
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
