//! What this kernel and this process's privileges allow: found by loading and attaching each probe for real.

#[cfg(target_os = "linux")]
mod check;
mod prevention;

use std::fmt;

use lavender_core::event::EventKind;
use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
pub use self::check::check;
pub use self::prevention::{PreventionHook, PreventionReport};

/// What is missing so that nothing can be watched here: off Linux, everything.
#[cfg(not(target_os = "linux"))]
pub fn check() -> Vec<Missing> {
    vec![Missing::Loader]
}

/// What this host allows: each probe is loaded and attached by itself, for a moment.
///
/// Costs about 0.1 s a probe.
#[cfg(target_os = "linux")]
pub fn capabilities() -> Capabilities {
    let missing = check();
    Capabilities {
        kernel_release: check::kernel_release(),
        architecture: check::architecture(),
        btf: std::fs::exists(check::BTF).unwrap_or(false),
        lockdown: check::lockdown(),
        memlock_bytes: rustix::process::getrlimit(rustix::process::Resource::Memlock).current,
        cgroup_mount: crate::host::cgroup_mount(),
        probes: probe_all(&missing),
        isolation: isolation(&missing),
        prevention: try_prevention(&missing),
        missing,
    }
}

/// Whether the host can be isolated, for which it needs what the probes need.
#[cfg(target_os = "linux")]
fn isolation(missing: &[Missing]) -> ProbeStatus {
    if !missing.is_empty() {
        return lacking(missing);
    }
    match crate::Isolation::check() {
        Ok(()) => ProbeStatus::Available,
        Err(error) => ProbeStatus::Unavailable { reason: error.to_string() },
    }
}

/// Each hook of prevention, for which it needs what the probes need.
#[cfg(target_os = "linux")]
fn try_prevention(missing: &[Missing]) -> Vec<PreventionReport> {
    #[cfg(feature = "load")]
    if missing.is_empty() {
        return crate::enforce::try_hooks();
    }
    let status = lacking(missing);
    let row = |hook: PreventionHook| PreventionReport {
        hook,
        mechanism: hook.mechanism().into(),
        status: status.clone(),
    };
    PreventionHook::ALL.map(row).into()
}

#[cfg(all(target_os = "linux", feature = "load"))]
fn probe_all(missing: &[Missing]) -> Vec<ProbeReport> {
    if missing.is_empty() { crate::sensor::probe_all() } else { unavailable(missing) }
}

#[cfg(all(target_os = "linux", not(feature = "load")))]
fn probe_all(missing: &[Missing]) -> Vec<ProbeReport> {
    unavailable(missing)
}

/// Every probe, with what is missing for it.
#[cfg(target_os = "linux")]
fn unavailable(missing: &[Missing]) -> Vec<ProbeReport> {
    let status = lacking(missing);
    Probe::ALL.iter().map(|probe| probe.report(probe.mechanism(), status.clone())).collect()
}

#[cfg(target_os = "linux")]
fn lacking(missing: &[Missing]) -> ProbeStatus {
    let reasons: Vec<String> = missing.iter().map(ToString::to_string).collect();
    ProbeStatus::Unavailable { reason: reasons.join("; ") }
}

