//! The programs in the kernel: loading, attaching, finding them again.
//!
//! They are attached to the control group itself and not by links, which end with the process that has them: whoever
//! kills the agent must not lift isolation by it.
#![allow(unsafe_code, reason = "calls that libbpf-rs has no safe form of")]

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::libbpf_sys as sys;
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, Program};

use super::IsolationCounts;
use crate::sensor::{Aligned, log_to_tracing, reason};

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/isolate.bpf.o")));

/// Each program's name, by which it is found again, and where it is attached.
const HOOKS: [(&str, sys::bpf_attach_type); 2] =
    [("lavender_in", sys::BPF_CGROUP_INET_INGRESS), ("lavender_out", sys::BPF_CGROUP_INET_EGRESS)];

/// A control group has no more programs at one hook (`BPF_CGROUP_MAX_PROGS`).
const PROGRAMS_MAX: usize = 64;

/// The programs, loaded and not attached.
#[derive(Debug)]
pub(super) struct Programs(pub(super) Object);

/// A program of ours that is attached.
#[derive(Debug)]
pub(super) struct Attached {
    hook: sys::bpf_attach_type,
    program: OwnedFd,
    maps: Vec<u32>,
}

/// Loads the programs. Fails with the reason, which is that of the kernel.
pub(super) fn load(allow: &[SocketAddr], dhcp: bool) -> Result<Programs, String> {
    log_to_tracing();
    let load = || {
        let mut open = ObjectBuilder::default().open_memory(&OBJECT.0)?;
        for mut map in open.maps_mut() {
            if map.name() == ".rodata.dhcp" {
                map.set_initial_value(&[u8::from(dhcp)])?;
            }
        }
        let object = open.load()?;
        for map in object.maps().filter(|map| map.name() == "peers") {
            for peer in allow {
                map.update(&key(*peer), &[1], MapFlags::ANY)?;
            }
        }
        Ok(Programs(object))
    };
    load().map_err(|error: libbpf_rs::Error| {
        format!("the kernel does not take the programs (cgroup_skb): {}", reason(&error))
    })
}

/// `struct peer`: as addresses and ports stand in packets.
fn key(peer: SocketAddr) -> [u8; 18] {
    // What is written as an IPv4 address within IPv6 is IPv4 on the wire.
    let address = match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let mut key = [0; 18];
    key[..16].copy_from_slice(&address.octets());
    key[16..].copy_from_slice(&peer.port().to_be_bytes());
    key
}

/// Attaches both programs, or none.
pub(super) fn attach(cgroup: &File, programs: &Programs) -> io::Result<()> {
    let mut done: Vec<(Program<'_>, sys::bpf_attach_type)> = Vec::new();
    for (name, hook) in HOOKS {
        let program = programs.0.progs().find(|program| program.name() == name);
        let program = program.ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: both descriptors are open, and nothing else is passed.
        let result = unsafe {
            sys::bpf_prog_attach(
                program.as_fd().as_raw_fd(),
                cgroup.as_raw_fd(),
                hook,
                sys::BPF_F_ALLOW_MULTI,
            )
        };
        if let Err(error) = checked(result) {
            for (program, hook) in &done {
                detach_one(cgroup, program.as_fd(), *hook)?;
            }
            return Err(error);
        }
        done.push((program, hook));
    }
    Ok(())
}

/// Programs of ours that are attached to this very control group.
pub(super) fn attached(cgroup: &File) -> io::Result<Vec<Attached>> {
    let mut found = Vec::new();
    for (name, hook) in HOOKS {
        for id in program_ids(cgroup, hook)? {
            let program = match Program::fd_from_id(id) {
                Ok(program) => program,
                // Detached meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(io::Error::other(error)),
            };
            let described = describe(program.as_fd())?;
            if described.name == name.as_bytes() {
                found.push(Attached { hook, program, maps: described.maps });
            }
        }
    }
    Ok(found)
}

fn program_ids(cgroup: &File, hook: sys::bpf_attach_type) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut count = PROGRAMS_MAX as u32;
    // SAFETY: `ids` has room for as many as `count` says; the flags are not wanted.
    checked(unsafe {
        sys::bpf_prog_query(
            cgroup.as_raw_fd(),
            hook,
            0,
            std::ptr::null_mut(),
            ids.as_mut_ptr(),
            &raw mut count,
        )
    })?;
    Ok(ids.into_iter().take(count as usize).collect())
}

/// What the kernel says of a program.
struct Described {
    id: u32,
    name: Vec<u8>,
    maps: Vec<u32>,
}

fn describe(program: BorrowedFd<'_>) -> io::Result<Described> {
    const MAPS_MAX: usize = 16;
    let mut maps = [0_u32; MAPS_MAX];
    let mut info = sys::bpf_prog_info {
        map_ids: maps.as_mut_ptr() as u64,
        nr_map_ids: MAPS_MAX as u32,
        ..Default::default()
    };
    let mut size = size_of::<sys::bpf_prog_info>() as u32;
    // SAFETY: `info` has `size` bytes, and points to as many ids as it says.
    checked(unsafe {
        sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut size)
    })?;
    let name = info.name.into_iter().map(|c| c as u8).take_while(|byte| *byte != 0).collect();
    let maps = maps.into_iter().take(info.nr_map_ids as usize).collect();
    Ok(Described { id: info.id, name, maps })
}

/// Whether programs that are attached can be found again, which takes more than loading them.
pub(super) fn can_find(programs: &Programs) -> io::Result<()> {
    for program in programs.0.progs() {
        Program::fd_from_id(describe(program.as_fd())?.id).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Detaches these programs, and tells whether there was one.
pub(super) fn detach(cgroup: &File, programs: &[Attached]) -> io::Result<bool> {
    for Attached { hook, program, .. } in programs {
        match detach_one(cgroup, program.as_fd(), *hook) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(!programs.is_empty())
}

fn detach_one(
    cgroup: &File,
    program: BorrowedFd<'_>,
    hook: sys::bpf_attach_type,
) -> io::Result<()> {
    // SAFETY: both descriptors are open, and nothing else is passed.
    checked(unsafe { sys::bpf_prog_detach2(program.as_raw_fd(), cgroup.as_raw_fd(), hook) })
}

/// Whether both directions are covered.
pub(super) fn is_complete(programs: &[Attached]) -> bool {
    HOOKS.iter().all(|(_, hook)| programs.iter().any(|program| program.hook == *hook))
}

/// What the programs have counted, on all processors.
pub(super) fn counts(programs: &[Attached]) -> io::Result<IsolationCounts> {
    let mut ids: Vec<u32> = programs.iter().flat_map(|program| program.maps.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let map = MapHandle::from_map_id(id).map_err(io::Error::other)?;
        if map.name() != "packets" {
            continue;
        }
        let values = map
            .lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(io::Error::other)?
            .unwrap_or_default();
        let sum = |place: usize| -> u64 {
            let number = |value: &Vec<u8>| value.as_chunks::<8>().0.get(place).copied();
            values.iter().filter_map(number).map(u64::from_ne_bytes).sum()
        };
        return Ok(IsolationCounts {
            in_passed: sum(0),
            in_dropped: sum(1),
            out_passed: sum(2),
            out_dropped: sum(3),
        });
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "it is not isolated any more"))
}

/// What libbpf's calls return: zero, or a negative error number.
fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

#[cfg(test)]
#[path = "packets.rs"]
mod packets;
