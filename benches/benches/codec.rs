//! The wire format: a batch of 256 events written and read, per event.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::{SEED, events, identity};
use lavender_core::codec;

fn batch(c: &mut Criterion) {
    let events = events(SEED, 256).unwrap();
    let identity = identity().unwrap();
    let wire = codec::encode_batch(&identity, &events).unwrap();
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("encode_batch", |b| {
        b.iter(|| codec::encode_batch(&identity, black_box(&events)).unwrap());
    });
    group.bench_function("decode_batch", |b| {
        b.iter(|| codec::decode_batch(black_box(&wire)).unwrap());
    });
    // The floor: the same bytes parsed as JSON and thrown away.
    group.bench_function("floor_parse_json_lines", |b| {
        b.iter(|| {
            for line in wire.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let _: serde_json::Value = serde_json::from_slice(black_box(line)).unwrap();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
