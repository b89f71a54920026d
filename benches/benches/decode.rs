//! From records to events, per event: the capture that the agent brings along, decoded and assembled again, with every
//! process in it new; and what processes do that are known by now, as a sensor that has run for a while tells it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

#[allow(dead_code, reason = "of the test that counts allocations, what a benchmark needs")]
#[path = "../../lavender-bpf/tests/allocating/mod.rs"]
mod allocating;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lavender_bpf::Replay;
use lavender_core::event::EventKind;

use allocating::{Run, act};

static CAPTURE: &[u8] = include_bytes!("../../examples/agent/captures/demo.lavcap");

fn replay() -> u64 {
    let mut replay = Replay::from_reader("demo", CAPTURE).unwrap();
    let mut events = 0;
    while let Some(batch) = replay.read_batch().unwrap() {
        events += black_box(batch).events.len() as u64;
    }
    events
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(replay()));
    group.bench_function("replay_capture", |b| b.iter(replay));
    // The floor: the same bytes, only checked.
    group.bench_function("floor_checksum", |b| b.iter(|| crc32fast::hash(black_box(CAPTURE))));
    group.finish();
}

/// How many acts are in a batch, of paths as long as most are.
const ACTS: usize = 256;

fn known(c: &mut Criterion) {
    let mut group = c.benchmark_group("assemble_known");
    for kind in [EventKind::FileOpen, EventKind::FileRename, EventKind::NetConnect] {
        let acts = (0..ACTS).map(|number| {
            act(kind, &format!("/usr/lib/x86_64-linux-gnu/lib{number:04}.so")).unwrap()
        });
        let (records, events): (Vec<_>, Vec<_>) = acts.unzip();
        let (records, events): (Vec<u8>, usize) = (records.concat(), events.iter().sum());
        let mut run = Run::new();
        assert_eq!(run.batch(&records).events.len(), events);
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(kind.as_str(), |b| {
            b.iter(|| run.batch(black_box(&records)).events.len())
        });
        // The floor: the bytes of the records, only checked.
        group.bench_function(format!("{kind}_floor_checksum"), |b| {
            b.iter(|| crc32fast::hash(black_box(&records)));
        });
    }
    group.finish();
}

criterion_group!(benches, decode, known);
criterion_main!(benches);
