//! What known processes do is told without an allocation, once as many events are on their way as there will be: of
//! every kind, about files seen before or not. A new process, and a new state of one, allocate.
#![allow(clippy::unwrap_used, clippy::panic)]

mod allocating;

use std::sync::Arc;

use allocating::{ACTOR, Run, act, arguments, credentials, exec, exit, fork, listen, namespace};
use allocation_counter::measure;
use lavender_bpf::assemble::{Assembler, BatchInput};
use lavender_bpf::decode::{Record, Records};
use lavender_bpf::host::NoHost;
use lavender_core::event::{Event, EventBatch, EventKind};
use lavender_core::{AgentId, BootId, BootTime, Origin, TenantId};

const WARM_UP: usize = 20;
const MEASURED: usize = 50;

/// Kinds that come of other sources than the sensor.
const OF_OTHERS: [EventKind; 5] = [
    EventKind::Heartbeat,
    EventKind::AgentStart,
    EventKind::AgentStop,
    EventKind::Response,
    EventKind::Unknown,
];

/// Kinds that are a new process or a new state of one.
const OF_NEW_STATE: [EventKind; 2] = [EventKind::Exec, EventKind::Fork];

/// A path that no other number has, of 7 to some 2,000 bytes.
fn path(number: usize) -> String {
    let long = ["", "/directory", "/a-longer-name-of-a-directory"][number % 3];
    format!("{}/{number:06}", long.repeat(number % 70))
}

/// Gives the batches to an assembler. How many events it made of those after the warm-up, and how often it allocated.
fn run(batches: &[Vec<u8>]) -> (Vec<EventKind>, u64) {
    let mut run = Run::new();
    let (warm_up, measured) = batches.split_at(WARM_UP);
    for records in warm_up {
        run.batch(records);
    }
    let mut kinds = Vec::with_capacity(100_000);
    let counted = measure(|| {
        for records in measured {
            let batch = run.batch(records);
            assert_eq!(batch.lost.len(), 0);
            kinds.extend(batch.events.iter().map(|event| event.kind()));
        }
    });
    assert!(kinds.len() < 100_000);
    (kinds, counted.count_total)
}

#[test]
fn what_known_processes_do_is_told_without_an_allocation() {
    for kind in EventKind::ALL {
        if OF_OTHERS.contains(&kind) || OF_NEW_STATE.contains(&kind) || kind == EventKind::Exit {
            continue;
        }
        // Each path is a new one. Every batch has all lengths.
        let mut expected = 0;
        let batches: Vec<Vec<u8>> = (0..WARM_UP + MEASURED)
            .map(|batch| {
                let acts = (0..210).map(|number| {
                    let (records, events) = act(kind, &path(batch * 210 + number))
                        .unwrap_or_else(|| panic!("{kind}: say whether it allocates"));
                    expected += if batch < WARM_UP { 0 } else { events };
                    records
                });
                acts.collect::<Vec<_>>().concat()
            })
            .collect();
        let (kinds, allocations) = run(&batches);
        assert!(kinds.iter().all(|made| *made == kind), "{kind}");
        assert_eq!((kinds.len(), allocations), (expected, 0), "{kind}");
    }
}

/// Of all kinds together, in one batch.
#[test]
fn a_mixture_is_told_without_an_allocation() {
    let batches: Vec<Vec<u8>> = (0..WARM_UP + MEASURED)
        .map(|batch| {
            (0..20)
                .flat_map(|number| {
                    let path = path(batch * 210 + number);
                    EventKind::ALL.into_iter().filter_map(move |kind| Some(act(kind, &path)?.0))
                })
                .flatten()
                .collect()
        })
        .collect();
    let (kinds, allocations) = run(&batches);
    assert_eq!(allocations, 0, "{} events", kinds.len());
    assert!(kinds.len() > MEASURED * 20 * 20);
}

#[test]
fn the_end_of_a_process_is_told_without_an_allocation() {
    let mut run = Run::new();
    let mut allocations = 0;
    for round in 0..(WARM_UP + MEASURED) as u32 {
        let pids = || (0..100).map(|number| 1_000 + round * 100 + number);
        run.batch(&pids().flat_map(fork).collect::<Vec<_>>());
        let exits: Vec<u8> = pids().flat_map(exit).collect();
        let counted = measure(|| {
            let events = &run.batch(&exits).events;
            assert!(events.iter().all(|event| event.kind() == EventKind::Exit));
            assert_eq!(events.len(), 100);
        });
        if round as usize >= WARM_UP {
            allocations += counted.count_total;
        }
    }
    assert_eq!(allocations, 0);
}

#[test]
fn a_new_process_or_a_new_state_of_one_allocates() {
    type Made = fn(u32) -> Vec<u8>;
    let new: [(EventKind, Made); 4] = [
        (EventKind::Exec, |number| exec(1_000 + number, "/usr/bin/new")),
        (EventKind::Fork, |number| fork(1_000 + number)),
        (EventKind::CredChange, credentials),
        (EventKind::NsChange, namespace),
    ];
    for (kind, record) in new {
        assert!(OF_NEW_STATE.contains(&kind) || act(kind, "/x").is_some());
        let batches: Vec<Vec<u8>> = (1..=WARM_UP + MEASURED).map(|n| record(n as u32)).collect();
        let (kinds, allocations) = run(&batches);
        assert_eq!(kinds, [kind; MEASURED]);
        // One at the least: the process as it is now.
        assert!(allocations >= MEASURED as u64, "{kind}: {allocations}");
    }
}

