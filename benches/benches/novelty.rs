//! Novelty: the cost of a sighting of a value that is known and of one that is not, and the bytes that a value takes, beside
//! a set of the values themselves.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::collections::HashSet;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::identity;
use lavender_core::{BootId, Origin, Stateful as _, Timestamp};
use lavender_detect::correlate::EventStamp;
use lavender_detect::novelty::{Novelty, NoveltyOptions, Sighting};
use lavender_detect::{FieldId, FieldValue, Record, RuleSet};

const START_NS: i64 = 1_700_000_000_000_000_000;
/// What a host knows after its baseline: some thousands of pairs.
const VALUES: usize = 10_000;

/// A pair of programs whose fields are known by their numbers.
struct Pair<'a> {
    fields: (FieldId, FieldId),
    parent: &'a str,
    image: &'a str,
}

impl Record for Pair<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        if field == self.fields.0 {
            FieldValue::from(self.parent)
        } else if field == self.fields.1 {
            FieldValue::from(self.image)
        } else {
            FieldValue::Absent
        }
    }
}

fn rules(bytes_max: usize) -> RuleSet {
    RuleSet::from_yaml(&format!(
        "title: N\nid: n\nlogsource: {{product: bench}}\n\
         detection: {{s: {{x: 1}}, condition: s}}\n\
         lavender: {{novelty: {{fields: [ParentImage, Image], forget: 30d, bytes_max: {bytes_max}}}}}\n"
    ))
    .unwrap()
}

fn pairs(count: usize) -> Vec<(String, String)> {
    let pair = |number| {
        (
            format!("/usr/lib/service-{}/bin/server", number % 97),
            format!("/usr/bin/program-{number}"),
        )
    };
    (0..count).map(pair).collect()
}

fn give(novelty: &mut Novelty, rules: &RuleSet, pairs: &[(String, String)], second: i64) -> usize {
    let rule = rules.rule("n").unwrap();
    let fields = (rules.fields().id("ParentImage").unwrap(), rules.fields().id("Image").unwrap());
    let identity = identity().unwrap();
    let origin = Origin::new(&identity.tenant, &identity.agent, BootId::from_u128(7));
    let mut new = 0;
    for (number, (parent, image)) in pairs.iter().enumerate() {
        let time = Timestamp::from_nanos(START_NS + second * 1_000_000_000);
        let at = EventStamp { id: origin.event(number as u64 + 1), time };
        let record = Pair { fields, parent, image };
        new += usize::from(matches!(novelty.sight(rule, at, black_box(&record)), Sighting::New(_)));
    }
    new
}

fn cost(c: &mut Criterion) {
    let mut group = c.benchmark_group("novelty");
    group.throughput(Throughput::Elements(VALUES as u64)).sample_size(20);
    let rules = rules(4 << 20);
    let all = pairs(VALUES);
    let mut learned = Novelty::new(rules.clone(), NoveltyOptions::default());
    assert_eq!(give(&mut learned, &rules, &all, 0), VALUES);
    group.bench_function("known", |b| {
        b.iter(|| assert_eq!(give(&mut learned, &rules, &all, 60), 0))
    });
    // Each is an alert, with its values as text and its id; an event has them once in its life.
    group.bench_function("unknown", |b| {
        b.iter_batched_ref(
            || Novelty::new(rules.clone(), NoveltyOptions::default()),
            |novelty| assert_eq!(give(novelty, &rules, &all, 0), VALUES),
            BatchSize::LargeInput,
        );
    });
    let options = |baseline: bool| {
        let mut options = NoveltyOptions::default();
        options.baseline = baseline.then_some(std::time::Duration::from_secs(86_400));
        options
    };
    group.bench_function("unknown_in_baseline", |b| {
        b.iter_batched_ref(
            || Novelty::new(rules.clone(), options(true)),
            |novelty| assert_eq!(give(novelty, &rules, &all, 0), 0),
            BatchSize::LargeInput,
        );
    });
    // All of the bound is used, and each that comes makes room by forgetting another.
    let (mut full, small) = (Novelty::new(self::rules(65_536), options(true)), self::rules(65_536));
    full.replace_rules(small.clone());
    give(&mut full, &small, &all, 0);
    let mut round = 0;
    group.bench_function("unknown_beyond_the_bound", |b| {
        b.iter(|| {
            round += 1;
            let (first, second) = all.split_at(VALUES / 2);
            give(&mut full, &small, first, round) + give(&mut full, &small, second, round)
        });
    });
    assert!(full.counters().forgotten > 0);

    let mut set: HashSet<(String, String)> = HashSet::new();
    set.extend(all.iter().cloned());
    group.bench_function("floor_hash_set_known", |b| {
        b.iter(|| all.iter().filter(|pair| !set.contains(black_box(*pair))).count());
    });
    group.bench_function("floor_hash_set_unknown", |b| {
        b.iter(|| all.iter().cloned().collect::<HashSet<_>>().len());
    });
    group.finish();

    let mut saves = c.benchmark_group("novelty_state");
    for count in [1_000, VALUES, 57_000] {
        let many = pairs(count);
        let mut novelty = Novelty::new(rules.clone(), NoveltyOptions::default());
        give(&mut novelty, &rules, &many, 0);
        let (mut bytes, mut parts) = (0, 0);
        novelty.changed(&mut |_, value| {
            parts += 1;
            bytes += value.map_or(0, |value| value.len());
        });
        let memory = novelty.state_bytes();
        let per_value = memory as f64 / count as f64;
        let texts: usize =
            many.iter().map(|(a, b)| a.len() + b.len() + 2 * size_of::<String>()).sum();
        eprintln!(
            "{count} values: {per_value:.1} bytes a value in memory (of which 10 KiB are fixed), {:.1} saved, in {parts} \
             parts of {} bytes; as texts in a set at least {}",
            bytes as f64 / count as f64,
            bytes / parts,
            texts / count,
        );
        let mut number = 0;
        saves.bench_function(BenchmarkId::new("save_one_more", count), |b| {
            b.iter_batched(
                || {
                    number += 1;
                    [(String::from("/usr/bin/x"), format!("/usr/bin/more-{number}"))]
                },
                |one| {
                    give(&mut novelty, &rules, &one, 0);
                    let mut bytes = 0;
                    novelty.changed(&mut |_, value| bytes += value.map_or(0, |value| value.len()));
                    bytes
                },
                BatchSize::SmallInput,
            );
        });
    }
    saves.finish();
}

criterion_group!(benches, cost);
criterion_main!(benches);
