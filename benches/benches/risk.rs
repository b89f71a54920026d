//! Scores: the cost of an alert that passes, by how many trees there are and how many rules match in each, beside a count
//! in a hash map; and the bytes that a tree takes.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lavender_benches::{SEED, events, identity};
use lavender_core::event::Process;
use lavender_core::{
    Alert, AlertStage as _, BootId, Certainty, Detection, Origin, ProcessId, RuleMeta, Severity,
    Timestamp,
};
use lavender_detect::risk::{RiskOptions, RiskStage};
use lavender_detect::{SuppressionOptions, SuppressionStage};

const ALERTS: usize = 20_000;
const STEP_NS: i64 = 1_000_000;

fn rules(count: usize) -> Vec<Arc<RuleMeta>> {
    let tactics = ["attack.execution", "attack.persistence", "attack.command-and-control"];
    let rule = |number: usize| RuleMeta {
        id: format!("rule-{number:02}").into(),
        title: "A rule".into(),
        level: Severity::Medium,
        tags: vec![tactics[number % 3].into(), "attack.t1059.004".into()],
        ..RuleMeta::default()
    };
    (0..count).map(|number| Arc::new(rule(number))).collect()
}

/// Alerts in so many trees, one a millisecond.
fn stream(trees: u32, rules: &[Arc<RuleMeta>]) -> Vec<Alert> {
    let identity = identity().unwrap();
    let boot = BootId::from_u128(7);
    let origin = Origin::new(&identity.tenant, &identity.agent, boot);
    let exec = events(SEED, 1_000).unwrap().into_iter().find(|e| e.process.is_some()).unwrap();
    let process = exec.process.as_ref().unwrap();
    let processes: Vec<Arc<Process>> = (0..trees)
        .map(|tree| {
            let tree = Some(ProcessId::new(boot, u64::from(tree) + 1, 100 + tree));
            Arc::new(Process { tree, ..(**process).clone() })
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(SEED);
    (0..ALERTS)
        .map(|number| {
            let mut event = (*exec).clone();
            event.id = origin.event(number as u64 + 1);
            event.process = Some(Arc::clone(&processes[random.usize(..processes.len())]));
            let at = 1_700_000_000_000_000_000 + number as i64 * STEP_NS;
            event.observed_at = Timestamp::from_nanos(at);
            let detection = Detection {
                rule: Arc::clone(&rules[random.usize(..rules.len())]),
                event: Arc::new(event),
                evidence: Vec::new(),
                certainty: Certainty::Certain,
                correlated: None,
            };
            Alert::from_detection(&identity, detection, Timestamp::from_nanos(at))
        })
        .collect()
}

fn cost(c: &mut Criterion) {
    let mut group = c.benchmark_group("risk");
    group.throughput(Throughput::Elements(ALERTS as u64)).sample_size(10);
    for (trees, rules_each) in [(10, 3), (1_000, 3), (1_000, 20), (10_000, 3)] {
        let stream = stream(trees, &rules(rules_each));
        let name = format!("{trees}_trees_{rules_each}_rules");
        let mut bytes = 0;
        group.bench_function(BenchmarkId::new("score", &name), |b| {
            b.iter_custom(|rounds| {
                measured(rounds, || {
                    let mut stage = RiskStage::new(RiskOptions::default()).unwrap();
                    let mut alerts: Vec<Vec<Alert>> =
                        stream.iter().map(|alert| vec![alert.clone()]).collect();
                    let took = elapsed(|| {
                        for raised in &mut alerts {
                            stage.pass(black_box(raised), &mut Vec::new());
                        }
                    });
                    bytes = stage.state_bytes() / stage.trees().max(1);
                    took
                })
            });
        });
        eprintln!("{name}: {bytes} bytes a tree");
        group.bench_function(BenchmarkId::new("suppress", &name), |b| {
            b.iter_custom(|rounds| {
                measured(rounds, || {
                    let mut stage = SuppressionStage::new(SuppressionOptions::default());
                    let mut alerts: Vec<Vec<Alert>> =
                        stream.iter().map(|alert| vec![alert.clone()]).collect();
                    elapsed(|| {
                        for raised in &mut alerts {
                            stage.pass(black_box(raised), &mut Vec::new());
                        }
                    })
                })
            });
        });
        group.bench_function(BenchmarkId::new("floor_hash_map", &name), |b| {
            b.iter(|| {
                let mut counts: HashMap<ProcessId, u64> = HashMap::new();
                for alert in black_box(&stream) {
                    let tree = alert.process.as_ref().map(|process| process.tree_id());
                    *counts.entry(tree.unwrap()).or_default() += 1;
                }
                counts.len()
            });
        });
    }
    group.finish();
}

fn measured(rounds: u64, mut round: impl FnMut() -> std::time::Duration) -> std::time::Duration {
    (0..rounds).map(|_| round()).sum()
}

#[allow(clippy::disallowed_methods, reason = "what a benchmark measures is the real time")]
fn elapsed<T>(work: impl FnOnce() -> T) -> std::time::Duration {
    let start = std::time::Instant::now();
    black_box(work());
    start.elapsed()
}

criterion_group!(benches, cost);
criterion_main!(benches);
