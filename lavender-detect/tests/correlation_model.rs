//! Correlation against brute force: the same alerts, whatever the order, and however often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "correlation/generate.rs"]
mod generate;
#[path = "correlation/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use generate::{Event, LATENESS, Random, Spec};
use lavender_core::{AlertId, Bytes, Stateful, Timestamp};
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

/// Takes over what has changed, as whoever saves state does.
fn save(correlator: &mut Correlator, saved: &mut BTreeMap<String, Bytes>) {
    let mut keys = BTreeSet::new();
    correlator.changed(&mut |key, value| {
        assert!(keys.insert(key.to_owned()), "{key} is given twice");
        assert!(key.starts_with("correlation/"), "{key}");
        match value {
            Some(value) => saved.insert(key.to_owned(), value),
            None => saved.remove(key),
        };
    });
}

fn restored(rules: &RuleSet, saved: &BTreeMap<String, Bytes>) -> Correlator {
    let mut correlator = Correlator::new(rules.clone(), CorrelatorOptions::default());
    for (key, value) in saved {
        correlator.restore(key, value).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    correlator
}

#[test]
fn a_restart_at_any_step_changes_no_alert() {
    let mut raised = 0;
    for seed in seeds(400) {
        let mut random = Random(seed);
        let specs = generate::specs(&mut random);
        let events = generate::events(&mut random);
        let rules = rules(&specs);
        let expected = model::alerts(&specs, &events);
        raised += usize::from(!expected.is_empty());
        let arrivals = generate::arrivals(&mut random, &events, LATENESS);
        let arrivals: Vec<Event> = arrivals.into_iter().map(|(_, event)| event).collect();
        let mut correlator = Correlator::new(rules.clone(), CorrelatorOptions::default());
        let (mut saved, mut place, mut alerts) = (BTreeMap::new(), 0, Vec::new());
        let (mut at, mut restarts) = (0, 0);
        while at < arrivals.len() {
            let event = &arrivals[at];
            let record = record(&rules, event);
            for rule in &event.rules {
                let rule = rules.rule(&format!("rule_{rule}")).unwrap();
                correlator.observe(rule, stamp(event), &record, &mut alerts);
            }
            at += 1;
            match random.below(6) {
                0 => {
                    save(&mut correlator, &mut saved);
                    place = at;
                }
                // Killed: what was not saved is gone, and the events since are given again.
                1 if restarts < 20 => {
                    restarts += 1;
                    correlator = restored(&rules, &saved);
                    at = place;
                }
                _ => {}
            }
        }
        correlator.finish(&mut alerts);
        let ids: BTreeSet<AlertId> = alerts.iter().map(|alert| alert.id).collect();
        assert_eq!(ids, expected, "seed {seed}\n{}", generate::yaml(&specs));
        save(&mut correlator, &mut saved);
        saved.retain(|key, _| key != "correlation/time");
        assert!(saved.is_empty(), "what is over is not kept: {saved:?}");
    }
    assert!(raised > 100, "{raised} histories raise something");
}

#[test]
fn what_is_no_state_is_refused_and_leaves_nothing() {
    let specs = generate::specs(&mut Random(1));
    let mut correlator = Correlator::new(rules(&specs), CorrelatorOptions::default());
    for key in ["correlation/0", "correlation/x", "correlation/time", "correlation/losses", "x"] {
        let error = correlator.restore(key, b"\x01nothing").unwrap_err();
        assert_eq!(error.kind(), lavender_core::ErrorKind::Invalid);
        assert!(error.to_string().contains(key), "{error}");
    }
    assert_eq!((correlator.groups(), correlator.state_bytes()), (0, 0));
}
