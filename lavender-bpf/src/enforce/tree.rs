//! A process and everything that it started.
//!
//! Everything is stopped before anything is killed, so that nothing makes new processes meanwhile, and looked for
//! again until a look finds nothing new.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lavender_core::{Outcome, ProcessId};
use rustix::event::{Timespec, poll};
use rustix::process::Signal;

use super::held::{self, HeldProcess};
use super::lineage::Lineage;
use super::protect::Protected;
use crate::host;

/// How often is looked for new processes before what was found is killed without more. Each look finds all of one
/// generation at least.
const ROUNDS: usize = 64;

/// The most processes that are killed for one order.
const PROCESSES: usize = 16_384;

/// How long is waited for all threads to have stopped, in milliseconds. One that waits for a disk does not stop
/// and forks nothing.
const STOP_WAIT_MS: u32 = 100;

/// What came of it, process by process; the root first.
pub(super) type Outcomes = Vec<(ProcessId, Outcome)>;

/// Whether it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is only said what would be done.
    Rehearse,
    Kill,
}

/// Kills a process and what it started, or what is left of that where it has ended itself.
pub(super) fn kill(
    root: Result<HeldProcess, ProcessId>,
    lineage: &Lineage,
    protected: &Protected,
    mode: Mode,
) -> Outcomes {
    let mut tree = Tree::new(lineage, protected, mode);
    let mut outcomes = Vec::new();
    match root {
        Ok(root) => tree.add(root),
        Err(ended) => {
            outcomes.push((ended, Outcome::Gone));
            for orphan in tree.orphans([ended]) {
                tree.add(orphan);
            }
        }
    }
    let complete = tree.look_until_nothing_is_new();
    let mut killed: Outcomes = Vec::with_capacity(tree.members.len());
    // The youngest first: when a parent ends before its stopped children, the kernel may continue those.
    for member in tree.members.iter().rev() {
        let outcome = match mode {
            Mode::Rehearse => Outcome::DryRun,
            Mode::Kill => member.signal(Signal::KILL),
        };
        killed.push((member.id(), outcome));
    }
    outcomes.extend(killed.into_iter().rev());
    outcomes.extend(tree.spared);
    unless_incomplete(outcomes, complete)
}

/// Says so at the root where not everything was found.
fn unless_incomplete(mut outcomes: Outcomes, complete: Result<(), Arc<str>>) -> Outcomes {
    if let (Err(reason), Some((_, outcome))) = (complete, outcomes.first_mut()) {
        *outcome = Outcome::Failed { reason };
    }
    outcomes
}

struct Tree<'a> {
    lineage: &'a Lineage,
    protected: &'a Protected,
    mode: Mode,
    members: Vec<HeldProcess>,
    /// Start in ticks of each member, by pid.
    by_pid: HashMap<u32, u64>,
    /// How many of the members have stopped, as far as they do.
    stopped: usize,
    /// Protected ones, and what could not be held.
    spared: Outcomes,
    spared_keys: HashSet<(u32, u64)>,
}

impl<'a> Tree<'a> {
    fn new(lineage: &'a Lineage, protected: &'a Protected, mode: Mode) -> Self {
        Self {
            lineage,
            protected,
            mode,
            members: Vec::new(),
            by_pid: HashMap::new(),
            stopped: 0,
            spared: Vec::new(),
            spared_keys: HashSet::new(),
        }
    }

    fn add(&mut self, process: HeldProcess) {
        if self.mode == Mode::Kill {
            // Where it cannot be stopped it cannot be killed either, and that outcome is the one to tell.
            process.signal(Signal::STOP);
        }
        let (pid, ticks) = held::key(process.id());
        self.by_pid.insert(pid, ticks);
        self.members.push(process);
    }

    /// Looks until a look that began when all had stopped found nothing. Why it gave up, otherwise.
    fn look_until_nothing_is_new(&mut self) -> Result<(), Arc<str>> {
        for _ in 0..ROUNDS {
            if self.mode == Mode::Kill {
                self.wait_until_stopped();
            }
            let found = self
                .look()
                .map_err(|error| format!("what it started cannot be looked for: {error}"))?;
            if found.is_empty() {
                return Ok(());
            }
            for process in found {
                if self.members.len() >= PROCESSES {
                    return Err(format!("the tree has more than {PROCESSES} processes").into());
                }
                self.add(process);
            }
        }
        Err(format!("after {ROUNDS} looks there still were new processes in the tree").into())
    }

    /// A signal is only sent: a process on another processor goes on until it takes it.
    fn wait_until_stopped(&mut self) {
        let a_while = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        for _ in 0..STOP_WAIT_MS {
            let running = self.members[self.stopped..].iter().position(|member| {
                !member.has_ended().unwrap_or(true) && !host::is_stopped(member.pid())
            });
            match running {
                None => break,
                Some(before) => self.stopped += before,
            }
            let _ = poll(&mut [], Some(&a_while));
        }
        self.stopped = self.members.len();
    }

    /// What belongs to the tree and is not in it yet.
    fn look(&mut self) -> std::io::Result<Vec<HeldProcess>> {
        let mut found = self.children()?;
        let ids: Vec<ProcessId> = self.members.iter().map(HeldProcess::id).collect();
        let known: HashSet<_> = found.iter().map(|process| held::key(process.id())).collect();
        let orphans = self.orphans(ids);
        found.extend(orphans.into_iter().filter(|orphan| !known.contains(&held::key(orphan.id()))));
        Ok(found)
    }

    /// Children of members, as the kernel has them now.
    fn children(&mut self) -> std::io::Result<Vec<HeldProcess>> {
        let boot = host::boot_id()?;
        let mut found = Vec::new();
        for process in host::processes()? {
            let key = (process.pid, process.start_ticks);
            let parent_pid = process.parent_pid;
            let Some(parent_ticks) = self.by_pid.get(&parent_pid).copied() else { continue };
            if self.knows(key) {
                continue;
            }
            let id = self.lineage.exact(key).unwrap_or_else(|| held::id_to_the_tick(boot, key));
            let Some(child) = self.hold(id) else { continue };
            // The pid was the member's when the child named it its parent, for it is so still.
            if host::start_ticks(parent_pid) == Some(parent_ticks) {
                found.push(child);
            }
        }
        Ok(found)
    }

    /// What the events say that processes started, and that is not in the tree.
    fn orphans(&mut self, of: impl IntoIterator<Item = ProcessId>) -> Vec<HeldProcess> {
        let spared = |id| self.spared_keys.contains(&held::key(id));
        let mut orphans = self.lineage.descendants(of, spared);
        orphans.retain(|id| !self.knows(held::key(*id)));
        orphans.into_iter().filter_map(|id| self.hold(id)).collect()
    }

    fn knows(&self, key: (u32, u64)) -> bool {
        self.by_pid.get(&key.0) == Some(&key.1) || self.spared_keys.contains(&key)
    }

    /// Holds a process of the tree, unless it has ended; says so where it is spared.
    fn hold(&mut self, id: ProcessId) -> Option<HeldProcess> {
        let spared = match HeldProcess::open(id) {
            Ok(process) => match self.protected.process(process.pid()) {
                None => return Some(process),
                Some(by) => Outcome::Protected { by },
            },
            Err(Outcome::Gone) => return None,
            Err(outcome) => outcome,
        };
        self.spared_keys.insert(held::key(id));
        self.spared.push((id, spared));
        None
    }
}
