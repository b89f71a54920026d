//! The queue on disk: appended to at one end, done with at the other, and made smaller in between.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use lavender_core::envelope::Content;
use lavender_core::event::Priority;

use super::frame::{Frame, scan};
use super::segment::{self, MAGIC, State};
use super::{SpoolOptions, SpoolStatus};

/// One file. All but the last are complete.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// The frames that are not done with.
    pub(super) frames: u64,
    /// Up to which priority it was shed.
    pub(super) shed: Option<Priority>,
}

/// What keeps frames from being appended.
#[derive(Debug)]
pub(super) enum Full {
    /// Nothing is left that may be shed.
    Kept,
    /// The disk does not take it.
    Disk(io::Error),
}

/// The queue. One process at a time has it.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) directory: PathBuf,
    pub(super) options: SpoolOptions,
    pub(super) segments: VecDeque<Segment>,
    pub(super) state: State,
    pub(super) status: SpoolStatus,
    /// The last segment, open for appending.
    active: File,
    /// What the first segment holds that is not done with, once it was asked for. It is then not shed.
    head: Option<VecDeque<Frame>>,
    _lock: File,
}

impl Queue {
    /// Opens what is there. Tails that were torn by a crash are cut: what they hold was never acknowledged.
    pub(super) fn open(directory: PathBuf, options: SpoolOptions) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        lock.try_lock().map_err(|error| {
            io::Error::new(io::ErrorKind::ResourceBusy, format!("another process has it: {error}"))
        })?;
        let mut state = State::load(&directory)?;
        let numbers = segment::list(&directory)?;
        let mut segments = VecDeque::new();
        let mut status = SpoolStatus::default();
        for number in &numbers {
            let path = segment::path_of(&directory, *number);
            let bytes = segment::read(&path)?;
            let whole = bytes.starts_with(MAGIC);
            let found =
                if whole { scan(&bytes, MAGIC.len()) } else { super::frame::Scan::default() };
            status.damaged += found.damaged;
            let rest = bytes.len() - found.end;
            let is_last = Some(number) == numbers.last();
            if is_last && (rest > 0 || !whole) {
                tracing::warn!(path = %path.display(), bytes = rest, "a torn tail is cut");
                cut(&path, found.end, whole)?;
            } else if rest > 0 {
                status.damaged += 1;
            }
            if found.damaged > 0 || (rest > 0 && !is_last) {
                tracing::error!(path = %path.display(), "the spool holds damaged frames; they are passed over");
            }
            for frame in &found.frames {
                note(&mut state, frame);
            }
            let done = if state.cursor.0 == *number { state.cursor.1 } else { 0 };
            let frames = found.frames.len().saturating_sub(done) as u64;
            let length = if is_last { found.end.max(MAGIC.len()) } else { bytes.len() };
            segments.push_back(Segment {
                number: *number,
                bytes: length as u64,
                frames,
                shed: None,
            });
        }
        let active = match segments.back() {
            Some(last) => {
                OpenOptions::new().append(true).open(segment::path_of(&directory, last.number))?
            }
            None => {
                let number = state.cursor.0 + 1;
                let bytes = MAGIC.len() as u64;
                segments.push_back(Segment { number, bytes, frames: 0, shed: None });
                segment::create(&directory, number)?
            }
        };
        let mut queue =
            Self { directory, options, segments, state, status, active, head: None, _lock: lock };
        queue.remove_done()?;
        queue.count();
        Ok(queue)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether so many more bytes fit.
    pub(super) fn has_room(&self, more: u64) -> bool {
        self.bytes() + more <= self.options.bytes_max
    }

