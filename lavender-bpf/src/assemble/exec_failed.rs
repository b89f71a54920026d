//! Programs that could not be started.

use lavender_core::event::{Arguments, EventData, ExecFailed, SyscallResult};
use lavender_core::{Captured, Provenance};

use super::observe::path_of;
use crate::decode::FailedExec;
use crate::record::flag;
use crate::texts::Texts;

pub(super) fn exec_failed(texts: &mut Texts, failed: &FailedExec<'_>) -> EventData {
    let record = failed.record;
    let flags = record.header.flags.get();
    let has = |flag| flags & flag != 0;
    let provenance = if has(flag::ARGUMENTS_UNREADABLE) && failed.arguments.is_empty() {
        Provenance::Unreadable
    } else if has(flag::ARGUMENTS_UNREADABLE) || has(flag::ARGUMENTS_OVER_LIMIT) {
        Provenance::Truncated { true_length: 0 }
    } else {
        Provenance::Complete
    };
    let arguments = texts
        .with(2 * failed.arguments.len(), |buffer| Arguments::new_in(failed.arguments, buffer));
    EventData::ExecFailed(ExecFailed {
        path: path_of(texts, flags, failed.walk, failed.name),
        arguments: Captured::new(arguments, provenance),
        result: SyscallResult(record.result.get()),
    })
}
