//! What can be told without loading anything.

use std::fs;

use super::Missing;

/// The capabilities that loading and attaching take, by number (`include/uapi/linux/capability.h`).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

pub(super) const BTF: &str = "/sys/kernel/btf/vmlinux";

/// What is missing so that nothing can be watched here; empty where the sensor can run.
///
/// Looks only; [`capabilities`](super::capabilities) tries.
pub fn check() -> Vec<Missing> {
    let mut missing = Vec::new();
    if cfg!(not(feature = "load")) {
        missing.push(Missing::Loader);
    }
    let architecture = architecture();
    if architecture != std::env::consts::ARCH || !matches!(&*architecture, "x86_64" | "aarch64") {
        missing.push(Missing::Architecture { found: architecture });
    }
    if !fs::exists(BTF).unwrap_or(false) {
        missing.push(Missing::Btf);
    }
    match lacking() {
        Some(capabilities) if capabilities.is_empty() => {}
        Some(capabilities) => missing.push(Missing::Privilege { capabilities }),
        None => missing.push(Missing::Procfs),
    }
    if let Some(mode) = lockdown().filter(|mode| mode == "confidentiality") {
        missing.push(Missing::Lockdown { mode });
    }
    missing
}

/// The capabilities that this process lacks; `None` where `/proc` does not tell.
fn lacking() -> Option<Vec<String>> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let has = |capability: u32| effective & (1 << capability) != 0;
    if has(CAP_SYS_ADMIN) {
        return Some(Vec::new());
    }
    let needed = [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)];
    Some(
        needed.iter().filter(|(_, number)| !has(*number)).map(|(name, _)| (*name).into()).collect(),
    )
}

/// The mode in brackets of `none [integrity] confidentiality`.
pub(super) fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

pub(super) fn architecture() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

pub(super) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
