//! What rules see of BPF, mounts, namespaces and executable memory.

use std::ops::ControlFlow;

use lavender_core::event::{Bpf, EventData, MemoryProtect, Mount, SyscallResult};
use lavender_core::{ByteString, Captured};

use super::field::EventField;
use crate::record::{FieldValue, ShortText};

/// The value of a field that only these events have; absent of others.
pub(super) fn field(data: &EventData, field: EventField) -> FieldValue<'_> {
    use EventField as F;
    match (data, field) {
        (EventData::Bpf(bpf), _) => of_bpf(bpf, field),
        (EventData::Mount(mount), _) => of_mount(mount, field),
        (EventData::MemoryProtect(memory), _) => of_memory(memory, field),
        (EventData::NsChange(change), F::NamespaceCall) => change.call.as_str().into(),
        (EventData::NsChange(change), F::NamespaceTypes) => list(change.types.names().next()),
        _ => FieldValue::Absent,
    }
}

/// A list that has this first element.
fn list<'a>(first: Option<&str>) -> FieldValue<'a> {
    first.map_or(FieldValue::Absent, |_| FieldValue::List)
}

fn short<'a>(number: Option<impl std::fmt::Display>) -> FieldValue<'a> {
    number.map_or(FieldValue::Absent, |number| FieldValue::Short(ShortText::new(number)))
}

fn path(path: Option<&Captured<ByteString>>) -> FieldValue<'_> {
    path.map_or(FieldValue::Absent, FieldValue::captured_path)
}

fn of_bpf(bpf: &Bpf, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::BpfCommand => short(Some(bpf.command)),
        EventField::BpfProgramType => short(bpf.program_type),
        EventField::BpfMapType => short(bpf.map_type),
        EventField::BpfName => bpf.name.as_deref().into(),
        EventField::BpfId => bpf.id.into(),
        EventField::BpfPath => path(bpf.path.as_ref()),
        _ => FieldValue::Absent,
    }
}

fn of_mount(mount: &Mount, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::MountCall => mount.call.as_str().into(),
        EventField::MountSource => path(mount.source.as_ref()),
        EventField::MountTarget => path(mount.target.as_ref()),
        EventField::FilesystemType => mount.filesystem.as_deref().into(),
        EventField::MountFlags => list(mount.flag_names().next()),
        _ => FieldValue::Absent,
    }
}

fn of_memory(memory: &MemoryProtect, field: EventField) -> FieldValue<'_> {
    match field {
        EventField::MemoryCall => memory.call.as_str().into(),
        EventField::MemoryProtection => list(memory.protection.names().next()),
        EventField::MemoryLength => memory.length.into(),
        EventField::MemoryPath => path(memory.path.as_ref()),
        _ => FieldValue::Absent,
    }
}

/// The elements of a field that is a list of these events; none of others.
pub(super) fn elements(
    data: &EventData,
    field: EventField,
    visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut visit = |name: &'static str| visit(name.into());
    match (data, field) {
        (EventData::NsChange(change), EventField::NamespaceTypes) => {
            change.types.names().try_for_each(&mut visit)
        }
        (EventData::Mount(mount), EventField::MountFlags) => {
            mount.flag_names().try_for_each(&mut visit)
        }
        (EventData::MemoryProtect(memory), EventField::MemoryProtection) => {
            memory.protection.names().try_for_each(&mut visit)
        }
        _ => ControlFlow::Continue(()),
    }
}

/// What the call returned; `None` of an event that is none of these.
pub(super) const fn result_of(data: &EventData) -> Option<SyscallResult> {
    match data {
        EventData::Bpf(bpf) => Some(bpf.result),
        EventData::Mount(mount) => Some(mount.result),
        EventData::NsChange(change) => Some(change.result),
        EventData::MemoryProtect(memory) => Some(memory.result),
        _ => None,
    }
}
