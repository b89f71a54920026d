//! The functions in the kernel that carry out system calls, and whether programs can be put at their ends.
//!
//! By `SYSCALL_DEFINE` of `arch/x86/include/asm/syscall_wrapper.h`: all are of one type, and take the registers of the
//! caller. Which function a call has stands in `arch/x86/entry/syscalls/syscall_64.tbl` and `syscall_32.tbl`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;

use libbpf_rs::btf::{Btf, BtfKind, BtfType};

use super::call_exits;
use super::calls::{Calls, calls};
use crate::support::Probe;

/// As capability tables have it.
pub(super) const MECHANISM: &str = "fexit/__x64_sys_*";

/// A function that every kernel with functions of this form has.
const ANY: &str = "__x64_sys_openat";

/// What the kernel lets us know of its preemption.
const PREEMPTION: &str = "/sys/kernel/debug/sched/preempt";

/// The most types that the functions may be of. They have one in C; in BTF, which is put together from the files of the kernel
/// one by one, they may have some, and programs hand over only to those for the same.
pub(super) const TYPES_MAX: usize = 3;

/// A function that carries out a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallFunction {
    /// Its number in the kernel's BTF.
    pub(super) number: u32,
    /// Of which of the types it is, below [`TYPES_MAX`].
    pub(super) of_type: usize,
}

/// The functions of this kernel by their names.
#[derive(Debug)]
pub(super) struct CallFunctions(BTreeMap<String, CallFunction>);

/// Those of this kernel, or why no programs are put there. Looked up once.
pub(super) fn of_kernel() -> Result<&'static CallFunctions, &'static str> {
    static FOUND: OnceLock<Result<CallFunctions, String>> = OnceLock::new();
    FOUND.get_or_init(CallFunctions::find).as_ref().map_err(String::as_str)
}

impl CallFunctions {
    fn find() -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("not done on this architecture".into());
        }
        if may_preempt() {
            return Err("the kernel may preempt programs at functions".into());
        }
        let btf = Btf::from_vmlinux().map_err(|error| format!("the kernel's BTF: {error}"))?;
        let wanted: Vec<Vec<String>> = Probe::ALL.iter().flat_map(|it| names(calls(*it))).collect();
        let functions = Self(functions(&btf, &wanted.iter().flatten().collect()));
        let Some(any) = functions.0.get(ANY) else {
            return Err(format!("the kernel has no function {ANY}"));
        };
        if functions.0.values().any(|function| function.of_type >= TYPES_MAX) {
            return Err(format!("the functions are of more than {TYPES_MAX} types"));
        }
        call_exits::check(any.number)
            .map_err(|error| format!("the kernel refuses them: {error}"))?;
        functions.check_whole(&wanted)?;
        Ok(functions)
    }

    /// The functions of what a probe sees, by name. A call that this kernel does not have has none.
    pub(super) fn of(&self, probe: Probe) -> impl Iterator<Item = (String, CallFunction)> {
        let names = names(calls(probe)).into_iter().flatten();
        names.filter_map(|name| self.0.get(&name).map(|function| (name, *function)))
    }

    /// The types of the functions of what these probes see, each with the name of one function that is of it.
    pub(super) fn types_of(&self, probes: &[Probe]) -> BTreeMap<usize, String> {
        let functions = probes.iter().flat_map(|probe| self.of(*probe));
        functions.map(|(name, function)| (function.of_type, name)).collect()
    }

    /// Fails where the kernel has a function that its BTF does not have: what that one does would not be seen.
    fn check_whole(&self, wanted: &[Vec<String>]) -> Result<(), String> {
        let lacking = |names: &&Vec<String>| !names.iter().any(|name| self.0.contains_key(name));
        let lacking: Vec<&String> = wanted.iter().filter(lacking).flatten().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let symbols = fs::read_to_string("/proc/kallsyms")
            .map_err(|error| format!("/proc/kallsyms: {error}"))?;
        let symbols: BTreeSet<&str> =
            symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)).collect();
        match lacking.into_iter().find(|name| symbols.contains(&***name)) {
            Some(name) => Err(format!("the kernel's BTF does not have {name}")),
            None => Ok(()),
        }
    }
}

/// Whether a program at a function may be preempted by another: the kernel leaves out each run that meets one on the same
/// processor. Not where it was built without preemption of itself, nor where it was started without.
fn may_preempt() -> bool {
    let uname = rustix::system::uname();
    if !uname.version().to_string_lossy().contains("PREEMPT") {
        return false;
    }
    let mode = fs::read_to_string(PREEMPTION).unwrap_or_default();
    !mode.contains("(none)") && !mode.contains("(voluntary)")
}

/// The functions of these names that the kernel has.
fn functions(btf: &Btf<'_>, names: &BTreeSet<&String>) -> BTreeMap<String, CallFunction> {
    let mut found: BTreeMap<String, CallFunction> = BTreeMap::new();
    let mut types = Vec::new();
    for number in 1..u32::try_from(btf.len()).unwrap_or(u32::MAX) {
        let function = btf.type_by_id::<BtfType<'_>>(number.into());
        let Some(function) = function.filter(|it| it.kind() == BtfKind::Func) else { continue };
        let name = function.name().map(|name| name.to_string_lossy().into_owned());
        // Of one that may be left out of a kernel there are two by the same name: libbpf takes the first.
        let is_new = |name: &String| names.contains(name) && !found.contains_key(name);
        let Some(name) = name.filter(is_new) else { continue };
        let Some(of) = function.next_type().map(|prototype| prototype.type_id()) else { continue };
        let of_type = types.iter().position(|known| *known == of).unwrap_or_else(|| {
            types.push(of);
            types.len() - 1
        });
        found.insert(name, CallFunction { number, of_type });
    }
    found
}

