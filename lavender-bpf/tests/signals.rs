//! Signals to other processes on the live kernel: every call that sends one, and who got it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use lavender_core::event::{EventData, EventKind, Signal, SignalOutcome};
use support::compat::call_32;
use support::{Group, Watch, can_run, of_kind, process};

/// A number from the kernel's table, by its x86-64 entry.
fn call(number: i64, arguments: [i64; 4]) -> i64 {
    let [first, second, third, fourth] = arguments;
    // SAFETY: signals to the test's own child only, with a siginfo that lives or none.
    unsafe { libc::syscall(number, first, second, third, fourth) }
}

#[test]
fn every_call_that_sends_one() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        let mut cat = Command::new("/bin/cat");
        let mut target = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // `spawn` may return before the exec is whole; what answers runs its program.
        target.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        target.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i64::from(target.id());
        // Which a program ignores if it says nothing: SIGCHLD, SIGURG and SIGWINCH.
        assert_eq!(call(libc::SYS_kill, [pid, 17, 0, 0]), 0);
        assert_eq!(call(libc::SYS_tgkill, [pid, pid, 23, 0]), 0);
        assert_eq!(call(libc::SYS_tkill, [pid, 28, 0, 0]), 0);
        assert_eq!(call_32(37, pid as u32, 17, 0), 0);
        let pidfd = call(libc::SYS_pidfd_open, [pid, 0, 0, 0]);
        assert_eq!(call(libc::SYS_pidfd_send_signal, [pidfd, 23, 0, 0]), 0);
        // si_signo, si_errno, si_code: SI_QUEUE.
        let info = [[28_i32, 0, -1, 0]; 8];
        let info = std::ptr::from_ref(&info).addr() as i64;
        assert_eq!(call(libc::SYS_rt_sigqueueinfo, [pid, 28, info, 0]), 0);
        // None of these is a signal to another process.
        assert_eq!(call(libc::SYS_kill, [pid, 0, 0, 0]), 0);
        let own = i64::from(std::process::id());
        assert_eq!(call(libc::SYS_kill, [own, 23, 0, 0]), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| target.kill().unwrap());
        });
        target.wait().unwrap();
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    let exec = of_kind(&batch.events, EventKind::Exec).next().unwrap();
    let target = process(exec);
    let sent: Vec<&Signal> = of_kind(&batch.events, EventKind::Signal)
        .map(|event| {
            assert_eq!(process(event).pid, pid);
            match &event.data {
                EventData::Signal(signal) => signal,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let numbers: Vec<u32> = sent.iter().map(|signal| signal.signal).collect();
    assert_eq!(numbers, [17, 23, 28, 17, 23, 28, 9]);
    for signal in &sent {
        assert_eq!(signal.target.exec_id.process, target.id());
        let ignored = signal.signal != 9;
        assert_eq!(signal.outcome == SignalOutcome::Ignored, ignored, "{signal:?}");
        if ignored {
            assert_eq!(signal.target.executable, target.executable.path);
        }
    }
    let threads: Vec<_> = sent.iter().map(|signal| signal.target_tid).collect();
    let thread = Some(target.pid);
    assert_eq!(threads, [None, thread, thread, None, None, None, None]);
}
