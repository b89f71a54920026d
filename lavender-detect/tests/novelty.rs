//! Novelty: what is new, what never is, what has no room, what is lost, and what correlations see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage};
use lavender_core::{
    AgentId, AlertId, BootId, Bytes, Detection, Detector, ErrorKind, Origin, Stateful as _,
    TenantId, Timestamp,
};
use lavender_detect::correlate::{CorrelatingDetector, CorrelatorOptions, EventStamp};
use lavender_detect::novelty::{Novelty, NoveltyOptions, Sighting};
use lavender_detect::{
    FieldId, FieldValue, FlatRecord, Kept, Record, RuleHandle, RuleSet, SigmaDetector,
    UndeterminedPolicy,
};
use support::{connect, exec, process, truncated};

const DAY_S: i64 = 86_400;

fn rule(id: &str, novelty: &str) -> String {
    format!(
        "title: {id}\nid: {id}\nlogsource: {{product: test}}\n\
         detection: {{s: {{x: 1}}, condition: s}}\nlavender: {{novelty: {{{novelty}}}}}\n---\n"
    )
}

fn origin() -> Origin {
    let tenant = TenantId::new("acme").unwrap();
    Origin::new(&tenant, &AgentId::new("web-1").unwrap(), BootId::from_u128(7))
}

/// A stage that is given texts at a second.
struct Stage {
    rules: RuleSet,
    novelty: Novelty,
    origin: Origin,
    sequence: u64,
}

impl Stage {
    fn with(text: &str, options: NoveltyOptions) -> Self {
        let rules = RuleSet::from_yaml(text).unwrap();
        let novelty = Novelty::new(rules.clone(), options);
        Self { rules, novelty, origin: origin(), sequence: 0 }
    }

    fn new(novelty: &str) -> Self {
        Self::with(&rule("n", novelty), NoveltyOptions::default())
    }

    fn record(&mut self, id: &str, second: i64, record: &impl Record) -> Sighting {
        self.sequence += 1;
        let time = Timestamp::from_millis((1_700_000_000 + second) * 1_000);
        let at = EventStamp { id: self.origin.event(self.sequence), time };
        self.novelty.advance(time);
        self.novelty.sight(self.rules.rule(id).unwrap(), at, record)
    }

