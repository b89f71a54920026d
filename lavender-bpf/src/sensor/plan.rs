//! The plan in the kernel: which calls are watched, which events go on, and how that is changed while they come.
//!
//! Whatever the probes see of a change that is half made lets through what the plan before or the plan after lets through:
//! first all that either needs goes on, then keys are exchanged, and only then is what the new plan leaves out held back.

use std::collections::BTreeSet;

use lavender_core::event::EventKind;
use lavender_core::{EventKey, SensorPlan};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

use super::calls::calls;
use super::object::Loaded;
use crate::record::kind;
use crate::record_kind::event_of;
use crate::support::Probe;

/// `struct selection`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct Selected {
    cases: u8,
    file_names: u8,
    folders: u8,
    ports: u8,
}

impl Selected {
    const ALL: Self = Self { cases: u8::MAX, file_names: 0, folders: 0, ports: 0 };

    const fn is_any(self) -> bool {
        self.cases | self.file_names | self.folders | self.ports != 0
    }
}

/// `struct sensor_plan`.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct KernelPlan {
    wanted: [u64; 8],
    wanted_compat: [u64; 8],
    kinds: [Selected; kind::COUNT],
    /// Up to whole words.
    reserved: [u8; PADDING],
}

const PADDING: usize = (kind::COUNT * size_of::<Selected>()).wrapping_neg() % 8;

/// `struct plan_key`.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct PlanKey {
    kind: U16,
    of: U16,
    port: U32,
    text: [u8; 32],
}

impl PlanKey {
    fn new(record: u16, key: &EventKey) -> Option<Self> {
        let (of, port, name) = match key {
            EventKey::FileName(name) => (1, 0, name.as_str()),
            EventKey::Folder(name) => (2, 0, name.as_str()),
            EventKey::SourcePort(port) => (3, *port, ""),
            EventKey::DestinationPort(port) => (4, *port, ""),
            // One of a later version: there is nothing here that looks it up.
            _ => return None,
        };
        let mut text = [0; 32];
        text.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { kind: record.into(), of: of.into(), port: u32::from(port).into(), text })
    }
}

impl KernelPlan {
    /// What the kernel is told of a plan, with the keys and the cases in which each counts. Probes that are not there
    /// get no calls.
    fn new(plan: &SensorPlan, probes: &[Probe]) -> (Self, Vec<(PlanKey, u8)>) {
        let mut kernel = Self {
            wanted: [0; 8],
            wanted_compat: [0; 8],
            kinds: [Selected::default(); kind::COUNT],
            reserved: [0; PADDING],
        };
        for probe in probes.iter().filter(|probe| is_needed(**probe, plan)) {
            let (native, compat) = calls(*probe);
            set_bits(&mut kernel.wanted, native);
            set_bits(&mut kernel.wanted_compat, compat);
        }
        let mut keys = Vec::new();
        for (record, place) in (0..).zip(&mut kernel.kinds) {
            let (selected, more) = selected(plan, record);
            *place = selected;
            keys.extend(more);
        }
        (kernel, keys)
    }

    fn or(mut self, other: &Self) -> Self {
        let or = |ours: &mut [u64; 8], theirs: &[u64; 8]| {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours |= theirs);
        };
        or(&mut self.wanted, &other.wanted);
        or(&mut self.wanted_compat, &other.wanted_compat);
        // Keys are about to change: all of a kind that has any goes on meanwhile.
        for (ours, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            if ours.is_any() || theirs.is_any() {
                *ours = Selected::ALL;
            }
        }
        self
    }
}

/// What the plan says of a kind of records.
fn selected(plan: &SensorPlan, record: u16) -> (Selected, Vec<(PlanKey, u8)>) {
    let Some(event) = event_of(record) else { return (Selected::ALL, Vec::new()) };
    let Some(selection) = plan.selection(event) else {
        let selected = if plan.wants(event) { Selected::ALL } else { Selected::default() };
        return (selected, Vec::new());
    };
    let mut selected = Selected { cases: selection.cases().bits(), ..Selected::default() };
    let mut keys = Vec::new();
    for (key, cases) in selection.keys() {
        let Some(in_kernel) = PlanKey::new(record, key) else { return (Selected::ALL, Vec::new()) };
        *match key {
            EventKey::FileName(_) => &mut selected.file_names,
            EventKey::Folder(_) => &mut selected.folders,
            _ => &mut selected.ports,
        } |= cases.bits();
        keys.push((in_kernel, cases.bits()));
    }
    (selected, keys)
}

