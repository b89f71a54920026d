//! The wire format, version 1: events and alerts as JSON lines.
//!
//! A batch is one header line, one line per process, one line per event:
//!
//! ```text
//! {"lavender":1,"tenant":"acme","agent":"web-1","host":"web-1.acme.example","events":2,"processes":3}
//! {"process":{"exec_id":{…},"pid":812,…}}
//! {"process":{…,"parent_id":{…}},"parent":0}
//! {"id":"…","kind":"exec","observed_at":1700000000000000000,"boot_time":5,"tid":812,"process":1,"data":{…}}
//! ```
//!
//! Each process stands there once, after its parent; `parent` and `process` count those lines from 0.
//! Fields may be added, and readers ignore those that they do not know. An event of an unknown kind is
//! kept as [`EventData::Unknown`].
//!
//! A batch of alerts is a header line that says how many, and one line per alert.
//!
//! One event or one alert by itself is one line, with its process and ancestors inside.

mod alert;
mod decoder;
mod line;
mod processes;

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Serialize, Serializer, ser};
use serde_json::value::RawValue;

pub use self::alert::{alert_from_json, alert_to_json, decode_alerts, encode_alerts};
pub use self::decoder::BatchDecoder;
use self::line::{DataOf, Kind, OwnedEventLine};
use crate::alert::AgentIdentity;
use crate::event::{Event, EventData, Process};
use crate::id::EventId;
use crate::time::{BootTime, Timestamp};

/// The version that this writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// The most events or alerts that a batch may hold to be read.
pub const MAX_EVENTS: usize = 65_536;

/// The error of bytes that are not what this version writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A line that is not JSON, or not of the right shape.
    #[error("line {line}: {source}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Nothing there.
    #[error("the batch is empty; a header line is needed")]
    Empty,
    /// Written by another version.
    #[error("wire version {found} is not known here; this reads version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// A line that refers to a process that does not stand before it.
    #[error("line {line}: it refers to process {index}, which does not stand before it")]
    Reference {
        /// Which line, from 1.
        line: usize,
        /// The index.
        index: u32,
    },
    /// A process with more ancestors than [`Process::MAX_ANCESTORS`].
    #[error("line {line}: the process has more than {} ancestors", Process::MAX_ANCESTORS)]
    Ancestors {
        /// Which line, from 1.
        line: usize,
    },
    /// Not as many events or alerts as the header says: the batch was cut, or lines were added.
    #[error("the header says {expected} items, and {found} are there")]
    Count {
        /// How many the header says.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// More events or alerts than [`MAX_EVENTS`].
    #[error("the batch holds {found} items; {MAX_EVENTS} are allowed")]
    TooLarge {
        /// How many the header says.
        found: usize,
    },
    /// An alert of another agent than the batch is of.
    #[error("line {line}: the alert is of another agent than the batch")]
    Source {
        /// Which line, from 1.
        line: usize,
    },
    /// A value that JSON cannot hold.
    #[error("it cannot be written as JSON: {0}")]
    Write(serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Header {
    lavender: u32,
    #[serde(flatten)]
    source: AgentIdentity,
    events: usize,
    processes: usize,
}

/// The first line of events whose agent is known.
#[derive(Serialize, Deserialize)]
struct EventsHeader {
    lavender: u32,
    events: usize,
    processes: usize,
}

#[derive(Serialize)]
struct ProcessLine<'a> {
    process: &'a Process,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<u32>,
}

#[derive(Serialize)]
struct EventLine<'a, P> {
    id: EventId,
    kind: &'a str,
    observed_at: Timestamp,
    boot_time: BootTime,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<P>,
    data: Data<'a>,
}

