//! Rules on the events of many agents: what concerns one, and what is known of it when another goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "support is shared with other tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
use lavender_core::{
    AgentId, BootId, BootTime, Bytes, Detection, Detector, ErrorKind, FleetDetector as _, Origin,
    Sequencer, TenantId, Timestamp,
};
use lavender_detect::{
    FleetOptions, RuleHandle, RuleSet, SigmaDetector, SigmaFleetDetector, TenantRules,
    UndeterminedPolicy,
};
use support::{exec, process, truncated};

const RULES: &str = "
title: Plain\nid: plain\nlogsource: {category: process_creation, product: linux}
detection: {s: {CommandLine|contains: secret}, condition: s}
---
title: Silent\nid: silent\nname: silent\nlogsource: {category: process_creation, product: linux}
detection: {s: {Image|endswith: /cat}, condition: s}
---
title: New\nid: new\nlogsource: {category: process_creation, product: linux}
detection: {s: {Image|endswith: /ssh}, condition: s}
lavender: {novelty: {fields: [User], baseline: 1h}}
---
title: Few\nid: few\ncorrelation: {type: event_count, rules: [silent], timespan: 5s, condition: {lt: 2}}
";

fn fleet(policy: UndeterminedPolicy) -> (RuleHandle, SigmaFleetDetector) {
    let handle = RuleHandle::new(RuleSet::from_yaml(RULES).unwrap());
    let sigma = SigmaDetector::new(&handle, policy);
    let options = FleetOptions::new(Duration::from_secs(10));
    (handle, SigmaFleetDetector::new(sigma, options).unwrap())
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn run(image: &str, arguments: &[&str]) -> Arc<Event> {
    exec(process(image, arguments, None))
}

#[test]
fn an_event_concerns_an_agent_if_a_rule_of_any_kind_matches_it() {
    let (_handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    assert!(fleet.concerns(&acme(), &run("/usr/bin/x", &["x", "secret"])));
    assert!(fleet.concerns(&acme(), &run("/usr/bin/cat", &["cat"])), "correlations need it");
    assert!(fleet.concerns(&acme(), &run("/usr/bin/ssh", &["ssh"])), "it may be new");
    assert!(!fleet.concerns(&acme(), &run("/usr/bin/true", &["true"])));
    let loss = Loss::new(LossStage::Queue, EventKind::Exec, 1);
    let lost = Event { data: EventData::Lost(loss), ..(*run("/bin/x", &["x"])).clone() };
    assert!(fleet.concerns(&acme(), &Arc::new(lost)));
}

#[test]
fn what_could_not_be_decided_concerns_an_agent_where_it_is_reported() {
    let event = || exec(truncated(process("/usr/bin/x", &["x", "y", "secret"], None), 3));
    let (counting, mut fleet_of_counting) = fleet(UndeterminedPolicy::Count);
    assert!(!fleet_of_counting.concerns(&acme(), &event()));
    assert_eq!(counting.undetermined(), 1);
    let (_reporting, mut fleet) = fleet(UndeterminedPolicy::Report);
    assert!(fleet.concerns(&acme(), &event()));
}

fn evaluations(handle: &RuleHandle, id: &str) -> u64 {
    let stats = handle.rule_stats();
    stats.iter().find(|rule| &*rule.id == id).map_or(0, |rule| rule.evaluated)
}

#[test]
fn what_an_event_hits_is_found_out_once_by_the_rules_of_now_and_for_itself_only() {
    let (handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    let mut detector = fleet.begin(&acme()).detector;
    // Late enough for what was counted to be added up.
    let later = |event: &Arc<Event>, seconds: u64| {
        let boot_time = BootTime::from_nanos(seconds * 1_000_000_000);
        Arc::new(Event { boot_time, ..(**event).clone() })
    };
    let secret = later(&run("/usr/bin/x", &["x", "secret"]), 10);
    let harmless = later(&run("/usr/bin/true", &["true"]), 20);
    assert!(!fleet.take_renewed());
    assert!(fleet.concerns(&acme(), &secret) && !fleet.concerns(&acme(), &harmless));
    let mut found: Vec<Detection> = Vec::new();
    // Again, and the other way around, as when a step is done again.
    for event in [&secret, &harmless, &harmless, &secret] {
        detector.detect(event, &mut found);
    }
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|found| Arc::ptr_eq(&found.event, &secret)));
    let next = later(&harmless, 30);
    assert!(!fleet.take_renewed());
    assert!(!fleet.concerns(&acme(), &next));
    assert_eq!(evaluations(&handle, "plain"), 1);

    // Another event that says it is the same one is looked at for itself.
    let other = Arc::new(Event { process: harmless.process.clone(), ..(*secret).clone() });
    assert!(fleet.concerns(&acme(), &secret));
    detector.detect(&other, &mut found);
    assert_eq!(found.len(), 2);
    detector.detect(&secret, &mut found);
    assert_eq!(found.len(), 3);

    // What was found by rules that are no more is nothing.
    assert!(fleet.concerns(&acme(), &secret));
    handle.swap(RuleSet::empty());
    detector.detect(&secret, &mut found);
    assert_eq!(found.len(), 3);
}

#[test]
fn what_could_not_be_decided_is_counted_once() {
    let event = || exec(truncated(process("/usr/bin/x", &["x", "y", "secret"], None), 3));
    let (handle, mut fleet) = fleet(UndeterminedPolicy::Report);
    let mut detector = fleet.begin(&acme()).detector;
    let (first, mut found) = (event(), Vec::new());
    assert!(fleet.concerns(&acme(), &first));
    detector.detect(&first, &mut found);
    assert_eq!((found.len(), handle.undetermined()), (1, 1));
    detector.detect(&event(), &mut found);
    assert_eq!((found.len(), handle.undetermined()), (2, 2));
}

#[test]
fn it_says_once_that_rules_were_replaced() {
    let (handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    assert!(!fleet.take_renewed());
    handle.swap(RuleSet::empty());
    assert!(fleet.take_renewed());
    assert!(!fleet.take_renewed());
    assert!(!fleet.concerns(&acme(), &run("/usr/bin/cat", &["cat"])));
}

fn save(detector: &mut Box<dyn Detector>, saved: &mut BTreeMap<String, Bytes>) {
    detector.state().unwrap().changed(&mut |key, value| {
        match value {
            Some(value) => saved.insert(key.to_owned(), value),
            None => saved.remove(key),
        };
    });
}

#[test]
fn who_takes_over_knows_what_is_due_and_the_process_that_it_is_about() {
    let (_handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    let mut first = fleet.begin(&acme()).detector;
    let event = run("/usr/bin/cat", &["cat"]);
    let mut found: Vec<Detection> = Vec::new();
    first.detect(&event, &mut found);
    let mut saved = BTreeMap::new();
    save(&mut first, &mut saved);
    assert!(found.is_empty());

    let mut second = fleet.begin(&acme()).detector;
    assert_eq!(second.due(), None);
    for (key, value) in &saved {
        second.state().unwrap().restore(key, value).unwrap();
    }
    assert_eq!(second.due(), first.due());
    let closed = event.observed_at.saturating_add(Duration::from_secs(5 + 10));
    second.idle(closed.saturating_sub(Duration::from_millis(1)), &mut found);
    assert!(found.is_empty(), "not before its time");
    while let Some(due) = second.due() {
        second.idle(due, &mut found);
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].event, event);
    // Where nothing waits, no event is kept.
    save(&mut second, &mut saved);
    assert!(!saved.keys().any(|key| key.starts_with("event/")), "{:?}", saved.keys());
}

#[test]
fn a_loss_that_comes_first_after_a_restart_is_of_the_time_to_which_events_had_come() {
    let (_handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    let mut incomplete = |lost: bool| {
        let mut first = fleet.begin(&acme()).detector;
        let event = run("/usr/bin/cat", &["cat"]);
        let mut found: Vec<Detection> = Vec::new();
        first.detect(&event, &mut found);
        let mut saved = BTreeMap::new();
        save(&mut first, &mut saved);

        let mut second = fleet.begin(&acme()).detector;
        for (key, value) in &saved {
            second.state().unwrap().restore(key, value).unwrap();
        }
        if lost {
            let loss = Loss::new(LossStage::KernelRing, EventKind::Exec, 1);
            let lost = Event { data: EventData::Lost(loss), process: None, ..(*event).clone() };
            second.detect(&Arc::new(lost), &mut found);
        }
        while let Some(due) = second.due() {
            second.idle(due, &mut found);
        }
        found[0].correlated.as_ref().unwrap().incomplete
    };
    assert!(incomplete(true));
    assert!(!incomplete(false));
}

const BRIEF: &str = "
title: New\nid: new\nlogsource: {category: process_creation, product: linux}
detection: {s: {Image|endswith: /ssh}, condition: s}
lavender: {novelty: {fields: [Image], baseline: 5s}}
";

#[test]
fn what_was_learned_is_new_when_the_baseline_turns_out_to_have_begun_earlier() {
    let handle = RuleHandle::new(RuleSet::from_yaml(BRIEF).unwrap());
    let options = FleetOptions::new(Duration::from_secs(10));
    let mut fleet = SigmaFleetDetector::new(handle.detector(), options).unwrap();
    let at = |seconds: u64, image: &str| {
        let event = run(image, &["x"]);
        let time = event.observed_at.saturating_add(Duration::from_secs(seconds));
        Arc::new(Event { observed_at: time, ..(*event).clone() })
    };
    let found_late = at(9, "/usr/bin/ssh");
    let mut found: Vec<Detection> = Vec::new();
    let mut first = fleet.begin(&acme()).detector;
    first.detect(&found_late, &mut found);
    assert!(found.is_empty(), "as far as is known, it is being learned");
    let mut saved = BTreeMap::new();
    save(&mut first, &mut saved);

    // Another goes on, and hears what happened before.
    let mut second = fleet.begin(&acme()).detector;
    for (key, value) in &saved {
        second.state().unwrap().restore(key, value).unwrap();
    }
    second.detect(&at(5, "/usr/bin/true"), &mut found);
    assert!(found.is_empty(), "learned still");
    second.detect(&at(0, "/usr/bin/true"), &mut found);
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].rule.id, &found[0].event), ("new", &found_late));

    // Once nothing earlier may come, nothing is kept for it.
    second.detect(&at(60, "/usr/bin/true"), &mut found);
    save(&mut second, &mut saved);
    assert!(!saved.keys().any(|key| key.starts_with("learning/")), "{:?}", saved.keys());
}

