//! Some events as one part of a state.
//!
//! A byte that says which format, how many events there are (four bytes, little-endian), of each its time (ns since the
//! epoch, 8 bytes, little-endian) and id (16 bytes, big-endian), and the events as the codec writes them. So whose
//! events they are is known without reading them, and most are never read: another worker goes on where this one was.

use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{Bytes, Error, ErrorKind, EventId, Result, Timestamp, codec};

/// How many events are in a block at the most: the older ones of them go together.
pub(super) const EVENTS_MAX: usize = 64;

const FORMAT: u8 = 1;
const STAMP_BYTES: usize = 8 + 16;
const HEADER_BYTES: usize = 1 + 4;

#[derive(Debug)]
pub(super) struct Block {
    /// `<prefix><time>-<id>` of the first event, so that the order of blocks is that of time.
    pub(super) key: String,
    pub(super) value: Bytes,
    pub(super) saved: bool,
    stamps: Vec<(Timestamp, EventId)>,
    /// Once they were asked for.
    events: Option<Vec<Arc<Event>>>,
}

fn key_of(prefix: &str, time: Timestamp, id: EventId) -> String {
    let time = time.as_nanos().cast_unsigned() ^ (1 << 63);
    format!("{prefix}{time:016x}-{:032x}", id.as_u128())
}

/// A block of these events; `None` where they cannot be written.
pub(super) fn pack(prefix: &str, events: &[Arc<Event>]) -> Option<Block> {
    let first = events.first()?;
    Some(Block {
        key: key_of(prefix, first.observed_at, first.id),
        value: written(events)?.into(),
        saved: false,
        stamps: events.iter().map(|event| (event.observed_at, event.id)).collect(),
        events: Some(events.to_vec()),
    })
}

fn written(events: &[Arc<Event>]) -> Option<Vec<u8>> {
    let body = codec::encode_events(events).ok()?;
    let mut value = Vec::with_capacity(HEADER_BYTES + STAMP_BYTES * events.len() + body.len());
    value.push(FORMAT);
    value.extend_from_slice(&u32::try_from(events.len()).ok()?.to_le_bytes());
    for event in events {
        value.extend_from_slice(&event.observed_at.as_nanos().to_le_bytes());
        value.extend_from_slice(&event.id.as_u128().to_be_bytes());
    }
    value.extend_from_slice(&body);
    Some(value)
}

fn stamps_of(value: &[u8]) -> Option<Vec<(Timestamp, EventId)>> {
    let ([FORMAT, count @ ..], rest) = value.split_first_chunk::<HEADER_BYTES>()? else {
        return None;
    };
    let count = u32::from_le_bytes(*count) as usize;
    let stamps = rest.get(..STAMP_BYTES * count.min(EVENTS_MAX + 1))?;
    let stamp = |stamp: &[u8]| {
        let (time, id) = stamp.split_first_chunk()?;
        let id = EventId::from_u128(u128::from_be_bytes(id.try_into().ok()?)).ok()?;
        Some((Timestamp::from_nanos(i64::from_le_bytes(*time)), id))
    };
    (count <= EVENTS_MAX).then(|| stamps.chunks_exact(STAMP_BYTES).map(stamp).collect())?
}

impl Block {
    /// What was written under this key; the events themselves are not read yet.
    pub(super) fn read(prefix: &str, key: &str, value: &[u8]) -> Result<Self> {
        let fail = |why: &str| Error::new(ErrorKind::Invalid, key.to_owned(), why.to_owned());
        let stamps = stamps_of(value).ok_or_else(|| fail("it is no block of events"))?;
        let first = stamps.first();
        if first.is_none_or(|(time, id)| key_of(prefix, *time, *id) != key) {
            return Err(fail("it is of other events"));
        }
        let value = Bytes::copy_from_slice(value);
        Ok(Self { key: key.to_owned(), value, saved: true, stamps, events: None })
    }

    /// How much room it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.value.len()
    }

    /// When each event was, and which.
    pub(super) fn stamps(&self) -> &[(Timestamp, EventId)] {
        &self.stamps
    }

    /// Its events; none where they cannot be read.
    pub(super) fn events(&mut self) -> &[Arc<Event>] {
        if self.events.is_none() {
            let body = &self.value[HEADER_BYTES + STAMP_BYTES * self.stamps.len()..];
            self.events = Some(codec::decode_events(body).unwrap_or_default());
        }
        self.events.as_deref().unwrap_or_default()
    }

    pub(super) fn event(&mut self, id: EventId) -> Option<Arc<Event>> {
        if !self.stamps.iter().any(|(_, known)| *known == id) {
            return None;
        }
        self.events().iter().find(|event| event.id == id).map(Arc::clone)
    }
}
