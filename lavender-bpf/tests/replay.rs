//! A capture replays to the very events that the live run delivered; a damaged one says where.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lavender_bpf::{CaptureError, CaptureState, CaptureWriter, Replay};
use lavender_core::event::{EventBatch, EventKind};
use lavender_core::{ErrorKind, Source as _};

use support::{Group, Watch, awaiting_hashes, builder, can_run, of_kind, temporary};

const PLENTY: u64 = 64 << 20;

/// Records some acts. The file, and what was delivered live.
fn record(folder: &Path, max_bytes: u64) -> (PathBuf, EventBatch, CaptureState) {
    let path = folder.join("capture");
    let group = Group::new();
    let capture = CaptureWriter::create(&path, max_bytes).unwrap();
    let mut watch = Watch::with(
        builder()
            .with_plan(awaiting_hashes())
            .with_included_cgroup(&group.folder)
            .with_capture(capture),
    );
    for _ in 0..3 {
        let at = folder.to_owned();
        let child = group.fork(move || {
            std::env::set_current_dir(at).unwrap();
            let argument = "z".repeat(50_000);
            assert!(Command::new("/bin/true").args([&argument, "b"]).status().unwrap().success());
            let _ = fs::read("no-such-file");
            let _ = fs::read("/proc/version");
            fs::write("a", "x").unwrap();
            fs::rename("a", "b").unwrap();
            fs::hard_link("b", "c").unwrap();
            fs::set_permissions("b", fs::Permissions::from_mode(0o600)).unwrap();
            fs::remove_file("b").unwrap();
            fs::remove_file("c").unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap().connect("127.0.0.1:40009").unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:40009").unwrap();
            ask_nobody();
            assert!(Command::new("./no-such-program").spawn().is_err());
        });
        assert_eq!(watch.until_ended(child), 0);
    }
    watch.poll();
    let state = watch.sensor.stats().capture;
    (path, watch.finish(), state)
}

/// A question that nobody answers.
fn ask_nobody() {
    let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x06silent\x04test\0\0\x01\0\x01";
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(question, "127.86.83.1:53").unwrap();
}

fn replay(path: &Path) -> (EventBatch, Option<CaptureError>) {
    let mut replay = Replay::open(path).unwrap();
    let mut seen = EventBatch::default();
    loop {
        match replay.read_batch() {
            Ok(Some(batch)) => {
                seen.events.extend(batch.events);
                seen.lost.extend(batch.lost);
            }
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

#[test]
fn a_replay_is_the_live_run() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let (path, live, state) = record(folder.path(), PLENTY);
    assert_eq!(state, CaptureState::Recording);
    assert!(live.events.len() > 30, "{}", live.events.len());
    let (replayed, error) = replay(&path);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(replayed.events.len(), live.events.len());
    for (replayed, live) in replayed.events.iter().zip(&live.events) {
        assert_eq!(replayed, live);
    }
    assert_eq!(replayed.lost, live.lost);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(CaptureWriter::create(&path, PLENTY).is_err(), "an old capture is not overwritten");
}

/// What only time brings stands in a batch of its own, without a record.
#[test]
fn a_question_that_is_given_up_is_replayed() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let path = folder.path().join("capture");
    let group = Group::new();
    let capture = CaptureWriter::create(&path, PLENTY).unwrap();
    let mut watch = Watch::with(
        builder()
            .with_plan(awaiting_hashes())
            .with_included_cgroup(&group.folder)
            .with_capture(capture),
    );
    assert_eq!(watch.until_ended(group.fork(ask_nobody)), 0);
    watch.event("question", |event| event.kind() == EventKind::DnsQuery);
    assert_eq!(watch.until_ended(group.fork(ask_nobody)), 0);
    let live = watch.finish();
    let (replayed, error) = replay(&path);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(of_kind(&live.events, EventKind::DnsQuery).count(), 2);
    assert_eq!(replayed.events, live.events);
}

#[test]
fn a_capture_that_is_full_ends_well() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let bound = 200_000;
    let (path, live, state) = record(folder.path(), bound);
    assert_eq!(state, CaptureState::Full);
    assert!(fs::metadata(&path).unwrap().len() <= bound);
    let (replayed, error) = replay(&path);
    assert!(error.is_none(), "{error:?}");
    assert!(replayed.events.len() < live.events.len());
    assert!(replayed.events.iter().eq(live.events.iter().take(replayed.events.len())));
}

#[tokio::test]
async fn a_damaged_capture_says_where() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let (path, live, _) = record(folder.path(), PLENTY);
    let whole = fs::read(&path).unwrap();
    let broken = folder.path().join("broken");

    // Cut at every tenth of it: what stands before is there, then the error.
    for tenth in 1..10 {
        let length = whole.len() * tenth / 10;
        fs::write(&broken, &whole[..length]).unwrap();
        let (replayed, error) = replay(&broken);
        assert!(matches!(error, Some(CaptureError::Truncated { .. })), "{error:?}");
        assert!(replayed.events.iter().eq(live.events.iter().take(replayed.events.len())));
    }
    // One bit in the middle.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&broken, &flipped).unwrap();
    let (replayed, error) = replay(&broken);
    match error {
        Some(error @ CaptureError::Damaged { offset, .. }) => {
            assert!((offset as usize) < whole.len() / 2);
            assert!(error.to_string().contains(&format!("byte {offset}")), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(replayed.events.iter().eq(live.events.iter().take(replayed.events.len())));

    // As a source: an error that says that the data is damaged, then the end.
    let mut source = Replay::open(&broken).unwrap();
    let error = loop {
        match source.next_batch().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(source.next_batch().await.unwrap().is_none());
}