#[test]
fn events_that_cannot_be_read_are_refused_and_those_without_room_are_counted() {
    let (_handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    let mut detector = fleet.begin(&acme()).detector;
    let state = detector.state().unwrap();
    for value in [&b""[..], b"{}", b"\xff", b"{\"id\":1}"] {
        let error = state.restore("event/00-00", value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let large = "x".repeat(300_000);
    detector.detect(&run("/usr/bin/cat", &["cat", &large]), &mut Vec::new());
    let mut saved = BTreeMap::new();
    save(&mut detector, &mut saved);
    assert!(!saved.keys().any(|key| key.starts_with("event/")), "{:?}", saved.keys());
    assert_eq!(detector.state().unwrap().gaps().forgotten, 1);
    detector.idle(Timestamp::from_nanos(i64::MAX / 4), &mut Vec::new());
}

#[test]
fn what_is_damaged_in_the_store_leaves_an_alert_without_its_process_and_is_counted() {
    let (_handle, mut fleet) = fleet(UndeterminedPolicy::Count);
    let mut first = fleet.begin(&acme()).detector;
    first.detect(&run("/usr/bin/cat", &["cat"]), &mut Vec::new());
    let mut saved = BTreeMap::new();
    save(&mut first, &mut saved);
    let mut second = fleet.begin(&acme()).detector;
    for (key, value) in &saved {
        let mut value = value.to_vec();
        if key.starts_with("event/") {
            value.truncate(value.len() - 10);
        }
        second.state().unwrap().restore(key, &value).unwrap();
    }
    assert_eq!(second.state().unwrap().gaps().forgotten, 0);
    second.detect(&run("/usr/bin/true", &["true"]), &mut Vec::new());
    let mut found = Vec::new();
    while let Some(due) = second.due() {
        second.idle(due, &mut found);
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].event.process, None);
    assert_eq!(second.state().unwrap().gaps().forgotten, 1);
}

#[test]
fn of_more_events_than_there_is_room_for_the_newest_are_kept() {
    let handle = RuleHandle::new(RuleSet::from_yaml(RULES).unwrap());
    let mut options = FleetOptions::new(Duration::from_secs(10));
    options.event_bytes_max = 64 << 10;
    let mut fleet = SigmaFleetDetector::new(handle.detector(), options).unwrap();
    let mut detector = fleet.begin(&acme()).detector;
    let origin = Origin::new(&acme(), &AgentId::new("web-1").unwrap(), BootId::from_u128(7));
    let ids = Sequencer::new(origin);
    let (mut saved, mut events) = (BTreeMap::new(), 0_u64);
    for _ in 0..10 {
        for _ in 0..100 {
            let long = "x".repeat(400);
            let event = run("/usr/bin/cat", &["cat", &long]);
            let observed_at = Timestamp::from_millis(1_000_000 + events as i64);
            let event = Event { id: ids.next(), observed_at, ..(*event).clone() };
            detector.detect(&Arc::new(event), &mut Vec::new());
            events += 1;
        }
        save(&mut detector, &mut saved);
        let blocks = saved.iter().filter(|(key, _)| key.starts_with("event/"));
        let bytes: usize = blocks.map(|(_, value)| value.len()).sum();
        assert!((16 << 10..=48 << 10).contains(&bytes), "{bytes}");
    }
    let forgotten = detector.state().unwrap().gaps().forgotten;
    assert!(forgotten > 500 && forgotten < events, "{forgotten} of {events}");
    let mut second = fleet.begin(&acme()).detector;
    for (key, value) in &saved {
        second.state().unwrap().restore(key, value).unwrap();
    }
    let mut found = Vec::new();
    second.idle(Timestamp::from_nanos(0), &mut found);
    let alone = run("/usr/bin/cat", &["cat", "alone"]);
    let alone =
        Arc::new(Event { observed_at: Timestamp::from_millis(1_060_000), ..(*alone).clone() });
    second.detect(&alone, &mut found);
    save(&mut second, &mut saved);
    while let Some(due) = second.due() {
        second.idle(due, &mut found);
    }
    assert_eq!(found.last().unwrap().event, alone);
}

#[test]
fn a_tenant_with_rules_of_its_own_is_looked_at_by_them() {
    let (handle, fleet) = fleet(UndeterminedPolicy::Count);
    let tenants = TenantRules::default();
    let mut fleet = fleet.with_tenants(tenants.clone());
    let globex = TenantId::new("globex").unwrap();
    let own = |word: &str| RuleSet::from_yaml(&RULES.replace("secret", word)).unwrap();
    let event = |word: &str| run("/usr/bin/x", &["x", word]);
    assert!(fleet.concerns(&globex, &event("secret")), "it has those of everybody");
    assert!(!fleet.take_renewed());

    tenants.set(&globex, own("word"));
    assert!(fleet.take_renewed());
    assert!(!fleet.take_renewed());
    assert!(fleet.concerns(&globex, &event("word")) && !fleet.concerns(&globex, &event("secret")));
    assert!(fleet.concerns(&acme(), &event("secret")) && !fleet.concerns(&acme(), &event("word")));
    let mut found = Vec::new();
    fleet.begin(&globex).detector.detect(&event("word"), &mut found);
    fleet.begin(&acme()).detector.detect(&event("word"), &mut found);
    assert_eq!(found.len(), 1);

    tenants.set(&globex, own("other"));
    assert!(fleet.take_renewed());
    assert!(fleet.concerns(&globex, &event("other")) && !fleet.concerns(&globex, &event("word")));
    handle.swap(RuleSet::empty());
    assert!(fleet.take_renewed());
    assert!(fleet.concerns(&globex, &event("other")), "it has its own");
    assert!(!fleet.concerns(&acme(), &event("secret")));
}
