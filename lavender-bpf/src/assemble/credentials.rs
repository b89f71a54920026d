//! Changes of the ids and capabilities that a process acts with.

use lavender_core::event::{CredCall, CredChange, Credentials, EventData, SyscallResult};

use super::Assembler;
use crate::host::Host;
use crate::record::{CredentialsRecord, RecordHeader};

impl<H: Host> Assembler<H> {
    /// What the process was last seen to act with.
    pub(super) fn credentials_before(&self, header: &RecordHeader) -> Option<Credentials> {
        self.processes.with_program(self.exec_id(header)).map(|process| process.credentials)
    }
}

pub(super) fn changed(record: &CredentialsRecord, before: Option<Credentials>) -> EventData {
    use CredCall as C;
    let call = C::from_record(record.call.get());
    let given = |index: usize| Some(record.ids[index].get()).filter(|id| *id != u32::MAX);
    let [real, effective, saved, filesystem] = match call {
        C::Setuid | C::Setgid => [None, given(0), None, None],
        C::Setreuid | C::Setregid => [given(0), given(1), None, None],
        C::Setresuid | C::Setresgid => [given(0), given(1), given(2), None],
        C::Setfsuid | C::Setfsgid => [None, None, None, given(0)],
        _ => [None; 4],
    };
    EventData::CredChange(CredChange {
        call,
        real_id: real,
        effective_id: effective,
        saved_id: saved,
        filesystem_id: filesystem,
        before,
        result: SyscallResult(record.result.get()),
    })
}
