//! A process held by a descriptor, so that what is done to it is done to no other.

use std::fmt::Display;
use std::os::fd::OwnedFd;

use lavender_core::{BootId, Outcome, ProcessId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::host::{boot_id, start_ticks, starts_at, ticks_of, ticks_to_ns};

/// A process of which it was checked that it is the one that is meant, and that lived then.
#[derive(Debug)]
pub(super) struct HeldProcess {
    id: ProcessId,
    descriptor: OwnedFd,
}

impl HeldProcess {
    /// Holds a process, or says why that cannot be.
    pub(super) fn open(id: ProcessId) -> Result<Self, Outcome> {
        if !is_of_this_boot(id)? {
            // Daemons that start with the host have the same pid in the same tick in many a boot.
            return Err(Outcome::Gone);
        }
        let pid = i32::try_from(id.tgid()).ok().and_then(Pid::from_raw).ok_or(Outcome::Gone)?;
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::SRCH | Errno::INVAL) => return Err(Outcome::Gone),
            Err(error) => return Err(failed("it cannot be held (pidfd_open)", error)),
        };
        // The descriptor holds the process that has the pid now. As long as that one lives, /proc/PID is it.
        if !start_ticks(id.tgid()).is_some_and(|ticks| starts_at(id, ticks)) {
            return Err(Outcome::Gone);
        }
        let held = Self { id, descriptor };
        match held.has_ended() {
            Ok(false) => Ok(held),
            Ok(true) => Err(Outcome::Gone),
            Err(error) => Err(failed("it cannot be asked whether it lives", error)),
        }
    }

    pub(super) const fn id(&self) -> ProcessId {
        self.id
    }

    pub(super) const fn pid(&self) -> u32 {
        self.id.tgid()
    }

    /// Whether all threads have ended: then the descriptor is readable, whether or not the process was reaped.
    /// Its state in `/proc` is that of the first thread, which may end long before the others.
    pub(super) fn has_ended(&self) -> rustix::io::Result<bool> {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut polled, Some(&at_once))? > 0)
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) => Outcome::Done,
            Err(Errno::SRCH) => Outcome::Gone,
            Err(error) => failed("it cannot be signalled", error),
        }
    }
}

/// A process as `/proc` shows it: its start is known to the tick.
pub(crate) fn id_to_the_tick(boot: BootId, (pid, ticks): (u32, u64)) -> ProcessId {
    ProcessId::new(boot, ticks_to_ns(ticks), pid)
}

/// What `/proc` can tell of who a process is: pid and start in ticks.
pub(super) const fn key(id: ProcessId) -> (u32, u64) {
    (id.tgid(), ticks_of(id))
}

pub(crate) fn this_boot() -> Result<BootId, Outcome> {
    boot_id().map_err(|error| failed("it is not known which boot this is", error))
}

fn is_of_this_boot(id: ProcessId) -> Result<bool, Outcome> {
    Ok(ProcessId::new(this_boot()?, id.start_ns(), id.tgid()) == id)
}

pub(super) fn failed(what: &str, error: impl Display) -> Outcome {
    Outcome::Failed { reason: format!("{what}: {error}").into() }
}
