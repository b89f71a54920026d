//! Every process that is known, by its exact identity.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Process;
use lavender_core::{BootTime, ExecId, ProcessId};

/// How long a process that has ended is still found by records that come late, from another ring.
const EXITED_GRACE: Duration = Duration::from_secs(10);

/// How many earlier programs of a process are still found by records that come late.
const EARLIER_MAX: usize = 4;

#[derive(Debug)]
struct Entry {
    current: Arc<Process>,
    /// What it was before its last execs, the latest first.
    earlier: Vec<Arc<Process>>,
    exited: bool,
}

/// Every process that is known. Bounded: processes that have ended go after a grace, and the oldest go when
/// there are too many.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    entries: HashMap<ProcessId, Entry>,
    /// The latest process with a pid.
    by_pid: HashMap<u32, ProcessId>,
    exited: VecDeque<(BootTime, ProcessId)>,
    /// In the order of their first appearance; may hold processes that are gone from the table.
    order: VecDeque<ProcessId>,
    max: usize,
}

impl ProcessTable {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_pid: HashMap::new(),
            exited: VecDeque::new(),
            order: VecDeque::new(),
            max,
        }
    }

    /// How many processes it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The process as it is now.
    pub(crate) fn latest(&self, id: ProcessId) -> Option<&Arc<Process>> {
        self.entries.get(&id).map(|entry| &entry.current)
    }

    /// The process as it was with this program.
    pub(crate) fn with_program(&self, exec: ExecId) -> Option<&Arc<Process>> {
        let entry = self.entries.get(&exec.process)?;
        std::iter::once(&entry.current)
            .chain(&entry.earlier)
            .find(|process| process.exec_id.generation == exec.generation)
    }

    /// The latest process with a pid, if it lives.
    pub(crate) fn living(&self, pid: u32) -> Option<&Arc<Process>> {
        let entry = self.entries.get(self.by_pid.get(&pid)?)?;
        (!entry.exited).then_some(&entry.current)
    }

    /// Takes a process, or another state of one. A program that it has left already is kept as an earlier one.
    pub(crate) fn insert(&mut self, process: Arc<Process>) {
        let id = process.id();
        let Some(entry) = self.entries.get_mut(&id) else {
            self.by_pid.insert(process.pid, id);
            self.order.push_back(id);
            self.entries.insert(id, Entry { current: process, earlier: Vec::new(), exited: false });
            self.shrink();
            return;
        };
        let (new, old) = (process.exec_id.generation, entry.current.exec_id.generation);
        if new < old {
            entry.earlier.push(process);
        } else {
            let before = std::mem::replace(&mut entry.current, process);
            if new > old {
                entry.earlier.insert(0, before);
            }
        }
        entry.earlier.truncate(EARLIER_MAX);
    }

    /// Notes that a process has ended.
    pub(crate) fn exit(&mut self, id: ProcessId, at: BootTime) {
        if let Some(entry) = self.entries.get_mut(&id)
            && !entry.exited
        {
            entry.exited = true;
            self.exited.push_back((at, id));
        }
    }

    /// Notes that the processes that `lives` denies have ended unseen. Only those that had started before `at`
    /// can be missed by a look taken then.
    pub(crate) fn exit_others(&mut self, at: BootTime, lives: impl Fn(ProcessId) -> bool) {
        let mut gone: Vec<ProcessId> = self
            .entries
            .iter()
            .filter(|(id, entry)| !entry.exited && id.start_ns() < at.as_nanos() && !lives(**id))
            .map(|(id, _)| *id)
            .collect();
        gone.sort_unstable();
        for id in gone {
            self.exit(id, at);
        }
    }

    /// Forgets the processes that ended long enough before `now`.
    pub(crate) fn expire(&mut self, now: BootTime) {
        while let Some((at, id)) = self.exited.front().copied()
            && now.since(at) >= EXITED_GRACE
        {
            self.exited.pop_front();
            self.remove(id);
        }
        // Of those in order, most are gone once they outnumber the living by far.
        if self.order.len() > 2 * self.entries.len() + 1024 {
            let entries = &self.entries;
            self.order.retain(|id| entries.contains_key(id));
        }
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.max {
            let oldest = match self.exited.pop_front() {
                Some((_, id)) => Some(id),
                None => self.order.pop_front(),
            };
            let Some(oldest) = oldest else { return };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: ProcessId) {
        self.entries.remove(&id);
        if self.by_pid.get(&id.tgid()) == Some(&id) {
            self.by_pid.remove(&id.tgid());
        }
    }
}
