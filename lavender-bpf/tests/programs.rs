//! Programs and their arguments on the live kernel: long, many, odd, deleted, in memory.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use lavender_core::Provenance;
use lavender_core::event::{Event, EventData, Exec};

use support::{Group, Watch, can_run, copy_of, process, temporary};

fn exec(event: &Event) -> &Exec {
    match &event.data {
        EventData::Exec(exec) => exec,
        other => panic!("{other:?}"),
    }
}

/// Runs a copy of `true` with these arguments and compares what arrives.
fn check_arguments(name: &str, arguments: &[OsString]) {
    let group = Group::new();
    let folder = temporary();
    let program = copy_of("/bin/true", folder.path(), name);
    let mut watch = Watch::group(&group);
    let (_, ok) = watch.run(group.command(&program).args(arguments));
    assert!(ok, "the arguments did not fit");
    let event = watch.exec_of(name);
    let process = process(&event);
    assert_eq!(process.arguments.provenance, Provenance::Complete);
    let expected = std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(OsStr::as_bytes);
    assert!(process.arguments.value.iter().eq(expected), "the arguments differ");
    assert_eq!(process.executable.path.value, *program.to_str().unwrap());
    assert!(process.executable.path.is_whole());
}

#[test]
fn an_argument_of_100_kib() {
    if can_run() {
        check_arguments("arg-long", &["x".repeat(100 * 1024).into()]);
    }
}

#[test]
fn five_thousand_arguments() {
    if can_run() {
        let arguments: Vec<OsString> = (0..5_000).map(|n| format!("argument-{n}").into()).collect();
        check_arguments("arg-many", &arguments);
    }
}

#[test]
fn arguments_of_more_than_a_mebibyte() {
    if can_run() {
        let arguments: Vec<OsString> =
            (0..12).map(|n| format!("{n}").repeat(60_000).into()).collect();
        check_arguments("arg-huge", &arguments);
    }
}

/// Around every boundary at which arguments are split.
#[test]
fn arguments_around_the_size_of_a_part() {
    if !can_run() {
        return;
    }
    for size in [8_191, 8_192, 8_193, 24_575, 24_576, 24_577] {
        let folder = temporary();
        let program = copy_of("/bin/true", folder.path(), "arg-edge");
        // Path, NUL, argument, NUL: together `size`.
        let rest = size - program.as_os_str().len() - 2;
        let group = Group::new();
        let mut watch = Watch::group(&group);
        let argument = "y".repeat(rest);
        watch.run(group.command(&program).arg(&argument));
        let event = watch.exec_of("arg-edge");
        let arguments = &process(&event).arguments;
        assert_eq!(arguments.provenance, Provenance::Complete, "{size}");
        assert_eq!(arguments.value.iter().nth(1), Some(argument.as_bytes()), "{size}");
    }
}

#[test]
fn arguments_and_paths_that_are_not_utf8() {
    if !can_run() {
        return;
    }
    let arguments = [
        OsString::from_vec(vec![0xff, 0xfe, b'a']),
        OsString::new(),
        OsString::from_vec(vec![0x80]),
    ];
    check_arguments("arg-bytes", &arguments);

    let group = Group::new();
    let folder = temporary();
    let odd = folder.path().join(OsStr::from_bytes(b"odd-\xff-\n-name"));
    fs::copy("/bin/true", &odd).unwrap();
    let mut watch = Watch::group(&group);
    watch.run(&mut group.command(&odd));
    let event = watch.event("exec of an odd name", |event| {
        matches!(&event.data, EventData::Exec(exec) if exec.filename.value.ends_with(b"-name"))
    });
    assert_eq!(process(&event).executable.path.value.as_bytes(), odd.as_os_str().as_bytes());
    assert_eq!(exec(&event).filename.value.as_bytes(), odd.as_os_str().as_bytes());
}

#[test]
fn a_script_is_known_beside_its_interpreter() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let script = folder.path().join("a-script");
    let mut file = File::create(&script).unwrap();
    file.write_all(b"#!/bin/sh\nexit 0\n").unwrap();
    drop(file);
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut watch = Watch::group(&group);
    let child =
        group.fork(|| assert!(Command::new(&script).arg("one").status().unwrap().success()));
    assert_eq!(watch.until_ended(child), 0);
    let event = watch.exec_of("a-script");
    let shell = fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(process(&event).executable.path.value.as_bytes(), shell.as_os_str().as_bytes());
    assert_eq!(exec(&event).filename.value.as_bytes(), script.as_os_str().as_bytes());
    let line = format!("/bin/sh {} one", script.display());
    assert_eq!(process(&event).arguments.value.command_line(), line.as_bytes());
    // Before, the child was what this test is.
    let own = std::env::current_exe().unwrap();
    assert_eq!(exec(&event).previous_executable.as_deref(), Some(own.as_os_str().as_bytes()));
}

#[test]
fn a_deleted_program_is_marked() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let program = copy_of("/bin/true", folder.path(), "deleted-program");
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        let file = File::open(&program).unwrap();
        fs::remove_file(&program).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        panic!("{}", Command::new(path).arg("deleted").exec());
    });
    let pid = child.pid;
    watch.until_ended(child);
    let event = watch.event("exec", |event| {
        matches!(event.data, EventData::Exec(_)) && process(event).pid == pid
    });
    let executable = &process(&event).executable;
    // Where the folder has no disk under it, a program that no name leads to is in memory only.
    let tmpfs = rustix::fs::statfs(folder.path()).unwrap().f_type == 0x0102_1994;
    assert!(executable.deleted && executable.memory_backed == tmpfs, "{executable:?}");
    assert_eq!(executable.path.value.as_bytes(), program.as_os_str().as_bytes());
}

#[test]
fn a_program_in_memory_is_marked() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        let memory =
            rustix::fs::memfd_create("stage-two", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(memory);
        file.write_all(&fs::read("/bin/true").unwrap()).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        panic!("{}", Command::new(path).exec());
    });
    let pid = child.pid;
    watch.until_ended(child);
    let event = watch.event("exec", |event| {
        matches!(event.data, EventData::Exec(_)) && process(event).pid == pid
    });
    let executable = &process(&event).executable;
    assert!(executable.memory_backed, "{executable:?}");
    assert_eq!(executable.path.value, "/memfd:stage-two");
}

#[test]
fn the_working_directory_is_resolved() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let deep = folder.path().join("one/two");
    fs::create_dir_all(&deep).unwrap();
    std::os::unix::fs::symlink(&deep, folder.path().join("link")).unwrap();
    let program = copy_of("/bin/true", folder.path(), "in-folder");
    let mut watch = Watch::group(&group);
    watch.run(group.command(&program).current_dir(folder.path().join("link")));
    let event = watch.exec_of("in-folder");
    let deep = fs::canonicalize(deep).unwrap();
    assert_eq!(process(&event).working_directory.value.as_bytes(), deep.as_os_str().as_bytes());
}
