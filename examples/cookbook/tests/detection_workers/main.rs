//! Detection by several workers that share a durable and a store, of which any may be killed at any step: the same
//! alerts as of one process that sees everything in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

mod faults;
mod fleet;
mod nats;
mod silence;
mod simulation;
mod single;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::{Pace, Random};
use lavender_store::MemoryStore;
use simulation::{Order, Simulation};
use single::Alerts;

fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("LAVENDER_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("LAVENDER_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}

/// How many alerts there are of each rule that others do not have.
fn only<'a>(alerts: &'a Alerts, others: &Alerts) -> BTreeMap<&'a str, usize> {
    let mut rules = BTreeMap::new();
    for (_, (rule, _)) in alerts.iter().filter(|(id, _)| !others.contains_key(id)) {
        *rules.entry(&**rule).or_default() += 1;
    }
    rules
}

/// What was compared.
struct Ran {
    kills: u32,
    conflicts: u64,
    raised: Alerts,
}

/// Compares one, two and four workers with one process.
async fn compare((pace, count): (&Pace, u64), order: Order, seeds: std::ops::Range<u64>) -> Ran {
    let (rules, options) = (fleet::rules(), fleet::options());
    let mut ran = Ran { kills: 0, conflicts: 0, raised: Alerts::new() };
    for seed in seeds {
        let mut random = Random(seed);
        let mut agents = Vec::new();
        let mut expected = Alerts::new();
        for number in 0..3 {
            let source = fleet::identity(number);
            let events = fleet::events_at(pace, &mut random, &source, count);
            let alerts = single::alerts(&rules, &options, &source, &events).await;
            let all = expected.len() + alerts.len();
            expected.extend(alerts);
            assert_eq!(expected.len(), all, "agents have alerts of their own");
            agents.push((source, events));
        }
        for workers in [1, 2, 4] {
            let store = Arc::new(MemoryStore::new());
            let mut simulation =
                Simulation::new(rules.clone(), options.clone(), store, random.next());
            simulation.order = order;
            let found = tokio::task::unconstrained(simulation.run(workers, &agents)).await;
            let (missing, added) = (only(&expected, &found), only(&found, &expected));
            assert!(
                missing.is_empty() && added.is_empty() && simulation.forgotten == 0,
                "seed {seed}, {workers} workers: missing {missing:?}, added {added:?}, {} forgotten",
                simulation.forgotten
            );
            assert_eq!(found, expected, "seed {seed}, {workers} workers: the repeats");
            assert_eq!(simulation.late, 0, "seed {seed}, {workers} workers");
            ran.kills += simulation.kills;
            ran.conflicts += simulation.conflicts;
        }
        ran.raised.extend(expected);
    }
    let rules = only(&ran.raised, &Alerts::new());
    for rule in
        ["plain", "each", "seen", "many", "few", "kinds", "then", "without", "lavender-risk"]
    {
        assert!(rules.contains_key(rule), "nothing of {rule}: {rules:?}");
    }
    ran
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_killed_at_any_step_raise_what_one_process_raises() {
    let Ran { kills, conflicts, .. } = compare((&fleet::USUAL, 150), Order::Late, seeds(12)).await;
    assert!(kills > 0 && conflicts > 0, "{kills} kills, {conflicts} conflicts");
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_matches_in_any_order_within_the_lateness_come_to_what_one_process_raises() {
    compare((&fleet::DENSE, 320), Order::Any, seeds(1)).await;
}
