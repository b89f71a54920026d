//! Which events are needed: what rules say to the sensor, without knowing each other.

mod key;
mod selection;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::key::{EventKey, KeyText};
pub use self::selection::{Case, Cases, Selection};
use crate::event::{Event, EventKind};

/// Which events are needed, kind by kind. A sensor with a plan delivers all of these, and may leave out others: in the
/// kernel, before they cost anything, and counted.
///
/// A plan never takes away process life (`exec`, `fork`, `exit`), on which the process table rests, nor what an agent says of
/// itself, nor what is done to its own process (`signal`, `ptrace`, `process_vm_write`). It is coarser than the rules that it
/// is made of and never finer: whatever a sensor cannot decide, it delivers.
///
/// ```
/// use lavender_core::event::EventKind;
/// use lavender_core::{Case, Cases, EventKey, SensorPlan};
///
/// let mut plan = SensorPlan::default();
/// assert!(!plan.wants(EventKind::NetConnect) && plan.wants(EventKind::Exec));
/// let to_attackers = EventKey::DestinationPort(4444);
/// plan.select(EventKind::NetConnect, Cases::of(|case| case.succeeded), [to_attackers]);
/// assert!(plan.wants(EventKind::NetConnect));
/// assert!(!plan.selection(EventKind::NetConnect).unwrap().is_all());
/// plan.select_all(EventKind::NetConnect);
/// assert!(plan.selection(EventKind::NetConnect).unwrap().is_all());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SensorPlan {
    /// None of them empty.
    selections: BTreeMap<EventKind, Selection>,
    #[serde(skip)]
    awaits_hashes: bool,
}

impl SensorPlan {
    /// The plan that leaves out nothing. It does not have execs [wait](Self::await_hashes) for the hash of their program.
    pub fn everything() -> Self {
        let mut plan = Self::default();
        EventKind::ALL.into_iter().for_each(|kind| plan.select_all(kind));
        plan
    }

    /// What may be done against an agent beside to its process, which sensors deliver whatever a plan says: what changes
    /// the kernel by which it watches, and what is done to its own files. These are given by their paths from the root, folders
    /// with a slash at the end. It is as coarse as keys are, and of what removes, renames and mounts it takes in everything.
    ///
    /// ```
    /// use lavender_core::event::EventKind;
    /// use lavender_core::SensorPlan;
    ///
    /// let plan = SensorPlan::against_agent(["/etc/lavender/lavender.toml", "/var/lib/lavender/spool/"]);
    /// let opens = plan.selection(EventKind::FileOpen).unwrap();
    /// let keys: Vec<String> = opens.keys().map(|(key, _)| key.to_string()).collect();
    /// assert_eq!(keys, ["*/lavender.toml", "/var/lib/*"]);
    /// assert!(plan.wants(EventKind::Bpf) && !plan.wants(EventKind::NetConnect));
    /// ```
    pub fn against_agent<T: AsRef<[u8]>>(own: impl IntoIterator<Item = T>) -> Self {
        let mut plan = Self::default();
        for kind in EventKind::ALL {
            if may_blind(kind) {
                plan.select_all(kind);
            }
        }
        let written = Cases::of(|case| case.changes && case.succeeded);
        for path in own {
            let path = path.as_ref();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            match EventKey::file_name(name).or_else(|| EventKey::folder(path)) {
                Some(key) => plan.select(EventKind::FileOpen, written, [key]),
                None => plan.select_cases(EventKind::FileOpen, written),
            }
        }
        plan
    }

    /// Takes in every event of a kind.
    pub fn select_all(&mut self, kind: EventKind) {
        self.select_cases(kind, Cases::ALL);
    }

    /// Takes in the events of a kind of which one of these cases is true.
    pub fn select_cases(&mut self, kind: EventKind, cases: Cases) {
        if !is_always_there(kind) && !cases.is_empty() {
            let selection = self.selections.entry(kind).or_insert_with(|| Selection::new(kind));
            selection.add_cases(cases);
        }
    }

    /// Takes in the events of a kind of which one of these cases is true, and that have one of these keys. Where that is
    /// more than sensors can tell of the kind, it takes in more.
    pub fn select(
        &mut self,
        kind: EventKind,
        cases: Cases,
        keys: impl IntoIterator<Item = EventKey>,
    ) {
        if is_always_there(kind) || cases.is_empty() {
            return;
        }
        for key in keys {
            let selection = self.selections.entry(kind).or_insert_with(|| Selection::new(kind));
            selection.add_key(cases, key);
        }
    }

    /// Has the exec of a program that was not seen before wait for the hash of its file, as long as a sensor lets it: a rule
    /// asks for it. What was seen before has its hash at once.
    pub const fn await_hashes(&mut self) {
        self.awaits_hashes = true;
    }

    /// Whether execs wait for the hash of their program.
    pub const fn awaits_hashes(&self) -> bool {
        self.awaits_hashes
    }

    /// Takes in all that another plan has.
    pub fn merge(&mut self, other: &Self) {
        self.awaits_hashes |= other.awaits_hashes;
        for (kind, theirs) in &other.selections {
            self.select_cases(*kind, theirs.cases());
            theirs.keys().for_each(|(key, cases)| self.select(*kind, cases, [key.clone()]));
        }
    }

    /// Which events of a kind are needed; `None` where none is, and for the kinds that are always there.
    pub fn selection(&self, kind: EventKind) -> Option<&Selection> {
        self.selections.get(&kind)
    }

    /// Whether any event of a kind is needed.
    pub fn wants(&self, kind: EventKind) -> bool {
        is_always_there(kind) || self.selections.contains_key(&kind)
    }

    /// Whether an event is needed. What this says yes to, every sensor that has the plan delivers.
    pub fn passes(&self, event: &Event) -> bool {
        let kind = event.kind();
        let selected = || self.selection(kind).is_some_and(|selection| selection.passes(event));
        is_always_there(kind) || selected()
    }
}

/// What no plan decides about: process life, and what the agent itself has to say.
const fn is_always_there(kind: EventKind) -> bool {
    matches!(role(kind), Role::Always)
}

/// Whether all of a kind may be done against an agent: sensors do not tell what it is done to.
const fn may_blind(kind: EventKind) -> bool {
    matches!(role(kind), Role::MayBlind)
}

/// What a kind is to an agent.
enum Role {
    /// What it rests on, and what it says itself.
    Always,
    /// What may be done to its files or to the kernel by which it watches, and cannot be told from what is not.
    MayBlind,
    /// What is done to others, or can be told to be.
    Others,
}

const fn role(kind: EventKind) -> Role {
    use EventKind as K;
    match kind {
        K::Exec | K::Fork | K::Exit | K::Heartbeat | K::Lost => Role::Always,
        K::AgentStart | K::AgentStop | K::Response | K::Unknown => Role::Always,
        K::FileDelete | K::FileRename | K::FileLink | K::FileMode => Role::MayBlind,
        K::ModuleLoad | K::Bpf | K::Mount | K::IoUring => Role::MayBlind,
        K::FileOpen | K::Signal | K::Ptrace | K::ProcessVmWrite => Role::Others,
        K::NetConnect | K::NetBind | K::NetListen | K::NetAccept | K::NetSend => Role::Others,
        K::DnsQuery | K::ExecFailed | K::MemfdCreate | K::CredChange => Role::Others,
        K::NsChange | K::MemoryProtect => Role::Others,
    }
}
