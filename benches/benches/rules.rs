//! Rule evaluation: Lavender's events against 1 to 3,000 rules, per event.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::{SEED, events, rules};
use lavender_core::event::{Event, EventData};
use lavender_core::{Detection, Detector};
use lavender_detect::{
    RuleHandle, RuleSet, RuleSetBuilder, SigmaDetector, UndeterminedPolicy, builtin,
};

const EVENTS: usize = 20_000;

fn detector(rules: RuleSet) -> SigmaDetector {
    SigmaDetector::new(&RuleHandle::new(rules), UndeterminedPolicy::Count)
}

fn look(detector: &mut SigmaDetector, events: &[Arc<Event>], found: &mut Vec<Detection>) -> usize {
    for event in events {
        detector.detect(black_box(event), found);
    }
    let count = found.len();
    found.clear();
    count
}

/// The floor: every byte that rules look at, read once.
fn read_fields(events: &[Arc<Event>]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let mut total = 0;
    for event in events {
        if let Some(process) = &event.process {
            total += sum(&process.executable.path.value);
            if matches!(event.data, EventData::Exec(_)) {
                total += sum(process.arguments.value.command_line());
            }
        }
        if let EventData::FileOpen(open) = &event.data {
            total += sum(&open.path.value);
        }
    }
    total
}

fn evaluate(c: &mut Criterion) {
    let events = events(SEED, EVENTS).unwrap();
    let mut found = Vec::new();
    let mut group = c.benchmark_group("rules");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20);
    for count in [1, 10, 100, 1_000, 3_000] {
        let mut detector = detector(RuleSet::from_yaml(&rules(SEED, count)).unwrap());
        group.bench_with_input(BenchmarkId::new("missed", count), &count, |b, _| {
            b.iter(|| look(&mut detector, &events, &mut found));
        });
    }
    let mut builder = RuleSetBuilder::new().with_placeholders(builtin::placeholders());
    builder.add_builtin();
    let mut detector = detector(builder.build().unwrap().rules);
    group.bench_function("builtin", |b| b.iter(|| look(&mut detector, &events, &mut found)));
    group.bench_function("floor_read_fields", |b| b.iter(|| read_fields(black_box(&events))));
    group.finish();
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
