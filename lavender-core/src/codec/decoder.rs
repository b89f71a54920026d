//! Batches, read by whoever reads many.

use std::sync::Arc;

use super::line::OwnedEventLine;
use super::processes::{KnownProcesses, read_process};
use super::{CodecError, Header, header_of, lines_of, read_line};
use crate::alert::AgentIdentity;
use crate::event::{Event, Process};

/// Reads batches, and remembers their processes.
///
/// A process stands in every batch that has an event of it. One that stands there as it did in a batch before is not
/// read again: the events share it. It remembers up to 16,384 processes, and no more than have 16 MiB of text and two of them.
///
/// ```
/// use std::sync::Arc;
/// use lavender_core::codec::{self, BatchDecoder};
/// use lavender_core::conformance::sample::Sample;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut sample = Sample::new("acme", "web-1", 7);
/// let shell = sample.process();
/// let mut decoder = BatchDecoder::new();
/// let mut read = || {
///     let event = sample.exec(&shell);
///     let batch = codec::encode_batch(sample.source(), &[event])?;
///     decoder.decode(&batch)
/// };
/// let ((_, first), (_, second)) = (read()?, read()?);
/// let (Some(one), Some(other)) = (&first[0].process, &second[0].process) else { unreachable!() };
/// assert!(Arc::ptr_eq(one, other));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct BatchDecoder {
    known: KnownProcesses,
}

impl BatchDecoder {
    /// One that remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a batch.
    ///
    /// # Errors
    ///
    /// What is wrong and on which line; nothing of a batch with an error is used.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(AgentIdentity, Vec<Arc<Event>>), CodecError> {
        decode(bytes, Some(&mut self.known))
    }
}

pub(super) fn decode(
    bytes: &[u8],
    known: Option<&mut KnownProcesses>,
) -> Result<(AgentIdentity, Vec<Arc<Event>>), CodecError> {
    let mut lines = lines_of(bytes);
    let header: Header = header_of(&mut lines, |header: &Header| (header.lavender, header.events))?;
    let events = read_events(lines, header.processes, header.events, known)?;
    Ok((header.source, events))
}

/// Reads the lines behind the first: so many processes, and events as many as it says.
pub(super) fn read_events<'a>(
    mut lines: impl Iterator<Item = (usize, &'a [u8])>,
    processes_count: usize,
    expected: usize,
    mut known: Option<&mut KnownProcesses>,
) -> Result<Vec<Arc<Event>>, CodecError> {
    let mut processes: Vec<Arc<Process>> = Vec::new();
    for (line, text) in lines.by_ref().take(processes_count) {
        processes.push(read_process(&processes, known.as_deref_mut(), line, text)?);
    }

    // What is claimed is not believed yet.
    let mut events = Vec::with_capacity(expected.min(1_024));
    for (line, text) in lines {
        let fail = |source| CodecError::Line { line, source };
        let parsed: OwnedEventLine<u32> = read_line(text).map_err(fail)?;
        let event = parsed.into_event(|index| look_up(&processes, index, line))?;
        events.push(Arc::new(event));
    }
    if events.len() != expected {
        return Err(CodecError::Count { expected, found: events.len() });
    }
    Ok(events)
}

/// The process that a line refers to.
pub(super) fn look_up(
    processes: &[Arc<Process>],
    index: u32,
    line: usize,
) -> Result<Arc<Process>, CodecError> {
    processes.get(index as usize).map(Arc::clone).ok_or(CodecError::Reference { line, index })
}
