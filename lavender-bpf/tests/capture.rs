//! Captures, byte for byte: what is whole is read, and whatever is damaged says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Cursor, Read};

use lavender_bpf::capture::MAGIC;
use lavender_bpf::record::RECORD_VERSION;
use lavender_bpf::{CaptureError, CaptureHeader, CaptureWriter, Replay};
use lavender_core::event::{Credentials, Executable, Namespaces, Process};
use lavender_core::{
    AgentId, AgentIdentity, BootId, ByteString, Captured, EventId, ExecId, ProcessId, TenantId,
    Timestamp,
};
use proptest::prelude::*;

const KIND_HEADER: u8 = 1;
const KIND_BATCH: u8 = 2;
const KIND_END: u8 = 3;
const KIND_KNOWN: u8 = 4;

fn header() -> CaptureHeader {
    CaptureHeader {
        record_version: RECORD_VERSION,
        identity: AgentIdentity {
            tenant: TenantId::default(),
            agent: AgentId::new("web-1").unwrap(),
            host: "web-1".into(),
        },
        boot: BootId::from_u128(7),
        kernel_release: "6.8.0".into(),
        architecture: "x86_64".into(),
        created_at: Timestamp::from_millis(1_700_000_000_000),
        midway: false,
    }
}

/// A frame, written from the format's description and not by the code that is tested.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut checked = vec![kind];
    checked.extend_from_slice(body);
    let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    frame.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    frame.extend_from_slice(&checked);
    frame
}

fn batch(first_sequence: u64) -> Vec<u8> {
    let meta = serde_json::json!({
        "drained_at": 5_000_000_000_u64,
        "wall_offset_ns": 1_700_000_000_000_000_000_i64,
        "first_sequence": first_sequence,
        "events": 0,
    });
    let meta = serde_json::to_vec(&meta).unwrap();
    let mut body = u32::try_from(meta.len()).unwrap().to_le_bytes().to_vec();
    body.extend_from_slice(&meta);
    frame(KIND_BATCH, &body)
}

fn end() -> Vec<u8> {
    frame(KIND_END, br#""closed""#)
}

fn beginning() -> Vec<u8> {
    [MAGIC.to_vec(), frame(KIND_HEADER, &serde_json::to_vec(&header()).unwrap())].concat()
}

fn whole() -> Vec<u8> {
    [beginning(), batch(1), batch(1), end()].concat()
}

/// Reads to the end; how many batches there were.
fn read(bytes: &[u8]) -> Result<usize, CaptureError> {
    let mut replay = Replay::from_reader("test.cap", Cursor::new(bytes.to_vec()))?;
    let mut batches = 0;
    while replay.read_batch()?.is_some() {
        batches += 1;
    }
    Ok(batches)
}

#[test]
fn what_is_whole_is_read() {
    let replay = Replay::from_reader("test.cap", Cursor::new(whole())).unwrap();
    assert_eq!(replay.header(), &header());
    assert_eq!(read(&whole()).unwrap(), 2);
}

#[test]
fn any_reader_will_do() {
    /// Gives a byte at a time.
    struct Drip(Cursor<Vec<u8>>);

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let one = into.len().min(1);
            self.0.read(&mut into[..one])
        }
    }

    let mut replay = Replay::from_reader("test.cap", Drip(Cursor::new(whole()))).unwrap();
    assert!(replay.read_batch().unwrap().is_some());
    assert!(replay.read_batch().unwrap().is_some());
    assert!(replay.read_batch().unwrap().is_none());
}

#[test]
fn after_the_end_there_is_nothing() {
    let mut bytes = whole();
    bytes.extend_from_slice(b"whatever");
    let mut replay = Replay::from_reader("test.cap", Cursor::new(bytes)).unwrap();
    while replay.read_batch().unwrap().is_some() {}
    assert!(replay.read_batch().unwrap().is_none());
}

