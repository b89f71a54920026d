//! What the sensor holds, and whether it knows the processes that the kernel knows.

use std::collections::HashSet;
use std::time::Duration;

use lavender_core::ProcessId;
use lavender_core::event::EventBatch;
use libbpf_rs::{MapCore as _, MapHandle};

use super::live::Sensor;
use super::{SensorError, snapshot};
use crate::assemble::Held;
use crate::decode::{Record, Records};
use crate::host::{start_ticks, starts_at};

/// The maps whose entries come and go.
const MAPS: [&str; 5] = ["exited", "born_elsewhere", "peers", "buckets", "throttled"];

/// How often what differs is looked at again, and how long apart: a record may be on its way.
const LOOKS: u32 = 20;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What the sensor holds in memory and in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// What the assembler holds.
    pub held: Held,
    /// Of each map whose entries come and go: its name, how many entries it has, and how many it may have.
    pub maps: Vec<(String, usize, usize)>,
}

/// How the process table compares with the kernel's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessAudit {
    /// How many processes live by the kernel.
    pub processes: usize,
    /// Those that live by the kernel and that the table does not have.
    pub unknown: Vec<ProcessId>,
    /// Those that live by the table, and that by the kernel's iterator have ended, or are neither in it nor in `/proc`.
    pub ended_unseen: Vec<ProcessId>,
}

impl Sensor {
    /// Counts what the sensor holds: a reading of every key of some maps, so it takes milliseconds.
    ///
    /// # Errors
    ///
    /// When a map cannot be read.
    pub fn census(&self) -> Result<Census, SensorError> {
        let count = |name: &str| {
            let map: MapHandle = self.loaded().map(name).map_err(|error| SensorError::Read {
                what: "a map's entries",
                source: std::io::Error::other(error),
            })?;
            Ok((name.to_owned(), map.keys().count(), map.max_entries() as usize))
        };
        let maps: Result<_, SensorError> = MAPS.into_iter().map(count).collect();
        Ok(Census { held: self.assembler().held(), maps: maps? })
    }

    /// Compares the process table with the kernel's own, by its task iterator and `/proc`, and hands `keep` the events that come
    /// meanwhile. What differs is looked at again for a second: only what stays different is told.
    ///
    /// # Errors
    ///
    /// When the rings or the processes cannot be read; [`SensorError::NoProbe`] where the kernel has no iterator.
    pub fn audit_processes(
        &mut self,
        mut keep: impl FnMut(EventBatch),
    ) -> Result<ProcessAudit, SensorError> {
        keep(self.poll(Duration::ZERO)?);
        let believed: HashSet<ProcessId> = self.assembler().living().collect();
        let (there, unwaited) = self.processes_of_kernel()?;
        let mut unknown = there.clone();
        let mut ended: HashSet<ProcessId> = believed.difference(&there).copied().collect();
        for _ in 0..LOOKS {
            keep(self.poll(Duration::ZERO)?);
            let assembler = self.assembler();
            unknown.retain(|id| !assembler.knows(*id));
            let living: HashSet<ProcessId> = assembler.living().collect();
            ended.retain(|id| living.contains(id));
            if unknown.is_empty() && ended.is_empty() {
                break;
            }
            keep(self.poll(LOOK_INTERVAL)?);
        }
        // The iterator leaves some out that there are: seen of the first process of a virtual machine.
        ended.retain(|id| {
            unwaited.contains(id)
                || !start_ticks(id.tgid()).is_some_and(|ticks| starts_at(*id, ticks))
        });
        Ok(ProcessAudit {
            processes: there.len(),
            unknown: unknown.into_iter().collect(),
            ended_unseen: ended.into_iter().collect(),
        })
    }

    /// The processes that live, and those that have ended and that nobody has waited for.
    fn processes_of_kernel(&self) -> Result<(HashSet<ProcessId>, HashSet<ProcessId>), SensorError> {
        let Some(bytes) = snapshot::read(self.loaded())? else {
            return Err(SensorError::NoProbe { reasons: "no iterator of tasks".into() });
        };
        let (mut living, mut unwaited) = (HashSet::new(), HashSet::new());
        for record in Records::new(&bytes) {
            if let Ok((_, Record::Task(task))) = record {
                let id = self.assembler().process_of(&task.record.header);
                if task.has_ended() {
                    unwaited.insert(id)
                } else {
                    living.insert(id)
                };
            }
        }
        Ok((living, unwaited))
    }
}
