//! The publisher in front of the spool, and the thread that owns the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::envelope::EnvelopeError;
use lavender_core::event::{EventKind, Loss, LossStage};
use lavender_core::transport::{Message, Payload, Publisher, Topic};
use lavender_core::{Error, ErrorKind, Origin, Result, async_trait};
use tokio::sync::{mpsc, oneshot, watch};

use super::deliver::deliver;
use super::frame::Frame;
use super::queue::{Full, Queue};
use super::{Connect, Reporter, SpoolOptions, SpoolStatus};

/// How many requests may wait for the thread; what waits together is written together.
const REQUESTS: usize = 256;

/// How long a full spool or disk is left alone, unless something is delivered meanwhile.
const FULL_DELAY: Duration = Duration::from_millis(250);

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Write frames, and say when they are safe.
    Append(Vec<Frame>, Written),
    /// The first frames that are not done with.
    Front(usize, oneshot::Sender<Vec<Frame>>),
    /// The first frames are with the broker.
    Advance(usize),
    /// The broker will never take the first frame.
    Reject(String),
    /// Whether it can be delivered, and if not, why.
    Fault(Option<String>),
    /// End, when this is done.
    End,
}

/// Where the thread says whether what was to be written is safe.
type Written = oneshot::Sender<Result<(), String>>;

/// A [`Publisher`] whose messages are on disk when `publish` returns, and that delivers them in its own time. See
/// the [module](super).
#[derive(Debug)]
pub struct Spooled {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<SpoolStatus>,
    stop: watch::Sender<bool>,
    reporter: Reporter,
    options: SpoolOptions,
    component: Arc<str>,
    sequences: Vec<(String, u64)>,
}

impl Spooled {
    /// Opens the spool of a directory, which is made where there is none, and begins to deliver what it holds.
    /// Must be called within a runtime of tokio. The reporter's sequence goes on behind what the disk knows of it.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another process has it.
    pub fn open(
        directory: impl AsRef<Path>,
        mut options: SpoolOptions,
        reporter: Reporter,
        to: impl Connect,
    ) -> Result<Self> {
        let directory: PathBuf = directory.as_ref().to_owned();
        let component: Arc<str> = format!("spool {}", directory.display()).into();
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::ResourceBusy => ErrorKind::Conflict,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, &*component, error)
        };
        options.segment_bytes = options.segment_bytes.min(options.bytes_max / 4).max(4_096);
        let queue = Queue::open(directory, options.clone()).map_err(failed)?;
        let sequences: Vec<(String, u64)> = queue
            .state
            .sequences
            .iter()
            .map(|(origin, (last, _))| (origin.clone(), *last))
            .collect();
        // Before anything is reported: a number that is on this disk must not be given again.
        let own = reporter.sequencer.origin().to_string();
        if let Some((_, last)) = sequences.iter().find(|(origin, _)| *origin == own) {
            reporter.sequencer.advance_past(*last);
        }
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (status_out, status) = watch::channel(queue.status.clone());
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper { queue, reporter: reporter.clone(), status: status_out };
        std::thread::Builder::new()
            .name("lavender-spool".into())
            .spawn(move || keeper.run(inbox))
            .map_err(failed)?;
        let in_flight = options.in_flight.max(1);
        tokio::spawn(deliver(requests.clone(), status.clone(), stopped, in_flight, to));
        Ok(Self { requests, status, stop, reporter, options, component, sequences })
    }

    /// The highest sequence number of an origin that was ever on this disk when it was opened: an agent goes on
    /// behind it.
    pub fn last_sequence(&self, origin: Origin) -> Option<u64> {
        let origin = origin.to_string();
        self.sequences.iter().find(|(known, _)| *known == origin).map(|(_, last)| *last)
    }

    /// How it stands.
    pub fn status(&self) -> SpoolStatus {
        self.status.borrow().clone()
    }

    /// Waits until all that was published is delivered, for so long at the most, and ends. What is left stays on
    /// disk, for when it is opened again. Says how it stood.
    pub async fn close(&self, patience: Duration) -> SpoolStatus {
        let mut status = self.status.clone();
        // Time is up, or everything is delivered: either is the end.
        let _ = tokio::time::timeout(patience, status.wait_for(|now| now.waiting == 0)).await;
        self.stop.send_replace(true);
        // It may have ended already.
        let _ = self.requests.send(Request::End).await;
        // The thread's status ends with it.
        while status.changed().await.is_ok() {}
        status.borrow().clone()
    }

    /// The frames of a message. An event that is too large for any broker is given up, and counted.
    fn frames(&self, message: &Message) -> Result<Vec<Frame>> {
        let most = self.options.body_bytes_max;
        match (Frame::of(message, most), &message.payload) {
            (Ok(frames), _) => Ok(frames),
            (Err(EnvelopeError::Oversized { .. }), Payload::Events(events)) => {
                let mut frames = Vec::new();
                let mut lost = Vec::new();
                for event in events {
                    let payload = Payload::Events(vec![Arc::clone(event)]);
                    match Frame::of(&Message { payload, ..message.clone() }, most) {
                        Ok(alone) => frames.extend(alone),
                        Err(error) => {
                            tracing::error!(id = %event.id, %error, "an event is given up");
                            lost.push(Loss::new(LossStage::Spool, event.kind(), 1));
                        }
                    }
                }
                frames.extend(self.reporter.report(&lost, message.topic, most));
                Ok(frames)
            }
            (Err(error), _) => Err(Error::new(ErrorKind::Invalid, &*self.component, error)),
        }
    }
}

