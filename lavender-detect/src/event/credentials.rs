//! What rules see of changes of ids and capabilities.

use lavender_core::event::{EventData, SyscallResult};

use super::field::EventField;
use crate::record::FieldValue;

/// The value of a field that only these events have; absent of others.
pub(super) fn field(data: &EventData, field: EventField) -> FieldValue<'_> {
    use EventField as F;
    let EventData::CredChange(change) = data else { return FieldValue::Absent };
    let id = match field {
        F::CredCall => return change.call.as_str().into(),
        F::RequestedRealId => change.real_id,
        F::RequestedEffectiveId => change.effective_id,
        F::RequestedSavedId => change.saved_id,
        F::RequestedFilesystemId => change.filesystem_id,
        F::PreviousUserId => change.before.map(|before| before.uid),
        F::PreviousEffectiveUserId => change.before.map(|before| before.euid),
        _ => None,
    };
    id.map_or(FieldValue::Absent, Into::into)
}

/// What the call returned; `None` of an event of another kind.
pub(super) const fn result_of(data: &EventData) -> Option<SyscallResult> {
    match data {
        EventData::CredChange(change) => Some(change.result),
        _ => None,
    }
}
