//! What gets code into other processes, into memory and into the kernel, on the live kernel: every call that does, and
//! what became of it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use lavender_core::event::{EventData, EventKind, ModuleLoad, PtraceRequest, SyscallResult};
use support::compat::{call_32, call_64 as call, low_copy};
use support::{can_run, of_kind, process, seen, temporary};

const NO_PROCESS: i64 = i32::MAX as i64 - 1;

/// Takes hold of a child that runs a program, by these calls, and lets it go.
fn trace(target: &mut std::process::Child) {
    const ATTACH: i64 = libc::PTRACE_ATTACH as i64;
    const SEIZE: i64 = libc::PTRACE_SEIZE as i64;
    const DETACH: i64 = libc::PTRACE_DETACH as i64;
    let pid = i64::from(target.id());
    let wait = || {
        let mut status = 0;
        // SAFETY: waits for the test's own child.
        assert_eq!(unsafe { libc::waitpid(pid as i32, &raw mut status, 0) }, pid as i32);
    };
    let ptrace =
        |request, address, data| call(libc::SYS_ptrace, [request, pid, address, data, 0, 0]);
    assert_eq!(ptrace(ATTACH, 0, 0), 0);
    wait();
    let mut registers = [0_u64; 27];
    let place = registers.as_mut_ptr().addr() as i64;
    assert_eq!(ptrace(libc::PTRACE_GETREGS.into(), 0, place), 0);
    assert_eq!(ptrace(libc::PTRACE_SETREGS.into(), 0, place), 0);
    assert!(ptrace(libc::PTRACE_POKETEXT.into(), 0, 0) < 0);
    assert_eq!(ptrace(DETACH, 0, 0), 0);
    assert_eq!(ptrace(SEIZE, 0, 0), 0);
    assert_eq!(ptrace(SEIZE, 0, 0), -i64::from(libc::EPERM));
    assert_eq!(call_32(26, ATTACH as u32, pid as u32, 0), -libc::EPERM);
    assert!(call(libc::SYS_ptrace, [ATTACH, NO_PROCESS, 0, 0, 0, 0]) < 0);
}

/// A program that runs, and waits for the end of its input.
fn running() -> std::process::Child {
    let mut cat = Command::new("/bin/cat");
    let mut target = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // `spawn` may return before the exec is whole; what answers runs its program.
    target.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    target.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    target
}

#[test]
fn tracing_and_writing_tell_of_their_target() {
    if !can_run() {
        return;
    }
    let (pid, events) = seen(|| {
        let mut target = running();
        trace(&mut target);
        let bytes = [0_u64; 2];
        let local = [bytes.as_ptr().addr(), 16];
        let write = |pid: i64, remote: [usize; 2]| {
            let (local, remote) = (local.as_ptr().addr() as i64, remote.as_ptr().addr() as i64);
            call(libc::SYS_process_vm_writev, [pid, local, 1, remote, 1, 0])
        };
        // On the stack of a program that will run no more.
        let maps = fs::read_to_string(format!("/proc/{}/maps", target.id())).unwrap();
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let end = stack.split(['-', ' ']).nth(1).unwrap();
        let end = usize::from_str_radix(end, 16).unwrap();
        assert_eq!(write(i64::from(target.id()), [end - 4096, 16]), 16);
        assert!(write(i64::from(target.id()), [8, 16]) < 0);
        // Its own memory.
        let mut own = [0_u8; 16];
        let place = [own.as_mut_ptr().addr(), 16];
        assert_eq!(write(i64::from(std::process::id()), place), 16);
        target.kill().unwrap();
        target.wait().unwrap();
    });
    let exec = of_kind(&events, EventKind::Exec).next().unwrap();
    let cat = process(exec);
    let mut requests = Vec::new();
    for event in of_kind(&events, EventKind::Ptrace) {
        assert_eq!(process(event).pid, pid);
        let EventData::Ptrace(trace) = &event.data else { panic!("{event:?}") };
        requests.push((trace.request, trace.result.0));
        if let Some(target) = &trace.target {
            assert_eq!(target.exec_id, cat.exec_id);
            assert_eq!(target.executable, cat.executable.path);
            assert_eq!(trace.target_tid, Some(cat.pid));
        } else {
            assert_eq!(trace.result, SyscallResult(-i64::from(libc::ESRCH)));
        }
    }
    let eperm = -i64::from(libc::EPERM);
    assert_eq!(
        requests,
        [
            (PtraceRequest::Attach, 0),
            (PtraceRequest::SetRegisters, 0),
            (PtraceRequest::PokeText, -i64::from(libc::EIO)),
            (PtraceRequest::Seize, 0),
            (PtraceRequest::Seize, eperm),
            (PtraceRequest::Attach, eperm),
            (PtraceRequest::Attach, -i64::from(libc::ESRCH)),
        ]
    );
    let writes: Vec<i64> = of_kind(&events, EventKind::ProcessVmWrite)
        .map(|event| {
            let EventData::ProcessVmWrite(write) = &event.data else { panic!("{event:?}") };
            assert_eq!(write.target.as_ref().unwrap().exec_id, cat.exec_id);
            write.result.0
        })
        .collect();
    assert_eq!(writes, [16, -i64::from(libc::EFAULT)]);
}

