//! No bytes make the decoder or the assembler panic, and what they make of bytes holds together.
#![allow(clippy::unwrap_used, clippy::panic)]

use lavender_bpf::assemble::{Assembler, BatchInput};
use lavender_bpf::decode::{DecodeError, Record, Records, decode};
use lavender_bpf::host::NoHost;
use lavender_bpf::record::{
    ArgumentsRecord, ChangeRecord, ConnectRecord, ExitRecord, ForkRecord, OpenRecord, Place,
    ProgramRecord, RecordHeader, TamperRecord, change, flag, kind, tamper,
};
use lavender_core::event::{EventBatch, EventData, EventKind, LossStage, PtraceRequest};
use lavender_core::{AgentId, BootId, BootTime, Origin, Provenance, TenantId};
use proptest::prelude::*;
use zerocopy::{Immutable, IntoBytes};

fn origin() -> Origin {
    Origin::new(&TenantId::default(), &AgentId::new("test").unwrap(), BootId::from_u128(1))
}

fn assemble(records: &[u8]) -> EventBatch {
    let mut assembler = Assembler::new(BootId::from_u128(1), NoHost);
    let input = BatchInput { records, last: true, ..BatchInput::default() };
    assembler.assemble(input, |_| (origin(), 1))
}

/// A record with its strings, and its true length.
fn record<T: IntoBytes + Immutable>(fixed: &T, strings: &[u8]) -> Vec<u8> {
    let mut bytes = [fixed.as_bytes(), strings].concat();
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn header(kind: u16, boot_ns: u64) -> RecordHeader {
    RecordHeader {
        kind: kind.into(),
        boot_ns: boot_ns.into(),
        start_ns: 1_000.into(),
        tgid: 77.into(),
        tid: 77.into(),
        generation: 3.into(),
        ..RecordHeader::default()
    }
}

fn exec(boot_ns: u64, total: u32, arguments: &[u8]) -> Vec<u8> {
    let (name, program, directory) = (b"/bin/x\0", b"x\0bin\0usr\0", b"tmp\0");
    let fixed = ProgramRecord {
        header: header(kind::EXEC, boot_ns),
        arguments_total: total.into(),
        arguments_length: (arguments.len() as u32).into(),
        name_length: (name.len() as u16).into(),
        program_length: (program.len() as u16).into(),
        directory_length: (directory.len() as u16).into(),
        ..ProgramRecord::default()
    };
    record(&fixed, &[&name[..], program, directory, arguments].concat())
}

fn part(boot_ns: u64, index: u32, offset: u32, total: u32, bytes: &[u8]) -> Vec<u8> {
    let fixed = ArgumentsRecord {
        header: header(kind::ARGUMENTS, boot_ns),
        index: index.into(),
        offset: offset.into(),
        total: total.into(),
        length: (bytes.len() as u32).into(),
    };
    record(&fixed, bytes)
}

fn open(boot_ns: u64, flags: u16, walk: &[u8], name: &[u8]) -> Vec<u8> {
    let fixed = OpenRecord {
        header: RecordHeader { flags: flags.into(), ..header(kind::OPEN, boot_ns) },
        result: (-2).into(),
        walk_length: (walk.len() as u16).into(),
        name_length: (name.len() as u16).into(),
        ..OpenRecord::default()
    };
    record(&fixed, &[walk, name].concat())
}

fn exit(boot_ns: u64) -> Vec<u8> {
    record(&ExitRecord { header: header(kind::EXIT, boot_ns), ..ExitRecord::default() }, &[])
}

#[test]
fn an_exec_is_all_that_its_record_says() {
    let batch = assemble(&exec(5, 6, b"x\0-v\0"[..].get(..5).unwrap()));
    // One byte of the arguments is missing: the value says so.
    let process = batch.events[0].process.clone().unwrap();
    assert_eq!(process.executable.path.value, "/usr/bin/x");
    assert_eq!(process.working_directory.value, "/tmp");
    assert_eq!(process.arguments.provenance, Provenance::Truncated { true_length: 6 });
    assert_eq!(process.arguments.value.command_line(), b"x -v");
}

#[test]
fn arguments_in_parts_are_joined_whatever_comes_between() {
    let other = ForkRecord {
        header: RecordHeader { tgid: 99.into(), ..header(kind::FORK, 11) },
        ..ForkRecord::default()
    };
    let records = [
        exec(10, 9, b"ab\0"),
        record(&other, &[]),
        part(12, 0, 3, 9, b"cde"),
        part(13, 1, 6, 9, b"fg\0"),
        exit(14),
    ]
    .concat();
    let batch = assemble(&records);
    let kinds: Vec<EventKind> = batch.events.iter().map(|event| event.kind()).collect();
    // By the time at which they happened.
    assert_eq!(kinds, [EventKind::Exec, EventKind::Fork, EventKind::Exit]);
    let arguments = &batch.events[0].process.as_ref().unwrap().arguments;
    assert_eq!(arguments.provenance, Provenance::Complete);
    assert_eq!(arguments.value.raw(), b"ab\0cdefg");
}

#[test]
fn a_missing_part_is_known_to_be_missing() {
    for missing in 0..3 {
        let parts = [part(11, 0, 3, 9, b"cde"), part(12, 1, 6, 9, b"fg\0"), Vec::new()];
        let mut records = exec(10, 9, b"ab\0");
        for (index, part) in parts.iter().enumerate() {
            if index != missing {
                records.extend_from_slice(part);
            }
        }
        records.extend_from_slice(&exit(20));
        let batch = assemble(&records);
        assert_eq!(batch.events.len(), 2);
        let arguments = &batch.events[0].process.as_ref().unwrap().arguments;
        match missing {
            0 => assert_eq!(arguments.value.raw(), b"ab"),
            1 => assert_eq!(arguments.value.raw(), b"ab\0cde"),
            _ => assert_eq!(arguments.value.raw(), b"ab\0cdefg"),
        }
        assert_eq!(arguments.is_whole(), missing == 2);
        if missing < 2 {
            assert_eq!(arguments.provenance, Provenance::Truncated { true_length: 9 });
        }
    }
}

#[test]
fn rings_are_merged_by_time() {
    // The open of a process comes out of its ring before the exec does.
    let open = open(20, flag::WALK_IS_FILE, b"hosts\0etc\0", b"");
    let batch = assemble(&[open, exec(10, 2, b"x\0")].concat());
    let kinds: Vec<EventKind> = batch.events.iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, [EventKind::Exec, EventKind::FileOpen]);
    assert_eq!(batch.events[1].process, batch.events[0].process);
    assert_eq!(batch.events[1].id.sequence(), 2);
}

