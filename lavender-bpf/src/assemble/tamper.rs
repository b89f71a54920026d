//! What gets code into another process, into memory, into the kernel.

use lavender_core::event::{
    EventData, MemfdCreate, ModuleLoad, ProcessTarget, ProcessVmWrite, Ptrace, PtraceRequest,
    SyscallResult,
};
use lavender_core::{ExecId, ProcessId};

use super::Assembler;
use super::observe::{path_of, text_of};
use crate::decode::Tamper;
use crate::host::Host;
use crate::record::{TamperRecord, flag, kind, tamper};

impl<H: Host> Assembler<H> {
    pub(super) fn tampered(&mut self, tampered: &Tamper<'_>) -> EventData {
        let record = tampered.record;
        let flags = record.header.flags.get();
        let result = SyscallResult(record.result.get());
        let tid = record.target_tid.get();
        let texts = &mut self.texts;
        match record.header.kind.get() {
            kind::PTRACE => EventData::Ptrace(Ptrace {
                request: PtraceRequest::from_kernel(record.number.get()),
                target: self.tampered_target(record),
                target_tid: (tid != 0).then_some(tid),
                result,
            }),
            kind::VM_WRITE => EventData::ProcessVmWrite(ProcessVmWrite {
                target: self.tampered_target(record),
                result,
            }),
            kind::MODULE => {
                let by_descriptor = record.number.get() == tamper::MODULE_BY_DESCRIPTOR;
                let walk = flags | flag::WALK_IS_FILE;
                EventData::ModuleLoad(ModuleLoad {
                    path: by_descriptor.then(|| path_of(texts, walk, tampered.walk, &[])),
                    parameters: text_of(texts, flags, tampered.name),
                    result,
                })
            }
            other => EventData::MemfdCreate(MemfdCreate {
                name: text_of(texts, flags, tampered.name),
                flags: record.number.get(),
                secret: other == kind::SECRET,
                result,
            }),
        }
    }

    fn tampered_target(&self, record: &TamperRecord) -> Option<ProcessTarget> {
        let tgid = record.target_tgid.get();
        let process = ProcessId::with_boot_digest(self.boot, record.target_start_ns.get(), tgid);
        let exec = ExecId { process, generation: record.target_generation.get() };
        (tgid != 0).then(|| self.target(exec))
    }
}
