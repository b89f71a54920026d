//! Correlation: the cost of a detection by type and by length of the window, and the bytes that a group takes, beside
//! a count in a hash map.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::{SEED, identity};
use lavender_core::{BootId, Origin, Timestamp};
use lavender_detect::correlate::{Correlator, CorrelatorOptions, EventStamp};
use lavender_detect::{FieldId, FieldValue, Record, RuleSet};

const DETECTIONS: usize = 100_000;
const GROUPS: u64 = 1_000;
/// The time between detections: 10,000 a second.
const STEP_NS: i64 = 100_000;

/// What correlations ask of a detection: a group as long as a process id, and a value.
struct Detected {
    at: EventStamp,
    rule: usize,
    group: String,
    value: String,
}

/// A record whose fields are known by their numbers.
struct Fields<'a> {
    detected: &'a Detected,
    group: Option<FieldId>,
    value: Option<FieldId>,
}

impl Record for Fields<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        if Some(field) == self.group {
            FieldValue::from(&self.detected.group)
        } else if Some(field) == self.value {
            FieldValue::from(&self.detected.value)
        } else {
            FieldValue::Absent
        }
    }
}

fn rules(body: &str, timespan: &str) -> RuleSet {
    let mut text = String::new();
    for rule in ["a", "b", "c"] {
        text += &format!(
            "title: {rule}\nid: {rule}\nlogsource: {{product: bench}}\n\
             detection: {{s: {{x: {rule}}}, condition: s}}\n---\n"
        );
    }
    text += &format!(
        "title: C\ncorrelation: {{rules: [a, b, c], group-by: [group], timespan: {timespan}, {body}}}\n"
    );
    RuleSet::from_yaml(&text).unwrap()
}

fn stream(groups: u64) -> Vec<Detected> {
    let identity = identity().unwrap();
    let origin = Origin::new(&identity.tenant, &identity.agent, BootId::from_u128(7));
    let mut random = fastrand::Rng::with_seed(SEED);
    (0..DETECTIONS)
        .map(|number| Detected {
            at: EventStamp {
                id: origin.event(number as u64 + 1),
                time: Timestamp::from_nanos(1_700_000_000_000_000_000 + number as i64 * STEP_NS),
            },
            rule: random.usize(..3),
            group: format!("{{{:08x}-0000-8000-8000-{:012x}}}", random.u64(..groups), 7),
            value: format!("/usr/bin/program-{}", random.u32(..500)),
        })
        .collect()
}

/// Moves the stream on, so that it can be given again.
fn later(stream: &mut [Detected], origin: Origin, round: &mut u64) {
    *round += 1;
    for (number, detected) in stream.iter_mut().enumerate() {
        let sequence = *round * DETECTIONS as u64 + number as u64 + 1;
        let by = DETECTIONS as i64 * STEP_NS;
        detected.at.time = Timestamp::from_nanos(detected.at.time.as_nanos() + by);
        detected.at.id = origin.event(sequence);
    }
}

fn correlate(correlator: &mut Correlator, rules: &RuleSet, stream: &[Detected]) -> usize {
    let by_number = ["a", "b", "c"].map(|id| rules.rule(id).unwrap());
    let (group, value) = (rules.fields().id("group"), rules.fields().id("value"));
    let mut alerts = Vec::new();
    for detected in stream {
        let record = Fields { detected, group, value };
        correlator.observe(by_number[detected.rule], detected.at, black_box(&record), &mut alerts);
    }
    alerts.len()
}

const KINDS: [(&str, &str); 5] = [
    ("event_count", "type: event_count, condition: {gte: 10}"),
    // What is never reached keeps the most state, and looks at it every time.
    ("event_count_unreached", "type: event_count, condition: {gte: 100000}"),
    ("value_count", "type: value_count, condition: {field: value, gte: 10}"),
    ("temporal", "type: temporal"),
    ("temporal_ordered", "type: temporal_ordered"),
];

fn cost(c: &mut Criterion) {
    let identity = identity().unwrap();
    let origin = Origin::new(&identity.tenant, &identity.agent, BootId::from_u128(7));
    let mut group = c.benchmark_group("correlate");
    group.throughput(Throughput::Elements(DETECTIONS as u64)).sample_size(10);
    for (name, body) in KINDS {
        for timespan in ["10s", "1m", "1h"] {
            // State that nothing takes from would be that of a whole window: 36 million detections.
            if name == "event_count_unreached" && timespan == "1h" {
                continue;
            }
            let rules = rules(body, timespan);
            let mut options = CorrelatorOptions::default();
            options.state_bytes_max = 1 << 30;
            let mut correlator = Correlator::new(rules.clone(), options);
            let (mut stream, mut round) = (stream(GROUPS), 0);
            correlate(&mut correlator, &rules, &stream);
            group.bench_function(BenchmarkId::new(name, timespan), |b| {
                b.iter_custom(|rounds| {
                    let mut total = std::time::Duration::ZERO;
                    for _ in 0..rounds {
                        later(&mut stream, origin, &mut round);
                        total += elapsed(|| correlate(&mut correlator, &rules, &stream));
                    }
                    total
                });
            });
            let (bytes, groups) = (correlator.state_bytes(), correlator.groups().max(1));
            eprintln!("{name} {timespan}: {} bytes a group of {groups}", bytes / groups);
        }
    }
    let stream = stream(GROUPS);
    group.bench_function("floor_hash_map", |b| {
        b.iter(|| {
            let mut counts: HashMap<&str, u64> = HashMap::new();
            for detected in black_box(&stream) {
                *counts.entry(&detected.group).or_default() += 1;
            }
            counts.len()
        });
    });
    group.finish();
}

#[allow(clippy::disallowed_methods, reason = "what a benchmark measures is the real time")]
fn elapsed<T>(work: impl FnOnce() -> T) -> std::time::Duration {
    let start = std::time::Instant::now();
    black_box(work());
    start.elapsed()
}

criterion_group!(benches, cost);
criterion_main!(benches);