/// What stands under `data`, written where it goes: of a known kind without a copy.
struct Data<'a>(&'a EventData);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            EventData::Exec(data) => data.serialize(serializer),
            EventData::Fork(data) => data.serialize(serializer),
            EventData::Exit(data) => data.serialize(serializer),
            EventData::FileOpen(data) => data.serialize(serializer),
            EventData::FileDelete(data) => data.serialize(serializer),
            EventData::FileRename(data) => data.serialize(serializer),
            EventData::FileLink(data) => data.serialize(serializer),
            EventData::FileMode(data) => data.serialize(serializer),
            EventData::NetConnect(data) => data.serialize(serializer),
            EventData::NetBind(data) => data.serialize(serializer),
            EventData::NetListen(data) => data.serialize(serializer),
            EventData::NetAccept(data) => data.serialize(serializer),
            EventData::NetSend(data) => data.serialize(serializer),
            EventData::ExecFailed(data) => data.serialize(serializer),
            EventData::IoUring(data) => data.serialize(serializer),
            EventData::Signal(data) => data.serialize(serializer),
            EventData::Ptrace(data) => data.serialize(serializer),
            EventData::ProcessVmWrite(data) => data.serialize(serializer),
            EventData::MemfdCreate(data) => data.serialize(serializer),
            EventData::ModuleLoad(data) => data.serialize(serializer),
            EventData::CredChange(data) => data.serialize(serializer),
            EventData::Bpf(data) => data.serialize(serializer),
            EventData::Mount(data) => data.serialize(serializer),
            EventData::NsChange(data) => data.serialize(serializer),
            EventData::MemoryProtect(data) => data.serialize(serializer),
            EventData::DnsQuery(data) => data.serialize(serializer),
            EventData::Heartbeat(data) => data.serialize(serializer),
            EventData::Lost(data) => data.serialize(serializer),
            EventData::AgentStart(data) => data.serialize(serializer),
            EventData::AgentStop(data) => data.serialize(serializer),
            EventData::Response(data) => data.serialize(serializer),
            EventData::Unknown { body, .. } => {
                let text = String::from_utf8_lossy(body);
                let raw: &RawValue = serde_json::from_str(&text).map_err(ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

/// A process with its ancestors, parent first: how one stands by itself.
#[derive(Serialize)]
struct Lineage<'a> {
    #[serde(flatten)]
    process: &'a Process,
    ancestors: Vec<&'a Process>,
}

impl<'a> Lineage<'a> {
    fn of(process: &'a Arc<Process>) -> Self {
        Self { process, ancestors: process.ancestors().map(|ancestor| &**ancestor).collect() }
    }
}

#[derive(Deserialize)]
struct OwnedLineage {
    #[serde(flatten)]
    process: Process,
    #[serde(default)]
    ancestors: Vec<Process>,
}

impl OwnedLineage {
    fn join(self) -> Arc<Process> {
        let mut parent = None;
        for ancestor in self.ancestors.into_iter().take(Process::MAX_ANCESTORS).rev() {
            parent = Some(Arc::new(Process { parent, ..ancestor }));
        }
        Arc::new(Process { parent, ..self.process })
    }
}

/// The data of an event as JSON text: what stands under `data` on the wire.
///
/// # Errors
///
/// [`CodecError::Write`].
pub fn data_to_json(data: &EventData) -> Result<String, CodecError> {
    if let EventData::Unknown { body, .. } = data {
        return Ok(String::from_utf8_lossy(body).into_owned());
    }
    serde_json::to_string(&Data(data)).map_err(CodecError::Write)
}

/// Appends to `out` what [`data_to_json`] returns, without a text of its own for it.
///
/// # Errors
///
/// [`CodecError::Write`].
pub fn write_data(data: &EventData, out: &mut Vec<u8>) -> Result<(), CodecError> {
    if let EventData::Unknown { body, .. } = data {
        out.extend_from_slice(String::from_utf8_lossy(body).as_bytes());
        return Ok(());
    }
    serde_json::to_writer(out, &Data(data)).map_err(CodecError::Write)
}

/// The data of an event from its kind's name and its JSON text. A kind that is not known here is kept.
///
/// # Errors
///
/// When the text is not JSON of that kind's shape.
pub fn data_from_json(kind: &str, json: &str) -> Result<EventData, serde_json::Error> {
    let mut text = serde_json::Deserializer::from_str(json);
    let data = DataOf(Kind::of(kind)).deserialize(&mut text)?;
    text.end()?;
    Ok(data)
}

fn kind_of(data: &EventData) -> &str {
    match data {
        EventData::Unknown { kind, .. } => kind,
        known => known.kind().as_str(),
    }
}

/// The name of an event's kind on the wire; of an unknown kind, the name that it came with.
pub fn kind_name(data: &EventData) -> Arc<str> {
    match data {
        EventData::Unknown { kind, .. } => Arc::clone(kind),
        known => known.kind().as_str().into(),
    }
}

impl<'a, P> EventLine<'a, P> {
    fn new(event: &'a Event, process: Option<P>) -> Self {
        Self {
            id: event.id,
            kind: kind_of(&event.data),
            observed_at: event.observed_at,
            boot_time: event.boot_time,
            tid: event.tid,
            process,
            data: Data(&event.data),
        }
    }
}

/// Writes the processes of a batch once each, parents first.
#[derive(Default)]
struct ProcessTable<'a> {
    index: HashMap<*const Process, u32>,
    order: Vec<(&'a Process, Option<u32>)>,
}

impl<'a> ProcessTable<'a> {
    fn index_of(&mut self, process: &'a Arc<Process>) -> u32 {
        if let Some(index) = self.index.get(&Arc::as_ptr(process)) {
            return *index;
        }
        let line: Vec<&'a Arc<Process>> =
            std::iter::once(process).chain(process.ancestors()).collect();
        let mut parent = None;
        for process in line.into_iter().rev() {
            let next = self.order.len() as u32;
            let index = *self.index.entry(Arc::as_ptr(process)).or_insert(next);
            if index == next {
                self.order.push((process, parent));
            }
            parent = Some(index);
        }
        parent.unwrap_or_default()
    }
}

fn push_line(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), CodecError> {
    serde_json::to_writer(&mut *out, line).map_err(CodecError::Write)?;
    out.push(b'\n');
    Ok(())
}

/// Writes events of one agent as a batch.
///
/// # Errors
///
/// [`CodecError::Write`] for a value that JSON cannot hold.
pub fn encode_batch(source: &AgentIdentity, events: &[Arc<Event>]) -> Result<Vec<u8>, CodecError> {
    write_events(events, |processes| Header {
        lavender: VERSION,
        source: source.clone(),
        events: events.len(),
        processes,
    })
}

/// Writes events without whose they are, for who keeps them where that stands already: a batch but for its first line.
///
/// # Errors
///
/// [`CodecError::Write`] for a value that JSON cannot hold.
pub fn encode_events(events: &[Arc<Event>]) -> Result<Vec<u8>, CodecError> {
    write_events(events, |processes| EventsHeader {
        lavender: VERSION,
        events: events.len(),
        processes,
    })
}

/// Reads what [`encode_events`] wrote.
///
/// # Errors
///
/// What is wrong and on which line.
pub fn decode_events(bytes: &[u8]) -> Result<Vec<Arc<Event>>, CodecError> {
    let mut lines = lines_of(bytes);
    let header: EventsHeader =
        header_of(&mut lines, |header: &EventsHeader| (header.lavender, header.events))?;
    decoder::read_events(lines, header.processes, header.events, None)
}

/// Writes the line that says how many processes there are, those, and the events.
fn write_events<H: Serialize>(
    events: &[Arc<Event>],
    header: impl FnOnce(usize) -> H,
) -> Result<Vec<u8>, CodecError> {
    let mut table = ProcessTable::default();
    let processes: Vec<Option<u32>> =
        events.iter().map(|event| event.process.as_ref().map(|p| table.index_of(p))).collect();
    let mut out = Vec::with_capacity(256 * events.len() + 512 * table.order.len());
    push_line(&mut out, &header(table.order.len()))?;
    for (process, parent) in table.order {
        push_line(&mut out, &ProcessLine { process, parent })?;
    }
    for (event, process) in events.iter().zip(processes) {
        push_line(&mut out, &EventLine::new(event, process))?;
    }
    Ok(out)
}

/// Reads a batch. Who reads many has a [`BatchDecoder`].
///
/// # Errors
///
/// What is wrong and on which line; nothing of a batch with an error is used.
pub fn decode_batch(bytes: &[u8]) -> Result<(AgentIdentity, Vec<Arc<Event>>), CodecError> {
    decoder::decode(bytes, None)
}

/// The lines that are not empty, with their numbers from 1.
fn lines_of(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let (mut rest, mut number) = (Some(bytes), 0);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let end = memchr::memchr(b'\n', text);
            let line = end.map_or(text, |end| &text[..end]);
            rest = end.map(|end| &text[end + 1..]);
            number += 1;
            if !line.is_empty() {
                return Some((number, line));
            }
        }
    })
}