/// A probe: BPF programs that are loaded and attached together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Probe {
    /// New processes.
    ProcessFork,
    /// New programs in processes.
    ProcessExec,
    /// Ends of processes.
    ProcessExit,
    /// Opened files.
    FileOpen,
    /// Removed names of files.
    FileDelete,
    /// Renamed files.
    FileRename,
    /// Hard and symbolic links.
    FileLink,
    /// Files' modes and owners.
    FileMode,
    /// Connected sockets.
    NetConnect,
    /// Bound sockets.
    NetBind,
    /// Sockets that listen.
    NetListen,
    /// Accepted connections.
    NetAccept,
    /// Messages to peers that are new to a process.
    NetSend,
    /// Look-ups in the DNS.
    DnsQuery,
    /// Opens, removals and connects through `io_uring`.
    IoUring,
    /// Programs that could not be started.
    ExecFailed,
    /// Signals to other processes.
    Signal,
    /// Holds of `ptrace` on other processes.
    Ptrace,
    /// Writes to other processes' memory.
    ProcessVmWrite,
    /// Files in memory only.
    MemfdCreate,
    /// Kernel modules.
    ModuleLoad,
    /// Changes of ids and capabilities.
    CredChange,
    /// BPF programs and maps.
    Bpf,
    /// Mounts.
    Mount,
    /// Changes of namespaces.
    NsChange,
    /// Memory that is made executable though it is, or was, writable.
    MemoryProtect,
    /// The processes that run already.
    Snapshot,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 27] = [
        Self::ProcessFork,
        Self::ProcessExec,
        Self::ProcessExit,
        Self::FileOpen,
        Self::FileDelete,
        Self::FileRename,
        Self::FileLink,
        Self::FileMode,
        Self::NetConnect,
        Self::NetBind,
        Self::NetListen,
        Self::NetAccept,
        Self::NetSend,
        Self::DnsQuery,
        Self::IoUring,
        Self::ExecFailed,
        Self::Signal,
        Self::Ptrace,
        Self::ProcessVmWrite,
        Self::MemfdCreate,
        Self::ModuleLoad,
        Self::CredChange,
        Self::Bpf,
        Self::Mount,
        Self::NsChange,
        Self::MemoryProtect,
        Self::Snapshot,
    ];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProcessFork => "process_fork",
            Self::ProcessExec => "process_exec",
            Self::ProcessExit => "process_exit",
            Self::FileOpen => "file_open",
            Self::FileDelete => "file_delete",
            Self::FileRename => "file_rename",
            Self::FileLink => "file_link",
            Self::FileMode => "file_mode",
            Self::NetConnect => "net_connect",
            Self::NetBind => "net_bind",
            Self::NetListen => "net_listen",
            Self::NetAccept => "net_accept",
            Self::NetSend => "net_send",
            Self::DnsQuery => "dns_query",
            Self::IoUring => "io_uring",
            Self::ExecFailed => "exec_failed",
            Self::Signal => "signal",
            Self::Ptrace => "ptrace",
            Self::ProcessVmWrite => "process_vm_write",
            Self::MemfdCreate => "memfd_create",
            Self::ModuleLoad => "module_load",
            Self::CredChange => "cred_change",
            Self::Bpf => "bpf",
            Self::Mount => "mount",
            Self::NsChange => "ns_change",
            Self::MemoryProtect => "memory_protect",
            Self::Snapshot => "snapshot",
        }
    }

    /// The kind of events that it delivers; none for the snapshot, which fills the process table.
    pub const fn kind(self) -> Option<EventKind> {
        match self {
            Self::ProcessFork => Some(EventKind::Fork),
            Self::ProcessExec => Some(EventKind::Exec),
            Self::ProcessExit => Some(EventKind::Exit),
            Self::FileOpen => Some(EventKind::FileOpen),
            Self::FileDelete => Some(EventKind::FileDelete),
            Self::FileRename => Some(EventKind::FileRename),
            Self::FileLink => Some(EventKind::FileLink),
            Self::FileMode => Some(EventKind::FileMode),
            Self::NetConnect => Some(EventKind::NetConnect),
            Self::NetBind => Some(EventKind::NetBind),
            Self::NetListen => Some(EventKind::NetListen),
            Self::NetAccept => Some(EventKind::NetAccept),
            Self::NetSend => Some(EventKind::NetSend),
            Self::DnsQuery => Some(EventKind::DnsQuery),
            Self::IoUring => Some(EventKind::IoUring),
            Self::ExecFailed => Some(EventKind::ExecFailed),
            Self::Signal => Some(EventKind::Signal),
            Self::Ptrace => Some(EventKind::Ptrace),
            Self::ProcessVmWrite => Some(EventKind::ProcessVmWrite),
            Self::MemfdCreate => Some(EventKind::MemfdCreate),
            Self::ModuleLoad => Some(EventKind::ModuleLoad),
            Self::CredChange => Some(EventKind::CredChange),
            Self::Bpf => Some(EventKind::Bpf),
            Self::Mount => Some(EventKind::Mount),
            Self::NsChange => Some(EventKind::NsChange),
            Self::MemoryProtect => Some(EventKind::MemoryProtect),
            Self::Snapshot => None,
        }
    }

    /// Whether it is read off the exits of system calls, by the one program for all of them.
    #[cfg(all(feature = "load", target_os = "linux"))]
    pub(crate) const fn is_of_syscalls(self) -> bool {
        !self.is_of_process_life() && !matches!(self, Self::Signal | Self::IoUring)
    }

    /// Whether the process table lives on it, so that it is always there.
    #[cfg(all(feature = "load", target_os = "linux"))]
    pub(crate) const fn is_of_process_life(self) -> bool {
        matches!(self, Self::ProcessFork | Self::ProcessExec | Self::ProcessExit | Self::Snapshot)
    }

    /// Its row of the capability table.
    pub(crate) fn report(self, mechanism: &str, status: ProbeStatus) -> ProbeReport {
        ProbeReport { probe: self, kind: self.kind(), mechanism: mechanism.into(), status }
    }

    /// What it hooks in every kernel that it runs on; [`ProbeReport::mechanism`] says what it was where there is better.
    pub const fn mechanism(self) -> &'static str {
        match self {
            Self::ProcessFork => "tp_btf/sched_process_fork",
            Self::ProcessExec => "tp_btf/sched_process_exec",
            Self::ProcessExit => "tp_btf/sched_process_exit",
            Self::Signal => "tp_btf/signal_generate",
            Self::IoUring => "tp_btf/io_uring_submit_req",
            Self::Snapshot => "iter/task",
            _ => "tp_btf/sys_exit",
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a probe, or isolation, can be used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ProbeStatus {
    /// It was loaded and attached.
    Available,
    /// It was not.
    Unavailable {
        /// Why, as the kernel or its loader says.
        reason: String,
    },
}

/// One row of the capability table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The probe.
    pub probe: Probe,
    /// The kind of events that it delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventKind>,
    /// What it hooks in the kernel.
    pub mechanism: String,
    /// Whether it can be used here.
    #[serde(flatten)]
    pub status: ProbeStatus,
}

