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

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Those that have not ended.
    pub(crate) fn all_living(&self) -> impl Iterator<Item = ProcessId> {
        self.entries.iter().filter(|(_, entry)| !entry.exited).map(|(id, _)| *id)
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

    /// The process as it was with the program before this one, where that is known.
    #[cfg(all(feature = "load", target_os = "linux"))]
    pub(crate) fn with_program_before(&self, exec: ExecId) -> Option<&Arc<Process>> {
        let entry = self.entries.get(&exec.process)?;
        std::iter::once(&entry.current)
            .chain(&entry.earlier)
            .filter(|process| process.exec_id.generation < exec.generation)
            .max_by_key(|process| process.exec_id.generation)
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

    /// Puts another state of every process, and of its earlier programs, where `change` has one.
    pub(crate) fn update(&mut self, change: impl Fn(&Process) -> Option<Process>) {
        for entry in self.entries.values_mut() {
            for process in std::iter::once(&mut entry.current).chain(&mut entry.earlier) {
                if let Some(changed) = change(process) {
                    *process = Arc::new(changed);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use lavender_core::event::{Credentials, Executable, Namespaces};
    use lavender_core::{BootId, ByteString, Captured};

    fn process(pid: u32, start_ns: u64, generation: u32) -> Arc<Process> {
        let id = ProcessId::new(BootId::from_u128(1), start_ns, pid);
        Arc::new(Process {
            exec_id: ExecId { process: id, generation },
            pid,
            namespace_pid: pid,
            name: ByteString::default(),
            executable: Executable::default(),
            arguments: Captured::default(),
            working_directory: Captured::default(),
            credentials: Credentials::default(),
            user: None,
            group: None,
            terminal: None,
            cgroup_id: 0,
            container: None,
            namespaces: Namespaces::default(),
            tree: None,
            parent_id: None,
            parent: None,
        })
    }

    const fn at(seconds: u64) -> BootTime {
        BootTime::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_late_record_finds_the_program_of_its_time() {
        let mut table = ProcessTable::new(10);
        let (first, second) = (process(7, 1, 1), process(7, 1, 2));
        table.insert(Arc::clone(&first));
        table.insert(Arc::clone(&second));
        assert_eq!(table.with_program(first.exec_id), Some(&first));
        assert_eq!(table.latest(first.id()), Some(&second));
        // Records of an older program change nothing about the present.
        let mut other_way = ProcessTable::new(10);
        other_way.insert(Arc::clone(&second));
        other_way.insert(Arc::clone(&first));
        assert_eq!(other_way.latest(first.id()), Some(&second));
        assert_eq!(other_way.with_program(first.exec_id), Some(&first));
    }

    #[test]
    fn a_process_that_has_ended_stays_for_a_while() {
        let mut table = ProcessTable::new(10);
        let process = process(7, 1, 1);
        table.insert(Arc::clone(&process));
        table.exit(process.id(), at(100));
        table.expire(at(109));
        assert!(table.latest(process.id()).is_some());
        assert_eq!(table.living(7), None);
        table.expire(at(110));
        assert_eq!(table.latest(process.id()), None);
    }

    #[test]
    fn a_reused_pid_is_the_later_process() {
        let mut table = ProcessTable::new(10);
        let (first, second) = (process(7, 1, 1), process(7, 2, 1));
        table.insert(Arc::clone(&first));
        table.exit(first.id(), at(1));
        table.insert(Arc::clone(&second));
        assert_eq!(table.living(7), Some(&second));
        table.expire(at(100));
        assert_eq!(table.living(7), Some(&second));
        assert_eq!(table.latest(first.id()), None);
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let mut table = ProcessTable::new(100);
        for pid in 0..10_000 {
            table.insert(process(pid, u64::from(pid), 1));
            table.expire(at(0));
            assert!(table.entries.len() <= 100 && table.by_pid.len() <= 100);
            assert!(table.order.len() <= 1_300);
        }
        // The ones that have ended go first.
        let ended = process(9_999, 9_999, 1).id();
        table.exit(ended, at(1));
        table.insert(process(20_000, 20_000, 1));
        assert_eq!(table.latest(ended), None);
        assert!(table.living(9_900).is_some());
    }

    #[test]
    fn what_a_snapshot_does_not_find_has_ended() {
        let mut table = ProcessTable::new(10);
        let (gone, lives, younger) = (process(1, 1, 1), process(2, 2, 1), process(3, 5_000, 1));
        for process in [&gone, &lives, &younger] {
            table.insert(Arc::clone(process));
        }
        table.exit_others(BootTime::from_nanos(1_000), |id| id == lives.id());
        assert_eq!(table.living(1), None);
        assert!(table.living(2).is_some());
        assert!(table.living(3).is_some(), "it was made after the snapshot was begun");
    }
}
