//! Frames: one envelope each, with its length and a checksum.
//!
//! ```text
//! length: u32 │ CRC-32: u32 │ subject ⏎ name: value ⏎ … ⏎ ⏎ body
//! ```
//!
//! Numbers are little-endian; length and checksum are of what follows them. Beside the headers of the envelope there
//! is one that says how many items of which kind are inside, so that what is shed can be counted unopened.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use lavender_core::envelope::{Content, Envelope};
use lavender_core::event::{EventKind, Loss, LossStage, Priority};
use lavender_core::transport::{Message, Payload};

/// What stands before each frame.
pub(super) const PREFIX: usize = 8;

/// Longer ones are not written, and not believed.
const LENGTH_MAX: usize = 64 << 20;

const KINDS: &str = "Spool-Kinds";

/// An envelope, and what is inside by kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) envelope: Envelope,
    pub(super) kinds: BTreeMap<EventKind, u64>,
}

impl Frame {
    /// Puts a message into frames.
    pub(super) fn of(
        message: &Message,
        body_bytes_max: usize,
    ) -> Result<Vec<Self>, lavender_core::envelope::EnvelopeError> {
        let mut frames = Vec::new();
        let mut rest = match &message.payload {
            Payload::Events(events) => events.as_slice(),
            _ => &[],
        };
        for envelope in Envelope::encode(message, body_bytes_max)? {
            let mut kinds = BTreeMap::new();
            if let Content::Events { .. } = envelope.content() {
                let (inside, behind) = rest.split_at(rest.len().min(envelope.count() as usize));
                inside.iter().for_each(|event| *kinds.entry(event.kind()).or_default() += 1);
                rest = behind;
            }
            frames.push(Self { envelope, kinds });
        }
        Ok(frames)
    }

    /// Whether shedding up to this priority would make it smaller.
    pub(super) fn holds(&self, up_to: Priority) -> bool {
        self.kinds.keys().any(|kind| is_shed(*kind, up_to))
    }

    /// The frame as it is on disk; `None` when it is too long for one.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        let mut head = format!("{}\n", self.envelope.subject());
        for (name, value) in self.envelope.headers() {
            let _ = writeln!(head, "{name}: {value}");
        }
        let kinds: Vec<_> =
            self.kinds.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
        let _ = writeln!(head, "{KINDS}: {}\n", kinds.join(","));
        let length = head.len() + self.envelope.body().len();
        if length > LENGTH_MAX {
            return None;
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(head.as_bytes());
        checksum.update(self.envelope.body());
        let mut out = Vec::with_capacity(PREFIX + length);
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&checksum.finalize().to_le_bytes());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(self.envelope.body());
        Some(out)
    }

    fn read(content: &Bytes) -> Option<Self> {
        let end = content.windows(2).position(|two| two == b"\n\n")?;
        let head = std::str::from_utf8(&content[..end]).ok()?;
        let mut lines = head.lines();
        let subject = lines.next()?;
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let header = |name: &str| headers.iter().find(|(is, _)| *is == name).map(|(_, text)| *text);
        let mut kinds = BTreeMap::new();
        for pair in header(KINDS).unwrap_or_default().split(',').filter(|pair| !pair.is_empty()) {
            let (kind, count) = pair.split_once('=')?;
            let count: u64 = count.parse().ok()?;
            *kinds.entry(kind.parse().unwrap_or(EventKind::Unknown)).or_default() += count;
        }
        let envelope = Envelope::read(subject, header, content.slice(end + 2..)).ok()?;
        Some(Self { envelope, kinds })
    }

    /// All that is inside, as losses.
    pub(super) fn as_lost(&self) -> Vec<Loss> {
        self.kinds.iter().map(|(kind, count)| Loss::new(LossStage::Spool, *kind, *count)).collect()
    }
}

/// Whether events of a kind are given up when everything up to this priority is. What an agent says of
/// losses and of itself never is.
pub(super) fn is_shed(kind: EventKind, up_to: Priority) -> bool {
    let kept = matches!(
        kind,
        EventKind::Lost | EventKind::Response | EventKind::AgentStart | EventKind::AgentStop
    );
    !kept && kind.priority() <= up_to
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What can be read, in order.
    pub(super) frames: Vec<Frame>,
    /// Frames that are damaged, with whole ones behind them.
    pub(super) damaged: u64,
    /// Where the last whole frame ends.
    pub(super) end: usize,
}

/// Reads frames from behind the segment's own beginning. What is not whole at the end was never acknowledged; what is
/// damaged before that is passed over and counted.
pub(super) fn scan(bytes: &Bytes, begin: usize) -> Scan {
    let mut scan = Scan { end: begin, ..Scan::default() };
    let (mut at, mut damaged) = (begin, 0);
    while let Some((length, checksum)) = prefix(bytes, at) {
        let next = at + PREFIX + length;
        if next > bytes.len() {
            break;
        }
        let content = bytes.slice(at + PREFIX..next);
        let frame =
            (crc32fast::hash(&content) == checksum).then(|| Frame::read(&content)).flatten();
        match frame {
            Some(frame) => {
                scan.frames.push(frame);
                scan.damaged += damaged;
                damaged = 0;
                scan.end = next;
            }
            None => damaged += 1,
        }
        at = next;
    }
    scan
}

fn prefix(bytes: &Bytes, at: usize) -> Option<(usize, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = number(at)? as usize;
    (1..=LENGTH_MAX).contains(&length).then_some((length, number(at + 4)?))
}
