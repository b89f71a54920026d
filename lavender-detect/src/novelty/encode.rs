//! A part of what a rule has learned, as bytes.
//!
//! Version 1: the version; the digest of what the rule says of novelty (16 bytes); the key of the digests (16); when the
//! rule was first in use (4, 0 for not yet); how many values were forgotten for lack of room (8), and when last (4); then
//! 16 bytes for each value: digest, first time, what was before. All numbers are little-endian.

use lavender_core::Bytes;

use super::cells::{Seen, Tick};
use super::values::{Value, part_of};

const VERSION: u8 = 1;

/// What a part says beside its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) content: [u64; 2],
    pub(crate) key: [u64; 2],
    pub(crate) since: Option<Tick>,
    pub(crate) forgotten: u64,
    pub(crate) forgot_at: Tick,
}

pub(crate) fn encode(header: &Header, values: &[Value]) -> Bytes {
    let mut bytes = Vec::with_capacity(49 + values.len() * 16);
    bytes.push(VERSION);
    for number in header.content.into_iter().chain(header.key) {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    // A rule that is in use since the first tick of 1970 is one that is not yet.
    bytes.extend_from_slice(&header.since.unwrap_or_default().to_le_bytes());
    bytes.extend_from_slice(&header.forgotten.to_le_bytes());
    bytes.extend_from_slice(&header.forgot_at.to_le_bytes());
    for Value { digest, seen } in values {
        bytes.extend_from_slice(&digest.to_le_bytes());
        bytes.extend_from_slice(&seen.first.to_le_bytes());
        bytes.extend_from_slice(&seen.before.to_le_bytes());
    }
    bytes.into()
}

/// Reads a part with this number; `None` when it is none.
pub(crate) fn decode(part: u8, bytes: &[u8]) -> Option<(Header, Vec<Value>)> {
    let mut reader = Reader { rest: bytes };
    if reader.take::<1>()? != [VERSION] {
        return None;
    }
    let header = Header {
        content: [reader.u64()?, reader.u64()?],
        key: [reader.u64()?, reader.u64()?],
        since: Some(reader.u32()?).filter(|since| *since != 0),
        forgotten: reader.u64()?,
        forgot_at: reader.u32()?,
    };
    let mut values: Vec<Value> = Vec::with_capacity(reader.rest.len() / 16);
    while !reader.rest.is_empty() {
        let digest = reader.u64()?;
        let seen = Seen { first: reader.u32()?, before: reader.u32()? };
        let in_order = values.last().is_none_or(|last| last.digest < digest);
        if part_of(digest) != part || !in_order {
            return None;
        }
        values.push(Value { digest, seen });
    }
    Some((header, values))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}
