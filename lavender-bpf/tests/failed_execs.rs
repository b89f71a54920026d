//! Programs that cannot be started, on the live kernel: every call, and every way to name a program.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lavender_core::Provenance;
use lavender_core::event::{EventData, EventKind, ExecFailed};

use support::compat::{call_32, low_copy};
use support::{Group, Watch, can_run, of_kind, process, temporary};

/// Watches what a child cannot start, below a folder of the test's own. What was seen, in order.
fn seen(folder: &Path, act: impl FnOnce()) -> Vec<ExecFailed> {
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        std::env::set_current_dir(folder).unwrap();
        act();
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    of_kind(&batch.events, EventKind::ExecFailed)
        .filter(|event| process(event).pid == pid)
        .map(|event| match &event.data {
            EventData::ExecFailed(failed) => failed.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The call with these arguments, as they are. The error's number.
fn execve(path: &CStr, arguments: &[CString]) -> i32 {
    let mut pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: strings that live, and a list with an end.
    assert_eq!(unsafe { libc::execve(path.as_ptr(), pointers.as_ptr(), std::ptr::null()) }, -1);
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn execveat(folder: i32, path: &CStr, flags: i32) {
    let arguments = [c"at".as_ptr(), std::ptr::null()];
    // SAFETY: strings that live, and a list with an end.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            folder,
            path.as_ptr(),
            arguments.as_ptr(),
            std::ptr::null::<*const i8>(),
            flags,
        )
    };
    assert_eq!(result, -1);
}

fn list(arguments: &[&str]) -> Vec<CString> {
    arguments.iter().map(|argument| CString::new(*argument).unwrap()).collect()
}

#[test]
fn every_way_to_name_a_program() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    fs::write(base.join("text"), "no program").unwrap();
    fs::create_dir(base.join("sub")).unwrap();
    let failed = seen(&base, || {
        assert_eq!(execve(c"/not/there", &list(&["there", "-a", ""])), 2);
        assert_eq!(execve(c"sub/../text", &list(&["text"])), 13);
        fs::set_permissions("text", fs::Permissions::from_mode(0o755)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(execve(c"./text", &[]), 8));
        });
        let sub = fs::File::open("sub").unwrap();
        execveat(sub.as_raw_fd(), c"none", 0);
        let text = fs::File::open("text").unwrap();
        execveat(text.as_raw_fd(), c"", libc::AT_EMPTY_PATH);
        // Nothing lies at these addresses.
        let (name, nothing) = (std::ptr::without_provenance(1), std::ptr::without_provenance(16));
        // SAFETY: the kernel reads there, and says that it cannot.
        assert_eq!(unsafe { libc::execve(name, nothing, nothing) }, -1);
        // One that starts is no failure.
        assert!(Command::new("/bin/true").status().unwrap().success());
    });
    let path = |name: &str| base.join(name).to_str().unwrap().to_owned();
    let expected = [
        ("/not/there".to_owned(), vec!["there", "-a", ""], -2),
        (path("text"), vec!["text"], -13),
        (path("text"), vec![], -8),
        (path("sub/none"), vec!["at"], -2),
        (path("text"), vec!["at"], -8),
    ];
    for (failed, (path, arguments, result)) in failed.iter().zip(&expected) {
        assert_eq!(failed.path.value, **path);
        assert!(failed.path.is_whole() && failed.arguments.is_whole(), "{failed:?}");
        let arguments = arguments.iter().map(|argument| argument.as_bytes());
        assert!(failed.arguments.value.iter().eq(arguments), "{failed:?}");
        assert_eq!(failed.result.0, *result, "{failed:?}");
    }
    let unreadable = &failed[5];
    assert_eq!(unreadable.path.provenance, Provenance::Unreadable);
    assert_eq!(unreadable.arguments.provenance, Provenance::Unreadable);
    assert_eq!(unreadable.result.errno(), Some(14));
    assert_eq!(failed.len(), 6, "{failed:?}");
}

/// What is captured is the start, and says that it is no more.
#[test]
fn arguments_that_are_long_or_many() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let failed = seen(folder.path(), || {
        execve(c"long", &list(&["a", &"x".repeat(5_000), "b"]));
        let many: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
        execve(c"many", &list(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    });
    let [long, many] = &failed[..] else { panic!("{failed:?}") };
    for (failed, start) in [(long, "a xxxx"), (many, "0 1 2 3")] {
        let line = failed.arguments.value.command_line();
        assert!(line.starts_with(start.as_bytes()), "{}", line.escape_ascii());
        assert!((4_095..8_192).contains(&line.len()), "{} bytes", line.len());
        assert_eq!(failed.arguments.provenance, Provenance::Truncated { true_length: 0 });
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn execs_by_calls_of_32_bits() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    let failed = seen(&base, || {
        let (one, two) = (low_copy(b"one\0"), low_copy(b"two\0"));
        let words = [one, two, 0].map(u32::to_ne_bytes).concat();
        if call_32(11, low_copy(b"not-there\0"), low_copy(&words), 0) == -38 {
            println!("skipped: this kernel takes no 32-bit system calls");
            return;
        }
        let at = -100_i32 as u32;
        assert_eq!(call_32(358, at, low_copy(b"nor-that\0"), low_copy(&words)), -2);
    });
    if failed.is_empty() {
        return;
    }
    let names: Vec<_> = failed.iter().map(|failed| failed.path.value.to_string_lossy()).collect();
    let expected = ["not-there", "nor-that"].map(|name| base.join(name).display().to_string());
    assert_eq!(names, expected);
    for failed in &failed {
        assert_eq!(failed.arguments.value.command_line(), b"one two");
        assert_eq!(failed.result.0, -2);
    }
}
