//! An alert whose repeats are counted.

use std::collections::VecDeque;
use std::hash::Hasher as _;

use lavender_core::{
    Alert, AlertId, Bytes, Error, ErrorKind, ProcessId, Repeats, Result, Timestamp,
};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::SuppressionKey;
use super::kept::KeptAlert;

/// How many of its repeats are known by their id: one of these that comes again is not counted again.
const KNOWN_MAX: usize = 64;
/// How many processes are known to have been answered.
const ANSWERED_MAX: usize = 64;
/// After how many batches what has changed is told, where it has not doubled before.
const QUIET_BATCHES: u64 = 32;

const VERSION: u32 = 2;

/// An alert that was raised, and what has repeated it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: AlertId,
    pub(super) observed_at: Timestamp,
    alert: KeptAlert,
    count: u64,
    last_seen_at: Timestamp,
    /// The ids of its last repeats.
    known: VecDeque<AlertId>,
    /// The processes for which an answer was asked.
    answered: VecDeque<ProcessId>,
    told: u64,
    told_in_batch: u64,
    pub(super) unsaved: bool,
    pub(super) saved: bool,
    /// What it takes, in bytes; what it shares with others as if it did not.
    pub(super) bytes: usize,
}

/// What an entry takes beside its alert, at the most, and a process beside its arguments.
const ENTRY_BYTES: usize = 4_096;
const PROCESS_BYTES: usize = 600;

fn bytes(alert: &Alert) -> usize {
    let process = |process: &std::sync::Arc<lavender_core::event::Process>| {
        // Arguments are kept twice, as they are and joined.
        PROCESS_BYTES + 2 * process.arguments.value.raw().len()
    };
    let line = alert.process.iter().flat_map(|own| std::iter::once(own).chain(own.ancestors()));
    let evidence = alert.evidence.iter().map(|evidence| evidence.value.len() + 64);
    ENTRY_BYTES + line.map(process).sum::<usize>() + evidence.sum::<usize>()
}

/// Where in the alerts that are counted one belongs.
pub(super) fn digest(alert: &Alert, key: SuppressionKey) -> u128 {
    let mut hasher = SipHasher13::new();
    let mut text = |bytes: &[u8]| {
        hasher.write_usize(bytes.len());
        hasher.write(bytes);
    };
    // A rule that is loaded again with other words is another to whoever reads its alerts.
    text(alert.rule.id.as_bytes());
    text(alert.rule.title.as_bytes());
    text(alert.rule.level.as_str().as_bytes());
    text(alert.source.tenant.as_str().as_bytes());
    text(alert.source.agent.as_str().as_bytes());
    text(&[u8::from(alert.certainty.is_certain())]);
    match alert.incident {
        Some(incident) => text(&incident.as_u128().to_be_bytes()),
        None => text(b""),
    }
    if key == SuppressionKey::TreeAndEvidence {
        for evidence in &alert.evidence {
            text(evidence.field.as_bytes());
            text(&evidence.value);
        }
    }
    hasher.finish128().as_u128()
}

/// Where those of one cell of time belong.
pub(super) fn key_in_cell(key: u128, cell: i64) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(&key.to_be_bytes());
    hasher.write(&cell.to_be_bytes());
    hasher.finish128().as_u128()
}

impl Entry {
    /// Of an alert that came by the id `first`, which may not be the one that it is raised by.
    pub(super) fn new(alert: &Alert, first: AlertId) -> Self {
        Self {
            count: 0,
            last_seen_at: alert.observed_at,
            known: (first != alert.id).then_some(first).into_iter().collect(),
            answered: alert.process.iter().map(|process| process.id()).collect(),
            told: 0,
            told_in_batch: 0,
            unsaved: true,
            saved: false,
            bytes: bytes(alert),
            id: alert.id,
            observed_at: alert.observed_at,
            alert: KeptAlert::new(alert.clone()),
        }
    }

    pub(super) fn knows(&self, id: AlertId) -> bool {
        self.id == id || self.known.contains(&id)
    }

