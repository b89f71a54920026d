//! Runs of probes that the kernel left out, because the program was already running on that processor: it was
//! preempted there, which some kernels allow. Nothing was looked at then, so it is not known whether the run
//! would have made an event; each is counted as if it had.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use lavender_core::event::{EventKind, Loss, LossStage};
use libbpf_rs::{ProgramHandle, libbpf_sys};

use super::object::Loaded;

/// The counters as they were last read, one for each program.
#[derive(Debug, Default)]
pub(super) struct Misses {
    programs: Vec<(ProgramHandle, EventKind, u64)>,
    /// Of all the programs at the functions of calls, of which more may come.
    calls: u64,
}

impl Misses {
    pub(super) fn new(loaded: &Loaded) -> Result<Self, libbpf_rs::Error> {
        let mut programs = Vec::new();
        for program in loaded.object.progs_mut().filter(|program| program.autoload()) {
            let kind = match program.name().to_str() {
                Some("process_fork") => EventKind::Fork,
                Some("process_exec") => EventKind::Exec,
                Some("process_exit") => EventKind::Exit,
                // A signal of whatever process, wanted or not.
                Some("signal_generate") => EventKind::Signal,
                // One of the calls, wanted or not.
                Some("syscall_exit" | "syscall_exit_classic") => EventKind::Unknown,
                _ => continue,
            };
            programs.push((ProgramHandle::try_from(&program)?, kind, 0));
        }
        Ok(Self { programs, calls: 0 })
    }

    /// What was left out since the last call.
    pub(super) fn read(&mut self, loaded: &Loaded) -> Vec<Loss> {
        let mut lost = Vec::new();
        let calls = loaded.call_exits().filter_map(recursion_misses).sum::<u64>().max(self.calls);
        if calls > self.calls {
            // One of the calls, wanted or not.
            lost.push(Loss::new(LossStage::KernelRead, EventKind::Unknown, calls - self.calls));
            self.calls = calls;
        }
        for (program, kind, seen) in &mut self.programs {
            let now = recursion_misses(program.as_fd()).unwrap_or(*seen);
            let count = now.saturating_sub(*seen);
            *seen = now;
            if count > 0 {
                lost.push(Loss::new(LossStage::KernelRead, *kind, count));
            }
        }
        lost
    }
}

/// `bpf_prog_info.recursion_misses`; `None` where the kernel does not tell.
fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of_val(&info) as u32;
    #[allow(unsafe_code, reason = "libbpf-rs reads this for all programs of the host, not for one")]
    // SAFETY: `info` is as long as `length` says, and lives; its pointers are null, so nothing else is written.
    let result = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut length)
    };
    (result == 0).then_some(info.recursion_misses)
}
