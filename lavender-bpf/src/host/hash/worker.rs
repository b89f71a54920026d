//! The thread that reads files.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use lavender_core::event::{ExecutableHash, Unhashed};
use lavender_core::{Clock, Timestamp};

use super::file::{Places, is_unchanged};
use super::pace::Pace;
use super::{HashOptions, Hashed};
use crate::content_hash::ContentHash;
use crate::host::{ExecutableFile, HashCause};

/// How much is read of one file before the next has its turn.
const PIECE_BYTES: usize = 256 << 10;

/// The most files of programs that begin that are open. They take turns, so that a large one does not hold up the small ones.
const EXECS_MAX: usize = 48;

/// The same for those that were found.
const FOUND_MAX: usize = 16;

/// How old a change must be before the file is read: longer than a tick of the kernel (10 ms at the most), since two changes
/// within one have the same time.
const SETTLED: Duration = Duration::from_millis(20);

/// A file that is to be hashed.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) places: Places,
    pub(super) cause: HashCause,
}

/// A file that is being read.
struct Job {
    source: File,
    file: ExecutableFile,
    content: ContentHash,
    /// Nothing is read before.
    settled_at: Timestamp,
}

/// What came of one turn.
enum Turn {
    Read(usize),
    Done(ExecutableHash),
}

impl Job {
    fn turn(&mut self, buffer: &mut [u8], bytes_max: u64) -> Turn {
        let missing = |why| Turn::Done(ExecutableHash::Missing(why));
        match self.content.read(&self.source, buffer) {
            Err(_) => missing(Unhashed::Unreadable),
            Ok(_) if self.content.bytes() > bytes_max => missing(Unhashed::TooLarge),
            Ok(0) if is_unchanged(&self.source, &self.file) => {
                let content = std::mem::take(&mut self.content);
                Turn::Done(ExecutableHash::Sha256(content.finish()))
            }
            Ok(0) => missing(Unhashed::Changed),
            Ok(read) => Turn::Read(read),
        }
    }
}

/// Files that take turns, and those that wait for a turn.
struct Lane {
    waiting: VecDeque<Request>,
    jobs: VecDeque<Job>,
    max: usize,
}

impl Lane {
    const fn new(max: usize) -> Self {
        Self { waiting: VecDeque::new(), jobs: VecDeque::new(), max }
    }

    /// The next request that is to be begun.
    fn next(&mut self) -> Option<Request> {
        if self.jobs.len() < self.max { self.waiting.pop_front() } else { None }
    }

    /// Takes out the job whose turn it is.
    fn turn(&mut self, now: Timestamp) -> Option<Job> {
        let at = self.jobs.iter().position(|job| job.settled_at <= now)?;
        self.jobs.remove(at)
    }
}

/// Reads what is asked for, until nobody asks any more.
pub(super) struct Worker<'a> {
    options: HashOptions,
    clock: &'a dyn Clock,
    results: &'a Sender<Hashed>,
    pace: Pace,
    /// What begins, which something may wait for, comes before what was found.
    execs: Lane,
    found: Lane,
    buffer: Vec<u8>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        options: HashOptions,
        clock: &'a dyn Clock,
        results: &'a Sender<Hashed>,
    ) -> Self {
        Self {
            options,
            clock,
            results,
            pace: Pace::new(options.bytes_per_s.get(), clock.boot_time()),
            execs: Lane::new(EXECS_MAX),
            found: Lane::new(FOUND_MAX),
            buffer: vec![0; PIECE_BYTES],
        }
    }

    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            loop {
                match requests.try_recv() {
                    Ok(request) => self.lane(request.cause).waiting.push_back(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            for cause in [HashCause::Exec, HashCause::Found] {
                while let Some(request) = self.lane(cause).next() {
                    self.begin(&request);
                }
            }
            let next = if self.execs.jobs.is_empty() && self.found.jobs.is_empty() {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                match self.work() {
                    Duration::ZERO => continue,
                    pause => requests.recv_timeout(pause),
                }
            };
            match next {
                Ok(request) => self.lane(request.cause).waiting.push_back(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    const fn lane(&mut self, cause: HashCause) -> &mut Lane {
        match cause {
            HashCause::Exec => &mut self.execs,
            HashCause::Found => &mut self.found,
        }
    }

    fn begin(&mut self, request: &Request) {
        let file = request.places.file;
        let source = match request.places.open() {
            Ok((_, bytes)) if bytes > self.options.file_bytes_max => {
                return self.done(file, ExecutableHash::Missing(Unhashed::TooLarge));
            }
            Ok((source, _)) => source,
            Err(why) => return self.done(file, ExecutableHash::Missing(why)),
        };
        let settled_at = Timestamp::from_nanos(file.changed_ns).saturating_add(SETTLED);
        // A change in the future is one of a clock that was set back since.
        let settled_at = settled_at.min(self.clock.now().saturating_add(SETTLED));
        let job = Job { source, file, content: ContentHash::default(), settled_at };
        self.lane(request.cause).jobs.push_back(job);
    }

    /// Reads one piece. How long to wait before the next.
    fn work(&mut self) -> Duration {
        let pause = self.pace.pause(self.clock.boot_time());
        if !pause.is_zero() {
            return pause;
        }
        let now = self.clock.now();
        for cause in [HashCause::Exec, HashCause::Found] {
            let Some(mut job) = self.lane(cause).turn(now) else { continue };
            match job.turn(&mut self.buffer, self.options.file_bytes_max) {
                Turn::Read(bytes) => {
                    self.pace.spend(bytes);
                    self.lane(cause).jobs.push_back(job);
                }
                Turn::Done(hash) => self.done(job.file, hash),
            }
            return Duration::ZERO;
        }
        SETTLED
    }

    fn done(&self, file: ExecutableFile, hash: ExecutableHash) {
        // Nobody asks any more when nobody takes it.
        let _ = self.results.send((file, hash));
    }
}
