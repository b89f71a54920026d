//! Programs at the ends of the kernel's functions for system calls: a copy of one small program for each, which hands over to
//! the one that all share.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys::{self, bpf_insn};
use libbpf_rs::{MapCore, MapFlags, Object, OpenObject};

use super::call_functions::{CallFunctions, TYPES_MAX};
use crate::support::Probe;

/// As `LICENSE` in `sensor.bpf.c`.
const LICENSE: &CStr = c"Dual BSD/GPL";

/// The name of the copies in the kernel.
const NAME: &CStr = c"call_exit";

/// For each type of functions the program to copy, and the one that the copies share; they find it by a map.
const PROGRAMS: [[&str; 2]; TYPES_MAX] = [
    ["call_exit_0", "call_body_0"],
    ["call_exit_1", "call_body_1"],
    ["call_exit_2", "call_body_2"],
];
const BODIES: [&str; TYPES_MAX] = ["call_bodies_0", "call_bodies_1", "call_bodies_2"];

/// The copies, and where they are attached.
#[derive(Debug)]
pub(super) struct CallExits {
    functions: &'static CallFunctions,
    /// What is copied, by the types of functions.
    instructions: [Vec<bpf_insn>; TYPES_MAX],
    /// By the names of functions; kept when it is detached, for the next time.
    programs: BTreeMap<String, OwnedFd>,
    links: BTreeMap<String, OwnedFd>,
}

impl CallExits {
    /// As the object is loaded, with the programs for these types: nothing is attached.
    pub(super) fn new(
        object: &Object,
        functions: &'static CallFunctions,
        types: impl Iterator<Item = usize>,
    ) -> Result<Self, libbpf_rs::Error> {
        let mut instructions = <[Vec<bpf_insn>; TYPES_MAX]>::default();
        for of_type in types {
            let [exit, body] =
                PROGRAMS[of_type].map(|name| object.progs().find(|it| it.name() == name));
            let bodies = object.maps().find(|it| it.name() == BODIES[of_type]);
            let (Some(exit), Some(body), Some(bodies)) = (exit, body, bodies) else {
                return Err(io::Error::new(io::ErrorKind::NotFound, BODIES[of_type]).into());
            };
            let body = body.as_fd().as_raw_fd().to_ne_bytes();
            bodies.update(&0_u32.to_ne_bytes(), &body, MapFlags::ANY)?;
            instructions[of_type] = exit.insns().to_vec();
        }
        Ok(Self { functions, instructions, programs: BTreeMap::new(), links: BTreeMap::new() })
    }

    /// Attaches what these probes need, where it is not.
    pub(super) fn attach(&mut self, probes: &[Probe]) -> io::Result<()> {
        for (name, function) in probes.iter().flat_map(|probe| self.functions.of(*probe)) {
            if self.links.contains_key(&name) {
                continue;
            }
            if !self.programs.contains_key(&name) {
                let copy = load(&self.instructions[function.of_type], function.number)?;
                self.programs.insert(name.clone(), copy);
            }
            if let Some(program) = self.programs.get(&name) {
                self.links.insert(name, link(program.as_fd())?);
            }
        }
        Ok(())
    }

    /// Detaches what none of these probes needs.
    pub(super) fn detach_others(&mut self, probes: &[Probe]) {
        let needed: Vec<String> = probes
            .iter()
            .flat_map(|probe| self.functions.of(*probe))
            .map(|(name, _)| name)
            .collect();
        self.links.retain(|name, _| needed.contains(name));
    }

    /// Whether all that a probe needs is attached.
    pub(super) fn has(&self, probe: Probe) -> bool {
        let mut needed = self.functions.of(probe).peekable();
        needed.peek().is_some() && needed.all(|(name, _)| self.links.contains_key(&name))
    }

    /// The programs that were loaded so far.
    pub(super) fn programs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.programs.values().map(AsFd::as_fd)
    }
}

/// Has the programs for these types of functions loaded, each for one function that is of it.
pub(super) fn configure(
    open: &mut OpenObject,
    types: &BTreeMap<usize, String>,
) -> Result<(), libbpf_rs::Error> {
    for mut program in open.progs_mut() {
        let of = types
            .iter()
            .find(|(of_type, _)| PROGRAMS[**of_type].iter().any(|it| program.name() == *it));
        if let Some((_, function)) = of {
            program.set_autoload(true);
            program.set_attach_target(0, Some(function.clone()))?;
        }
    }
    Ok(())
}

/// Whether the kernel takes a program at the end of a function: one that does nothing is loaded and attached for a moment.
pub(super) fn check(function: u32) -> io::Result<()> {
    // r0 = 0; exit
    let nothing = [
        bpf_insn { code: 0xb7, ..Default::default() },
        bpf_insn { code: 0x95, ..Default::default() },
    ];
    link(load(&nothing, function)?.as_fd()).map(drop)
}

fn load(instructions: &[bpf_insn], function: u32) -> io::Result<OwnedFd> {
    let mut options = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as _,
        expected_attach_type: libbpf_sys::BPF_TRACE_FEXIT,
        attach_btf_id: function,
        ..Default::default()
    };
    #[allow(unsafe_code, reason = "libbpf-rs loads each program of an object once")]
    // SAFETY: the strings end in a zero, the instructions are as many as it is told, and `options` are as long as they say;
    // all live until it returns. It gives a descriptor that nobody else has, or an error.
    unsafe {
        owned(libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_TRACING,
            NAME.as_ptr(),
            LICENSE.as_ptr(),
            instructions.as_ptr(),
            instructions.len() as _,
            &raw mut options,
        ))
    }
}

fn link(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[allow(unsafe_code, reason = "libbpf-rs attaches only what it loaded")]
    // SAFETY: takes numbers, no options, and gives a descriptor that nobody else has, or an error.
    unsafe {
        owned(libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            0,
            libbpf_sys::BPF_TRACE_FEXIT,
            std::ptr::null(),
        ))
    }
}

/// # Safety
///
/// A number that is not negative must be a descriptor that nobody else has.
#[allow(unsafe_code, reason = "descriptors come as numbers")]
unsafe fn owned(result: i32) -> io::Result<OwnedFd> {
    match result {
        error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
        // SAFETY: by the caller's word.
        descriptor => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
    }
}
