//! What the plan left out: counters in the kernel, added up by kind of event.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, PoisonError};

use lavender_core::event::EventKind;
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use super::SensorError;
use crate::record_kind::event_of;

/// Reads the counters.
#[derive(Debug)]
pub(super) struct Filtered {
    map: MapHandle,
    /// The kinds of which the plan in use does not need everything.
    kinds: Mutex<BTreeSet<EventKind>>,
}

impl Filtered {
    pub(super) const fn new(map: MapHandle) -> Self {
        Self { map, kinds: Mutex::new(BTreeSet::new()) }
    }

    /// Of these kinds the plan in use does not need everything.
    pub(super) fn set_kinds(&self, kinds: BTreeSet<EventKind>) {
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    /// How many events of each kind were left out since the probes were loaded: of each that the plan in use does not need
    /// whole, and of those that were left out before.
    pub(super) fn read(&self) -> Result<BTreeMap<EventKind, u64>, SensorError> {
        let values = self.map.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY);
        let values = values.map_err(|error| SensorError::Read {
            what: "the counters of what was left out",
            source: io::Error::other(error),
        })?;
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums: BTreeMap<EventKind, u64> = kinds.iter().map(|kind| (*kind, 0)).collect();
        drop(kinds);
        for value in values.iter().flatten() {
            let counts = value.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
            for (record, count) in (0..).zip(counts).filter(|(_, count)| *count > 0) {
                *sums.entry(event_of(record).unwrap_or(EventKind::Unknown)).or_default() += count;
            }
        }
        Ok(sums)
    }
}
