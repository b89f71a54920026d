//! BPF programs and maps, and memory that is made executable, on the live kernel: every call that does, and what became of
//! it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use lavender_core::event::{
    Bpf, BpfCommand, BpfMapType, BpfProgramType, EventData, EventKind, MemoryCall, MemoryProtect,
};
use support::compat::{call_32, call_32_with, call_64, low_copy};
use support::{can_run, of_kind, process, seen, temporary};

/// The start of `union bpf_attr` in a low place, so that both entries can take it.
fn attributes(words: &[u32]) -> u32 {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.resize(128, 0);
    low_copy(&bytes)
}

/// The least that is a program: `r0 = 0; exit`.
fn program(name: &[u8; 16]) -> u32 {
    let code = [0xb7_u64, 0x95];
    let code: Vec<u8> = code.iter().flat_map(|one| one.to_ne_bytes()).collect();
    let (code, license) = (low_copy(&code), low_copy(b"GPL\0"));
    let name = name.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word));
    // A socket filter of two instructions; no log, no flags.
    let words = [1, 2, code, 0, license, 0, 0, 0, 0, 0, 0, 0];
    attributes(&words.into_iter().chain(name).collect::<Vec<_>>())
}

fn bpf(command: BpfCommand, attributes: u32) -> i64 {
    let attributes = i64::from(attributes);
    call_64(libc::SYS_bpf, [command.0.into(), attributes, 128, 0, 0, 0])
}

#[test]
fn programs_and_maps_are_told_by_type_name_and_number() {
    if !can_run() {
        return;
    }
    let (pid, events) = seen(|| {
        let array = bpf(BpfCommand::MAP_CREATE, fixed_map(2));
        assert!(array >= 0, "{array}");
        let filter = bpf(BpfCommand::PROG_LOAD, program(b"least_filter\0\0\0\0"));
        assert!(filter >= 0, "{filter}");
        assert!(call_32(357, 5, program(b"by_32_bits\0\0\0\0\0\0"), 128) >= 0);
        assert!(bpf(BpfCommand::MAP_CREATE, fixed_map(99)) < 0);
        // What only looks: the value of a key that there is.
        let (key, value) = (low_copy(&[0; 4]), low_copy(&[0; 8]));
        let look = attributes(&[array as u32, 0, key, 0, value, 0, 0, 0]);
        assert_eq!(bpf(BpfCommand(1), look), 0);
        // A place that is not of BPF's own file system.
        let path = low_copy(b"/tmp/no-bpf-here\0");
        assert!(bpf(BpfCommand::OBJ_PIN, attributes(&[path, 0, filter as u32, 0, 0])) < 0);
        // No link is made of a socket filter.
        assert!(bpf(BpfCommand::LINK_CREATE, attributes(&[filter as u32, 0, 0, 0])) < 0);
    });
    let calls: Vec<&Bpf> = of_kind(&events, EventKind::Bpf)
        .map(|event| match &event.data {
            EventData::Bpf(bpf) if process(event).pid == pid => bpf,
            other => panic!("{other:?}"),
        })
        .collect();
    let [array, filter, compat, refused, pinned, linked] = &calls[..] else { panic!("{calls:#?}") };
    assert_eq!((array.command, array.map_type), (BpfCommand::MAP_CREATE, Some(BpfMapType::ARRAY)));
    assert_eq!(array.name.as_ref().unwrap(), "a_map");
    for (loaded, name) in [(filter, "least_filter"), (compat, "by_32_bits")] {
        assert_eq!(loaded.command, BpfCommand::PROG_LOAD);
        assert_eq!(loaded.program_type, Some(BpfProgramType::SOCKET_FILTER));
        assert_eq!(loaded.name.as_ref().unwrap(), name);
        assert!(loaded.result.is_ok() && loaded.map_type.is_none());
    }
    assert!(array.id.is_some() && filter.id.is_some() && filter.id != compat.id);
    assert_eq!((refused.map_type, refused.id), (Some(BpfMapType(99)), None));
    assert!(!refused.result.is_ok());
    assert_eq!(pinned.command, BpfCommand::OBJ_PIN);
    assert_eq!(pinned.path.as_ref().unwrap().value, "/tmp/no-bpf-here");
    assert_eq!((linked.command, linked.result.is_ok()), (BpfCommand::LINK_CREATE, false));
}

/// A map with a name that the kernel takes.
fn fixed_map(kind: u32) -> u32 {
    let name = b"a_map\0\0\0".as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word));
    attributes(&[kind, 4, 8, 1, 0, 0, 0].into_iter().chain(name).collect::<Vec<_>>())
}

const PAGE: i64 = 4096;
const PRIVATE: i64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as i64;

fn mmap(protection: i64, flags: i64, descriptor: i64) -> i64 {
    call_64(libc::SYS_mmap, [0, PAGE, protection, flags, descriptor, 0])
}

