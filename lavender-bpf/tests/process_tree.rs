//! The process tree on the live kernel: what no fork, exec or lost parent changes.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(
    unsafe_code,
    reason = "processes fork and leave their parents in ways that std does not offer"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use lavender_core::ProcessId;
use lavender_core::event::{EventKind, Process};

use support::{Group, Watch, can_run, of_kind, process};

/// A child, and in it what `act` does; the parent waits for its end.
fn nested(depth: usize, act: &dyn Fn()) {
    if depth == 0 {
        return act();
    }
    // SAFETY: the child ends without returning; nothing else runs in the parent meanwhile.
    match unsafe { libc::fork() } {
        0 => {
            nested(depth - 1, act);
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for a child of its own.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    }
}

#[test]
fn neither_depth_nor_exec_leaves_the_tree() {
    if !can_run() {
        return;
    }
    const DEPTH: usize = 70;
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let first = group.fork(|| {
        nested(DEPTH, &|| assert!(Command::new("/bin/true").status().unwrap().success()));
    });
    let first_pid = first.pid;
    assert_eq!(watch.until_ended(first), 0);
    let seen = watch.finish();
    assert!(seen.lost.is_empty(), "{:?}", seen.lost);

    let forks: Vec<_> = of_kind(&seen.events, EventKind::Fork).collect();
    assert!(forks.len() > DEPTH, "{} forks", forks.len());
    let deepest = forks.iter().map(|fork| process(fork).ancestors().count()).max();
    assert!(deepest < Some(Process::MAX_ANCESTORS), "the line of ancestors is cut: {deepest:?}");
    let trees: HashSet<ProcessId> =
        seen.events.iter().map(|event| process(event).tree_id()).collect();
    assert_eq!(trees.len(), 1, "{trees:?}");
    // It began above all of them, and what it began with is not among the ancestors any more.
    let tree = *trees.iter().next().unwrap();
    let exec = of_kind(&seen.events, EventKind::Exec).last().expect("an exec");
    assert_ne!(tree.tgid(), first_pid);
    assert!(process(exec).ancestors().all(|ancestor| ancestor.id() != tree));
}

#[test]
fn a_daemon_stays_in_the_tree_that_made_it() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let first = group.fork(|| {
        // SAFETY: each child ends without returning.
        unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                let mother = libc::getpid();
                if libc::fork() == 0 {
                    // Until somebody else is the parent.
                    while libc::getppid() == mother {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    assert!(Command::new("/bin/true").status().unwrap().success());
                    libc::_exit(0);
                }
                libc::_exit(0);
            }
        }
    });
    let first_pid = first.pid;
    assert_eq!(watch.until_ended(first), 0);
    let exec = watch.event("the daemon's child", |event| {
        event.kind() == EventKind::Exec && process(event).executable.path.value.ends_with(b"true")
    });
    let seen = watch.finish();
    let tree = of_kind(&seen.events, EventKind::Exit)
        .find(|event| process(event).pid == first_pid)
        .map(|event| process(event).tree_id())
        .expect("the end of the first");
    assert_eq!(process(&exec).tree_id(), tree);
    let daemon = process(&exec).parent.as_ref().unwrap();
    assert_ne!(daemon.pid, first_pid);
}
