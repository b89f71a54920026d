//! Fork, exec, exit on the live kernel: every process, its right parent, its right end.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "threads end and exec in ways that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::ProcessId;
use lavender_core::event::{Event, EventData, EventKind, ExitStatus};

use support::{Group, Watch, amount, can_run, copy_of, lost, of_kind, process, temporary};

fn exit_status(event: &Event) -> ExitStatus {
    match event.data {
        EventData::Exit(exit) => exit.status,
        _ => panic!("{event:?}"),
    }
}

/// Every fork, exec and exit of a storm is delivered with the right parent, or counted.
#[test]
fn a_storm_of_processes_is_delivered_or_counted() {
    if !can_run() {
        return;
    }
    let count = amount("LAVENDER_TEST_FORKS", 2_000);
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let storm = group.fork(|| {
        for _ in 0..count {
            assert!(Command::new("/bin/true").status().unwrap().success());
        }
    });
    let parent = storm.pid;
    assert_eq!(watch.until_ended(storm), 0);
    let stats = watch.sensor.stats();
    let seen = watch.finish();

    let mut kinds: HashMap<ProcessId, Vec<EventKind>> = HashMap::new();
    for event in &seen.events {
        let process = process(event);
        if process.pid == parent {
            continue;
        }
        if let EventKind::Fork | EventKind::Exec | EventKind::Exit = event.kind() {
            assert_eq!(process.parent.as_ref().map(|parent| parent.pid), Some(parent));
            kinds.entry(process.id()).or_default().push(event.kind());
        }
    }
    for kind in [EventKind::Fork, EventKind::Exec, EventKind::Exit] {
        let delivered =
            of_kind(&seen.events, kind).filter(|event| process(event).pid != parent).count() as u64;
        let lost = lost(&seen, kind);
        println!("{kind}: {delivered} delivered, {lost} lost of {count}");
        assert_eq!(delivered + lost, count, "{kind}; {stats:?}");
    }
    if seen.lost.is_empty() {
        assert_eq!(kinds.len() as u64, count);
        for kinds in kinds.values() {
            assert_eq!(kinds, &[EventKind::Fork, EventKind::Exec, EventKind::Exit]);
        }
    }
    let ids: Vec<u64> = seen.events.iter().map(|event| event.id.sequence()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "event ids have gaps");
}

#[test]
fn an_exit_says_how() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let (code, _) = watch.run(group.command("/bin/sh").args(["-c", "exit 7"]));
    let (killed, _) = watch.run(group.command("/bin/sh").args(["-c", "kill -9 $$"]));
    let end_of = |watch: &mut Watch, pid: u32| {
        let exit = watch
            .event("exit", |event| event.kind() == EventKind::Exit && process(event).pid == pid);
        exit_status(&exit)
    };
    assert_eq!(end_of(&mut watch, code), ExitStatus::Code(7));
    assert_eq!(end_of(&mut watch, killed), ExitStatus::Signal(9));
}

/// A leader that ends before its threads does not end the process.
#[test]
fn a_process_ends_with_its_last_thread() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            let _ = std::fs::read("/proc/version");
            // SAFETY: ends the whole process.
            unsafe { libc::_exit(3) }
        });
        // SAFETY: ends this thread, the leader, alone.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    let pid = child.pid;
    watch.until_ended(child);
    let seen = watch.finish();
    let of_child = |event: &&Arc<Event>| process(event).pid == pid;
    let exits: Vec<_> = of_kind(&seen.events, EventKind::Exit).filter(of_child).collect();
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!(exit_status(exits[0]), ExitStatus::Code(3));
    let open = of_kind(&seen.events, EventKind::FileOpen)
        .filter(of_child)
        .find(|event| matches!(&event.data, EventData::FileOpen(open) if open.path.value == "/proc/version"))
        .expect("what a thread does after its leader is seen");
    assert!(open.boot_time < exits[0].boot_time);
}

/// A thread that execs takes the place of its leader: one exec, no exit, the same process.
#[test]
fn a_thread_that_execs_stays_the_process() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        let _ = std::thread::spawn(|| {
            panic!("{}", Command::new("/bin/sh").args(["-c", "exit 5"]).exec());
        })
        .join();
    });
    let pid = child.pid;
    watch.until_ended(child);
    let seen = watch.finish();
    let of_child: Vec<_> = seen
        .events
        .iter()
        .filter(|event| process(event).pid == pid && event.kind() != EventKind::FileOpen)
        .collect();
    let kinds: Vec<EventKind> = of_child.iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, [EventKind::Exec, EventKind::Exit]);
    assert_eq!(process(of_child[0]).id(), process(of_child[1]).id());
    assert_eq!(of_child[0].tid, pid, "the thread has the leader's id now");
    assert_eq!(process(of_child[0]).arguments.value.command_line(), b"/bin/sh -c exit 5");
    assert_eq!(exit_status(of_child[1]), ExitStatus::Code(5));
}

