//! What rules see of changes of files: removed, renamed, linked, their mode or owner set.

use lavender_core::event::{EventData, SyscallResult};

use super::field::EventField;
use crate::record::{FieldValue, ShortText};

/// The value of a field that only changes have; absent of other events.
pub(super) fn field(data: &EventData, field: EventField) -> FieldValue<'_> {
    use EventField as F;
    match (data, field) {
        (EventData::FileDelete(delete), F::TargetFilename) => {
            FieldValue::captured_path(&delete.path)
        }
        (EventData::FileDelete(delete), F::IsDirectory) => delete.directory.into(),
        (EventData::FileRename(rename), F::TargetFilename) => {
            FieldValue::captured_path(&rename.path)
        }
        (EventData::FileRename(rename), F::SourceFilename) => {
            FieldValue::captured_path(&rename.previous_path)
        }
        (EventData::FileLink(link), F::TargetFilename) => FieldValue::captured_path(&link.path),
        // Text, of which the start is kept.
        (EventData::FileLink(link), F::SourceFilename) if link.symbolic => {
            FieldValue::captured(&link.target)
        }
        (EventData::FileLink(link), F::SourceFilename) => FieldValue::captured_path(&link.target),
        (EventData::FileLink(link), F::IsSymbolicLink) => link.symbolic.into(),
        (EventData::FileMode(set), F::TargetFilename) => FieldValue::captured_path(&set.path),
        (EventData::FileMode(set), F::FileMode) => set.mode.map_or(FieldValue::Absent, |mode| {
            FieldValue::Short(ShortText::new(format_args!("{mode:04o}")))
        }),
        (EventData::FileMode(set), F::OwnerId) => set.uid.into(),
        (EventData::FileMode(set), F::OwnerGroupId) => set.gid.into(),
        _ => FieldValue::Absent,
    }
}

/// What the call returned; `None` of an event that is no change.
pub(super) const fn result_of(data: &EventData) -> Option<SyscallResult> {
    match data {
        EventData::FileDelete(delete) => Some(delete.result),
        EventData::FileRename(rename) => Some(rename.result),
        EventData::FileLink(link) => Some(link.result),
        EventData::FileMode(set) => Some(set.result),
        _ => None,
    }
}