/// For each of these calls the names that its function may have: the kernel has one of them, or not the call.
fn names((native, compat): Calls) -> Vec<Vec<String>> {
    let native = native
        .iter()
        .filter_map(|number| Some(vec![format!("__x64_sys_{}", native_name(*number)?)]));
    // One of its own for 32 bits, where arguments differ.
    let compat = compat.iter().filter_map(|number| {
        let name = compat_name(*number)?;
        Some(vec![format!("__ia32_compat_sys_{name}"), format!("__ia32_sys_{name}")])
    });
    native.chain(compat).collect()
}

const fn native_name(number: usize) -> Option<&'static str> {
    Some(match number {
        0 => "read",
        1 => "write",
        2 => "open",
        9 => "mmap",
        10 => "mprotect",
        19 => "readv",
        20 => "writev",
        30 => "shmat",
        42 => "connect",
        43 => "accept",
        44 => "sendto",
        45 => "recvfrom",
        46 => "sendmsg",
        47 => "recvmsg",
        49 => "bind",
        50 => "listen",
        56 => "clone",
        59 => "execve",
        82 => "rename",
        84 => "rmdir",
        85 => "creat",
        86 => "link",
        87 => "unlink",
        88 => "symlink",
        90 => "chmod",
        91 => "fchmod",
        92 => "chown",
        93 => "fchown",
        94 => "lchown",
        101 => "ptrace",
        105 => "setuid",
        106 => "setgid",
        113 => "setreuid",
        114 => "setregid",
        117 => "setresuid",
        119 => "setresgid",
        122 => "setfsuid",
        123 => "setfsgid",
        126 => "capset",
        155 => "pivot_root",
        165 => "mount",
        166 => "umount",
        175 => "init_module",
        257 => "openat",
        260 => "fchownat",
        263 => "unlinkat",
        264 => "renameat",
        265 => "linkat",
        266 => "symlinkat",
        268 => "fchmodat",
        272 => "unshare",
        288 => "accept4",
        299 => "recvmmsg",
        307 => "sendmmsg",
        308 => "setns",
        311 => "process_vm_writev",
        313 => "finit_module",
        316 => "renameat2",
        319 => "memfd_create",
        321 => "bpf",
        322 => "execveat",
        329 => "pkey_mprotect",
        _ => return newer_name(number),
    })
}

const fn compat_name(number: usize) -> Option<&'static str> {
    Some(match number {
        3 => "read",
        4 => "write",
        5 => "open",
        8 => "creat",
        9 => "link",
        10 => "unlink",
        11 => "execve",
        15 => "chmod",
        16 => "lchown16",
        21 => "mount",
        22 => "oldumount",
        23 => "setuid16",
        26 => "ptrace",
        38 => "rename",
        40 => "rmdir",
        46 => "setgid16",
        52 => "umount",
        70 => "setreuid16",
        71 => "setregid16",
        83 => "symlink",
        90 => "ia32_mmap",
        94 => "fchmod",
        95 => "fchown16",
        102 => "socketcall",
        117 => "ipc",
        120 => "ia32_clone",
        125 => "mprotect",
        128 => "init_module",
        138 => "setfsuid16",
        139 => "setfsgid16",
        145 => "readv",
        146 => "writev",
        164 => "setresuid16",
        170 => "setresgid16",
        182 => "chown16",
        185 => "capset",
        192 => "mmap_pgoff",
        198 => "lchown",
        203 => "setreuid",
        204 => "setregid",
        207 => "fchown",
        208 => "setresuid",
        210 => "setresgid",
        212 => "chown",
        213 => "setuid",
        214 => "setgid",
        215 => "setfsuid",
        216 => "setfsgid",
        217 => "pivot_root",
        295 => "openat",
        298 => "fchownat",
        301 => "unlinkat",
        302 => "renameat",
        303 => "linkat",
        304 => "symlinkat",
        306 => "fchmodat",
        310 => "unshare",
        337 => "recvmmsg_time32",
        345 => "sendmmsg",
        346 => "setns",
        348 => "process_vm_writev",
        350 => "finit_module",
        353 => "renameat2",
        356 => "memfd_create",
        357 => "bpf",
        358 => "execveat",
        361 => "bind",
        362 => "connect",
        363 => "listen",
        364 => "accept4",
        369 => "sendto",
        370 => "sendmsg",
        371 => "recvfrom",
        372 => "recvmsg",
        380 => "pkey_mprotect",
        397 => "shmat",
        417 => "recvmmsg_time64",
        _ => return newer_name(number),
    })
}

/// Calls that have the same number in both tables.
const fn newer_name(number: usize) -> Option<&'static str> {
    Some(match number {
        428 => "open_tree",
        429 => "move_mount",
        432 => "fsmount",
        435 => "clone3",
        437 => "openat2",
        442 => "mount_setattr",
        447 => "memfd_secret",
        452 => "fchmodat2",
        467 => "open_tree_attr",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::calls::x86_64;
    use super::*;

    #[test]
    fn every_call_that_is_read_has_the_name_of_a_function() {
        for (native, compat) in Probe::ALL.iter().map(|probe| x86_64(*probe)) {
            for number in native {
                assert!(native_name(*number).is_some(), "{number} of the 64-bit table");
            }
            for number in compat {
                assert!(compat_name(*number).is_some(), "{number} of the 32-bit table");
            }
        }
    }
}