impl ProbeReport {
    /// Whether the probe can be used here.
    pub const fn is_available(&self) -> bool {
        matches!(self.status, ProbeStatus::Available)
    }
}

/// What this host allows, as `doctor` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The kernel's release, as `uname -r` shows it.
    pub kernel_release: String,
    /// The machine's architecture, as `uname -m` shows it.
    pub architecture: String,
    /// Whether the kernel describes its types (`/sys/kernel/btf/vmlinux`).
    pub btf: bool,
    /// The kernel's lockdown mode, where it has one: `none`, `integrity`, `confidentiality`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<String>,
    /// How much memory this process may lock, in bytes; `None` for no limit. Counts only before kernel 5.11.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memlock_bytes: Option<u64>,
    /// Where the v2 control groups are mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_mount: Option<String>,
    /// What is missing, so that nothing can be watched at all. Empty where the sensor can run.
    pub missing: Vec<Missing>,
    /// Each probe.
    pub probes: Vec<ProbeReport>,
    /// Whether the host can be isolated (`cgroup_skb` programs on its root control group).
    pub isolation: ProbeStatus,
    /// Each hook at which something can be prevented.
    #[serde(default)]
    pub prevention: Vec<PreventionReport>,
}

/// Something without which nothing can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "missing", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missing {
    /// This build cannot load probes: feature `load` is off, or the OS is not Linux.
    Loader,
    /// The machine is none that the probes are made for.
    Architecture {
        /// What it is.
        found: String,
    },
    /// The kernel does not describe its types.
    Btf,
    /// The process may not load probes.
    Privilege {
        /// The capabilities that it lacks.
        capabilities: Vec<String>,
    },
    /// The kernel is locked down so far that probes may not read its memory.
    Lockdown {
        /// The mode.
        mode: String,
    },
    /// `/proc` is not mounted.
    Procfs,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader => f.write_str(
                "this build cannot load probes: build for Linux with the feature that needs clang and libelf",
            ),
            Self::Architecture { found } => {
                write!(f, "these probes are made for {}, and this machine is {found}", std::env::consts::ARCH)
            }
            Self::Btf => f.write_str(
                "the kernel has no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF=y",
            ),
            Self::Privilege { capabilities } => {
                write!(f, "not privileged: run as root, or with {}", capabilities.join(", "))
            }
            Self::Lockdown { mode } => write!(
                f,
                "the kernel is locked down ({mode}), so that probes may not read its memory: boot with lockdown=integrity or none"
            ),
            Self::Procfs => f.write_str("/proc is not mounted"),
        }
    }
}
