//! A capture as a source of events.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use lavender_core::event::EventBatch;
use lavender_core::{Error, ErrorKind, EventId, Origin, Sequencer, Source, async_trait};

use crate::assemble::{Assembler, BatchInput};
use crate::capture::{BatchMeta, CaptureError, CaptureHeader, Frame, FrameReader, Known};
use crate::host::RecordedHost;

/// Makes the events of a capture again: equal to those that the live sensor delivered, ids included, on any
/// OS, without privileges.
///
/// As fast as it is asked; the times in the events are those of the capture.
#[derive(Debug)]
pub struct Replay {
    header: CaptureHeader,
    frames: FrameReader,
    assembler: Assembler<RecordedHost>,
    origin: Origin,
    /// Set once the capture's own numbering does not fit what this version makes of it.
    renumbered: Option<Sequencer>,
    ended: bool,
}

impl Replay {
    /// Opens a capture.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or does not begin as a capture of a known version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path)
            .map_err(|source| CaptureError::File { path: path.clone(), source })?;
        Self::new(path, Box::new(BufReader::new(file)))
    }

    /// Replays a capture from a reader; `name` stands for the file in errors.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        Self::new(name.into(), Box::new(reader))
    }

    fn new(path: PathBuf, input: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        let (frames, header) = FrameReader::open(path, input)?;
        let origin = Origin::new(&header.identity.tenant, &header.identity.agent, header.boot);
        let assembler = Assembler::new(header.boot, RecordedHost::default());
        Ok(Self { header, frames, assembler, origin, renumbered: None, ended: false })
    }

    /// Where the capture comes from.
    pub const fn header(&self) -> &CaptureHeader {
        &self.header
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the capture is damaged or cut here. What was returned before stays good.
    pub fn read_batch(&mut self) -> Result<Option<EventBatch>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let mut frame = self.frames.next();
        if let Ok(Frame::Known(known)) = frame {
            self.know(known)?;
            frame = self.frames.next();
        }
        match frame {
            Ok(Frame::Batch(meta, records)) => self.assemble(*meta, &records).map(Some),
            Ok(Frame::Known(_)) => {
                Err(self.frames.damaged_batch("what was known stands there twice"))
            }
            Ok(Frame::End(end)) => {
                tracing::debug!(?end, "the capture ends");
                self.ended = true;
                Ok(None)
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// Takes what was known before the first batch.
    fn know(&mut self, mut known: Known) -> Result<(), CaptureError> {
        self.assembler.host_mut().learn(std::mem::take(&mut known.facts));
        let processes = known.into_processes().ok_or_else(|| {
            self.frames.damaged_batch("a process without the parent that it names")
        })?;
        self.assembler.know(processes);
        Ok(())
    }

    fn assemble(&mut self, meta: BatchMeta, bytes: &[u8]) -> Result<EventBatch, CaptureError> {
        let snapshot_bytes = usize::try_from(meta.snapshot_bytes).unwrap_or(usize::MAX);
        let Some((snapshot, records)) = bytes.split_at_checked(snapshot_bytes) else {
            return Err(self.frames.damaged_batch("its snapshot is longer than the batch"));
        };
        if meta.first_sequence.max(meta.events) > EventId::MAX_SEQUENCE {
            return Err(self.frames.damaged_batch("its events have numbers that no event has"));
        }
        self.assembler.host_mut().learn(meta.facts);
        let input = BatchInput {
            drained_at: meta.drained_at,
            wall_offset_ns: meta.wall_offset_ns,
            snapshot: meta.snapshot_at.map(|at| (at, snapshot)),
            records,
            lost: meta.lost,
            last: meta.last,
        };
        let (origin, renumbered) = (self.origin, &mut self.renumbered);
        let midway = self.header.midway;
        Ok(self.assembler.assemble(input, |count| {
            // What the first batches end was begun before the capture: the events that are missing are the oldest.
            if midway && count < meta.events && renumbered.is_none() {
                return (origin, meta.first_sequence + (meta.events - count));
            }
            if count != meta.events && renumbered.is_none() {
                tracing::warn!(
                    recorded = meta.events,
                    made = count,
                    "this version makes other events of the capture than the one that recorded it; \
                     they are numbered anew from here on"
                );
                *renumbered = Some(Sequencer::resume(origin, meta.first_sequence));
            }
            let first = renumbered.as_ref().map(|ids| ids.reserve(count));
            (origin, first.unwrap_or(meta.first_sequence))
        }))
    }
}

#[async_trait]
impl Source for Replay {
    async fn next_batch(&mut self) -> lavender_core::Result<Option<EventBatch>> {
        self.read_batch().map_err(|error| {
            let kind = match error {
                CaptureError::File { .. } => ErrorKind::Unavailable,
                CaptureError::Format { .. } => ErrorKind::Invalid,
                CaptureError::Damaged { .. } | CaptureError::Truncated { .. } => ErrorKind::Corrupt,
            };
            Error::new(kind, "replay", error)
        })
    }

    fn stop(&mut self) {
        self.ended = true;
    }
}
