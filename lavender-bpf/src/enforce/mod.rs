//! Acting on exactly the process that an alert is about.

mod limit;
mod protect;

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use lavender_core::{
    Alert, Clock, Outcome, ProcessId, Responder, ResponseAction, ResponseOutcome, Severity,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use self::limit::RateLimit;
use self::protect::Protection;
use crate::host::{boot_id, start_ticks, starts_at};

/// When to kill, and what never.
#[derive(Clone, Debug)]
pub struct KillPolicy {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Kill the process of an alert this bad or worse, if it matched for certain; `None` never does.
    pub severity: Option<Severity>,
    /// Programs that are never killed, by absolute path.
    pub protected_executables: Vec<PathBuf>,
    /// How many processes are killed in a minute at the most.
    pub max_per_minute: u32,
}

impl Default for KillPolicy {
    /// Dry-run; critical alerts; ten a minute.
    fn default() -> Self {
        Self {
            dry_run: true,
            severity: Some(Severity::Critical),
            protected_executables: Vec::new(),
            max_per_minute: 10,
        }
    }
}

/// Kills the very process that an alert is about, or says why not.
///
/// The process is held by a pidfd, and its start time is compared with that of the alert's
/// [`ProcessId`] (to the 10 ms that `/proc` shows), so that a reused pid is never hit. Never killed are pid 1,
/// the agent itself and its ancestors, threads of the kernel, and protected programs.
///
/// ```
/// use std::sync::Arc;
/// use lavender_bpf::{KillPolicy, ProcessKiller};
/// use lavender_core::{BootId, Outcome, ProcessId, SystemClock};
///
/// let mut killer = ProcessKiller::new(KillPolicy::default(), Arc::new(SystemClock));
/// // No process started at that time with this pid: it is gone.
/// let gone = ProcessId::new(BootId::from_u128(7), 1, std::process::id());
/// assert_eq!(killer.kill(gone), Outcome::Gone);
/// ```
#[derive(Debug)]
pub struct ProcessKiller {
    policy: KillPolicy,
    protection: Protection,
    limit: RateLimit,
}

impl ProcessKiller {
    /// Acts by this policy; the rate is measured on `clock`.
    pub fn new(policy: KillPolicy, clock: Arc<dyn Clock>) -> Self {
        let protection = Protection::new(&policy.protected_executables);
        let limit = RateLimit::new(policy.max_per_minute, clock);
        Self { policy, protection, limit }
    }

    /// Kills a process, unless it is gone, protected, or too many were killed of late.
    pub fn kill(&mut self, target: ProcessId) -> Outcome {
        match boot_id() {
            Ok(boot) if ProcessId::new(boot, target.start_ns(), target.tgid()) == target => {}
            // Daemons that start with the host have the same pid in the same tick in many a boot.
            Ok(_) => return Outcome::Gone,
            Err(error) => return failed("it is not known which boot this is", error),
        }
        let Some(pid) = i32::try_from(target.tgid()).ok().and_then(Pid::from_raw) else {
            return Outcome::Gone;
        };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH | Errno::INVAL) => return Outcome::Gone,
            Err(error) => return failed("it cannot be held (pidfd_open)", error),
        };
        // The descriptor holds the process that has the pid now. As long as that one lives, /proc/PID is it.
        if !start_ticks(target.tgid()).is_some_and(|ticks| starts_at(target, ticks)) {
            return Outcome::Gone;
        }
        match has_ended(&process) {
            Ok(false) => {}
            Ok(true) => return Outcome::Gone,
            Err(error) => return failed("it cannot be asked whether it lives", error),
        }
        if let Some(by) = self.protection.of(target.tgid()) {
            return Outcome::Protected { by };
        }
        if self.policy.dry_run {
            return Outcome::DryRun;
        }
        if !self.limit.take() {
            return Outcome::RateLimited;
        }
        match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) => Outcome::Done,
            Err(Errno::SRCH) => Outcome::Gone,
            Err(error) => failed("it cannot be signalled", error),
        }
    }
}

/// Whether all threads have ended: then the descriptor is readable, whether or not the process was reaped. Its
/// state in `/proc` is that of the first thread, which may end long before the others.
fn has_ended(process: &OwnedFd) -> rustix::io::Result<bool> {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut polled, Some(&at_once))? > 0)
}

fn failed(what: &str, error: impl Display) -> Outcome {
    Outcome::Failed { reason: format!("{what}: {error}").into() }
}

impl Responder for ProcessKiller {
    fn respond(&mut self, alert: &Alert) -> Option<ResponseOutcome> {
        let severity = self.policy.severity?;
        let process = alert.process.as_ref()?;
        (alert.severity >= severity && alert.certainty.is_certain()).then(|| ResponseOutcome {
            alert: alert.id,
            action: ResponseAction::Kill,
            target: process.id(),
            outcome: self.kill(process.id()),
        })
    }
}