    /// Appends frames, all or none. Once it returns they survive the process and the machine.
    pub(super) fn append(&mut self, frames: &[Frame], written: &[u8]) -> Result<(), Full> {
        let rotate = self.segments.back().is_none_or(|active| {
            active.bytes > MAGIC.len() as u64
                && active.bytes + written.len() as u64 > self.options.segment_bytes
        });
        if rotate {
            self.rotate().map_err(Full::Disk)?;
        }
        let Some(active) = self.segments.back_mut() else { return Err(Full::Kept) };
        let appended = self.active.write_all(written).and_then(|()| self.active.sync_data());
        if let Err(error) = appended {
            // Without its torn tail, the next append follows what is whole.
            let _ = self.active.set_len(active.bytes);
            return Err(Full::Disk(error));
        }
        active.bytes += written.len() as u64;
        active.frames += frames.len() as u64;
        for frame in frames {
            note(&mut self.state, frame);
        }
        if let (Some(head), 1) = (&mut self.head, self.segments.len()) {
            head.extend(frames.iter().cloned());
        }
        self.count();
        Ok(())
    }

    /// Begins a new segment; the last one is then complete.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let number = self.segments.back().map_or(self.state.cursor.0, |last| last.number) + 1;
        self.active = segment::create(&self.directory, number)?;
        let bytes = MAGIC.len() as u64;
        self.segments.push_back(Segment { number, bytes, frames: 0, shed: None });
        self.remove_done()
    }

    /// The first frames that are not done with, in order.
    pub(super) fn front(&mut self, count: usize) -> io::Result<Vec<Frame>> {
        loop {
            let Some(first) = self.segments.front() else { return Ok(Vec::new()) };
            let head = match &mut self.head {
                Some(head) => head,
                none => {
                    let bytes = segment::read(&segment::path_of(&self.directory, first.number))?;
                    let done =
                        if self.state.cursor.0 == first.number { self.state.cursor.1 } else { 0 };
                    none.insert(scan(&bytes, MAGIC.len()).frames.into_iter().skip(done).collect())
                }
            };
            if !head.is_empty() {
                return Ok(head.iter().take(count).cloned().collect());
            }
            if self.segments.len() == 1 {
                return Ok(Vec::new());
            }
            self.remove_first()?;
        }
    }

    /// The first frames are done with.
    pub(super) fn advance(&mut self, count: usize) -> io::Result<()> {
        let Some(first) = self.segments.front_mut() else { return Ok(()) };
        if self.state.cursor.0 != first.number {
            self.state.cursor = (first.number, 0);
        }
        self.state.cursor.1 += count;
        first.frames = first.frames.saturating_sub(count as u64);
        if let Some(head) = &mut self.head {
            head.drain(..count.min(head.len()));
        }
        self.status.delivered += count as u64;
        self.remove_done()?;
        self.count();
        Ok(())
    }

    /// Removes complete segments at the front that are done with.
    fn remove_done(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|it| it.frames == 0) {
            self.remove_first()?;
        }
        Ok(())
    }

    fn remove_first(&mut self) -> io::Result<()> {
        let Some(first) = self.segments.pop_front() else { return Ok(()) };
        self.head = None;
        // What was done must be known for longer than the segment that shows it.
        self.state.save(&self.directory)?;
        fs::remove_file(segment::path_of(&self.directory, first.number))
    }

    /// Writes down how far it is done with, so that less comes twice.
    pub(super) fn save(&self) -> io::Result<()> {
        self.state.save(&self.directory)
    }

    /// Whether a segment may be shed: not the one that is being delivered, and not the one that grows.
    pub(super) fn may_shed(&self, at: usize) -> bool {
        let in_delivery =
            at == 0 && (self.head.is_some() || self.state.cursor.0 == self.segments[0].number);
        at + 1 < self.segments.len() && !in_delivery
    }

    pub(super) fn count(&mut self) {
        self.status.bytes = self.bytes();
        self.status.waiting = self.segments.iter().map(|segment| segment.frames).sum();
    }
}

fn note(state: &mut State, frame: &Frame) {
    if let Content::Events { origin, last, .. } = frame.envelope.content() {
        state.saw(origin, last);
    }
}

/// Cuts a segment behind its last whole frame; one that does not even begin as one begins anew.
fn cut(path: &std::path::Path, end: usize, whole: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.set_len(if whole { end as u64 } else { 0 })?;
    if !whole {
        file.write_all(MAGIC)?;
    }
    file.sync_data()
}
