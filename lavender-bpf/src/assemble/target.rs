//! What is done to other processes.

use lavender_core::event::{EventData, ProcessTarget, Signal, SignalOutcome};
use lavender_core::{Captured, ExecId, ProcessId};

use super::Assembler;
use crate::host::Host;
use crate::record::SignalRecord;

impl<H: Host> Assembler<H> {
    pub(super) fn signal(&self, record: &SignalRecord) -> EventData {
        let tgid = record.target_tgid.get();
        let process = ProcessId::with_boot_digest(self.boot, record.target_start_ns.get(), tgid);
        let exec = ExecId { process, generation: record.target_generation.get() };
        let tid = record.target_tid.get();
        EventData::Signal(Signal {
            signal: record.signal.get(),
            target: self.target(exec),
            target_tid: (tid != 0).then_some(tid),
            outcome: SignalOutcome::from_kernel(record.outcome.get()),
        })
    }

    /// The target with the program that it ran then. One of which that is not known has its id alone.
    pub(super) fn target(&self, exec: ExecId) -> ProcessTarget {
        let known = self.processes.with_program(exec);
        let executable =
            known.map_or_else(Captured::unreadable, |known| known.executable.path.clone());
        ProcessTarget { exec_id: exec, executable }
    }
}
