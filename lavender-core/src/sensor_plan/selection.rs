//! Which events of one kind are needed.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{Serialize, Serializer};

use super::key::{EventKey, KeyText};
use crate::event::{Event, EventData, EventKind, FileOpen, OpenFlags};
use crate::text::Provenance;

/// What is true of an event whatever else it says, and costs the kernel next to nothing to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Case {
    /// Whether the call succeeded, or goes on as a connect does that does not block. Without a result: true.
    pub succeeded: bool,
    /// Of an open: whether the file is to be read ([`OpenFlags::reads`]).
    pub reads: bool,
    /// Of an open: whether the file may be changed or made ([`OpenFlags::writes`], [`OpenFlags::may_create`]).
    pub changes: bool,
}

impl Case {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 8] = {
        let mut all = [Self { succeeded: false, reads: false, changes: false }; 8];
        let mut number = 0;
        while number < all.len() {
            all[number] = Self {
                succeeded: number & 1 != 0,
                reads: number & 2 != 0,
                changes: number & 4 != 0,
            };
            number += 1;
        }
        all
    };

    /// The case of an open with these flags.
    pub const fn of_open(flags: OpenFlags, succeeded: bool) -> Self {
        Self { succeeded, reads: flags.reads(), changes: flags.writes() || flags.may_create() }
    }

    /// The case of an event.
    pub const fn of(event: &Event) -> Self {
        let succeeded = match &event.data {
            EventData::FileOpen(open) => return Self::of_open(open.flags, open.result.is_ok()),
            EventData::NetConnect(connect) => connect.is_under_way(),
            EventData::NetBind(bind) => bind.result.is_ok(),
            EventData::NetListen(listen) => listen.result.is_ok(),
            EventData::NetSend(send) => send.result.is_ok(),
            _ => true,
        };
        Self { succeeded, reads: false, changes: false }
    }

    const fn number(self) -> u32 {
        self.succeeded as u32 | (self.reads as u32) << 1 | (self.changes as u32) << 2
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.succeeded { "succeeded" } else { "failed" })?;
        match (self.reads, self.changes) {
            (true, true) => f.write_str(", for reading and changing"),
            (true, false) => f.write_str(", for reading"),
            (false, true) => f.write_str(", for changing"),
            (false, false) => Ok(()),
        }
    }
}

/// A set of [`Case`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cases(u8);

impl Cases {
    /// Every case.
    pub const ALL: Self = Self(u8::MAX);

    /// Those for which `is_in` holds.
    pub fn of(is_in: impl Fn(Case) -> bool) -> Self {
        let bits = Case::ALL.into_iter().filter(|case| is_in(*case));
        Self(bits.fold(0, |bits, case| bits | 1 << case.number()))
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a case is among them.
    pub const fn has(self, case: Case) -> bool {
        self.0 >> case.number() & 1 != 0
    }

    /// Those of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = Case> {
        Case::ALL.into_iter().filter(move |case| self.has(*case))
    }

    /// A bit for each, by its place in [`Case::ALL`].
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl Serialize for Cases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Which events of one kind are needed: those of some cases, and of others those with one of some keys.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Selection {
    #[serde(skip)]
    kind: EventKind,
    /// Cases of which every event is needed.
    cases: Cases,
    /// Keys, and the cases in which they count: none of those above.
    #[serde(serialize_with = "pairs")]
    keys: BTreeMap<EventKey, Cases>,
}

fn pairs<S: Serializer>(keys: &BTreeMap<EventKey, Cases>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(keys)
}

impl Selection {
    /// The most keys of one kind. With more, the kernel is not asked to look any up.
    pub const KEYS_MAX: usize = 1_024;

    pub(super) const fn new(kind: EventKind) -> Self {
        Self { kind, cases: Cases(0), keys: BTreeMap::new() }
    }

    pub(super) fn add_cases(&mut self, cases: Cases) {
        // Of other kinds sensors tell no cases apart.
        self.cases = self.cases.or(if tells_cases(self.kind) { cases } else { Cases::ALL });
        let whole = self.cases;
        self.keys.retain(|_, cases| {
            *cases = cases.without(whole);
            !cases.is_empty()
        });
    }

