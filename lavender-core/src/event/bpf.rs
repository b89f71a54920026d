//! Programs and maps in the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SyscallResult;
use crate::text::{ByteString, Captured};

/// A process made, attached, pinned or took hold of a BPF program or map by `bpf`, or could not.
///
/// What is done with the contents of maps, and what only asks, is no event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bpf {
    /// What was asked for.
    pub command: BpfCommand,
    /// The type of the program that was loaded, attached or taken hold of: the kernel's own, or where it made none the
    /// one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_type: Option<BpfProgramType>,
    /// The type of the map that was made or taken hold of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_type: Option<BpfMapType>,
    /// The name of the program or map, up to 15 bytes, which means nothing to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ByteString>,
    /// The number by which the kernel knows the program or map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The path at which an object is pinned, links in it not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Captured<ByteString>>,
    /// A descriptor or zero, or why it failed.
    pub result: SyscallResult,
}

/// A name of a number, or the number.
fn name_or_number(f: &mut fmt::Formatter<'_>, names: &[&'static str], number: u32) -> fmt::Result {
    match names.get(number as usize) {
        Some(name) if !name.is_empty() => f.write_str(name),
        _ => write!(f, "{number}"),
    }
}

/// A command of `bpf`, by its number in `include/uapi/linux/bpf.h` (`enum bpf_cmd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BpfCommand(pub u32);

impl BpfCommand {
    /// A map is made.
    pub const MAP_CREATE: Self = Self(0);
    /// A program is loaded.
    pub const PROG_LOAD: Self = Self(5);
    /// A program, map or link is given a path, by which it stays when its makers are gone.
    pub const OBJ_PIN: Self = Self(6);
    /// One is taken hold of by its path.
    pub const OBJ_GET: Self = Self(7);
    /// A program is attached.
    pub const PROG_ATTACH: Self = Self(8);
    /// A program is attached to a tracepoint.
    pub const RAW_TRACEPOINT_OPEN: Self = Self(17);
    /// A program is attached, by a link that holds it there.
    pub const LINK_CREATE: Self = Self(28);

    const NAMES: [&str; 35] = [
        "map_create",
        "",
        "",
        "",
        "",
        "prog_load",
        "obj_pin",
        "obj_get",
        "prog_attach",
        "prog_detach",
        "",
        "",
        "",
        "prog_get_fd_by_id",
        "map_get_fd_by_id",
        "",
        "",
        "raw_tracepoint_open",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "link_create",
        "link_update",
        "",
        "",
        "",
        "",
        "link_detach",
    ];
}

impl fmt::Display for BpfCommand {
    /// The kernel's name in small letters without `BPF_`, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name_or_number(f, &Self::NAMES, self.0)
    }
}

/// The type of a program, by its number in `include/uapi/linux/bpf.h` (`enum bpf_prog_type`).
///
/// ```
/// use lavender_core::event::BpfProgramType;
///
/// assert_eq!(BpfProgramType::KPROBE.to_string(), "kprobe");
/// assert_eq!(BpfProgramType(99).to_string(), "99");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BpfProgramType(pub u32);

impl BpfProgramType {
    /// Filters what a socket receives.
    pub const SOCKET_FILTER: Self = Self(1);
    /// Runs at functions of the kernel, or of a program.
    pub const KPROBE: Self = Self(2);
    /// Runs at functions of the kernel and in place of them.
    pub const TRACING: Self = Self(26);
    /// Decides what is permitted.
    pub const LSM: Self = Self(29);

    const NAMES: [&str; 33] = [
        "unspec",
        "socket_filter",
        "kprobe",
        "sched_cls",
        "sched_act",
        "tracepoint",
        "xdp",
        "perf_event",
        "cgroup_skb",
        "cgroup_sock",
        "lwt_in",
        "lwt_out",
        "lwt_xmit",
        "sock_ops",
        "sk_skb",
        "cgroup_device",
        "sk_msg",
        "raw_tracepoint",
        "cgroup_sock_addr",
        "lwt_seg6local",
        "lirc_mode2",
        "sk_reuseport",
        "flow_dissector",
        "cgroup_sysctl",
        "raw_tracepoint_writable",
        "cgroup_sockopt",
        "tracing",
        "struct_ops",
        "ext",
        "lsm",
        "sk_lookup",
        "syscall",
        "netfilter",
    ];
}

impl fmt::Display for BpfProgramType {
    /// The kernel's name in small letters without `BPF_PROG_TYPE_`, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name_or_number(f, &Self::NAMES, self.0)
    }
}

/// The type of a map, by its number in `include/uapi/linux/bpf.h` (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BpfMapType(pub u32);

impl BpfMapType {
    /// Values by number.
    pub const ARRAY: Self = Self(2);

    const NAMES: [&str; 34] = [
        "unspec",
        "hash",
        "array",
        "prog_array",
        "perf_event_array",
        "percpu_hash",
        "percpu_array",
        "stack_trace",
        "cgroup_array",
        "lru_hash",
        "lru_percpu_hash",
        "lpm_trie",
        "array_of_maps",
        "hash_of_maps",
        "devmap",
        "sockmap",
        "cpumap",
        "xskmap",
        "sockhash",
        "cgroup_storage",
        "reuseport_sockarray",
        "percpu_cgroup_storage",
        "queue",
        "stack",
        "sk_storage",
        "devmap_hash",
        "struct_ops",
        "ringbuf",
        "inode_storage",
        "task_storage",
        "bloom_filter",
        "user_ringbuf",
        "cgrp_storage",
        "arena",
    ];
}

impl fmt::Display for BpfMapType {
    /// The kernel's name in small letters without `BPF_MAP_TYPE_`, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name_or_number(f, &Self::NAMES, self.0)
    }
}
