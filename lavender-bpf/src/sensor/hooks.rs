//! Which of several hooks for the same is taken.

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Typedef;

use super::call_functions::{self, CallFunctions};
use crate::support::Probe;

/// Where the exits of system calls are seen.
#[derive(Clone, Copy, Debug)]
pub(super) enum SyscallHook {
    /// At the end of each wanted call's own function: other calls cost nothing.
    Functions(&'static CallFunctions),
    /// One program for all calls, the cheaper one.
    BtfTracepoint,
    /// One program for all calls, which is never preempted.
    Tracepoint,
}

/// By which name the kernel has the tracepoint of requests of `io_uring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IoUringHook {
    SubmitReq,
    /// Before 6.3.
    SubmitSqe,
}

impl IoUringHook {
    fn of_kernel() -> Self {
        let named = |btf: &Btf<'_>| {
            btf.type_by_name::<Typedef<'_>>("btf_trace_io_uring_submit_sqe").is_some()
        };
        if Btf::from_vmlinux().is_ok_and(|btf| named(&btf)) {
            Self::SubmitSqe
        } else {
            Self::SubmitReq
        }
    }
}

/// Which hooks are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hooks {
    pub(super) syscall: SyscallHook,
    io_uring: IoUringHook,
}

impl Hooks {
    /// The ones to try first, and the others.
    ///
    /// From 7.0 on a program at a BTF tracepoint can be preempted, and the kernel leaves out each run that meets
    /// it on that processor meanwhile: measured, 6 % of the opens of a storm. At the older kind of tracepoint
    /// preemption is off. At functions it is not on any kernel, so that they are taken only where the kernel preempts
    /// nothing.
    pub(super) fn in_order(probes: &[Probe]) -> Vec<Self> {
        let io_uring = if probes.contains(&Probe::IoUring) {
            IoUringHook::of_kernel()
        } else {
            IoUringHook::SubmitReq
        };
        let release = rustix::system::uname();
        let major = release.release().to_str().ok().and_then(|text| text.split('.').next());
        let mut syscalls = match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major >= 7 => vec![SyscallHook::Tracepoint, SyscallHook::BtfTracepoint],
            _ => vec![SyscallHook::BtfTracepoint, SyscallHook::Tracepoint],
        };
        if probes.iter().any(|probe| probe.is_of_syscalls()) {
            match call_functions::of_kernel() {
                Ok(functions) => syscalls.insert(0, SyscallHook::Functions(functions)),
                Err(reason) => {
                    tracing::debug!(reason, "all system calls are watched, wanted or not")
                }
            }
        }
        syscalls.into_iter().map(|syscall| Self { syscall, io_uring }).collect()
    }

    /// The program that is loaded and attached for a probe; none where those at functions are.
    pub(super) const fn program(self, probe: Probe) -> Option<&'static str> {
        Some(match (probe, self.syscall) {
            (Probe::ProcessFork, _) => "process_fork",
            (Probe::ProcessExec, _) => "process_exec",
            (Probe::ProcessExit, _) => "process_exit",
            (Probe::Signal, _) => "signal_generate",
            (Probe::IoUring, _) => match self.io_uring {
                IoUringHook::SubmitReq => "io_uring_submit",
                IoUringHook::SubmitSqe => "io_uring_submit_before_6_3",
            },
            (Probe::Snapshot, _) => "snapshot",
            // All that is left is read off the exits of system calls.
            (_, SyscallHook::Functions(_)) => return None,
            (_, SyscallHook::BtfTracepoint) => "syscall_exit",
            (_, SyscallHook::Tracepoint) => "syscall_exit_classic",
        })
    }

    /// Whether what a probe sees is seen at the functions of calls.
    pub(super) const fn is_at_functions(self, probe: Probe) -> bool {
        probe.is_of_syscalls() && matches!(self.syscall, SyscallHook::Functions(_))
    }

    pub(super) const fn mechanism(self, probe: Probe) -> &'static str {
        match (self.syscall, self.io_uring) {
            (_, IoUringHook::SubmitSqe) if matches!(probe, Probe::IoUring) => {
                "tp_btf/io_uring_submit_sqe"
            }
            (SyscallHook::Functions(_), _) if probe.is_of_syscalls() => call_functions::MECHANISM,
            (SyscallHook::Tracepoint, _) if probe.is_of_syscalls() => {
                "tracepoint/raw_syscalls/sys_exit"
            }
            _ => probe.mechanism(),
        }
    }
}
