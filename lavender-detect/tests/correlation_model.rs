//! Correlation against brute force: the same alerts, whatever the order, and however often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "correlation/generate.rs"]
mod generate;
#[path = "correlation/model.rs"]
mod model;

use std::collections::BTreeSet;

use generate::{Event, LATENESS, Random, Spec};
use lavender_core::{AlertId, Timestamp};
use lavender_detect::correlate::{Correlator, CorrelatorOptions, EventStamp};
use lavender_detect::{FieldValue, FlatRecord, RuleSet};

/// The seeds that are tried: from `LAVENDER_SEED` if that is set, only that one.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("LAVENDER_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("LAVENDER_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}

fn rules(specs: &[Spec]) -> RuleSet {
    let text = generate::yaml(specs);
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn record<'a>(rules: &RuleSet, event: &'a Event) -> FlatRecord<'a> {
    let fields = event.fields.iter().map(|(name, value)| (*name, FieldValue::from(value.as_str())));
    FlatRecord::new(rules.fields(), fields)
}

fn stamp(event: &Event) -> EventStamp {
    EventStamp { id: event.id, time: Timestamp::from_nanos(event.time) }
}

fn correlate(rules: &RuleSet, arrivals: &[Event]) -> BTreeSet<AlertId> {
    let mut correlator = Correlator::new(rules.clone(), CorrelatorOptions::default());
    let mut alerts = Vec::new();
    for event in arrivals {
        let record = record(rules, event);
        for rule in &event.rules {
            let rule = rules.rule(&format!("rule_{rule}")).unwrap();
            correlator.observe(rule, stamp(event), &record, &mut alerts);
        }
    }
    correlator.finish(&mut alerts);
    assert_eq!(correlator.groups(), 0, "nothing is left at the end");
    assert_eq!(correlator.state_bytes(), 0, "and nothing takes room");
    assert_eq!(correlator.counters().overflowed, 0);
    let ids: BTreeSet<AlertId> = alerts.iter().map(|alert| alert.id).collect();
    assert_eq!(ids.len(), alerts.len(), "no alert twice");
    ids
}

#[test]
fn the_engine_equals_brute_force_in_any_order() {
    let (mut raised, mut all) = (0, 0);
    for seed in seeds(1_500) {
        let mut random = Random(seed);
        let specs = generate::specs(&mut random);
        let events = generate::events(&mut random);
        let rules = rules(&specs);
        let expected = model::alerts(&specs, &events);
        raised += usize::from(!expected.is_empty());
        all += 1;
        assert_eq!(
            correlate(&rules, &events),
            expected,
            "in order, seed {seed}\n{}",
            generate::yaml(&specs)
        );
        for _ in 0..3 {
            let arrivals = generate::arrivals(&mut random, &events, LATENESS);
            let arrivals: Vec<Event> = arrivals.into_iter().map(|(_, event)| event).collect();
            assert_eq!(
                correlate(&rules, &arrivals),
                expected,
                "out of order, seed {seed}\n{}",
                generate::yaml(&specs)
            );
        }
    }
    assert!(raised * 2 > all, "most histories raise something");
}
