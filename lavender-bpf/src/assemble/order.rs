//! The records of a batch by time.

use std::collections::VecDeque;

use super::Waiting;
use crate::decode::{Record, Records, decode};
use crate::record::kind;

/// The most records whose room is kept for the next batch: 3 MiB.
const KEPT_MAX: usize = 65_536;

/// What stands before the number of a record that comes behind others of its time.
const LATE: u64 = 1 << 63;

/// A record of the batch, and how often it has waited.
pub(super) struct Incoming<'a> {
    pub(super) waits: u8,
    pub(super) bytes: &'a [u8],
    pub(super) record: Record<'a>,
}

/// In which order the records of a batch are taken. Holds no record, so that its room serves for the next batch.
#[derive(Debug, Default)]
pub(super) struct Order {
    places: Vec<Place>,
    /// The time of each record; below it whether it is late, and its number, which no two have in common.
    keys: Vec<u128>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Among those that have waited.
    Waited(usize),
    /// In the bytes of the batch.
    Read { start: usize, length: usize },
}

impl Order {
    /// The order of these records. Returns how many of them could not be read.
    pub(super) fn sort(&mut self, waiting: &VecDeque<Waiting>, bytes: &[u8]) -> u64 {
        self.places.clear();
        self.keys.clear();
        for (index, waited) in waiting.iter().enumerate() {
            if let Ok(record) = decode(&waited.record) {
                self.push(Place::Waited(index), &record);
            }
        }
        let mut damaged = 0;
        let mut start = 0;
        for record in Records::new(bytes) {
            match record {
                Ok((bytes, record)) => {
                    self.push(Place::Read { start, length: bytes.len() }, &record);
                    start += bytes.len();
                }
                Err(_) => damaged += 1,
            }
        }
        // No two are equal, so that it need not be stable: a stable sort allocates.
        self.keys.sort_unstable();
        damaged
    }

    fn push(&mut self, place: Place, record: &Record<'_>) {
        let header = record.header();
        let number = self.places.len() as u64;
        let late = if is_late(header.kind.get()) { LATE } else { 0 };
        self.keys.push(u128::from(header.boot_ns.get()) << 64 | u128::from(late | number));
        self.places.push(place);
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The records that it was made of, in its order.
    pub(super) fn records<'a>(
        &'a self,
        waiting: &'a VecDeque<Waiting>,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = Incoming<'a>> {
        self.keys.iter().filter_map(move |key| {
            let number = *key as u64 & !LATE;
            let (waits, bytes) = match *self.places.get(number as usize)? {
                Place::Waited(index) => {
                    let waited = waiting.get(index)?;
                    (waited.waits, &waited.record[..])
                }
                Place::Read { start, length } => (0, bytes.get(start..start + length)?),
            };
            Some(Incoming { waits, bytes, record: decode(bytes).ok()? })
        })
    }

    /// Lets go of the room of an extraordinary batch.
    pub(super) fn shrink(&mut self) {
        if self.keys.capacity() > KEPT_MAX {
            *self = Self::default();
        }
    }
}

/// Whether it comes behind process life of the same time.
const fn is_late(kind: u16) -> bool {
    matches!(
        kind,
        kind::OPEN
            | kind::CONNECT
            | kind::DELETE
            | kind::RENAME
            | kind::LINK
            | kind::MODE
            | kind::SIGNAL
            | kind::BIND
            | kind::LISTEN
            | kind::ACCEPT
            | kind::EXEC_FAILED
            | kind::SEND
            | kind::DNS
            | kind::IO_URING
            | kind::PTRACE
            | kind::VM_WRITE
            | kind::MEMFD
            | kind::SECRET
            | kind::MODULE
            | kind::CREDENTIALS
            | kind::BPF
            | kind::MOUNT
            | kind::NAMESPACE
            | kind::MEMORY
    )
}