#[async_trait]
impl Publisher for Spooled {
    /// Returns once the messages are on disk. Waits while the spool is full of what may not be given up, or the disk
    /// takes no more.
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let mut frames = Vec::with_capacity(messages.len());
        for message in &messages {
            frames.extend(self.frames(message)?);
        }
        if frames.is_empty() {
            return Ok(());
        }
        let ended = || Error::new(ErrorKind::Unavailable, &*self.component, "it has ended");
        let mut status = self.status.clone();
        loop {
            let (answer, answered) = oneshot::channel();
            let request = Request::Append(frames.clone(), answer);
            self.requests.send(request).await.map_err(|_| ended())?;
            match answered.await.map_err(|_| ended())? {
                Ok(()) => return Ok(()),
                Err(why) => {
                    tracing::error!("{}: waits: {why}", self.component);
                    status.mark_unchanged();
                    // Either is reason to try again.
                    let _ = tokio::time::timeout(FULL_DELAY, status.changed()).await;
                }
            }
        }
    }
}

/// What the thread has.
struct Keeper {
    queue: Queue,
    reporter: Reporter,
    status: watch::Sender<SpoolStatus>,
}

impl Keeper {
    /// Answers until nobody can ask any more.
    fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        self.report_damage();
        let mut waiting = Vec::with_capacity(REQUESTS);
        let mut ended = false;
        while !ended && inbox.blocking_recv_many(&mut waiting, REQUESTS) > 0 {
            let mut appends = Vec::new();
            for request in waiting.drain(..) {
                match request {
                    Request::Append(frames, answer) => appends.push((frames, answer)),
                    Request::Front(count, answer) => {
                        let frames = self.queue.front(count);
                        let frames = self.or_fault(frames).unwrap_or_default();
                        // Who asked may have gone.
                        let _ = answer.send(frames);
                    }
                    Request::Advance(count) => {
                        let advanced = self.queue.advance(count);
                        self.or_fault(advanced);
                    }
                    Request::Reject(why) => self.reject(&why),
                    Request::Fault(fault) => self.queue.status.fault = fault,
                    Request::End => ended = true,
                }
            }
            self.append(appends);
            self.show();
        }
        let saved = self.queue.save();
        self.or_fault(saved);
        self.show();
    }

    fn show(&self) {
        self.status.send_if_modified(|shown| {
            let changed = *shown != self.queue.status;
            if changed {
                shown.clone_from(&self.queue.status);
            }
            changed
        });
    }

    fn or_fault<T>(&mut self, result: std::io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let why = format!("{}: {error}", self.queue.directory.display());
                tracing::error!("spool {why}");
                self.queue.status.fault = Some(why);
                None
            }
        }
    }

    /// Writes what several publish at once, with one fsync; one by one when that does not fit.
    fn append(&mut self, appends: Vec<(Vec<Frame>, Written)>) {
        if appends.is_empty() {
            return;
        }
        let all: Vec<Frame> = appends.iter().flat_map(|(frames, _)| frames).cloned().collect();
        let together = self.write(&all);
        let alone = appends.len() == 1;
        for (frames, answer) in appends {
            let result = match &together {
                Ok(()) => Ok(()),
                Err(why) if alone => Err(why.clone()),
                Err(_) => self.write(&frames),
            };
            // Told to the world before it is told to who published, so that both know the same.
            self.show();
            // Who published may have given up waiting; it is published all the same.
            let _ = answer.send(result);
        }
    }

    fn write(&mut self, frames: &[Frame]) -> Result<(), String> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(frame.write().ok_or("a frame is longer than 64 MiB")?);
        }
        let appended = self
            .queue
            .make_room(bytes.len() as u64, &self.reporter)
            .and_then(|()| self.queue.append(frames, &bytes));
        appended.map_err(|full| match full {
            Full::Kept => format!(
                "{} of {} bytes are taken by what is never given up",
                self.queue.bytes(),
                self.queue.options.bytes_max
            ),
            Full::Disk(error) => {
                let why = format!("{}: {error}", self.queue.directory.display());
                self.queue.status.fault = Some(why.clone());
                why
            }
        })
    }

    /// Takes out the first frame, and puts the count of what was in it at the end.
    fn reject(&mut self, why: &str) {
        let front = self.queue.front(1);
        let Some(frame) = self.or_fault(front).and_then(|frames| frames.into_iter().next()) else {
            return;
        };
        let envelope = &frame.envelope;
        tracing::error!(id = envelope.id(), why, "the broker will never take this: it is given up");
        let lost = frame.as_lost();
        let reports = self.reporter.report(
            &lost,
            envelope.subject().topic,
            self.queue.options.body_bytes_max,
        );
        // Counted before it is gone.
        match self.write(&reports) {
            Ok(()) => {
                self.queue.status.shed += lost.iter().map(|loss| loss.count).sum::<u64>();
                let advanced = self.queue.advance(1);
                self.or_fault(advanced);
            }
            Err(why) => tracing::error!("spool: {why}"),
        }
    }

    /// What was in damaged frames is not known; that something was, is.
    fn report_damage(&mut self) {
        let damaged = self.queue.status.damaged;
        if damaged == 0 {
            return;
        }
        let lost = [Loss::new(LossStage::Spool, EventKind::Unknown, damaged)];
        let most = self.queue.options.body_bytes_max;
        let reports = self.reporter.report(&lost, Topic::TelemetryRaw, most);
        if let Err(why) = self.write(&reports) {
            tracing::error!("spool: {damaged} damaged frames cannot be reported: {why}");
        }
        self.show();
    }
}