/// What is kept for long stays as it was, whatever is told meanwhile.
#[test]
fn what_is_kept_stays_as_it_was() {
    let kinds = [EventKind::FileOpen, EventKind::DnsQuery, EventKind::ExecFailed, EventKind::Mount];
    let batches: Vec<Vec<u8>> = (0..200)
        .map(|batch| {
            (0..40)
                .flat_map(|number| act(kinds[number % 4], &path(batch * 210 + number)).unwrap().0)
                .collect()
        })
        .collect();
    let (mut run, mut kept) = (Run::new(), Vec::<(Arc<Event>, String)>::new());
    for (number, records) in batches.iter().enumerate() {
        let events = &run.batch(records).events;
        if number < 50 {
            let some = events.iter().step_by(7);
            kept.extend(some.map(|event| (Arc::clone(event), format!("{event:?}"))));
        }
    }
    assert!(kept.len() > 500);
    for (event, told) in &kept {
        assert_eq!(format!("{event:?}"), *told);
    }
}

#[test]
fn what_is_held_is_bounded() {
    let mut run = Run::new();
    let of_kind = |kind, number| act(kind, &path(number)).unwrap().0;
    for batch in 0..10 {
        let records: Vec<u8> = (0..10_000)
            .flat_map(|number| of_kind(EventKind::FileOpen, batch * 10_000 + number))
            .collect();
        assert_eq!(run.batch(&records).events.len(), 50_000);
    }
    let held = run.assembler.held();
    assert!(held.events <= 16_384, "{held:?}");
    assert!(held.text_bytes <= 24 << 20, "{held:?}");
    let few = of_kind(EventKind::FileOpen, 0);
    for _ in 0..10 {
        assert_eq!(run.batch(&few).events.len(), 5);
    }
    assert!(run.assembler.held().events <= 16_384);
}

/// Nothing holds on to a process because it has acted.
#[test]
fn what_an_event_held_is_let_go_of() {
    let mut run = Run::new();
    let opens = act(EventKind::FileOpen, "/etc/passwd").unwrap().0;
    let process = Arc::downgrade(run.batch(&opens).events[0].process.as_ref().unwrap());
    run.batch(&exit(ACTOR));
    // Those that are on their way still have it; then it is forgotten.
    let nothing = arguments(1);
    for _ in 0..3 {
        run.batch(&nothing);
    }
    run.batch(&exec(5, "/bin/other"));
    // The last that acted is known by heart.
    run.batch(&listen(5));
    assert!(process.upgrade().is_none_or(|process| Arc::strong_count(&process) == 1));
}

/// The batches of a capture: of each the snapshot with its records, and those of the rings.
fn batches_of(capture: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut batches = Vec::new();
    let mut rest = &capture[16..];
    while let Some((&[a, b, c, d, _, _, _, _, kind], body)) = rest.split_first_chunk() {
        let (body, next) = body.split_at(u32::from_le_bytes([a, b, c, d]) as usize);
        rest = next;
        if kind != 2 {
            continue;
        }
        let (length, body) = body.split_first_chunk().unwrap();
        let (meta, records) = body.split_at(u32::from_le_bytes(*length) as usize);
        let meta: serde_json::Value = serde_json::from_slice(meta).unwrap();
        let snapshot = meta["snapshot_bytes"].as_u64().unwrap() as usize;
        let (snapshot, records) = records.split_at(snapshot);
        batches.push((snapshot.to_vec(), records.to_vec()));
    }
    batches
}

/// What was recorded on a real host: its processes made known once, what they did told again and again.
#[test]
fn recorded_acts_are_told_without_an_allocation() {
    let batches = batches_of(include_bytes!("../../examples/agent/captures/demo.lavcap"));
    let boot = BootId::from_u128(1);
    let origin = Origin::new(&TenantId::default(), &AgentId::new("test").unwrap(), boot);
    let mut assembler = Assembler::new(boot, NoHost);
    let mut acts = Vec::new();
    for (snapshot, records) in &batches {
        let snapshot = Some((BootTime::from_nanos(0), &snapshot[..]));
        let input = BatchInput { snapshot, records, ..BatchInput::default() };
        assembler.assemble(input, |_| (origin, 1));
        for record in Records::new(records) {
            let (bytes, record) = record.unwrap();
            if !matches!(record, Record::Exec(_) | Record::Arguments(..) | Record::Fork(_)) {
                acts.extend_from_slice(bytes);
            }
        }
    }
    let mut batch = EventBatch::default();
    let mut tell = || {
        let input = BatchInput { records: &acts, ..BatchInput::default() };
        assembler.assemble_into(input, |_| (origin, 1), &mut batch);
        batch.events.len()
    };
    for _ in 0..3 {
        tell();
    }
    let mut events = 0;
    let counted = measure(|| (0..100).for_each(|_| events += tell()));
    assert_eq!((events, counted.count_total), (10_000, 0));
}
