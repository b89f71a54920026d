//! Limits of acts on the live kernel: what is over them is counted, exactly, with who it was.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use lavender_bpf::{Limits, Rates};
use lavender_core::event::{Event, EventBatch, EventData, EventKind, Loss, LossStage};

use support::{Group, Watch, builder, can_run, of_kind, process};

/// Ten acts a second, ten of them at once, for each process; none for groups.
fn tight() -> Limits {
    let process = Rates { files_per_s: 10, network_per_s: 10, acts_per_s: 10 };
    Limits { process, burst: Duration::from_secs(1), ..Limits::OFF }
}

fn open_null(times: u64) {
    for _ in 0..times {
        // SAFETY: a descriptor that is closed at once.
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
            assert!(null >= 0);
            libc::close(null);
        }
    }
}

fn told(event: &Event) -> Option<Loss> {
    match event.data {
        EventData::Lost(loss) => Some(loss),
        _ => None,
    }
}

/// What was over a limit: told of a process, and of nobody.
fn throttled(seen: &EventBatch, kind: EventKind) -> (u64, u64) {
    let counts =
        |loss: &Loss| (loss.stage.is_throttled() && loss.kind == kind).then_some(loss.count);
    let of_processes = seen.events.iter().filter_map(|event| told(event));
    let of_processes = of_processes.filter_map(|loss| counts(&loss)).sum();
    (of_processes, seen.lost.iter().filter_map(counts).sum())
}

#[test]
fn what_is_over_a_limit_is_counted_by_process_and_kind() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder).with_limits(tight()));
    let noisy = group.fork(|| {
        open_null(5_000);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in 1..=200 {
            let _ = socket.send_to(b"x", ("127.0.0.1", 20_000 + port));
        }
    });
    let pid = noisy.pid;
    assert_eq!(watch.until_ended(noisy), 0);
    // Another process has a bucket of its own.
    let quiet = group.fork(|| open_null(5));
    let quiet_pid = quiet.pid;
    assert_eq!(watch.until_ended(quiet), 0);
    let seen = watch.finish();

    let opens_of = |pid| {
        let opens = of_kind(&seen.events, EventKind::FileOpen);
        opens.filter(|event| process(event).pid == pid).count() as u64
    };
    let delivered = opens_of(pid);
    let (over, of_nobody) = throttled(&seen, EventKind::FileOpen);
    assert!((5..=200).contains(&delivered), "{delivered} delivered");
    assert_eq!(delivered + over, 5_000, "{over} over the limit");
    assert_eq!(of_nobody, 0, "there is room for one process");
    assert_eq!(opens_of(quiet_pid), 5);

    let sends = of_kind(&seen.events, EventKind::NetSend).count() as u64;
    let (over, _) = throttled(&seen, EventKind::NetSend);
    assert!(over > 0);
    assert_eq!(sends + over, 200);
    for event in of_kind(&seen.events, EventKind::Lost) {
        assert_eq!(process(event).pid, pid, "{event:?}");
        assert_eq!(told(event).unwrap().stage, LossStage::ThrottledProcess);
    }
}

/// Many processes, each within its limit.
#[test]
fn a_control_group_has_a_limit_of_its_own() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let cgroup = Rates { files_per_s: 20, network_per_s: 0, acts_per_s: 0 };
    let limits = Limits { cgroup, burst: Duration::from_secs(1), ..Limits::OFF };
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder).with_limits(limits));
    for _ in 0..10 {
        let child = group.fork(|| open_null(100));
        assert_eq!(watch.until_ended(child), 0);
    }
    let seen = watch.finish();
    let delivered = of_kind(&seen.events, EventKind::FileOpen).count() as u64;
    let (over, of_nobody) = throttled(&seen, EventKind::FileOpen);
    assert!(over > 500 && of_nobody == 0, "{over} {of_nobody}");
    assert_eq!(delivered + over, 10 * 100);
    let stages = seen.events.iter().filter_map(|event| told(event)).map(|loss| loss.stage);
    assert!(stages.into_iter().all(|stage| stage == LossStage::ThrottledCgroup));
}

extern "C" fn opens_eight(_: *mut libc::c_void) -> libc::c_int {
    open_null(8);
    0
}

/// More processes over their limit at once than can be told apart: the rest is counted all the same.
#[test]
fn what_has_no_room_by_name_is_counted_without() {
    if !can_run() {
        return;
    }
    let processes = 2_500;
    let group = Group::new();
    let limits = Limits { burst: Duration::from_millis(100), ..tight() };
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder).with_limits(limits));
    let child = group.fork(|| {
        let mut stack = vec![0_u64; 8_192];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        for _ in 0..processes {
            // SAFETY: the child has a stack of its own, and its parent waits until it has ended.
            unsafe {
                let top = stack.as_mut_ptr_range().end.cast();
                let pid = libc::clone(opens_eight, top, flags, std::ptr::null_mut());
                assert!(pid > 0);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    });
    assert_eq!(watch.until_ended(child), 0);
    let seen = watch.finish();
    let delivered = of_kind(&seen.events, EventKind::FileOpen).count() as u64;
    let (over, of_nobody) = throttled(&seen, EventKind::FileOpen);
    println!("{delivered} delivered, {over} over by name, {of_nobody} without");
    assert_eq!(delivered + over + of_nobody + support::lost_for_room(&seen), processes * 8);
    let exits = of_kind(&seen.events, EventKind::Exit).count() as u64;
    assert_eq!(exits, processes + 1, "process life has no limit");
}

#[test]
fn process_life_and_credentials_and_acts_against_the_agent_have_no_limit() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let acts = Rates { files_per_s: 1, network_per_s: 1, acts_per_s: 1 };
    let burst = Duration::from_secs(1);
    let limits = Limits { process: acts, cgroup: acts, burst };
    let agent = std::process::id() as i32;
    let mut watch = Watch::with(builder().with_included_cgroup(&group.folder).with_limits(limits));
    let child = group.fork(|| {
        for _ in 0..50 {
            Command::new("/bin/true").status().unwrap();
            // SAFETY: calls with plain numbers. SIGURG, which nobody here waits for, is ignored.
            unsafe {
                assert_eq!(libc::setfsuid(0), 0);
                assert_eq!(libc::kill(agent, libc::SIGURG), 0);
            }
        }
    });
    assert_eq!(watch.until_ended(child), 0);
    let seen = watch.finish();
    for kind in [EventKind::Exec, EventKind::CredChange] {
        assert_eq!(of_kind(&seen.events, kind).count(), 50, "{kind}");
        assert_eq!(throttled(&seen, kind), (0, 0), "{kind}");
    }
    let against = of_kind(&seen.events, EventKind::Signal).filter(|event| {
        matches!(&event.data, EventData::Signal(signal)
            if signal.target.exec_id.process.tgid() == agent as u32)
    });
    assert_eq!(against.count(), 50);
    assert!(throttled(&seen, EventKind::FileOpen).0 > 0, "others are over their limit meanwhile");
}

#[test]
fn limits_can_be_off() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch =
        Watch::with(builder().with_included_cgroup(&group.folder).with_limits(Limits::OFF));
    let child = group.fork(|| open_null(5_000));
    assert_eq!(watch.until_ended(child), 0);
    let stats = watch.sensor.stats();
    let seen = watch.finish();
    let delivered = of_kind(&seen.events, EventKind::FileOpen).count() as u64;
    assert_eq!(delivered + support::lost_for_room(&seen), 5_000);
    assert_eq!(stats.throttled, 0);
}
