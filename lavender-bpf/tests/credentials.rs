//! Changes of ids and capabilities on the live kernel: every call that makes one, and what became of it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "calls that std does not offer")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use lavender_core::event::{CredCall, CredChange, EventData, EventKind};
use support::compat::call_32;
use support::{Group, Watch, can_run, of_kind, process};

const KEEP: i64 = -1;

/// A number from the kernel's table, by its x86-64 entry and for this thread only.
fn call(number: i64, arguments: [i64; 3]) -> bool {
    let [a, b, c] = arguments;
    // SAFETY: changes the ids of the test's own child; the pointers of `capset` are null.
    unsafe { libc::syscall(number, a, b, c) >= 0 }
}

#[test]
fn changes_of_ids_tell_what_was_asked_what_was_before_and_what_became_of_it() {
    if !can_run() {
        return;
    }
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        assert!(call(libc::SYS_setresgid, [KEEP, 4001, KEEP]));
        assert!(call(libc::SYS_setregid, [4002, KEEP, 0]));
        assert!(call(libc::SYS_setfsgid, [4003, 0, 0]));
        assert!(call(libc::SYS_setgid, [4004, 0, 0]));
        assert!(!call(libc::SYS_capset, [0, 0, 0]));
        // The old entry takes ids of 16 bits, in which -1 is 0xffff.
        assert_eq!(call_32(70, 0xffff, 0, 0), 0);
        assert_eq!(call_32(208, u32::MAX, u32::MAX, 0), 0);
        assert!(call(libc::SYS_setfsuid, [4005, 0, 0]));
        assert!(call(libc::SYS_setreuid, [KEEP, 0, 0]));
        assert!(call(libc::SYS_setresuid, [4006, 4006, 4006]));
        assert!(!call(libc::SYS_setuid, [0, 0, 0]));
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    let changes: Vec<_> = of_kind(&batch.events, EventKind::CredChange)
        .map(|event| {
            assert_eq!(process(event).pid, pid);
            let EventData::CredChange(change) = &event.data else { panic!("{event:?}") };
            (change, process(event).credentials)
        })
        .collect();
    let asked = |change: &CredChange| {
        let ids = [change.real_id, change.effective_id, change.saved_id, change.filesystem_id];
        (change.call, ids, change.result.is_ok())
    };
    assert_eq!(
        changes.iter().map(|(change, _)| asked(change)).collect::<Vec<_>>(),
        [
            (CredCall::Setresgid, [None, Some(4001), None, None], true),
            (CredCall::Setregid, [Some(4002), None, None, None], true),
            (CredCall::Setfsgid, [None, None, None, Some(4003)], true),
            (CredCall::Setgid, [None, Some(4004), None, None], true),
            (CredCall::Capset, [None; 4], false),
            (CredCall::Setreuid, [None, Some(0), None, None], true),
            (CredCall::Setresuid, [None, None, Some(0), None], true),
            (CredCall::Setfsuid, [None, None, None, Some(4005)], true),
            (CredCall::Setreuid, [None, Some(0), None, None], true),
            (CredCall::Setresuid, [Some(4006), Some(4006), Some(4006), None], true),
            (CredCall::Setuid, [None, Some(0), None, None], false),
        ]
    );
    let ids = |index: usize| {
        let (change, after) = &changes[index];
        let before = change.before.unwrap();
        ([before.uid, before.euid, before.egid], [after.uid, after.euid, after.egid])
    };
    assert_eq!(ids(3), ([0, 0, 4001], [0, 0, 4004]));
    assert_eq!(ids(9), ([0, 0, 4004], [4006, 4006, 4004]));
    assert_eq!(ids(10), ([4006, 4006, 4004], [4006, 4006, 4004]));
}
