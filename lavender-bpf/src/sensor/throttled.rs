//! What was over a limit, as the probes counted it: by who it was, and in all.

use std::collections::HashMap;

use lavender_core::BootTime;
use lavender_core::event::{EventKind, Loss, LossStage};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::record::{THROTTLED, ThrottledRecord, kind};
use crate::record_kind::event_of;

/// How often it is told at the most.
const INTERVAL_NS: u64 = 1_000_000_000;

/// After how many readings without anything new an entry of the map is taken out.
const READINGS_KEPT: u8 = 10;

/// In the order of `enum throttle_scope`.
const SCOPES: [LossStage; 2] = [LossStage::ThrottledProcess, LossStage::ThrottledCgroup];

const COUNTERS: usize = SCOPES.len() * kind::COUNT;

/// An entry of the map of who it was, as it was last read.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    unchanged: u8,
}

/// The counters as they were last read.
#[derive(Debug)]
pub(super) struct Throttled {
    totals: MapHandle,
    who: MapHandle,
    seen: HashMap<Vec<u8>, Seen>,
    /// What has been told of each total, by whom or not.
    told: [u64; COUNTERS],
    due: BootTime,
}

/// What was over a limit since the last time, beside the records of who it was.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What nobody can be named for: the map of who it was was full, or an entry was taken out at that moment.
    pub(super) of_nobody: Vec<Loss>,
    /// How many acts in all.
    pub(super) count: u64,
}

impl Throttled {
    pub(super) fn new(totals: MapHandle, who: MapHandle) -> Self {
        Self { totals, who, seen: HashMap::new(), told: [0; COUNTERS], due: BootTime::default() }
    }

    /// Appends a record to `records` for each process, or control group, that was over a limit since the last time. Looks
    /// once a second, or `now`.
    pub(super) fn read(
        &mut self,
        time: BootTime,
        now: bool,
        records: &mut Vec<u8>,
    ) -> Result<Told, libbpf_rs::Error> {
        if !now && time < self.due {
            return Ok(Told::default());
        }
        self.due = BootTime::from_nanos(time.as_nanos() + INTERVAL_NS);
        let totals = self.read_totals()?;
        let mut told = Told::default();
        if totals == self.told && self.seen.is_empty() {
            return Ok(told);
        }
        // After the totals: what stands there stands here already, unless it found no room.
        let keys: Vec<Vec<u8>> = self.who.keys().collect();
        for key in keys {
            told.count += self.read_entry(key, time, records)?;
        }
        for (index, (total, given)) in totals.iter().zip(&mut self.told).enumerate() {
            // Less than what was told, where more was counted by name meanwhile.
            let count = total.saturating_sub(*given);
            if count > 0 {
                *given += count;
                told.count += count;
                let kind = event_of((index % kind::COUNT) as u16).unwrap_or(EventKind::Unknown);
                told.of_nobody.push(Loss::new(SCOPES[index / kind::COUNT % 2], kind, count));
            }
        }
        self.forget_the_quiet();
        Ok(told)
    }

    fn read_totals(&self) -> Result<[u64; COUNTERS], libbpf_rs::Error> {
        let mut totals = [0; COUNTERS];
        let values = self.totals.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)?;
        for value in values.unwrap_or_default() {
            for (total, bytes) in totals.iter_mut().zip(value.as_chunks::<8>().0) {
                *total += u64::from_ne_bytes(*bytes);
            }
        }
        Ok(totals)
    }

    /// What an entry has more than the last time, as a record. One that has had nothing for a while is taken out; what is
    /// counted there in that moment is told from the total.
    fn read_entry(
        &mut self,
        key: Vec<u8>,
        time: BootTime,
        records: &mut Vec<u8>,
    ) -> Result<u64, libbpf_rs::Error> {
        let Some(value) = self.who.lookup(&key, MapFlags::ANY)? else { return Ok(0) };
        let Ok(mut record) = ThrottledRecord::read_from_bytes(&value) else { return Ok(0) };
        let seen = self.seen.entry(key).or_default();
        let count = record.count.get().saturating_sub(seen.count);
        seen.count = record.count.get();
        if count > 0 {
            seen.unchanged = 0;
            let scope = usize::from(record.by_cgroup.get() != 0);
            let of_kind = record.of_kind.get() as usize % kind::COUNT;
            self.told[scope * kind::COUNT + of_kind] += count;
            record.header.length = (size_of::<ThrottledRecord>() as u32).into();
            record.header.kind = THROTTLED.into();
            record.header.flags = 0.into();
            record.header.boot_ns = time.as_nanos().into();
            record.count = count.into();
            records.extend_from_slice(record.as_bytes());
        } else {
            seen.unchanged += 1;
        }
        Ok(count)
    }

    /// Takes out what has had nothing new for a while.
    fn forget_the_quiet(&mut self) {
        let who = &self.who;
        self.seen.retain(|key, seen| {
            let keep = seen.unchanged < READINGS_KEPT;
            // It may be gone already, and the next reading tells otherwise.
            keep || who.delete(key).is_err()
        });
    }
}