    pub(super) fn add_key(&mut self, cases: Cases, key: EventKey) {
        let decidable = Cases::of(|case| can_decide(self.kind, case, &key));
        self.add_undecidable(cases.without(decidable));
        let cases = cases.without(self.cases);
        if cases.is_empty() {
            return;
        }
        let known = self.keys.entry(key).or_default();
        *known = known.or(cases);
        if self.keys.len() > Self::KEYS_MAX {
            let all = self.keys.values().fold(Cases::default(), |all, cases| all.or(*cases));
            self.add_cases(all);
        }
    }

    fn add_undecidable(&mut self, cases: Cases) {
        if !cases.is_empty() {
            self.add_cases(cases);
        }
    }

    /// Whether every event of the kind is needed.
    pub fn is_all(&self) -> bool {
        self.cases == Cases::ALL
    }

    /// The cases of which every event is needed.
    pub const fn cases(&self) -> Cases {
        self.cases
    }

    /// The keys, and the cases in which they count.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&EventKey, Cases)> {
        self.keys.iter().map(|(key, cases)| (key, *cases))
    }

    pub(super) fn passes(&self, event: &Event) -> bool {
        let case = Case::of(event);
        self.cases.has(case)
            || self.keys.iter().any(|(key, cases)| cases.has(case) && may_have(event, key))
    }
}

/// Whether sensors tell the cases of a kind apart.
const fn tells_cases(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind,
        K::FileOpen | K::NetConnect | K::NetBind | K::NetListen | K::NetAccept | K::NetSend
    )
}

/// Whether sensors can tell if such an event has a key. Of an open that failed the path is what was asked for, and may be
/// anything until it is put together.
const fn can_decide(kind: EventKind, case: Case, key: &EventKey) -> bool {
    use EventKind as K;
    match key {
        EventKey::FileName(_) | EventKey::Folder(_) => {
            matches!(kind, K::FileOpen) && case.succeeded
        }
        EventKey::SourcePort(_) => {
            matches!(kind, K::NetConnect | K::NetBind | K::NetListen | K::NetAccept | K::NetSend)
        }
        EventKey::DestinationPort(_) => {
            matches!(kind, K::NetConnect | K::NetAccept | K::NetSend)
        }
    }
}

/// Whether an event has a key, as far as is known of it.
fn may_have(event: &Event, key: &EventKey) -> bool {
    let ports = match &event.data {
        EventData::FileOpen(open) => return path_may_have(open, key),
        EventData::NetConnect(connect) => (connect.source, Some(connect.destination)),
        EventData::NetBind(bind) => (Some(bind.local), None),
        EventData::NetListen(listen) => (Some(listen.local), None),
        EventData::NetAccept(accept) => (Some(accept.local), Some(accept.peer)),
        EventData::NetSend(send) => (send.source, Some(send.destination)),
        _ => return true,
    };
    match key {
        EventKey::SourcePort(port) => ports.0.is_some_and(|side| side.port() == *port),
        EventKey::DestinationPort(port) => ports.1.is_some_and(|side| side.port() == *port),
        EventKey::FileName(_) | EventKey::Folder(_) => true,
    }
}

fn path_may_have(open: &FileOpen, key: &EventKey) -> bool {
    let path = &open.path;
    // What is kept of a path that was cut is its end.
    let begins_here = match path.provenance {
        Provenance::Unreadable => return true,
        Provenance::Truncated { .. } => false,
        _ => true,
    };
    let mut parts = path.value.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    match key {
        // Without a slash before it the last part may have been cut itself.
        EventKey::FileName(_) if !begins_here && !path.value.contains(&b'/') => true,
        EventKey::FileName(name) => {
            parts.next_back().is_none_or(|last| may_be(last, name.as_str()))
        }
        EventKey::Folder(_) if !begins_here => true,
        EventKey::Folder(folder) => {
            let mut wanted = folder.as_str().split('/');
            wanted.all(|wanted| parts.next().is_some_and(|part| may_be(part, wanted)))
        }
        EventKey::SourcePort(_) | EventKey::DestinationPort(_) => true,
    }
}

/// Whether a part of a path is this without regard to case: other characters than ASCII may fold to anything. Behind as
/// many of ASCII as no key has, they change nothing.
fn may_be(part: &[u8], wanted: &str) -> bool {
    let head = &part[..part.len().min(KeyText::MAX_BYTES + 1)];
    !head.is_ascii() || part.eq_ignore_ascii_case(wanted.as_bytes())
}
