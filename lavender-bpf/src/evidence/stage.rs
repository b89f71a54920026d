//! Has evidence written when an alert is raised.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lavender_core::{Alert, AlertStage, BootTime, Clock, Severity};

use super::folder::{Folder, SUFFIX};
use super::ring::{EvidenceRing, Window};
use crate::limit::RateLimit;

/// How many files wait to be written. What each holds stays in memory until then.
const WAITING_MAX: usize = 2;

/// How often it is said that an alert gets no evidence.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

/// Which alerts get evidence, where it is written, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvidenceOptions {
    /// The folder. It is made with mode 0700 where there is none.
    pub dir: PathBuf,
    /// Of alerts that are so bad or worse. [`Severity::Medium`] unless set.
    pub min_severity: Severity,
    /// The most bytes of a file. 32 MiB unless set.
    pub file_bytes_max: u64,
    /// The most files; the oldest are removed. 32 unless set.
    pub files_max: usize,
    /// How many files are written in any minute at the most. 10 unless set.
    pub max_per_minute: u32,
}

impl EvidenceOptions {
    /// Into this folder, with the bounds that hold unless set.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            min_severity: Severity::Medium,
            file_bytes_max: 32 << 20,
            files_max: 32,
            max_per_minute: 10,
        }
    }
}

/// Has the most recent records written to a file when an alert is raised, and [names it](Alert::capture) in the alert.
///
/// The last of the stages: what repeats an alert gets no file of its own. A thread writes; an alert waits for none of it.
/// Alerts that one file has the events of share it. An alert names no file when its event is not among the most recent
/// any more, when as many files as may be were written in the last minute, or when the folder cannot be used; which is
/// logged. Should a file fail to be written after that, it is logged as an error with the file's name.
#[derive(Debug)]
pub struct EvidenceStage {
    ring: EvidenceRing,
    options: EvidenceOptions,
    limit: RateLimit,
    clock: Arc<dyn Clock>,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    last: Option<Written>,
    said: Option<BootTime>,
}

/// A file, and the numbers of the events in it: from the first to before the second.
#[derive(Debug)]
struct Written {
    path: Arc<str>,
    sequences: (u64, u64),
}

struct Job {
    name: String,
    window: Window,
    sequence: u64,
}

impl EvidenceStage {
    /// Writes what `ring` holds.
    pub fn new(ring: EvidenceRing, options: EvidenceOptions, clock: Arc<dyn Clock>) -> Self {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let thread_options = options.clone();
        let writer = thread::Builder::new()
            .name("lavender-evidence".into())
            .spawn(move || write(&thread_options, &waiting))
            .inspect_err(|error| tracing::error!(%error, "no evidence is written"))
            .ok();
        let limit = RateLimit::new(options.max_per_minute, Arc::clone(&clock));
        Self { ring, options, limit, clock, jobs: Some(jobs), writer, last: None, said: None }
    }

    /// The file with this alert's events, which is written if there is none yet.
    fn capture_of(&mut self, alert: &Alert) -> Option<Arc<str>> {
        let sequence = alert.events.iter().map(|event| event.sequence()).max()?;
        if let Some(Written { path, sequences: (first, end) }) = &self.last
            && (*first..*end).contains(&sequence)
        {
            return Some(Arc::clone(path));
        }
        let Some(window) = self.ring.window(sequence) else {
            self.say("its event is not among the most recent records any more");
            return None;
        };
        if !self.limit.take() {
            self.say("as many files as may be were written in the last minute");
            return None;
        }
        let milliseconds = self.clock.now().as_nanos() / 1_000_000;
        let name = format!("{milliseconds:015}-{}{SUFFIX}", alert.id);
        let path: Arc<str> = self.options.dir.join(&name).to_string_lossy().into();
        let sequences = window.sequences();
        match self.jobs.as_ref()?.try_send(Job { name, window, sequence }) {
            Ok(()) => {
                self.last = Some(Written { path: Arc::clone(&path), sequences });
                Some(path)
            }
            Err(TrySendError::Full(_)) => {
                self.say("others are still being written");
                None
            }
            Err(TrySendError::Disconnected(_)) => {
                self.say("the folder cannot be used");
                None
            }
        }
    }

    /// Says why an alert gets no evidence, every now and then.
    fn say(&mut self, why: &str) {
        let now = self.clock.boot_time();
        if self.said.is_none_or(|said| now.since(said) >= SAY_INTERVAL) {
            self.said = Some(now);
            tracing::warn!("an alert has no evidence written: {why}");
        }
    }
}

impl AlertStage for EvidenceStage {
    fn pass(&mut self, raised: &mut Vec<Alert>, _repeated: &mut Vec<Alert>) {
        for alert in raised {
            if alert.severity >= self.options.min_severity {
                alert.capture = self.capture_of(alert);
            }
        }
    }
}

impl Drop for EvidenceStage {
    fn drop(&mut self) {
        // Ends the thread once it has written what waits.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(options: &EvidenceOptions, jobs: &Receiver<Job>) {
    let dir: &Path = &options.dir;
    let folder = match Folder::open(dir, options.file_bytes_max, options.files_max.max(1)) {
        Ok(folder) => folder,
        Err(error) => {
            tracing::error!(%error, "no evidence is written: {} cannot be used", dir.display());
            return;
        }
    };
    for Job { name, window, sequence } in jobs {
        match folder.write(&name, window, sequence) {
            Ok(()) => tracing::debug!("evidence: {}", dir.join(name).display()),
            Err(error) => {
                tracing::error!(%error, "evidence was not written: {}", dir.join(name).display());
            }
        }
    }
}