/// Many threads that end at once are one exit.
#[test]
fn threads_that_end_together_are_one_exit() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let rounds = 100;
    let child = group.fork(|| {
        for _ in 0..rounds {
            let inner = Group { folder: "/nonexistent".into() };
            // SAFETY: the child ends by its threads and does not return.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let barrier = Arc::new(std::sync::Barrier::new(4));
                for _ in 0..4 {
                    let barrier = Arc::clone(&barrier);
                    std::thread::spawn(move || {
                        barrier.wait();
                        // SAFETY: ends this thread.
                        unsafe { libc::syscall(libc::SYS_exit, 0) };
                    });
                }
                // SAFETY: ends this thread, the leader.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
            std::mem::forget(inner);
            let mut status = 0;
            // SAFETY: waits for the child just made.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
        }
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let seen = watch.finish();
    let exits = of_kind(&seen.events, EventKind::Exit)
        .filter(|event| process(event).pid != pid)
        .count() as u64;
    assert_eq!(exits + lost(&seen, EventKind::Exit), rounds);
}

/// The same pid twice is two processes.
#[test]
fn a_reused_pid_is_another_process() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let folder = temporary();
    let (first, second) = (
        copy_of("/bin/true", folder.path(), "reuse-first"),
        copy_of("/bin/true", folder.path(), "reuse-second"),
    );
    let mut watch = Watch::group(&group);
    // In a pid namespace of its own, the next pid can be chosen without disturbing anybody.
    let script = "echo 41 > /proc/sys/kernel/ns_last_pid; \"$1\"; echo 41 > /proc/sys/kernel/ns_last_pid; \"$2\"";
    let (_, ok) = watch.run(
        group
            .command("/usr/bin/unshare")
            .args(["--pid", "--fork", "--mount-proc", "/bin/sh", "-c", script, "sh"])
            .args([&first, &second]),
    );
    assert!(ok);
    let (a, b) = (watch.exec_of("reuse-first"), watch.exec_of("reuse-second"));
    let (a, b) = (process(&a), process(&b));
    assert_eq!((a.namespace_pid, b.namespace_pid), (42, 42));
    assert_ne!(a.id(), b.id());
    assert_ne!(a.namespaces.pid, process_of_test_namespace());
    assert_eq!(a.executable.path.value, *first.to_str().unwrap());
}

fn process_of_test_namespace() -> u32 {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let text = link.to_str().unwrap();
    text.trim_start_matches("pid:[").trim_end_matches(']').parse().unwrap()
}

#[test]
fn ids_are_32_bits_wide_and_follow_changes() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let folder = temporary();
    let program = copy_of("/bin/true", folder.path(), "high-uid");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let child = group.fork(|| {
        let mut command = Command::new(&program);
        command.uid(4_294_967_294).gid(4_294_967_293);
        assert!(command.status().unwrap().success());
        // SAFETY: changes this process's own id.
        assert_eq!(unsafe { libc::setresuid(12_345, 12_345, 12_345) }, 0);
        let _ = std::fs::read("/proc/version");
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let exec = watch.exec_of("high-uid");
    let credentials = process(&exec).credentials;
    assert_eq!((credentials.uid, credentials.euid), (4_294_967_294, 4_294_967_294));
    assert_eq!((credentials.gid, credentials.egid), (4_294_967_293, 4_294_967_293));
    assert_eq!(process(&exec).user, None);
    assert_eq!(credentials.capabilities_effective, 0);
    // The process that changed its id without an exec is seen with the new one.
    let (open, _) = watch.open_of("/proc/version");
    assert_eq!(process(&open).pid, pid);
    assert_eq!(process(&open).credentials.uid, 12_345);
}

/// Names of users come from the host.
#[test]
fn users_and_groups_have_names() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    watch.run(&mut group.command("/bin/true"));
    let exec = watch.exec_of("true");
    assert_eq!(process(&exec).user.as_deref(), Some("root"));
    assert_eq!(process(&exec).group.as_deref(), Some("root"));
}

/// A login id, set as a login does, stays with what comes after.
#[test]
fn the_login_is_known() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        if std::fs::write("/proc/self/loginuid", "4242").is_err() {
            println!("skipped: this kernel keeps no login ids");
            // SAFETY: ends the child.
            unsafe { libc::_exit(42) };
        }
        assert!(Command::new("/bin/true").uid(4_243).status().unwrap().success());
    });
    if watch.until_ended(child) != 0 {
        return;
    }
    let exec = watch.exec_of("true");
    let credentials = process(&exec).credentials;
    assert_eq!((credentials.uid, credentials.login_uid), (4_243, Some(4_242)));
    assert!(credentials.session_id.is_some());
}

#[test]
fn the_terminal_is_known() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        let mut terminal = 0;
        // SAFETY: the child of the child ends by becoming another program.
        match unsafe {
            libc::forkpty(
                &raw mut terminal,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            )
        } {
            0 => panic!("{}", Command::new("/bin/true").exec()),
            pid => {
                let mut status = 0;
                // SAFETY: waits for the child just made.
                unsafe { libc::waitpid(pid, &raw mut status, 0) };
            }
        }
    });
    assert_eq!(watch.until_ended(child), 0);
    let exec = watch.exec_of("true");
    let terminal = process(&exec).terminal.unwrap();
    assert_eq!(terminal.major, 136, "a pseudo-terminal");
}

#[test]
fn a_container_is_known_by_its_control_group() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let id = "0123456789abcdef".repeat(4);
    let inner = Group { folder: group.folder.join(format!("docker-{id}.scope")) };
    std::fs::create_dir(&inner.folder).unwrap();
    let mut watch = Watch::group(&group);
    watch.run(&mut inner.command("/bin/true"));
    let exec = watch.exec_of("true");
    let container = process(&exec).container.clone().unwrap();
    assert_eq!((&*container.id, container.runtime.as_deref()), (&*id, Some("docker")));
    let folder = std::fs::metadata(&inner.folder).unwrap();
    assert_eq!(process(&exec).cgroup_id, std::os::unix::fs::MetadataExt::ino(&folder));
    drop(inner);
}