/// Reads a line. What it is made of is looked at once, and not with every text in it.
fn read_line<'a, T: Deserialize<'a>>(line: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(line) {
        Ok(line) => serde_json::from_str(line),
        // Says what is wrong with it.
        Err(_) => serde_json::from_slice(line),
    }
}

/// Reads the first line; `claims` are the version and the number of items that it speaks of.
fn header_of<'a, H: Deserialize<'a>>(
    lines: &mut impl Iterator<Item = (usize, &'a [u8])>,
    claims: impl Fn(&H) -> (u32, usize),
) -> Result<H, CodecError> {
    let (line, first) = lines.next().ok_or(CodecError::Empty)?;
    let header =
        serde_json::from_slice(first).map_err(|source| CodecError::Line { line, source })?;
    let (version, items) = claims(&header);
    if version != VERSION {
        return Err(CodecError::Version { found: version });
    }
    if items > MAX_EVENTS {
        return Err(CodecError::TooLarge { found: items });
    }
    Ok(header)
}

/// One event as a line of JSON, without the line's end; its process and the ancestors stand inside.
///
/// # Errors
///
/// [`CodecError::Write`] for a value that JSON cannot hold.
pub fn event_to_json(event: &Event) -> Result<String, CodecError> {
    let line = EventLine::new(event, event.process.as_ref().map(Lineage::of));
    serde_json::to_string(&line).map_err(CodecError::Write)
}

/// Reads what [`event_to_json`] wrote.
///
/// # Errors
///
/// [`CodecError::Line`].
pub fn event_from_json(json: &str) -> Result<Event, CodecError> {
    let fail = |source| CodecError::Line { line: 1, source };
    let line: OwnedEventLine<OwnedLineage> = serde_json::from_str(json).map_err(fail)?;
    line.into_event(|lineage| Ok(lineage.join()))
}
