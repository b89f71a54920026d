//! From records to events: the capture that the agent brings along, decoded and assembled again, per event.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lavender_bpf::Replay;

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

criterion_group!(benches, decode);
criterion_main!(benches);
