//! The events that a detector may still come back to.

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{Bytes, Error, ErrorKind, EventId, Result, codec};

/// How many events are remembered.
const EVENTS_MAX: usize = 4_096;

/// The newest of some events. Saved only where that is asked for.
#[derive(Debug)]
pub(super) struct Remembered {
    /// Before the keys of parts: `<prefix><time>-<id>`, so that their order is that of time.
    prefix: &'static str,
    events: VecDeque<Kept>,
    /// How many bytes of them are saved, where they are.
    saved_bytes_max: Option<usize>,
    bytes: usize,
    gone: Vec<String>,
    forgotten: u64,
}

#[derive(Debug)]
struct Kept {
    event: Arc<Event>,
    /// Where they are saved, the event as it is, until it was.
    line: Option<Bytes>,
    bytes: usize,
    saved: bool,
}

fn key_of(prefix: &str, event: &Event) -> String {
    let time = event.observed_at.as_nanos().cast_unsigned() ^ (1 << 63);
    format!("{prefix}{time:016x}-{:032x}", event.id.as_u128())
}

impl Remembered {
    /// None, whose parts have this before their keys.
    pub(super) const fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            events: VecDeque::new(),
            saved_bytes_max: None,
            bytes: 0,
            gone: Vec::new(),
            forgotten: 0,
        }
    }

    /// Whether a part of this key is one of them.
    pub(super) fn has(&self, key: &str) -> bool {
        key.starts_with(self.prefix)
    }

    /// Saves what fits into so many bytes.
    pub(super) const fn saved(&mut self, bytes_max: usize) {
        self.saved_bytes_max = Some(bytes_max);
    }

    pub(super) fn find(&self, id: EventId) -> Option<&Arc<Event>> {
        self.events.iter().rev().map(|kept| &kept.event).find(|event| event.id == id)
    }

    /// The one that happened last.
    pub(super) fn newest(&self) -> Option<&Arc<Event>> {
        self.events.iter().map(|kept| &kept.event).max_by_key(|event| event.observed_at)
    }

    pub(super) fn add(&mut self, event: &Arc<Event>) {
        let mut kept = Kept { event: Arc::clone(event), line: None, bytes: 0, saved: false };
        if let Some(bytes_max) = self.saved_bytes_max {
            if self.find(event.id).is_some() {
                return;
            }
            let line = codec::event_to_json(event).unwrap_or_default();
            // One alone may not drive out all others.
            if line.is_empty() || line.len() > bytes_max / 4 {
                self.forgotten += 1;
                return;
            }
            kept.bytes = line.len();
            kept.line = Some(line.into());
        }
        self.push(kept);
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> Vec<Arc<Event>> {
        self.bytes = 0;
        let Self { prefix, events, gone, .. } = self;
        let taken = events.drain(..).map(|kept| {
            if kept.saved {
                gone.push(key_of(prefix, &kept.event));
            }
            kept.event
        });
        taken.collect()
    }

    fn push(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.events.push_back(kept);
        let bytes_max = self.saved_bytes_max.unwrap_or(usize::MAX);
        while self.events.len() > EVENTS_MAX || self.bytes > bytes_max {
            let Some(first) = self.events.pop_front() else { return };
            self.bytes -= first.bytes;
            self.forgotten += u64::from(self.saved_bytes_max.is_some());
            if first.saved {
                self.gone.push(key_of(self.prefix, &first.event));
            }
        }
    }

    pub(super) fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        for key in self.gone.drain(..) {
            each(&key, None);
        }
        for kept in &mut self.events {
            if let Some(line) = kept.line.take() {
                kept.saved = true;
                each(&key_of(self.prefix, &kept.event), Some(line));
            }
        }
    }

    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let fail = |why: String| Error::new(ErrorKind::Invalid, key.to_owned(), why);
        let text = std::str::from_utf8(value).map_err(|error| fail(error.to_string()))?;
        let event = codec::event_from_json(text).map_err(|error| fail(error.to_string()))?;
        if key_of(self.prefix, &event) != key {
            return Err(fail("it is another event".to_owned()));
        }
        self.push(Kept { event: Arc::new(event), line: None, bytes: value.len(), saved: true });
        Ok(())
    }

    /// How many were to be saved and could not be, for want of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
