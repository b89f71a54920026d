//! `/proc`: processes as they are now, checked to be the ones that are meant.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use lavender_core::{ByteString, ProcessId};

use super::FoundProcess;

/// The kernel shows start times in ticks of 10 ms (`USER_HZ` is 100 on every architecture but Alpha).
const TICK_NS: u64 = 10_000_000;

/// The most of the arguments that is read: as much as an exec record carries.
const ARGUMENTS_MAX_BYTES: u64 = crate::record::ARGUMENTS_MAX_BYTES as u64;

/// When a process started, in ticks after boot; `None` when there is none with this pid.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// Whether these ticks are those of a process id.
pub(crate) const fn starts_at(process: ProcessId, ticks: u64) -> bool {
    ticks_of(process) == ticks
}

/// The ticks that `/proc` shows for a process id.
pub(crate) const fn ticks_of(process: ProcessId) -> u64 {
    process.start_ns() / TICK_NS
}

/// The earliest moment of a tick, in ns after boot.
pub(crate) const fn ticks_to_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(TICK_NS)
}

/// A process among all that there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    pub(crate) pid: u32,
    pub(crate) parent_pid: u32,
    pub(crate) start_ticks: u64,
}

/// Every process that there is. One that began before this was called, and has not ended, is among them.
pub(crate) fn processes() -> std::io::Result<Vec<Listed>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(Stat { parent_pid, start_ticks, .. }) = stat(pid) {
            processes.push(Listed { pid, parent_pid, start_ticks });
        }
    }
    Ok(processes)
}

/// Whether no thread of a process runs, nor will before it is continued. It may have ended.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let Ok(text) = fs::read(thread.path().join("stat")) else { return true };
        let after_name = text.iter().rposition(|byte| *byte == b')').map(|close| close + 2);
        // Stopped, stopped by a tracer, ended.
        after_name.and_then(|at| text.get(at)).is_some_and(|state| b"TtZXx".contains(state))
    })
}

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Whether this is a thread of the kernel. Its flags tell; that it has no memory or program of its own does
/// not, for neither has a process whose first thread has ended before the others.
pub(crate) fn is_kernel_thread(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.flags & KERNEL_THREAD != 0)
}

struct Stat {
    flags: u32,
    name: Vec<u8>,
    parent_pid: u32,
    start_ticks: u64,
}

/// `/proc/PID/stat`. The name stands in parentheses and may hold any byte, parentheses included.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // After the name: state (3), ppid (4), … flags (9), … starttime (22).
    let parent_pid = fields.nth(1)?.parse().ok()?;
    let flags = fields.nth(4)?.parse().ok()?;
    let start_ticks = fields.nth(12)?.parse().ok()?;
    Some(Stat { flags, name: text.get(open + 1..close)?.to_vec(), parent_pid, start_ticks })
}

/// Runs `read` between two looks at the start time, so that what it read is of the process that is meant.
fn of_process<T>(process: ProcessId, read: impl FnOnce(u32) -> Option<T>) -> Option<T> {
    let pid = process.tgid();
    let same = || start_ticks(pid).is_some_and(|ticks| starts_at(process, ticks));
    if !same() {
        return None;
    }
    let value = read(pid)?;
    same().then_some(value)
}

pub(crate) fn arguments(process: ProcessId) -> Option<ByteString> {
    of_process(process, read_arguments)
}

fn read_arguments(pid: u32) -> Option<ByteString> {
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = Vec::new();
    file.take(ARGUMENTS_MAX_BYTES).read_to_end(&mut arguments).ok()?;
    Some(arguments.into())
}

pub(crate) fn process(process: ProcessId) -> Option<FoundProcess> {
    of_process(process, |pid| {
        let stat = stat(pid)?;
        let link = |name: &str| {
            let target = fs::read_link(format!("/proc/{pid}/{name}")).ok()?;
            Some(ByteString::from(target.into_os_string().into_vec()))
        };
        Some(FoundProcess {
            name: stat.name.into(),
            executable: link("exe"),
            arguments: read_arguments(pid),
            working_directory: link("cwd"),
            parent_pid: stat.parent_pid,
            namespace_pid: namespace_pid(pid).unwrap_or(pid),
        })
    })
}

/// The last number of `NSpid:` in `/proc/PID/status`.
fn namespace_pid(pid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let line = status.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"NSpid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().last()?.parse().ok()
}

/// The path of the v2 control group in `/proc/PID/cgroup`.
pub(crate) fn cgroup_path(process: ProcessId) -> Option<String> {
    of_process(process, |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
    })
}

/// Where the v2 control groups are mounted.
pub(crate) fn cgroup_mount() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4).map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavender_core::BootId;

    fn own_id() -> ProcessId {
        let ticks = start_ticks(std::process::id()).unwrap();
        ProcessId::new(BootId::from_u128(1), ticks * TICK_NS + 1, std::process::id())
    }

    #[test]
    fn a_process_is_found_by_its_exact_identity() {
        let found = process(own_id()).unwrap();
        assert_eq!(found.parent_pid, std::os::unix::process::parent_id());
        let executable = std::env::current_exe().unwrap().into_os_string().into_vec();
        assert_eq!(found.executable, Some(executable.into()));
        assert!(arguments(own_id()).is_some());
    }

    #[test]
    fn a_process_with_another_start_is_another() {
        let own = own_id();
        let other = ProcessId::new(BootId::from_u128(1), own.start_ns() - TICK_NS, own.tgid());
        assert_eq!(process(other), None);
        assert_eq!(arguments(other), None);
    }
}
