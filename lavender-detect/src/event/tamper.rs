//! What rules see of what gets code into other processes, into memory and into the kernel.

use lavender_core::event::{EventData, ProcessTarget, SyscallResult};

use super::field::EventField;
use crate::record::FieldValue;

/// The value of a field that only these events have; absent of others.
pub(super) fn field(data: &EventData, field: EventField) -> FieldValue<'_> {
    use EventField as F;
    match (data, field) {
        (EventData::Ptrace(trace), F::PtraceRequest) => trace.request.as_str().into(),
        (EventData::MemfdCreate(made), F::MemfdName) => FieldValue::captured(&made.name),
        (EventData::MemfdCreate(made), F::MemfdSecret) => made.secret.into(),
        (EventData::ModuleLoad(load), F::ModulePath) => {
            load.path.as_ref().map_or(FieldValue::Absent, FieldValue::captured_path)
        }
        (EventData::ModuleLoad(load), F::ModuleParameters) => {
            FieldValue::captured(&load.parameters)
        }
        _ => FieldValue::Absent,
    }
}

/// The process that was acted on, where it is known.
pub(super) const fn target_of(data: &EventData) -> Option<&ProcessTarget> {
    match data {
        EventData::Signal(signal) => Some(&signal.target),
        EventData::Ptrace(trace) => trace.target.as_ref(),
        EventData::ProcessVmWrite(write) => write.target.as_ref(),
        _ => None,
    }
}

/// What the call returned; `None` of an event that is none of these.
pub(super) const fn result_of(data: &EventData) -> Option<SyscallResult> {
    match data {
        EventData::Ptrace(trace) => Some(trace.result),
        EventData::ProcessVmWrite(write) => Some(write.result),
        EventData::MemfdCreate(made) => Some(made.result),
        EventData::ModuleLoad(load) => Some(load.result),
        _ => None,
    }
}