/// Whether a probe has anything to see by a plan. Whatever it says, the process table lives on some, and what others see may
/// be done to the agent itself.
pub(super) fn is_needed(probe: Probe, plan: &SensorPlan) -> bool {
    let of_plan = |kind| plan.wants(kind);
    match probe {
        Probe::ProcessFork | Probe::ProcessExec | Probe::ProcessExit | Probe::Snapshot => true,
        Probe::Signal | Probe::Ptrace | Probe::ProcessVmWrite => true,
        Probe::FileOpen => of_plan(EventKind::FileOpen),
        Probe::FileDelete => of_plan(EventKind::FileDelete),
        Probe::FileRename => of_plan(EventKind::FileRename),
        Probe::FileLink => of_plan(EventKind::FileLink),
        Probe::FileMode => of_plan(EventKind::FileMode),
        Probe::NetConnect => of_plan(EventKind::NetConnect),
        Probe::NetBind => of_plan(EventKind::NetBind),
        Probe::NetListen => of_plan(EventKind::NetListen),
        Probe::NetAccept => of_plan(EventKind::NetAccept),
        Probe::NetSend => of_plan(EventKind::NetSend),
        Probe::DnsQuery => of_plan(EventKind::DnsQuery),
        Probe::ExecFailed => of_plan(EventKind::ExecFailed),
        Probe::IoUring => of_plan(EventKind::IoUring),
        Probe::MemfdCreate => of_plan(EventKind::MemfdCreate),
        Probe::ModuleLoad => of_plan(EventKind::ModuleLoad),
        Probe::CredChange => of_plan(EventKind::CredChange),
        Probe::Bpf => of_plan(EventKind::Bpf),
        Probe::Mount => of_plan(EventKind::Mount),
        Probe::NsChange => of_plan(EventKind::NsChange),
        Probe::MemoryProtect => of_plan(EventKind::MemoryProtect),
    }
}

/// The kinds that these probes see and of which a plan does not need everything.
pub(super) fn left_out(probes: &[Probe], plan: &SensorPlan) -> BTreeSet<EventKind> {
    let kinds = probes.iter().filter_map(|probe| probe.kind());
    let is_whole = |kind: EventKind| match plan.selection(kind) {
        Some(selection) => selection.is_all(),
        None => plan.wants(kind),
    };
    kinds.filter(|kind| !is_whole(*kind)).collect()
}

fn set_bits(words: &mut [u64; 8], calls: &[usize]) {
    for call in calls {
        words[call / 64] |= 1 << (call % 64);
    }
}

/// The plan as the kernel has it.
#[derive(Debug)]
pub(super) struct Planned {
    map: MapHandle,
    keys: MapHandle,
    kernel: KernelPlan,
    in_use: Vec<PlanKey>,
}

impl Planned {
    /// As the probes are loaded: nothing is needed.
    pub(super) fn new(loaded: &Loaded) -> Result<Self, libbpf_rs::Error> {
        let (kernel, _) = KernelPlan::new(&SensorPlan::default(), &[]);
        let (map, keys) = (loaded.map(".data.plan")?, loaded.map("plan_keys")?);
        Ok(Self { map, keys, kernel, in_use: Vec::new() })
    }

    /// Puts another plan in its place, and attaches and detaches what it takes.
    pub(super) fn apply(
        &mut self,
        loaded: &mut Loaded,
        plan: &SensorPlan,
    ) -> Result<(), libbpf_rs::Error> {
        let (kernel, keys) = KernelPlan::new(plan, &loaded.probes);
        self.write(self.kernel.or(&kernel))?;
        loaded.attach(|probe| is_needed(probe, plan))?;
        for key in self.in_use.drain(..) {
            self.keys.delete(key.as_bytes())?;
        }
        for (key, cases) in keys {
            self.keys.update(key.as_bytes(), &[cases], MapFlags::ANY)?;
            self.in_use.push(key);
        }
        self.write(kernel)?;
        loaded.detach(|probe| is_needed(probe, plan));
        Ok(())
    }

    fn write(&mut self, kernel: KernelPlan) -> Result<(), libbpf_rs::Error> {
        self.map.update(&0_u32.to_ne_bytes(), kernel.as_bytes(), MapFlags::ANY)?;
        self.kernel = kernel;
        Ok(())
    }
}