    fn give_to(&mut self, id: &str, second: i64, fields: &[(&str, FieldValue<'_>)]) -> Sighting {
        let rules = self.rules.clone();
        let record = FlatRecord::new(rules.fields(), fields.iter().copied());
        self.record(id, second, &record)
    }

    fn give(&mut self, second: i64, fields: &[(&str, FieldValue<'_>)]) -> Sighting {
        self.give_to("n", second, fields)
    }

    /// The one alert on a value of `a`, if there is one.
    fn alert(&mut self, second: i64, value: &str) -> Option<(AlertId, bool)> {
        match self.give(second, &[("a", FieldValue::from(value))]) {
            Sighting::New(values) => Some((values[0].id, values[0].incomplete)),
            _ => None,
        }
    }

    fn save(&mut self, saved: &mut BTreeMap<String, Bytes>) -> usize {
        let mut bytes = 0;
        self.novelty.changed(&mut |key, value| {
            bytes += value.as_ref().map_or(0, Bytes::len);
            match value {
                Some(value) => drop(saved.insert(key.to_owned(), value)),
                None => drop(saved.remove(key)),
            }
        });
        bytes
    }
}

#[test]
fn the_first_sight_raises_and_repeats_do_not() {
    let mut stage = Stage::new("fields: [a, b]");
    let pair =
        |a: &'static str, b: &'static str| [("a", FieldValue::from(a)), ("b", FieldValue::from(b))];
    let Sighting::New(first) = stage.give(0, &pair("nginx", "sh")) else { panic!("not new") };
    let shown: Vec<_> = first[0].values.iter().map(|e| (&*e.field, e.value.to_string())).collect();
    assert_eq!(shown, [("a", "nginx".to_owned()), ("b", "sh".to_owned())]);
    assert!(!first[0].incomplete);
    assert_eq!(stage.give(60, &pair("nginx", "sh")), Sighting::Known);
    assert!(matches!(stage.give(61, &pair("nginx", "id")), Sighting::New(_)));
    // The same bytes, divided otherwise, are another pair.
    assert!(matches!(stage.give(62, &pair("nginxs", "h")), Sighting::New(_)));
    assert_eq!(stage.give(10 * 365 * DAY_S, &pair("nginx", "sh")), Sighting::Known);
    assert_eq!(stage.novelty.counters().raised, 3);
}

#[test]
fn another_event_right_after_the_first_counts_for_correlations_only() {
    let mut stage = Stage::new("fields: a");
    let value = [("a", FieldValue::from("x"))];
    assert!(matches!(stage.give(0, &value), Sighting::New(_)));
    assert_eq!(stage.give(1, &value), Sighting::Again);
    assert_eq!(stage.give(10, &value), Sighting::Known);
}

#[test]
fn per_asks_for_each_key_by_itself() {
    let mut stage = Stage::new("fields: a, per: [k]");
    let mut new = |second, a: &str, k: &str| {
        let fields = [("a", FieldValue::from(a)), ("k", FieldValue::from(k))];
        matches!(stage.give(second, &fields), Sighting::New(_))
    };
    assert!(new(0, "curl", "alice"));
    assert!(new(10, "curl", "bob"));
    assert!(!new(20, "curl", "alice") && !new(30, "curl", "bob"));
}

#[test]
fn the_baseline_begins_with_the_first_event_of_any_kind_and_learns_in_silence() {
    let mut stage = Stage::new("fields: a, baseline: 7d");
    stage.novelty.advance(Timestamp::from_millis(1_700_000_000_000));
    assert_eq!(stage.alert(3 * DAY_S, "learned"), None);
    assert_eq!(stage.alert(7 * DAY_S - 5, "learned too"), None);
    assert_eq!(stage.novelty.counters().learned, 2);
    assert!(stage.alert(7 * DAY_S + 5, "new").is_some());
    assert_eq!(stage.alert(8 * DAY_S, "learned"), None);
    let until = stage.novelty.stats()[0].baseline_until.unwrap();
    let expected = Timestamp::from_millis((1_700_000_000 + 7 * DAY_S) * 1_000);
    assert!(until.as_nanos().abs_diff(expected.as_nanos()) < 3_000_000_000);
}

#[test]
fn options_may_set_another_baseline_for_every_rule() {
    let mut options = NoveltyOptions::default();
    options.baseline = Some(Duration::ZERO);
    let mut stage = Stage::with(&rule("n", "fields: a, baseline: 7d"), options);
    assert!(stage.alert(0, "x").is_some());
}

#[test]
fn a_value_that_is_not_seen_for_long_is_new_again_by_another_id() {
    let mut stage = Stage::new("fields: a, forget: 30d");
    let (first, _) = stage.alert(0, "x").unwrap();
    for day in 1..100 {
        assert_eq!(stage.alert(day * DAY_S, "x"), None, "it is seen every day");
    }
    assert_eq!(stage.alert(128 * DAY_S, "x"), None, "29 days");
    let (again, _) = stage.alert((128 + 61) * DAY_S, "x").unwrap();
    assert_ne!(first, again);
}

#[test]
fn what_is_missing_or_not_known_in_full_is_never_new_and_not_learned() {
    let mut stage = Stage::new("fields: [a, b]");
    let b = ("b", FieldValue::from("b"));
    let unknown = [
        FieldValue::Absent,
        FieldValue::Null,
        FieldValue::Unreadable,
        FieldValue::Truncated(b"/usr/bin/x", Kept::End),
    ];
    for value in unknown {
        assert_eq!(stage.give(0, &[("a", value), b]), Sighting::Known, "{value:?}");
    }
    assert_eq!(stage.novelty.counters().valueless, 4);
    assert_eq!(stage.novelty.stats()[0].values, 0);
    // The same text, known in full.
    assert!(matches!(stage.give(9, &[("a", FieldValue::from("/usr/bin/x")), b]), Sighting::New(_)));
    assert!(matches!(stage.give(9, &[("a", FieldValue::from("")), b]), Sighting::New(_)));
    // Numbers and addresses are values like texts.
    assert!(matches!(stage.give(9, &[("a", FieldValue::from(443_u16)), b]), Sighting::New(_)));
    assert_eq!(stage.give(20, &[("a", FieldValue::from("443")), b]), Sighting::Known);
}

#[test]
fn a_time_that_cannot_be_reckoned_with_makes_nothing_new() {
    let mut stage = Stage::new("fields: a");
    assert_eq!(stage.alert(-1_800_000_000, "x"), None);
    assert_eq!(stage.alert(9_000_000_000, "x"), None);
    assert_eq!(stage.novelty.counters().untimed, 2);
}

/// A record with a list.
struct Listed<'a>(Option<FieldId>, &'a [&'a str]);

impl Record for Listed<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        if Some(field) == self.0 { FieldValue::List } else { FieldValue::Absent }
    }

    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> std::ops::ControlFlow<()>,
    ) -> std::ops::ControlFlow<()> {
        let elements = if Some(field) == self.0 { self.1 } else { &[] };
        elements.iter().try_for_each(|element| visit(FieldValue::from(*element)))
    }
}

#[test]
fn a_list_counts_by_its_elements() {
    let mut stage = Stage::new("fields: a");
    let field = stage.rules.fields().id("a");
    let mut new = |second, list: &[&str]| match stage.record("n", second, &Listed(field, list)) {
        Sighting::New(values) => values.iter().map(|new| new.values[0].value.to_string()).collect(),
        _ => Vec::new(),
    };
    assert_eq!(new(0, &["x", "y"]), ["x", "y"]);
    assert_eq!(new(10, &["y", "z", "x"]), ["z"]);
    assert_eq!(new(20, &[]), [""; 0]);
    let many: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(new(30, &many).len(), 128);
}

#[test]
fn what_has_no_room_is_forgotten_counted_and_told_and_keeps_its_id() {
    let mut stage = Stage::new("fields: a, bytes_max: 65536");
    let mut ids = Vec::new();
    let mut second = 0;
    while stage.novelty.counters().forgotten == 0 {
        let (id, incomplete) = stage.alert(second, &second.to_string()).unwrap();
        assert!(!incomplete || stage.novelty.counters().forgotten > 0);
        ids.push(id);
        second += 10;
    }
    // Exact up to the bound: no less than 16 bytes for each value and what a part has in reserve.
    assert!(ids.len() > (65_536 - 256 * 40) / 16 * 8 / 10, "{}", ids.len());
    for more in 0..20_000 {
        let (_, incomplete) = stage.alert(second, &format!("more {more}")).unwrap();
        assert!(incomplete, "it may have been there");
        second += 10;
        let stats = &stage.novelty.stats()[0];
        assert!(stats.bytes <= 65_536 && stage.novelty.state_bytes() <= 65_536, "{stats:?}");
    }
    let forgotten = stage.novelty.counters().forgotten;
    assert_eq!(stage.novelty.stats()[0].forgotten, forgotten);
    assert_eq!(stage.novelty.stats()[0].values as u64, ids.len() as u64 + 20_000 - forgotten);
    // The newest are still known; what was forgotten is new again, as the same alert.
    assert_eq!(stage.alert(second, "more 19999"), None);
    assert_eq!(stage.alert(second, "0"), Some((ids[0], true)));
}

#[test]
fn what_was_forgotten_counts_no_longer_than_it_would_have() {
    let mut stage = Stage::new("fields: a, bytes_max: 65536, forget: 1d");
    for number in 0..6_000 {
        stage.alert(number, &format!("flood {number}"));
    }
    assert!(stage.novelty.counters().forgotten > 0);
    let (_, incomplete) = stage.alert(6_010, "soon after").unwrap();
    assert!(incomplete);
    let (_, incomplete) = stage.alert(3 * DAY_S, "days later").unwrap();
    assert!(!incomplete);
    // What is too old to count makes room for nothing: it is not counted as forgotten.
    let before = stage.novelty.counters().forgotten;
    for number in 0..2_000 {
        stage.alert(10 * DAY_S + number, &format!("later {number}"));
    }
    assert_eq!(stage.novelty.counters().forgotten, before);
}

#[test]
fn the_bound_of_all_rules_is_shared_out() {
    let text: String = (0..8).map(|number| rule(&format!("r{number}"), "fields: a")).collect();
    let mut options = NoveltyOptions::default();
    options.state_bytes_max = 1 << 20;
    let mut stage = Stage::with(&text, options);
    for number in 0..20_000 {
        let value = number.to_string();
        stage.give_to(&format!("r{}", number % 8), number, &[("a", FieldValue::from(&value))]);
        stage.give_to("r0", number, &[("a", FieldValue::from(&value))]);
    }
    let stats = stage.novelty.stats();
    assert!(stats.iter().all(|stats| stats.bytes_max == 1 << 17), "{stats:?}");
    assert!(stage.novelty.state_bytes() <= 1 << 20);
    assert!(stats[0].forgotten > 0 && stats[1].forgotten == 0, "each keeps to its own share");
}

#[test]
fn a_loss_in_the_time_that_counts_makes_alerts_incomplete() {
    let at = |second: i64| Timestamp::from_millis((1_700_000_000 + second) * 1_000);
    let mut stage = Stage::new("fields: a, forget: 1d");
    stage.novelty.lost(at(-100), at(-99));
    assert!(!stage.alert(0, "before it was in use").unwrap().1);
    stage.novelty.lost(at(50), at(51));
    assert!(stage.alert(100, "after a loss").unwrap().1);
    assert!(!stage.alert(3 * DAY_S, "long after").unwrap().1);
    let mut saved = BTreeMap::new();
    stage.save(&mut saved);
    let mut after = Stage::new("fields: a, forget: 1d");
    for (key, value) in &saved {
        after.novelty.restore(key, value).unwrap();
    }
    assert!(after.alert(110, "after a restart").unwrap().1, "losses outlive the process");
}

#[test]
fn a_change_is_saved_by_its_part_and_what_is_known_changes_nothing() {
    let mut stage = Stage::new("fields: a, forget: 30d");
    let mut saved = BTreeMap::new();
    for number in 0..40_000 {
        stage.alert(number, &format!("/usr/bin/program-{number}"));
    }
    let whole = stage.save(&mut saved);
    assert_eq!(saved.len(), 256);
    assert!((40_000 * 16..40_000 * 16 + 256 * 64).contains(&whole), "{whole}");
    stage.alert(40_001, "one more");
    let one = stage.save(&mut saved);
    assert!(one < 4_096, "{one} bytes for a value");
    for number in 0..40_000 {
        stage.alert(40_002, &format!("/usr/bin/program-{number}"));
    }
    assert_eq!(stage.save(&mut saved), 0);
}

#[test]
fn state_that_is_none_is_refused_and_the_rest_goes_on() {
    let mut stage = Stage::new("fields: a");
    stage.alert(0, "x");
    let mut saved = BTreeMap::new();
    stage.save(&mut saved);
    let (key, value) = saved.iter().find(|(_, value)| value.len() > 49).unwrap();
    let mut after = Stage::new("fields: a");
    let mut refused = |key: &str, value: &[u8]| {
        let error = after.novelty.restore(key, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        error.to_string()
    };
    assert!(refused(key, &value[1..]).contains("not written by this version"));
    assert!(refused(key, &value[..value.len() - 1]).contains("damaged"));
    assert!(refused(key, &[]).contains("damaged"));
    assert!(refused("novelty/n/100", value).contains("no such part"));
    assert!(refused("risk/n/00", value).contains("no such part"));
    assert!(refused("novelty/lost", &value[..7]).contains("another length"));
    // In the part of another digest.
    let part = u8::from_str_radix(&key[key.len() - 2..], 16).unwrap();
    refused(&format!("novelty/n/{:02x}", part.wrapping_add(1)), value);
    for (key, value) in &saved {
        after.novelty.restore(key, value).unwrap();
    }
    assert_eq!(after.alert(10, "x"), None);
    // What other digests were made for can not be mixed with it.
    let mut other = Stage::new("fields: a");
    other.alert(0, "y");
    assert!(other.novelty.restore(key, value).unwrap_err().to_string().contains("another kind"));
}

#[test]
fn rules_that_are_as_before_keep_what_they_learned_and_others_are_forgotten() {
    let both = rule("n", "fields: a") + &rule("gone", "fields: a");
    let mut stage = Stage::with(&both, NoveltyOptions::default());
    stage.alert(0, "x");
    stage.give_to("gone", 0, &[("a", FieldValue::from("x"))]);
    let mut saved = BTreeMap::new();
    stage.save(&mut saved);
    assert!(saved.keys().any(|key| key.starts_with("novelty/gone/")));

    let fresh = |text: &str| RuleSet::from_yaml(text).unwrap();
    // Another condition and another baseline are no other rule.
    stage.rules = fresh(&rule("n", "fields: a, baseline: 1h").replace("x: 1", "x: 2"));
    stage.novelty.replace_rules(stage.rules.clone());
    assert_eq!(stage.alert(2 * 3_600, "x"), None);
    assert!(stage.alert(2 * 3_600, "y").is_some());
    stage.save(&mut saved);
    assert!(!saved.keys().any(|key| key.starts_with("novelty/gone/")), "{saved:?}");

    // Other fields are.
    stage.rules = fresh(&rule("n", "fields: [a], per: [b]"));
    stage.novelty.replace_rules(stage.rules.clone());
    let fields = [("a", FieldValue::from("x")), ("b", FieldValue::from("b"))];
    assert!(matches!(stage.give(3 * 3_600, &fields), Sighting::New(_)));

    // What is saved of rules that are no more is given up when it is seen.
    let mut after = Stage::new("fields: other");
    for (key, value) in &saved {
        after.novelty.restore(key, value).unwrap();
    }
    after.save(&mut saved);
    assert_eq!(saved.len(), 0, "{saved:?}");
    assert_eq!(after.novelty.stats()[0].values, 0);
}

#[test]
fn a_known_value_costs_no_allocation() {
    let mut stage = Stage::new("fields: [a, b], per: [c], forget: 30d");
    let rules = stage.rules.clone();
    let values: Vec<String> = (0..1_000).map(|number| format!("/usr/bin/{number}")).collect();
    let records: Vec<_> = values
        .iter()
        .map(|value| {
            let value = FieldValue::from(value);
            FlatRecord::new(
                rules.fields(),
                [("a", value), ("b", value), ("c", FieldValue::from(7_u16))],
            )
        })
        .collect();
    records.iter().for_each(|record| drop(stage.record("n", 0, record)));
    let counted = allocation_counter::measure(|| {
        for record in &records {
            assert_eq!(stage.record("n", 60, record), Sighting::Known);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

const DETECTOR_RULES: &str = "title: First connection
id: connects
logsource: {product: linux, category: network_connection}
detection: {s: {Initiated: true}, condition: s}
level: low
lavender: {novelty: {fields: Image}}
---
title: First arguments
id: arguments
logsource: {product: linux, category: process_creation}
detection: {s: {CommandLine|contains: '-c'}, condition: s}
lavender: {novelty: {fields: CommandLine}}
---
title: First program of a tree
id: programs
logsource: {product: linux, category: process_creation}
detection: {s: {Image|exists: true}, condition: s}
lavender: {novelty: {fields: Image}}
---
title: Several new programs
id: several
correlation: {type: value_count, rules: programs, timespan: 1m, condition: {field: Image, gte: 3}}
level: high
";

fn detector(policy: UndeterminedPolicy) -> (RuleHandle, CorrelatingDetector) {
    let handle = RuleHandle::new(RuleSet::from_yaml(DETECTOR_RULES).unwrap());
    let sigma = SigmaDetector::new(&handle, policy);
    (handle, CorrelatingDetector::new(sigma, CorrelatorOptions::default()))
}

/// The event as one of this number, at this second.
fn at(event: &Arc<Event>, number: u64, second: i64) -> Arc<Event> {
    let observed_at = Timestamp::from_millis((1_700_000_000 + second) * 1_000);
    Arc::new(Event { id: origin().event(number), observed_at, ..(**event).clone() })
}

fn run(detector: &mut impl Detector, event: &Arc<Event>) -> Vec<Detection> {
    let mut found = Vec::new();
    detector.detect(event, &mut found);
    found
}

fn connects(image: &str) -> Arc<Event> {
    let to: SocketAddr = "192.0.2.1:443".parse().unwrap();
    connect(process(image, &["x"], None), to, 0)
}

#[test]
fn the_detector_raises_the_first_sight_with_its_values_and_its_id() {
    let (_, mut detector) = detector(UndeterminedPolicy::Count);
    let event = at(&connects("/usr/bin/curl"), 1, 0);
    let found = run(&mut detector, &event);
    assert_eq!(found.len(), 1);
    assert_eq!(&*found[0].rule.id, "connects");
    let evidence: Vec<_> =
        found[0].evidence.iter().map(|e| (&*e.field, e.value.to_string())).collect();
    assert_eq!(evidence, [("Initiated", "true".into()), ("Image", "/usr/bin/curl".into())]);
    let correlated = found[0].correlated.as_ref().unwrap();
    assert_eq!((correlated.events.as_slice(), correlated.incomplete), (&[event.id][..], false));
    assert_eq!(run(&mut detector, &event), found, "the same event again gives the same alert");
    assert_eq!(run(&mut detector, &at(&connects("/usr/bin/curl"), 2, 60)), []);
    assert_eq!(run(&mut detector, &at(&connects("/usr/bin/wget"), 3, 61)).len(), 1);
    assert_eq!(detector.novelty().counters().raised, 3);
    // By itself, the rules know nothing of what was seen, and say nothing.
    let (handle, _) = self::detector(UndeterminedPolicy::Count);
    assert_eq!(run(&mut handle.detector(), &event), []);
}

#[test]
fn whoever_holds_the_rules_sees_that_values_were_forgotten() {
    let handle = RuleHandle::new(RuleSet::from_yaml(DETECTOR_RULES).unwrap());
    let sigma = SigmaDetector::new(&handle, UndeterminedPolicy::Count);
    let mut options = NoveltyOptions::default();
    options.state_bytes_max = 3 * 65_536;
    let correlating = CorrelatingDetector::new(sigma, CorrelatorOptions::default());
    let mut detector = correlating.with_novelty(options);
    let mut found = Vec::new();
    for number in 0..6_000 {
        let event = at(&connects(&format!("/usr/bin/{number}")), number, number as i64);
        detector.detect(&event, &mut found);
    }
    assert!(handle.forgotten() > 1_000);
    assert_eq!(handle.forgotten(), detector.novelty().counters().forgotten);
    assert!(found.last().unwrap().correlated.as_ref().unwrap().incomplete);
}

#[test]
fn a_lost_event_makes_the_next_new_value_incomplete() {
    let (_, mut detector) = detector(UndeterminedPolicy::Count);
    run(&mut detector, &at(&connects("/usr/bin/curl"), 1, 0));
    let loss = Loss::new(LossStage::KernelRing, EventKind::NetConnect, 1);
    let lost = Event { data: EventData::Lost(loss), process: None, ..(*connects("/x")).clone() };
    run(&mut detector, &at(&Arc::new(lost), 2, 5));
    let found = run(&mut detector, &at(&connects("/usr/bin/wget"), 3, 6));
    assert!(found[0].correlated.as_ref().unwrap().incomplete);
}

#[test]
fn what_could_not_be_decided_is_counted_and_never_new() {
    let (handle, mut detector) = detector(UndeterminedPolicy::Report);
    let cut = |arguments: &[&str]| exec(truncated(process("/bin/sh", arguments, None), 4));
    run(&mut detector, &at(&exec(process("/bin/sh", &["sh"], None)), 1, 0));
    // Cut before what decides, and after it.
    assert_eq!(run(&mut detector, &at(&cut(&["sh", "x", "-c", "id"]), 2, 10)), []);
    assert_eq!(run(&mut detector, &at(&cut(&["-c", "x"]), 3, 11)), []);
    assert_eq!(handle.undetermined(), 1);
    assert_eq!(detector.novelty().counters().valueless, 1);
}

#[test]
fn a_correlation_sees_what_is_new_and_nothing_else() {
    let (_, mut detector) = detector(UndeterminedPolicy::Count);
    let exec_of = |image: &str| exec(process(image, &["x"], None));
    let mut number = 0;
    let mut titles = |image: &str, second| {
        number += 1;
        let found = run(&mut detector, &at(&exec_of(image), number, second));
        found.iter().map(|found| found.rule.id.to_string()).collect::<Vec<_>>()
    };
    for image in ["/a", "/b", "/c"] {
        titles(image, 0);
    }
    for second in 100..110 {
        for image in ["/a", "/b", "/c"] {
            assert_eq!(titles(image, second), [""; 0], "nothing is new");
        }
    }
    assert_eq!(titles("/d", 200), [""; 0]);
    assert_eq!(titles("/e", 201), [""; 0]);
    assert_eq!(titles("/f", 202), ["several"]);
}

#[test]
fn the_state_of_the_detector_is_that_of_what_it_learned() {
    let (_, mut first) = detector(UndeterminedPolicy::Count);
    run(&mut first, &at(&connects("/usr/bin/curl"), 1, 0));
    let mut saved = BTreeMap::new();
    let save =
        &mut |key: &str, value: Option<Bytes>| drop(saved.insert(key.to_owned(), value.unwrap()));
    first.state().unwrap().changed(save);
    let (_, mut second) = detector(UndeterminedPolicy::Count);
    for (key, value) in &saved {
        second.state().unwrap().restore(key, value).unwrap();
    }
    assert_eq!(run(&mut second, &at(&connects("/usr/bin/curl"), 2, 60)), []);
    assert_eq!(run(&mut second, &at(&connects("/usr/bin/wget"), 3, 61)).len(), 1);
}
