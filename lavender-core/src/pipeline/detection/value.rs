//! How what is known of an agent stands in a store: one value, so that one swap changes all of it.
//!
//! Four bytes that say which format, the time that it waits for (ns since the epoch, little-endian), and its parts: each
//! the length of its key, the key, the length of its value, the value. A value is packed: a byte that says how it stands
//! there, and itself, or a frame of zstd. So a part is compressed once, when it changes, and copied from then on.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::compressed;
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

const FORMAT: [u8; 4] = *b"LVD2";
/// For nothing.
const NEVER: i64 = i64::MAX;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
/// Smaller parts gain too little.
const COMPRESS_FROM: usize = 512;
/// The most that a part holds: far more than all of a state has room for.
const PART_BYTES_MAX: usize = 16 << 20;

/// The parts of a state, by their keys: packed.
pub(super) type Parts = BTreeMap<String, Bytes>;

/// A part as it stands in the value.
pub(super) fn pack(part: &[u8]) -> Bytes {
    let with = |how: u8, bytes: &[u8]| {
        let mut packed = Vec::with_capacity(1 + bytes.len());
        packed.push(how);
        packed.extend_from_slice(bytes);
        packed.into()
    };
    // What cannot be compressed stands there as it is.
    let frame = (part.len() >= COMPRESS_FROM).then(|| compressed::compress(part).ok()).flatten();
    match frame.filter(|frame| frame.len() < part.len()) {
        Some(frame) => with(COMPRESSED, &frame),
        None => with(PLAIN, part),
    }
}

/// What [`pack`] was given.
pub(super) fn unpack(packed: &Bytes) -> Result<Bytes> {
    let fail = |why: String| Error::new(ErrorKind::Corrupt, "a part of a state", why);
    match packed.split_first() {
        Some((&PLAIN, _)) => Ok(packed.slice(1..)),
        Some((&COMPRESSED, frame)) => {
            let claimed = compressed::content_bytes(frame).map_err(|why| fail(why.to_owned()))?;
            let size = usize::try_from(claimed).ok().filter(|size| *size <= PART_BYTES_MAX);
            let size =
                size.ok_or_else(|| fail(format!("it says that it holds {claimed} bytes")))?;
            let part = compressed::decompress(frame, size);
            Ok(part.map_err(|error| fail(error.to_string()))?.into())
        }
        _ => Err(fail("it is not known how it stands there".to_owned())),
    }
}

/// Writes parts, and what they wait for.
pub(super) fn write(due: Option<Timestamp>, parts: &Parts) -> Bytes {
    let mut out = Vec::with_capacity(len(parts));
    out.extend_from_slice(&FORMAT);
    out.extend_from_slice(&due.map_or(NEVER, Timestamp::as_nanos).to_le_bytes());
    for (key, value) in parts {
        for bytes in [key.as_bytes(), value] {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
    out.into()
}

/// How long the value of these parts is.
pub(super) fn len(parts: &Parts) -> usize {
    let parts = parts.iter().map(|(key, value)| 8 + key.len() + value.len());
    FORMAT.len() + 8 + parts.sum::<usize>()
}

/// How many bytes these parts take in memory, compressed and read.
pub(super) fn held(parts: &Parts) -> usize {
    let of_part = |packed: &Bytes| match packed.split_first() {
        Some((&COMPRESSED, frame)) => {
            let claimed = compressed::content_bytes(frame).unwrap_or_default();
            usize::try_from(claimed).unwrap_or(PART_BYTES_MAX).min(PART_BYTES_MAX)
        }
        _ => packed.len(),
    };
    len(parts) + parts.values().map(of_part).sum::<usize>()
}

/// Reads only what a value waits for.
pub(super) fn read_due(value: &[u8]) -> Option<Option<Timestamp>> {
    let rest = value.strip_prefix(&FORMAT)?;
    let due = i64::from_le_bytes(*rest.first_chunk()?);
    Some((due != NEVER).then_some(Timestamp::from_nanos(due)))
}

/// Reads the parts that [`write`] wrote.
pub(super) fn read(value: &Bytes) -> Result<Parts> {
    let fail = || Error::new(ErrorKind::Corrupt, "the state of an agent", "it was cut, or is none");
    if read_due(value).is_none() {
        return Err(fail());
    }
    let mut rest = value.slice(FORMAT.len() + 8..);
    let field = |rest: &mut Bytes| {
        let len = u32::from_le_bytes(*rest.first_chunk()?) as usize;
        (rest.len() - 4 >= len).then(|| {
            let field = rest.slice(4..4 + len);
            *rest = rest.slice(4 + len..);
            field
        })
    };
    let mut parts = Parts::new();
    while !rest.is_empty() {
        let key = field(&mut rest).ok_or_else(fail)?;
        let value = field(&mut rest).ok_or_else(fail)?;
        let key = std::str::from_utf8(&key).map_err(|_| fail())?;
        parts.insert(key.to_owned(), value);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_cut_or_damaged_bytes_are_no_panic(
            due in any::<Option<i64>>().prop_map(|due| due.filter(|due| *due != NEVER)),
            parts in proptest::collection::btree_map("[a-z/]{0,9}", proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in any::<prop::sample::Index>(),
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let due = due.map(Timestamp::from_nanos);
            let parts: Parts = parts.into_iter().map(|(key, value)| (key, value.into())).collect();
            let value = write(due, &parts);
            prop_assert_eq!(value.len(), len(&parts));
            prop_assert_eq!(read_due(&value), Some(due));
            prop_assert_eq!(&read(&value).unwrap(), &parts);
            let cut = value.slice(..cut.index(value.len()));
            if let Ok(fewer) = read(&cut) {
                prop_assert!(fewer.len() < parts.len());
            }
            let mut damaged = value.to_vec();
            let at = flip.0.index(damaged.len());
            damaged[at] ^= flip.1;
            let _ = read(&damaged.into());
        }

        #[test]
        fn what_is_packed_is_unpacked_and_damaged_parts_are_refused_or_another(
            word in proptest::collection::vec(any::<u8>(), 1..40),
            times in 0..200_usize,
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let part = word.repeat(times);
            let packed = pack(&part);
            prop_assert_eq!(unpack(&packed).unwrap(), part.clone());
            prop_assert!(packed.len() <= part.len() + 1);
            let parts = Parts::from([("key".to_owned(), packed.clone())]);
            prop_assert!(held(&parts) >= part.len() + packed.len());
            // Text as it is in states takes less room.
            prop_assert!(times < 100 || word.len() < 10 || packed.len() * 4 < part.len());
            let mut damaged = packed.to_vec();
            let at = flip.0.index(damaged.len());
            damaged[at] ^= flip.1;
            if let Ok(other) = unpack(&damaged.into()) {
                prop_assert!(other.len() <= PART_BYTES_MAX);
            }
        }
    }
}
