//! Arguments by number.

use lavender_core::event::Arguments;
use memchr::memchr;

/// So many are found at once. Public rules ask for `a7` at the most.
const INDEXED: usize = 16;

/// The ends of the first arguments, found in one pass: rules ask for `a0`, `a1`, … one after the other, and each
/// would otherwise be looked for from the start, through what may be two megabytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    raw: &'a [u8],
    ends: [usize; INDEXED],
    /// How many of `ends` are set.
    count: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(arguments: &'a Arguments) -> Self {
        let raw = arguments.raw();
        let mut words = Self { raw, ends: [0; INDEXED], count: 0 };
        let mut start = 0;
        while words.count < INDEXED && !arguments.is_empty() && start <= raw.len() {
            let end = end_of(raw, start);
            words.ends[words.count] = end;
            words.count += 1;
            start = end + 1;
        }
        words
    }

    /// Argument number N, and whether nothing was captured behind it.
    pub(super) fn get(&self, number: u32) -> Option<(&'a [u8], bool)> {
        let number = number as usize;
        let last_indexed = self.count.checked_sub(1)?;
        let mut at = number.min(last_indexed);
        let mut start = at.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        let mut end = self.ends[at];
        while at < number {
            if end == self.raw.len() {
                return None;
            }
            start = end + 1;
            end = end_of(self.raw, start);
            at += 1;
        }
        Some((&self.raw[start..end], end == self.raw.len()))
    }
}

fn end_of(raw: &[u8], start: usize) -> usize {
    memchr(0, &raw[start..]).map_or(raw.len(), |length| start + length)
}
