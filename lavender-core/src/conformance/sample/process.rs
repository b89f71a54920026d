//! What processes do to themselves and to each other.

use std::sync::Arc;

use super::Sample;
use crate::event::{
    Arguments, CredCall, CredChange, Event, EventData, Exec, ExecFailed, MemfdCreate, ModuleLoad,
    Process, ProcessTarget, ProcessVmWrite, Ptrace, PtraceRequest, Signal, SignalOutcome,
    SyscallResult,
};
use crate::{ByteString, Captured, Provenance};

impl Sample {
    /// A program begins.
    pub fn exec(&mut self, process: &Arc<Process>) -> Arc<Event> {
        let filename = process.executable.path.clone();
        let data = Exec { filename, previous_executable: Some("/usr/bin/dash".into()) };
        self.event(Some(process), EventData::Exec(data))
    }

    /// Signals are sent to this process, as a whole and to one of its threads.
    pub fn signals(&mut self, process: &Arc<Process>, target: &Process) -> Vec<Arc<Event>> {
        let target =
            ProcessTarget { exec_id: target.exec_id, executable: target.executable.path.clone() };
        let unknown = ProcessTarget { executable: Captured::unreadable(), ..target.clone() };
        [
            Signal { signal: 9, target, target_tid: None, outcome: SignalOutcome::Delivered },
            Signal {
                signal: 64,
                target: unknown,
                target_tid: Some(u32::MAX),
                outcome: SignalOutcome::AlreadyPending,
            },
        ]
        .map(|signal| self.event(Some(process), EventData::Signal(signal)))
        .into()
    }

    /// A process is traced and written to, files are made in memory, and kernel modules are loaded.
    pub fn tampering(&mut self, process: &Arc<Process>, target: &Process) -> Vec<Arc<Event>> {
        let target =
            ProcessTarget { exec_id: target.exec_id, executable: target.executable.path.clone() };
        let odd = || {
            let bytes = ByteString::from(vec![b'/', 0xff, b'"', b'\n']);
            Captured::new(bytes, Provenance::Truncated { true_length: 0 })
        };
        [
            EventData::Ptrace(Ptrace {
                request: PtraceRequest::Seize,
                target: Some(target.clone()),
                target_tid: Some(u32::MAX),
                result: SyscallResult(0),
            }),
            EventData::Ptrace(Ptrace {
                request: PtraceRequest::Other,
                target: None,
                target_tid: None,
                result: SyscallResult(-3),
            }),
            EventData::ProcessVmWrite(ProcessVmWrite {
                target: Some(target),
                result: SyscallResult(i64::MAX),
            }),
            EventData::MemfdCreate(MemfdCreate {
                name: odd(),
                flags: u32::MAX,
                secret: false,
                result: SyscallResult(3),
            }),
            EventData::MemfdCreate(MemfdCreate {
                name: Captured::complete(ByteString::default()),
                flags: 0,
                secret: true,
                result: SyscallResult(-38),
            }),
            EventData::ModuleLoad(ModuleLoad {
                path: Some(odd()),
                parameters: Captured::unreadable(),
                result: SyscallResult(-1),
            }),
            EventData::ModuleLoad(ModuleLoad {
                path: None,
                parameters: Captured::complete("debug=1".into()),
                result: SyscallResult(0),
            }),
        ]
        .map(|data| self.event(Some(process), data))
        .into()
    }

    /// A process changes its ids, and may not.
    pub fn cred_changes(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        [
            CredChange {
                call: CredCall::Setresuid,
                real_id: Some(0),
                effective_id: Some(u32::MAX - 1),
                saved_id: Some(1000),
                filesystem_id: None,
                before: Some(process.credentials),
                result: SyscallResult(0),
            },
            CredChange {
                call: CredCall::Setfsgid,
                real_id: None,
                effective_id: None,
                saved_id: None,
                filesystem_id: Some(7),
                before: None,
                result: SyscallResult(-1),
            },
        ]
        .map(|change| self.event(Some(process), EventData::CredChange(change)))
        .into()
    }

    /// BPF, mounts, namespaces and executable memory: what is done, and what cannot be.
    pub fn kernel_calls(&mut self, process: &Arc<Process>, child: &Process) -> Vec<Arc<Event>> {
        let child =
            ProcessTarget { exec_id: child.exec_id, executable: child.executable.path.clone() };
        super::super::kernel_sample::calls(process, child)
            .into_iter()
            .map(|data| self.event(Some(process), data))
            .collect()
    }

    /// Programs cannot be started: one whose arguments are known, one of which nothing is.
    pub fn failed_execs(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let odd = Arguments::from_list([&b"\xff\xfe"[..], b"", b"\"\n"]);
        let truncated = Provenance::Truncated { true_length: 0 };
        [
            ExecFailed {
                path: Captured::complete("/usr/bin/nmap".into()),
                arguments: Captured::complete(Arguments::from_list(["nmap", "-sS", "192.0.2.7"])),
                result: SyscallResult(-2),
            },
            ExecFailed {
                path: Captured::unreadable(),
                arguments: Captured::new(odd, truncated),
                result: SyscallResult(i64::MIN),
            },
        ]
        .map(|failed| self.event(Some(process), EventData::ExecFailed(failed)))
        .into()
    }
}
