//! Hashing the files of programs, on a thread of its own.
//!
//! Whoever sees an exec asks, and goes on; what comes of it is taken later. The queue is bounded, as are the files that are
//! open, the bytes that are read of one and those that are read in a second. A file is opened through the process that runs
//! it, so that it is the right one whatever its path leads to by now, in a container and when it has no name any more; once
//! the process has ended by the path, as long as inode and time of change are those of the file that ran. A file that was
//! changed while it was read has no hash.

mod file;
mod pace;
mod worker;

use std::collections::HashSet;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use lavender_core::Clock;
use lavender_core::event::{ExecutableHash, Process, Unhashed};

use self::file::Places;
use self::worker::{Request, Worker};
use super::counts::Counts;
use super::{ExecutableFile, HashAnswer, HashCause};

/// The most files that are asked for and not told of yet.
const ASKED_MAX: usize = 1_024;

/// How the files of programs are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashOptions {
    /// What is larger is not hashed, in bytes. 256 MiB unless set: as much as is read for a quarantine.
    pub file_bytes_max: u64,
    /// How many bytes are read in a second, over time; a second's worth may come at once. 64 MiB unless set: about a quarter
    /// of one processor without SHA extensions, a twentieth with them.
    pub bytes_per_s: NonZeroU64,
    /// For how long the exec of a program that was not seen before waits for its hash at the most, where the plan
    /// [says so](lavender_core::SensorPlan::awaits_hashes). 500 ms unless set.
    pub wait: Duration,
}

impl Default for HashOptions {
    fn default() -> Self {
        Self {
            file_bytes_max: crate::enforce::MAX_COPIED_BYTES,
            bytes_per_s: NonZeroU64::MIN.saturating_add((64 << 20) - 1),
            wait: Duration::from_millis(500),
        }
    }
}

/// What came of a file.
pub(crate) type Hashed = (ExecutableFile, ExecutableHash);

/// The side that asks. The thread ends when this is gone.
#[derive(Debug)]
pub(crate) struct Hasher {
    requests: SyncSender<Request>,
    results: Receiver<Hashed>,
    /// What was asked for and not taken yet.
    asked: HashSet<ExecutableFile>,
    /// What has come and not been taken yet.
    arrived: Vec<Hashed>,
    counts: Arc<Counts<Unhashed>>,
    wait_ms: u32,
    execs_wait: bool,
}

impl Hasher {
    /// Starts the thread.
    pub(crate) fn start(options: HashOptions, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (requests, asked) = sync_channel(ASKED_MAX);
        let (told, results): (Sender<Hashed>, _) = channel();
        thread::Builder::new()
            .name("lavender-hash".into())
            .spawn(move || Worker::new(options, &*clock, &told).run(&asked))?;
        Ok(Self {
            requests,
            results,
            asked: HashSet::new(),
            arrived: Vec::new(),
            counts: Arc::default(),
            wait_ms: u32::try_from(options.wait.as_millis()).unwrap_or(u32::MAX),
            execs_wait: false,
        })
    }

    #[cfg(feature = "load")]
    pub(crate) fn counts(&self) -> Arc<Counts<Unhashed>> {
        Arc::clone(&self.counts)
    }

    /// Whether execs are to wait for their hash.
    #[cfg(feature = "load")]
    pub(crate) const fn set_execs_wait(&mut self, wait: bool) {
        self.execs_wait = wait;
    }

    /// Asks for a file, unless it was asked for already.
    pub(crate) fn ask(
        &mut self,
        file: ExecutableFile,
        process: &Process,
        cause: HashCause,
    ) -> HashAnswer {
        let waits = self.execs_wait && cause == HashCause::Exec;
        let coming = HashAnswer::Coming { wait_ms: if waits { self.wait_ms } else { 0 } };
        if self.asked.contains(&file) {
            return coming;
        }
        let request = || Request { places: Places::of(file, process), cause };
        if self.asked.len() >= ASKED_MAX || self.requests.try_send(request()).is_err() {
            self.counts.add(Unhashed::QueueFull);
            return HashAnswer::QueueFull;
        }
        self.asked.insert(file);
        coming
    }

    /// Whether something has come.
    pub(crate) fn has_arrived(&mut self) -> bool {
        self.arrived.extend(self.results.try_iter());
        !self.arrived.is_empty()
    }

    /// Takes what has come.
    pub(crate) fn take(&mut self) -> Vec<Hashed> {
        self.has_arrived();
        let arrived = std::mem::take(&mut self.arrived);
        for (file, hash) in &arrived {
            self.asked.remove(file);
            if let ExecutableHash::Missing(why) = hash {
                self.counts.add(*why);
            }
        }
        arrived
    }
}