#[test]
fn every_cut_is_noticed() {
    let whole = whole();
    for length in 0..whole.len() {
        let error = read(&whole[..length]).expect_err("a part is not the whole");
        match error {
            CaptureError::Format { .. } => assert!(length < MAGIC.len(), "at {length}: {error}"),
            CaptureError::Truncated { offset, .. } => {
                assert!(offset <= length as u64, "at {length}: {error}");
            }
            other => panic!("at {length}: {other}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let whole = whole();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn what_stands_before_the_damage_is_read() {
    let mut bytes = [beginning(), batch(1)].concat();
    let at = bytes.len() as u64;
    bytes.extend(batch(1));
    *bytes.last_mut().unwrap() ^= 1;
    let mut replay = Replay::from_reader("test.cap", Cursor::new(bytes)).unwrap();
    assert!(replay.read_batch().unwrap().is_some());
    let error = replay.read_batch().unwrap_err();
    assert!(matches!(error, CaptureError::Damaged { offset, .. } if offset == at), "{error}");
    let shown = error.to_string();
    assert!(shown.contains("test.cap") && shown.contains(&at.to_string()), "{shown}");
    // Said once; a reader that goes on is not told again and again.
    assert!(replay.read_batch().unwrap().is_none());
}

#[test]
fn a_frame_of_a_kind_that_is_not_known_is_refused() {
    let bytes = [beginning(), frame(200, b"{}"), end()].concat();
    let error = read(&bytes).unwrap_err();
    let at = beginning().len() as u64;
    assert!(matches!(error, CaptureError::Damaged { offset, .. } if offset == at), "{error}");
    assert!(error.to_string().contains("200"), "{error}");
}

#[test]
fn a_capture_without_an_end_mark_is_cut() {
    let error = read(&[beginning(), batch(1)].concat()).unwrap_err();
    assert!(matches!(error, CaptureError::Truncated { .. }), "{error}");
}

#[test]
fn an_absurd_length_is_refused() {
    let mut bytes = beginning();
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    bytes.extend_from_slice(&[0; 64]);
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, CaptureError::Damaged { .. }), "{error}");
}

#[test]
fn a_batch_whose_description_is_longer_than_itself_is_refused() {
    for body in [&b""[..], b"\x01", b"\xff\xff\xff\xff{}", b"\x03\0\0\0{}"] {
        let bytes = [beginning(), frame(KIND_BATCH, body), end()].concat();
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error, CaptureError::Damaged { .. }), "{body:?}: {error}");
    }
}

#[test]
fn what_is_no_capture_says_so() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0"] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, CaptureError::Format { .. }), "{error}");
        assert!(error.to_string().contains("not a capture"), "{error}");
    }
}

#[test]
fn a_later_version_is_named() {
    let mut bytes = whole();
    bytes[12] = 9;
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, CaptureError::Format { .. }), "{error}");
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn records_of_another_version_are_refused() {
    let header = CaptureHeader { record_version: RECORD_VERSION + 1, ..header() };
    let header = frame(KIND_HEADER, &serde_json::to_vec(&header).unwrap());
    let error = read(&[MAGIC.to_vec(), header, end()].concat()).unwrap_err();
    assert!(matches!(error, CaptureError::Format { .. }), "{error}");
    assert!(error.to_string().contains(&(RECORD_VERSION + 1).to_string()), "{error}");
}

/// What was added since has kinds of its own.
#[test]
fn records_of_earlier_versions_are_read() {
    let of_version = |record_version| {
        let header = CaptureHeader { record_version, ..header() };
        let header = frame(KIND_HEADER, &serde_json::to_vec(&header).unwrap());
        read(&[MAGIC.to_vec(), header, end()].concat())
    };
    for version in 1..=RECORD_VERSION {
        assert!(of_version(version).is_ok(), "{version}");
    }
    assert!(of_version(0).is_err());
}

#[test]
fn the_first_frame_is_the_header() {
    let error = read(&[MAGIC.to_vec(), batch(1), end()].concat()).unwrap_err();
    assert!(matches!(error, CaptureError::Damaged { .. }), "{error}");
}