#[test]
fn a_target_is_found_by_its_number_in_the_callers_namespace() {
    if !can_run() {
        return;
    }
    let (_, events) = seen(|| {
        // SAFETY: the child of this process is the first of a namespace of its own.
        let first = unsafe {
            assert_eq!(libc::unshare(libc::CLONE_NEWPID), 0);
            libc::fork()
        };
        if first == 0 {
            let mut target = running();
            assert_ne!(target.id(), 1);
            trace(&mut target);
            target.kill().unwrap();
            // SAFETY: ends the child without running what belongs to the test.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for its own child.
        assert_eq!(unsafe { libc::waitpid(first, &raw mut status, 0) }, first);
        assert_eq!(status, 0);
    });
    let cat = process(of_kind(&events, EventKind::Exec).next().unwrap());
    let found = of_kind(&events, EventKind::Ptrace)
        .filter_map(|event| match &event.data {
            EventData::Ptrace(trace) => trace.target.as_ref(),
            other => panic!("{other:?}"),
        })
        .inspect(|target| assert_eq!(target.exec_id, cat.exec_id));
    assert_eq!(found.count(), 6);
}

#[test]
fn files_in_memory_have_names_flags_and_results() {
    if !can_run() {
        return;
    }
    let (_, events) = seen(|| {
        assert!(
            call(libc::SYS_memfd_create, [c"kworker".as_ptr().addr() as i64, 1, 0, 0, 0, 0]) >= 0
        );
        assert!(call_32(356, low_copy(b"other\0"), 0, 0) >= 0);
        assert!(call(libc::SYS_memfd_create, [8, 0, 0, 0, 0, 0]) < 0);
        call(libc::SYS_memfd_secret, [0x40, 0, 0, 0, 0, 0]);
    });
    let made: Vec<_> = of_kind(&events, EventKind::MemfdCreate)
        .map(|event| {
            let EventData::MemfdCreate(made) = &event.data else { panic!("{event:?}") };
            let name = String::from_utf8(made.name.value.to_vec()).unwrap();
            (name, made.name.is_whole(), made.flags, made.secret, made.result.is_ok())
        })
        .collect();
    assert_eq!(
        made,
        [
            ("kworker".into(), true, 1, false, true),
            ("other".into(), true, 0, false, true),
            (String::new(), false, 0, false, false),
            // Its flag does not exist.
            (String::new(), true, 0x40, true, false),
        ]
    );
}

/// What is loaded is no module, so that every kernel refuses it.
#[test]
fn loads_of_modules_are_seen_though_they_fail() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let file = fs::canonicalize(folder.path()).unwrap().join("x.ko");
    fs::write(&file, "no module").unwrap();
    let path = file.clone();
    let (_, events) = seen(move || {
        let opened = fs::File::open(path).unwrap();
        let descriptor = i64::from(opened.as_raw_fd());
        // Written, so that it is in memory: a refused load does not bring in what the kernel did not get to.
        let parameters = std::ffi::CString::new("debug=1").unwrap();
        let parameters = parameters.as_ptr().addr() as i64;
        let image = c"no module".as_ptr().addr() as i64;
        assert!(call(libc::SYS_finit_module, [descriptor, parameters, 0, 0, 0, 0]) < 0);
        assert!(call(libc::SYS_init_module, [image, 9, parameters, 0, 0, 0]) < 0);
        assert!(call_32(350, descriptor as u32, low_copy(b"\0"), 0) < 0);
        assert!(call(libc::SYS_finit_module, [-1, parameters, 0, 0, 0, 0]) < 0);
    });
    let loads: Vec<&ModuleLoad> = of_kind(&events, EventKind::ModuleLoad)
        .map(|event| match &event.data {
            EventData::ModuleLoad(load) => load,
            other => panic!("{other:?}"),
        })
        .collect();
    let path = file.to_str().unwrap();
    let [by_file, by_memory, compat, none] = &loads[..] else { panic!("{loads:?}") };
    for load in [by_file, compat] {
        let loaded = load.path.as_ref().unwrap();
        assert!(loaded.value == path && loaded.is_whole(), "{load:?}");
        assert!(!load.result.is_ok());
    }
    assert_eq!(by_file.parameters.value, "debug=1");
    assert_eq!(compat.parameters.value, "");
    assert_eq!((&by_memory.path, &by_memory.parameters.value), (&None, &"debug=1".into()));
    assert!(!none.path.as_ref().unwrap().is_whole());
}
