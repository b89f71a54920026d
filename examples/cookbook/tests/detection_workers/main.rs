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

use fleet::Random;
use lavender_store::MemoryStore;
use simulation::Simulation;
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

/// How many alerts there are of each rule.
fn by_rule(alerts: &Alerts) -> BTreeMap<&str, usize> {
    let mut rules = BTreeMap::new();
    for (rule, _) in alerts.values() {
        *rules.entry(&**rule).or_default() += 1;
    }
    rules
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_killed_at_any_step_raise_what_one_process_raises() {
    let rules = fleet::rules();
    let options = fleet::options();
    let (mut kills, mut conflicts, mut raised) = (0, 0, Alerts::new());
    for seed in seeds(12) {
        let mut random = Random(seed);
        let mut agents = Vec::new();
        let mut expected = Alerts::new();
        for number in 0..3 {
            let source = fleet::identity(number);
            let events = fleet::events(&mut random, &source, 150);
            expected.extend(single::alerts(&rules, &options, &source, &events).await);
            agents.push((source, events));
        }
        for workers in [1, 2, 4] {
            let store = Arc::new(MemoryStore::new());
            let mut simulation =
                Simulation::new(rules.clone(), options.clone(), store, random.next());
            let found = tokio::task::unconstrained(simulation.run(workers, &agents)).await;
            let missing: Vec<_> =
                expected.iter().filter(|(id, _)| !found.contains_key(id)).collect();
            let added: Vec<_> = found.iter().filter(|(id, _)| !expected.contains_key(id)).collect();
            assert!(
                missing.is_empty() && added.is_empty(),
                "seed {seed}, {workers} workers: missing {missing:?}, added {added:?}"
            );
            assert_eq!(found, expected, "seed {seed}, {workers} workers: the repeats");
            assert_eq!(simulation.late, 0, "seed {seed}, {workers} workers");
            kills += simulation.kills;
            conflicts += simulation.conflicts;
        }
        raised.extend(expected);
    }
    assert!(kills > 0 && conflicts > 0, "{kills} kills, {conflicts} conflicts");
    let rules = by_rule(&raised);
    for rule in
        ["plain", "each", "seen", "many", "few", "kinds", "then", "without", "lavender-risk"]
    {
        assert!(rules.contains_key(rule), "nothing of {rule}: {rules:?}");
    }
}