#[test]
fn what_acts_before_it_is_known_waits_for_its_record() {
    let mut assembler = Assembler::new(BootId::from_u128(1), NoHost);
    let early = open(20, flag::WALK_IS_FILE, b"hosts\0etc\0", b"");
    let input = BatchInput { records: &early, ..BatchInput::default() };
    assert!(assembler.assemble(input, |_| (origin(), 1)).is_empty());
    assert!(assembler.is_waiting());
    let exec = exec(10, 2, b"x\0");
    let input = BatchInput { records: &exec, ..BatchInput::default() };
    let batch = assembler.assemble(input, |_| (origin(), 1));
    assert_eq!(batch.events.len(), 2);
    let path = &batch.events[1].process.as_ref().unwrap().executable.path.value;
    assert_eq!(*path, "/usr/bin/x");
    assert!(!assembler.is_waiting());
}

#[test]
fn what_never_becomes_known_is_delivered_all_the_same() {
    let mut assembler = Assembler::new(BootId::from_u128(1), NoHost);
    let orphan = open(20, flag::WALK_IS_FILE, b"hosts\0etc\0", b"");
    let mut records = &orphan[..];
    let mut delivered = Vec::new();
    for _ in 0..3 {
        let input = BatchInput { records, ..BatchInput::default() };
        delivered.extend(assembler.assemble(input, |_| (origin(), 1)).events);
        records = &[];
    }
    assert_eq!(delivered.len(), 1);
    let process = delivered[0].process.as_ref().unwrap();
    assert_eq!((process.pid, process.exec_id.generation), (77, 3));
    assert_eq!(process.executable.path.provenance, Provenance::Unreadable);
}