    /// Counts a repeat. Whether nobody has answered for its process.
    pub(super) fn repeat(&mut self, alert: &Alert) -> bool {
        self.unsaved = true;
        self.count += 1;
        self.last_seen_at = self.last_seen_at.max(alert.observed_at);
        push_bounded(&mut self.known, alert.id, KNOWN_MAX);
        let Some(process) = alert.process.as_ref().map(|process| process.id()) else {
            return false;
        };
        if self.answered.contains(&process) {
            return false;
        }
        push_bounded(&mut self.answered, process, ANSWERED_MAX);
        true
    }

    pub(super) fn repeats(&self) -> Option<Repeats> {
        let (count, last_seen_at) = (self.count, self.last_seen_at);
        (count > 0).then_some(Repeats { count, last_seen_at })
    }

    /// Whether there is anything that was not told.
    pub(super) const fn is_untold(&self) -> bool {
        self.count > self.told
    }

    /// The alert with its repeats, where it is time to tell of them: when they have doubled, after some batches, or
    /// when it is `urgent`.
    pub(super) fn tell(&mut self, batch: u64, urgent: bool) -> Told {
        let due = urgent
            || self.count >= self.told.saturating_mul(2).max(1)
            || batch >= self.told_in_batch + QUIET_BATCHES;
        if !self.is_untold() || !due {
            return Told::Nothing;
        }
        (self.told, self.told_in_batch) = (self.count, batch);
        self.unsaved = true;
        let repeats = self.repeats();
        match self.alert.get() {
            Some(alert) => Told::Alert(Box::new(Alert { repeats, ..alert.clone() })),
            None => Told::Unreadable,
        }
    }
}

/// What there is to tell of an alert's repeats.
#[derive(Debug)]
pub(super) enum Told {
    Nothing,
    Alert(Box<Alert>),
    /// Some, of an alert that was damaged in the store.
    Unreadable,
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// The first line of what is written. The second is the alert, which is read when its repeats are told.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    id: AlertId,
    observed_at: Timestamp,
    bytes: usize,
    count: u64,
    last_seen_at: Timestamp,
    known: VecDeque<AlertId>,
    answered: VecDeque<ProcessId>,
    told: u64,
}

pub(super) fn write(entry: &Entry) -> Option<Bytes> {
    let text = entry.alert.text()?;
    let written = Written {
        version: VERSION,
        id: entry.id,
        observed_at: entry.observed_at,
        bytes: entry.bytes,
        count: entry.count,
        last_seen_at: entry.last_seen_at,
        known: entry.known.clone(),
        answered: entry.answered.clone(),
        told: entry.told,
    };
    let mut out = serde_json::to_vec(&written).ok()?;
    out.reserve_exact(1 + text.len());
    out.push(b'\n');
    out.extend_from_slice(&text);
    Some(out.into())
}

pub(super) fn read(key: &str, value: &[u8], was_told: bool) -> Result<Entry> {
    let fail = |why: String| Error::new(ErrorKind::Invalid, format!("state {key}"), why);
    let end = value.iter().position(|byte| *byte == b'\n');
    let (first, text) = value.split_at(end.unwrap_or(value.len()));
    let written: Written =
        serde_json::from_slice(first).map_err(|error| fail(error.to_string()))?;
    if written.version != VERSION {
        return Err(fail(format!("it is of version {}, this reads {VERSION}", written.version)));
    }
    let Some((_, text)) = text.split_first().filter(|(_, text)| !text.is_empty()) else {
        return Err(fail("it has no alert".to_owned()));
    };
    Ok(Entry {
        id: written.id,
        observed_at: written.observed_at,
        alert: KeptAlert::unread(Bytes::copy_from_slice(text)),
        count: written.count,
        last_seen_at: written.last_seen_at,
        known: written.known,
        answered: written.answered,
        // Told again otherwise: whoever keeps alerts knows what was told by its count.
        told: if was_told { written.told } else { 0 },
        told_in_batch: 0,
        unsaved: false,
        saved: true,
        // What it takes where it was read; never less than what is here.
        bytes: written.bytes.min(1 << 30).max(ENTRY_BYTES + text.len()),
    })
}
