//! Programs that could not be started.

use lavender_core::event::{Arguments, EventData, ExecFailed, SyscallResult};
use lavender_core::{Captured, Provenance};

use super::observe::path_of;
use crate::decode::FailedExec;
use crate::record::flag;

pub(super) fn exec_failed(failed: &FailedExec<'_>) -> EventData {
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
    EventData::ExecFailed(ExecFailed {
        path: path_of(flags, failed.walk, failed.name),
        arguments: Captured::new(Arguments::new(failed.arguments), provenance),
        result: SyscallResult(record.result.get()),
    })
}