#[test]
fn a_new_capture_is_for_its_owner_only_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.cap");
    let writer = CaptureWriter::create(&path, 1 << 20).unwrap();
    assert_eq!(writer.path(), path);
    assert!(writer.is_open());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let error = CaptureWriter::create(&path, 1 << 20).unwrap_err();
    assert!(matches!(error, CaptureError::File { .. }), "{error}");
    assert!(error.to_string().contains("new.cap"), "{error}");
}

/// Processes of which each has the parent that stands at this place, if any.
fn known(parents: &[Option<u32>]) -> Vec<u8> {
    let processes: Vec<_> = parents
        .iter()
        .zip(1..)
        .map(|(parent, pid)| {
            let id = ProcessId::new(BootId::from_u128(7), u64::from(pid), pid);
            let process = Process {
                exec_id: ExecId { process: id, generation: 1 },
                pid,
                namespace_pid: pid,
                name: ByteString::default(),
                executable: Executable::default(),
                arguments: Captured::default(),
                working_directory: Captured::default(),
                credentials: Credentials::default(),
                user: None,
                group: None,
                terminal: None,
                cgroup_id: 0,
                container: None,
                namespaces: Namespaces::default(),
                tree: None,
                parent_id: None,
                parent: None,
            };
            serde_json::json!({ "process": process, "parent": parent })
        })
        .collect();
    let known = serde_json::json!({ "processes": processes });
    frame(KIND_KNOWN, &serde_json::to_vec(&known).unwrap())
}

#[test]
fn what_was_known_stands_once_and_each_process_after_its_parent() {
    let around = |known: Vec<u8>| [beginning(), known, batch(1), end()].concat();
    assert_eq!(read(&around(known(&[None, Some(0), Some(1), Some(0)]))).unwrap(), 1);
    let long: Vec<_> = (0..=Process::MAX_ANCESTORS as u32).map(|at| at.checked_sub(1)).collect();
    assert_eq!(read(&around(known(&long))).unwrap(), 1);
    let too_long: Vec<_> =
        long.iter().copied().chain([Some(Process::MAX_ANCESTORS as u32)]).collect();
    let twice = [known(&[None]), known(&[None])].concat();
    for wrong in [known(&[Some(0)]), known(&[Some(1), None]), known(&too_long), twice] {
        let error = read(&around(wrong)).unwrap_err();
        assert!(matches!(error, CaptureError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_batch_with_numbers_that_no_event_has_is_refused() {
    for number in [EventId::MAX_SEQUENCE + 1, u64::MAX] {
        let error = read(&[beginning(), batch(number), end()].concat()).unwrap_err();
        assert!(matches!(error, CaptureError::Damaged { .. }), "{error}");
    }
}

proptest! {
    /// Whatever parents are named.
    #[test]
    fn no_known_processes_panic(parents in prop::collection::vec(prop::option::of(0_u32..20), 0..20)) {
        let _ = read(&[beginning(), known(&parents), batch(1), end()].concat());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(read(&bytes).is_err());
        let begun = [beginning(), bytes].concat();
        let _ = read(&begun);
    }

    /// With a right checksum, so that what is inside a frame is reached.
    #[test]
    fn no_batch_panics(meta in "[ -~]{0,64}", records in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut body = u32::try_from(meta.len()).unwrap().to_le_bytes().to_vec();
        body.extend_from_slice(meta.as_bytes());
        body.extend_from_slice(&records);
        let _ = read(&[beginning(), frame(KIND_BATCH, &body), end()].concat());
    }

    #[test]
    fn damage_is_noticed(at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 1..16)) {
        let mut bytes = whole();
        let at = at.index(bytes.len());
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with.iter().copied());
        prop_assume!(!bytes.starts_with(&whole()));
        prop_assert!(read(&bytes).is_err());
    }
}