fn mprotect(address: i64, protection: i64) -> i64 {
    call_64(libc::SYS_mprotect, [address, PAGE, protection, 0, 0, 0])
}

#[test]
fn memory_that_can_be_or_was_written_and_is_executable_is_told() {
    if !can_run() {
        return;
    }
    const READ: i64 = libc::PROT_READ as i64;
    const WRITE: i64 = READ | libc::PROT_WRITE as i64;
    const EXECUTE: i64 = READ | libc::PROT_EXEC as i64;
    const ALL: i64 = WRITE | EXECUTE;
    let folder = temporary();
    let path = fs::canonicalize(folder.path()).unwrap().join("code");
    fs::write(&path, vec![0x90; PAGE as usize]).unwrap();
    let file = path.clone();
    let (_, events) = seen(move || {
        let file = File::options().read(true).write(true).open(file).unwrap();
        let descriptor = i64::from(file.as_raw_fd());
        let before = mmap(WRITE, PRIVATE, -1);
        // None of these: not writable, or not executable, or never written.
        assert!(mmap(EXECUTE, i64::from(libc::MAP_PRIVATE), descriptor) > 0);
        let clean = mmap(READ, i64::from(libc::MAP_PRIVATE), descriptor);
        assert_eq!(mprotect(clean, EXECUTE), 0);
        assert_eq!(mprotect(before, READ), 0);
        assert_eq!(mprotect(before, WRITE), 0);

        assert!(mmap(ALL, PRIVATE, -1) > 0);
        assert!(mmap(ALL, i64::from(libc::MAP_PRIVATE), descriptor) > 0);
        assert_eq!(mprotect(before, EXECUTE), 0);
        // A page of the file's that was written.
        assert_eq!(mprotect(clean, WRITE), 0);
        // SAFETY: the test's own page.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(clean as usize).write_volatile(1) };
        let with_key = [clean, PAGE, EXECUTE, -1, 0, 0];
        assert_eq!(call_64(libc::SYS_pkey_mprotect, with_key), 0);
        assert!(mprotect(8, ALL) < 0);
        // mmap2 of the 32-bit table: what it gives may look like an error there.
        let arguments = [0, PAGE as u32, ALL as u32, PRIVATE as u32, u32::MAX];
        let low = call_32_with(192, arguments);
        assert!(!(-4095..=0).contains(&low), "{low}");
        // Segments of shared memory.
        let segment = call_64(libc::SYS_shmget, [0, PAGE, 0o1600, 0, 0, 0]);
        assert!(segment >= 0);
        assert!(call_64(libc::SYS_shmat, [segment, 0, 0, 0, 0, 0]) > 0);
        assert!(call_64(libc::SYS_shmat, [segment, 0, 0o100_000, 0, 0, 0]) > 0);
        assert_eq!(call_64(libc::SYS_shmctl, [segment, 0, 0, 0, 0, 0]), 0);
        // Whoever may read may execute, though nobody says so.
        assert!(call_64(libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]) >= 0);
        assert!(mmap(WRITE, PRIVATE, -1) > 0);
        assert!(call_64(libc::SYS_personality, [0, 0, 0, 0, 0, 0]) >= 0);
    });
    let told: Vec<&MemoryProtect> = of_kind(&events, EventKind::MemoryProtect)
        .map(|event| match &event.data {
            EventData::MemoryProtect(told) => told,
            other => panic!("{other:?}"),
        })
        .collect();
    let shown: Vec<_> = told
        .iter()
        .map(|told| (told.call, told.protection.to_string(), told.result.is_ok()))
        .collect();
    let (all, code) = ("read|write|execute".to_owned(), "read|execute".to_owned());
    use MemoryCall as C;
    assert_eq!(
        shown,
        [
            (C::Mmap, all.clone(), true),
            (C::Mmap, all.clone(), true),
            (C::Mprotect, code.clone(), true),
            (C::PkeyMprotect, code, true),
            (C::Mprotect, all.clone(), false),
            (C::Mmap, all.clone(), true),
            (C::Shmat, all.clone(), true),
            (C::Mmap, all, true),
        ]
    );
    let paths: Vec<_> = told.iter().map(|told| told.path.is_some()).collect();
    // Nothing lies at the address that was refused, and shared memory has no descriptor to look at.
    assert_eq!(paths, [false, true, false, true, true, false, true, false]);
    for at in [1, 3] {
        let found = told[at].path.as_ref().unwrap();
        assert!(found.is_whole() && found.value == *path.to_str().unwrap(), "{found:?}");
    }
    assert!(
        told.iter().enumerate().all(|(at, told)| told.length == if at == 6 { 0 } else { 4096 })
    );
    assert!(told[0].address != 0 && told[5].address != 0 && told[5].address < 1 << 32);
}
