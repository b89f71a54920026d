//! The thread that reads files.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use lavender_core::event::Undescribed;
use lavender_core::{BootTime, Clock};

use super::file::HostRoot;
use super::place::Runtime;
use super::{ContainerFiles, Described};
use crate::host::ContainerDescription;

/// The most containers that are looked for again later. Beyond it the one that has waited longest is given up, so that
/// control groups that only look like a container's keep nobody out.
const AGAIN_MAX: usize = 512;

/// A container that is to be described.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Arc<str>,
    /// The runtimes that may have made it.
    pub(super) runtimes: &'static [Runtime],
}

/// A container that was looked for.
struct Job {
    request: Request,
    /// How often.
    tries: usize,
    /// When it is looked for again.
    due: BootTime,
    /// What came of it the last time.
    why: Undescribed,
}

/// Reads what is asked for, until nobody asks any more.
pub(super) struct Worker<'a> {
    files: &'a ContainerFiles,
    clock: &'a dyn Clock,
    results: &'a Sender<Described>,
    /// In the order in which they were looked for last.
    again: VecDeque<Job>,
}

impl<'a> Worker<'a> {
    pub(super) const fn new(
        files: &'a ContainerFiles,
        clock: &'a dyn Clock,
        results: &'a Sender<Described>,
    ) -> Self {
        Self { files, clock, results, again: VecDeque::new() }
    }

    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            // What was never looked for comes first.
            let next = match requests.try_recv() {
                Err(TryRecvError::Empty) => match self.look_again() {
                    Some(Duration::ZERO) => continue,
                    Some(pause) => requests.recv_timeout(pause),
                    None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                },
                other => other.map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(request) => self.look(request, 0),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks for the first that is due. How long it is until another one is; `None`: nothing waits.
    fn look_again(&mut self) -> Option<Duration> {
        let now = self.clock.boot_time();
        if let Some(at) = self.again.iter().position(|job| job.due <= now)
            && let Some(job) = self.again.remove(at)
        {
            self.look(job.request, job.tries);
            return Some(Duration::ZERO);
        }
        let due = self.again.iter().map(|job| job.due).min()?;
        // A wait of nothing would be a busy one.
        Some(due.since(now).max(Duration::from_millis(1)))
    }

    fn look(&mut self, request: Request, tries: usize) {
        let why = match self.read(&request) {
            Ok(description) => return self.tell(request.id, Ok(description)),
            Err(why) => why,
        };
        let Some(pause) = self.files.retries.get(tries) else {
            return self.tell(request.id, Err(why));
        };
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let due = self.clock.boot_time().as_nanos().saturating_add(pause_ns);
        let due = BootTime::from_nanos(due);
        self.again.push_back(Job { request, tries: tries + 1, due, why });
        while self.again.len() > AGAIN_MAX
            && let Some(job) = self.again.pop_front()
        {
            self.tell(job.request.id, Err(job.why));
        }
    }

    /// The first file that says something; where there is none, what is wrong with one that is there.
    fn read(&self, request: &Request) -> Result<ContainerDescription, Undescribed> {
        let root = HostRoot::open(&self.files.host_root)?;
        let mut why = Undescribed::NotFound;
        for runtime in request.runtimes {
            for (path, file) in runtime.places(self.files, &root, &request.id) {
                let content = root.read(&path, self.files.file_bytes_max);
                match content.and_then(|content| file.read(&content, &request.id)) {
                    Ok(description) => return Ok(description),
                    Err(Undescribed::NotFound) => {}
                    Err(other) => why = other,
                }
            }
        }
        Err(why)
    }

    fn tell(&self, id: Arc<str>, description: Result<ContainerDescription, Undescribed>) {
        // Nobody asks any more when nobody takes it.
        let _ = self.results.send((id, description));
    }
}
