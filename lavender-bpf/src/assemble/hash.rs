//! Hashes of programs: what is known already, what comes later, and the execs that wait for it.
//!
//! A program that was hashed before has its hash at once. Of one that was not, the exec is told without, and what its
//! processes do once the hash has come has it; where a rule asks for hashes the exec itself waits, for a bounded time and
//! alone: what comes after it is told meanwhile.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use lavender_core::BootTime;
use lavender_core::event::{Executable, ExecutableHash, Process, Unhashed};

use super::{Assembler, Batch, Draft};
use crate::host::{ExecutableFile, HashAnswer, HashCause, Host, is_lasting};

/// The most files of which the hash is remembered: some hundred bytes each. A host has a few thousand programs.
const KNOWN_MAX: usize = 16_384;

/// The most execs that wait. Beyond it the oldest is told without its hash.
const HELD_MAX: usize = 4_096;

/// An exec that waits for the hash of its program.
#[derive(Debug)]
struct Held {
    file: ExecutableFile,
    draft: Draft,
    /// When the batch of its record was read: evidence is taken batch by batch.
    #[cfg(all(feature = "load", target_os = "linux"))]
    since: BootTime,
    until: BootTime,
}

/// What is known of files, and who waits for what is not.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: HashMap<ExecutableFile, Known>,
    /// By when each was last asked for, counted in questions.
    by_use: BTreeMap<u64, ExecutableFile>,
    uses: u64,
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Known {
    hash: ExecutableHash,
    used: u64,
}

impl Hashes {
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    pub(super) fn is_due(&self, now: BootTime, last: bool) -> bool {
        self.held.iter().any(|held| last || held.until <= now)
    }

    /// Puts another state of the process of every exec that waits, where `change` has one.
    pub(super) fn update_held(&mut self, change: impl Fn(&Process) -> Option<Process>) {
        for held in &mut self.held {
            if let Some(changed) = change(&held.draft.process) {
                held.draft.process = Arc::new(changed);
            }
        }
    }

    fn get(&mut self, file: ExecutableFile) -> Option<ExecutableHash> {
        let known = self.known.get_mut(&file)?;
        self.by_use.remove(&known.used);
        self.uses += 1;
        known.used = self.uses;
        self.by_use.insert(self.uses, file);
        Some(known.hash.clone())
    }

    fn remember(&mut self, file: ExecutableFile, hash: ExecutableHash) {
        self.uses += 1;
        if let Some(before) = self.known.insert(file, Known { hash, used: self.uses }) {
            self.by_use.remove(&before.used);
        }
        self.by_use.insert(self.uses, file);
        while self.known.len() > KNOWN_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.known.remove(&oldest);
        }
    }
}

impl<H: Host> Assembler<H> {
    /// Fills in what is known of a program's file, and asks for what is not. For how long the exec is to wait for it, where
    /// it is.
    pub(super) fn fill_hash(&mut self, process: &mut Process, cause: HashCause) -> Option<u32> {
        let file = ExecutableFile::of(&process.executable)?;
        if let Some(hash) = self.hashes.get(file) {
            process.executable.hash = Some(hash);
            return None;
        }
        let (missing, wait_ms) = match self.host.hash(file, process, cause) {
            HashAnswer::Off => return None,
            HashAnswer::QueueFull => (Unhashed::QueueFull, 0),
            HashAnswer::Coming { wait_ms } => (Unhashed::Pending, wait_ms),
        };
        process.executable.hash = Some(ExecutableHash::Missing(missing));
        (wait_ms > 0).then_some(wait_ms)
    }

    /// Has an exec wait for the hash of its program.
    pub(super) fn hold(&mut self, batch: &mut Batch, draft: Draft, wait_ms: u32) {
        let file = ExecutableFile::of(&draft.process.executable);
        let Some(file) = file.filter(|_| !batch.last) else { return batch.tell(draft) };
        if self.hashes.held.len() >= HELD_MAX
            && let Some(oldest) = self.hashes.held.pop_front()
        {
            batch.tell(oldest.draft);
        }
        let until = batch.drained_at.as_nanos().saturating_add(u64::from(wait_ms) * 1_000_000);
        let until = BootTime::from_nanos(until);
        self.hashes.held.push_back(Held {
            file,
            draft,
            #[cfg(all(feature = "load", target_os = "linux"))]
            since: batch.drained_at,
            until,
        });
    }

    /// Takes the hashes that have come: from here on every process that runs such a program has it, and the execs that
    /// waited for it are told.
    pub(super) fn take_hashes(&mut self, batch: &mut Batch) {
        let arrived: HashMap<_, _> = self.host.take_hashes().into_iter().collect();
        if arrived.is_empty() {
            return;
        }
        let mut lasting: Vec<_> = arrived.iter().filter(|(_, hash)| is_lasting(hash)).collect();
        // What is forgotten first must not depend on how a map is laid out.
        lasting.sort_unstable_by_key(|(file, _)| **file);
        for (file, hash) in lasting {
            self.hashes.remember(*file, hash.clone());
        }
        let of = |executable: &Executable| {
            let waits = executable.hash == Some(ExecutableHash::Missing(Unhashed::Pending));
            ExecutableFile::of(executable).filter(|_| waits).and_then(|file| arrived.get(&file))
        };
        self.last = None;
        self.processes.update(|process| of(&process.executable).map(|hash| with(process, hash)));
        let held = std::mem::take(&mut self.hashes.held);
        for mut held in held {
            match arrived.get(&held.file) {
                Some(hash) => {
                    held.draft.process = Arc::new(with(&held.draft.process, hash));
                    batch.tell(held.draft);
                }
                None => self.hashes.held.push_back(held),
            }
        }
    }

    /// Tells of the execs that have waited long enough.
    pub(super) fn finish_held(&mut self, batch: &mut Batch) {
        if !self.hashes.is_due(batch.drained_at, batch.last) {
            return;
        }
        let held = std::mem::take(&mut self.hashes.held);
        for held in held {
            if batch.last || held.until <= batch.drained_at {
                batch.tell(held.draft);
            } else {
                self.hashes.held.push_back(held);
            }
        }
    }

    /// The execs that the batch that was read at this time has left waiting, in their order.
    #[cfg(all(feature = "load", target_os = "linux"))]
    pub(super) fn held_since(&self, at: BootTime) -> Vec<(BootTime, &Arc<Process>)> {
        let held = self.hashes.held.iter().filter(|held| held.since == at);
        let mut held: Vec<_> =
            held.map(|held| (held.draft.boot_time, &held.draft.process)).collect();
        held.sort_by_key(|(time, _)| *time);
        held
    }
}

fn with(process: &Process, hash: &ExecutableHash) -> Process {
    let executable = Executable { hash: Some(hash.clone()), ..process.executable.clone() };
    Process { executable, ..process.clone() }
}