#[test]
fn what_cannot_be_decoded_is_counted() {
    let mut broken = exit(1);
    broken[4] = 99;
    let batch = assemble(&broken);
    assert_eq!(batch.lost.len(), 1);
    assert_eq!((batch.lost[0].stage, batch.lost[0].count), (LossStage::Decode, 1));
}

#[test]
fn an_open_that_failed_says_what_is_missing() {
    let path = |flags, walk: &[u8], name: &[u8]| match &assemble(&open(1, flags, walk, name)).events
        [0]
    .data
    {
        EventData::FileOpen(open) => open.path.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(path(0, b"b\0a\0", b"c/../d\0").value, "/a/b/d");
    assert!(path(0, b"b\0a\0", b"d\0").is_whole());
    assert!(!path(flag::WALK_UNREADABLE, b"", b"d\0").is_whole());
    assert!(!path(flag::NAME_CUT, b"a\0", b"ddd").is_whole());
    assert_eq!(path(flag::NAME_UNREADABLE, b"a\0", b"").provenance, Provenance::Unreadable);
    assert_eq!(path(flag::NAME_IN_ROOT, b"jail\0", b"/../x\0").value, "/jail/x");
}

/// The data of a change with these flags, walks and names.
fn changed(kind: u16, what: u32, places: [(u16, &[u8], &[u8]); 2]) -> EventData {
    let place = |(flags, walk, name): (u16, &[u8], &[u8])| Place {
        walk_length: (walk.len() as u16).into(),
        name_length: (name.len() as u16).into(),
        flags: flags.into(),
        ..Place::default()
    };
    let fixed = ChangeRecord {
        header: header(kind, 1),
        what: what.into(),
        uid: 0.into(),
        gid: u32::MAX.into(),
        mode: 0o4755.into(),
        places: places.map(place),
        ..ChangeRecord::default()
    };
    let strings: Vec<u8> =
        places.iter().flat_map(|(_, walk, name)| [*walk, *name].concat()).collect();
    assemble(&record(&fixed, &strings)).events[0].data.clone()
}

#[test]
fn a_change_says_which_of_its_names_is_missing() {
    const NONE: (u16, &[u8], &[u8]) = (0, b"", b"");
    let EventData::FileRename(rename) = changed(
        kind::RENAME,
        change::EXCHANGE,
        [(flag::NAME_UNREADABLE, b"a\0", b""), (0, b"b\0a\0", b"../c\0")],
    ) else {
        panic!("no rename")
    };
    assert!(rename.exchange);
    assert_eq!(rename.previous_path.provenance, Provenance::Unreadable);
    assert!(rename.path.value == "/a/c" && rename.path.is_whole());
    // What a symbolic link says is not made absolute.
    let EventData::FileLink(link) =
        changed(kind::LINK, change::SYMBOLIC, [(0, b"", b"../x\0"), (0, b"", b"/l\0")])
    else {
        panic!("no link")
    };
    assert_eq!((&link.target.value, &link.path.value), (&"../x".into(), &"/l".into()));
    let EventData::FileMode(set) =
        changed(kind::MODE, change::OWNER, [(flag::WALK_IS_FILE, b"f\0", b""), NONE])
    else {
        panic!("no mode")
    };
    assert_eq!((set.mode, set.uid, set.gid), (None, Some(0), None));
    assert_eq!(set.path.value, "/f");
    let EventData::FileDelete(delete) =
        changed(kind::DELETE, change::DIRECTORY, [(flag::WALK_CUT, b"a\0", b"b\0"), NONE])
    else {
        panic!("no delete")
    };
    assert!(delete.directory && !delete.path.is_whole());
}

#[test]
fn tampering_says_what_is_missing() {
    let data = |kind, flags: u16, number: u32, walk: &[u8], name: &[u8]| {
        let mut fixed = TamperRecord {
            header: header(kind, 1),
            number: number.into(),
            walk_length: (walk.len() as u16).into(),
            name_length: (name.len() as u16).into(),
            ..TamperRecord::default()
        };
        fixed.header.flags = flags.into();
        assemble(&record(&fixed, &[walk, name].concat())).events[0].data.clone()
    };
    let EventData::Ptrace(trace) = data(kind::PTRACE, 0, 0x4206, b"", b"") else {
        panic!("no ptrace")
    };
    assert_eq!((trace.request, trace.target), (PtraceRequest::Seize, None));
    let EventData::MemfdCreate(made) = data(kind::MEMFD, flag::NAME_CUT, 1, b"", b"long") else {
        panic!("no file in memory")
    };
    assert!(!made.secret && made.name.value == "long" && !made.name.is_whole());
    let by_descriptor = tamper::MODULE_BY_DESCRIPTOR;
    let EventData::ModuleLoad(load) =
        data(kind::MODULE, flag::NAME_UNREADABLE, by_descriptor, b"x.ko\0tmp\0", b"")
    else {
        panic!("no module")
    };
    assert_eq!(load.path.unwrap().value, "/tmp/x.ko");
    assert_eq!(load.parameters.provenance, Provenance::Unreadable);
    let EventData::ModuleLoad(load) = data(kind::MODULE, 0, 0, b"", b"debug=1\0") else {
        panic!("no module")
    };
    assert_eq!((load.path, &load.parameters.value), (None, &"debug=1".into()));
}

#[test]
fn records_of_no_kind_or_length_are_refused() {
    assert!(matches!(decode(&[]), Err(DecodeError::Short { .. })));
    let mut connect = record(
        &ConnectRecord { header: header(kind::CONNECT, 1), ..ConnectRecord::default() },
        &[],
    );
    assert!(matches!(decode(&connect), Ok(Record::Connect(_))));
    connect.truncate(connect.len() - 1);
    assert!(matches!(decode(&connect), Err(DecodeError::Short { .. })));
    assert_eq!(
        decode(record(&header(55, 1), &[]).as_slice()).unwrap_err(),
        DecodeError::Kind { kind: 55 }
    );
}

/// Bytes that begin as a record does, so that they get past the first look.
fn almost_record() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0_u16..23, 32..40_u16];
    (kind, any::<u16>(), proptest::collection::vec(any::<u8>(), 60..400), 0_u64..50).prop_map(
        |(kind, flags, mut bytes, boot_ns)| {
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes[4..6].copy_from_slice(&kind.to_le_bytes());
            bytes[6..8].copy_from_slice(&flags.to_le_bytes());
            bytes[8..16].copy_from_slice(&boot_ns.to_le_bytes());
            // Few processes, so that records meet.
            bytes[16..24].copy_from_slice(&7_u64.to_le_bytes());
            let (tgid, generation) = (u32::from(bytes[24] % 3), u32::from(bytes[32] % 3));
            bytes[24..28].copy_from_slice(&tgid.to_le_bytes());
            bytes[32..36].copy_from_slice(&generation.to_le_bytes());
            // Lengths that have a chance.
            for at in bytes.iter_mut().skip(80).step_by(2) {
                *at %= 40;
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Records::new(&bytes).count();
        assemble(&bytes);
    }

    #[test]
    fn no_records_make_it_panic(records in proptest::collection::vec(almost_record(), 0..20)) {
        let all = records.concat();
        let mut assembler = Assembler::new(BootId::from_u128(1), NoHost);
        for round in 0..3_u64 {
            let input = BatchInput {
                drained_at: BootTime::from_nanos(round * 1_000_000_000),
                snapshot: Some((BootTime::from_nanos(round), &all)),
                records: &all,
                last: round == 2,
                ..BatchInput::default()
            };
            let batch = assembler.assemble(input, |_| (origin(), 1));
            let times: Vec<_> = batch.events.iter().map(|event| event.boot_time).collect();
            prop_assert!(times.is_sorted());
        }
        prop_assert!(!assembler.is_waiting());
    }

    /// Cutting a good record anywhere is noticed, and changes nothing before it.
    #[test]
    fn a_cut_record_is_refused(cut in 0_usize..200) {
        let good = exec(10, 2, b"x\0");
        let at = cut.min(good.len() - 1);
        prop_assert!(decode(&good[..at]).is_err());
    }
}
