//! What rules are counted, timed and held to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Event;
use lavender_core::{BootTime, Detector, ManualClock, Timestamp};
use lavender_detect::{
    Budget, FieldId, FieldValue, FlatRecord, Kept, LogSource, OverBudget, Record, RuleHandle,
    RuleSet, RuleState, RuleStats, StatsOptions, Truth,
};
use proptest::prelude::*;
use support::{exec, process};

fn linux() -> LogSource {
    LogSource::linux("process_creation")
}

/// A set of rules, each given by its id and its detection.
fn rules(rules: &[(&str, &str)]) -> RuleSet {
    let mut text = String::new();
    for (id, detection) in rules {
        text += &format!(
            "---\ntitle: {id}\nid: {id}\nlogsource: {{product: linux, category: process_creation}}\n\
             detection: {detection}\n"
        );
    }
    RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn one_in(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn stats_of(handle: &RuleHandle, id: &str) -> RuleStats {
    handle.rule_stats().into_iter().find(|stats| &*stats.id == id).unwrap()
}

fn image<'a>(rules: &RuleSet, image: &'a str) -> FlatRecord<'a> {
    FlatRecord::new(rules.fields(), [("Image", FieldValue::from(image))])
}

const LS: &str = "{s: {Image|endswith: /ls}, condition: s}";
const SH: &str = "{s: {Image|endswith: /sh}, condition: s}";
/// Every rule of the random streams; of the first three, evaluated means decided.
const SET: [(&str, &str); 6] = [
    ("ls", LS),
    ("sh", SH),
    ("tmp", "{s: {CommandLine|contains: /tmp}, condition: s}"),
    ("both", "{s: {Image|endswith: /ls, CommandLine|contains: /tmp}, condition: s}"),
    ("not", "{s: {Image|endswith: /ls}, n: {CommandLine|contains: x}, condition: s and not n}"),
    ("expression", "{s: {CommandLine|re: 'x+[0-9]'}, condition: s}"),
];

fn value() -> impl Strategy<Value = FieldValue<'static>> {
    let texts = ["/bin/ls", "/bin/sh", "ls /tmp", "x", "xx7 /tmp", "", "/ls"];
    prop_oneof![
        8 => prop::sample::select(texts.to_vec()).prop_map(FieldValue::from),
        1 => Just(FieldValue::Truncated(b"/bin", Kept::Start)),
        1 => Just(FieldValue::Unreadable),
        1 => Just(FieldValue::Absent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_are_what_counting_by_hand_gives(
        records in prop::collection::vec((value(), value()), 0..400),
        sampled in 1_u32..64,
        first in 0_usize..400,
    ) {
        let options = StatsOptions { cost_sampled_one_in: one_in(sampled), ..StatsOptions::default() };
        let set = rules(&SET);
        let handle = RuleHandle::with_stats(set.clone(), options);
        let mut expected: BTreeMap<&str, [u64; 2]> = SET.iter().map(|(id, _)| (*id, [0, 0])).collect();
        let mut candidates = 0;
        // Two evaluators, one after the other, as two threads would have them.
        let (one, other) = records.split_at(first.min(records.len()));
        for part in [one, other] {
            let mut evaluator = handle.evaluator(&linux());
            for (image, line) in part {
                let record = FlatRecord::new(set.fields(), [("Image", *image), ("CommandLine", *line)]);
                let _ = evaluator.matches(&record);
                candidates += evaluator.candidates() as u64;
                for rule in set.iter() {
                    match set.explain(rule, &record).truth() {
                        Truth::True => expected.get_mut(&*rule.meta().id).unwrap()[0] += 1,
                        Truth::Undetermined => expected.get_mut(&*rule.meta().id).unwrap()[1] += 1,
                        Truth::False => {}
                    }
                }
            }
        }
        let stats = handle.rule_stats();
        prop_assert_eq!(stats.iter().map(|one| one.evaluated).sum::<u64>(), candidates);
        for one in &stats {
            prop_assert_eq!(one.offered, records.len() as u64);
            prop_assert_eq!([one.matched, one.undetermined], expected[&*one.id], "{}", one.id);
            prop_assert!(one.evaluated >= one.matched + one.undetermined);
            prop_assert_eq!((one.skipped, one.state), (0, RuleState::Active));
        }
        for one in &stats[..3] {
            prop_assert_eq!(one.evaluated, one.matched + one.undetermined, "{}", one.id);
        }
    }
}

#[test]
fn counters_survive_the_reload_of_a_rule_that_stays_the_same() {
    let before = rules(&[("gone", SH), ("stays", LS), ("changes", LS)]);
    let handle = RuleHandle::new(before.clone());
    let mut old = handle.evaluator(&linux());
    let _ = old.matches(&image(&before, "/bin/ls"));
    drop(old);
    // Other fields come first, so that the rule that stays has other numbers for everything.
    let line = "{s: {CommandLine: x, User: y}, condition: s}";
    let after = rules(&[("new", line), ("changes", SH), ("stays", LS)]);
    let mut lagging = handle.evaluator(&linux());
    handle.swap(after.clone());
    let mut evaluator = handle.evaluator(&linux());
    let _ = evaluator.matches(&image(&after, "/bin/ls"));
    drop(evaluator);
    // What an evaluator counts that still has the rules of before is not lost either.
    let _ = lagging.matches(&image(&before, "/bin/ls"));
    drop(lagging);
    let counted: Vec<_> = handle
        .rule_stats()
        .into_iter()
        .map(|one| (one.id.to_string(), one.offered, one.matched))
        .collect();
    let expected = [("new", 1, 0), ("changes", 1, 0), ("stays", 3, 3)];
    assert_eq!(counted, expected.map(|(id, offered, matched)| (id.to_owned(), offered, matched)));
}

#[test]
fn a_filter_makes_it_another_rule() {
    let handle = RuleHandle::new(rules(&[("a", LS)]));
    let set = handle.rules();
    let _ = handle.evaluator(&linux()).matches(&image(&set, "/bin/ls"));
    assert_eq!(stats_of(&handle, "a").matched, 1);
    let filtered = format!(
        "title: a\nid: a\nlogsource: {{product: linux, category: process_creation}}\ndetection: {LS}\n\
         ---\ntitle: f\nlogsource: {{product: linux}}\nfilter: {{rules: [a], n: {{User: x}}, condition: not n}}\n"
    );
    handle.swap(RuleSet::from_yaml(&filtered).unwrap_or_else(|errors| panic!("{errors}")));
    assert_eq!(stats_of(&handle, "a").matched, 0);
}

fn at(boot_time: u64) -> Arc<Event> {
    let event = exec(process("/usr/bin/ls", &["ls"], None));
    let mut event = Arc::into_inner(event).unwrap();
    event.boot_time = BootTime::from_nanos(boot_time);
    Arc::new(event)
}

#[test]
fn a_detector_shows_its_counts_within_a_second_of_events_and_all_when_it_ends() {
    let handle = RuleHandle::new(rules(&[("ls", LS)]));
    let mut detector = handle.detector();
    let mut found = Vec::new();
    for millis in [0, 10, 500, 990] {
        detector.detect(&at(millis * 1_000_000), &mut found);
    }
    detector.detect(&at(1_000_000_000), &mut found);
    assert_eq!(stats_of(&handle, "ls").evaluated, 4);
    drop(detector);
    let stats = stats_of(&handle, "ls");
    assert_eq!((stats.offered, stats.evaluated, stats.matched), (5, 5, 5));
}

/// A record whose field takes a while to read: a rule takes as long as it reads it often.
struct Slow<'a> {
    record: FlatRecord<'a>,
    field: FieldId,
    clock: &'a ManualClock,
    takes: Duration,
}

impl Record for Slow<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        if field == self.field {
            self.clock.advance(self.takes);
        }
        self.record.value(field)
    }
}

const SLOW: &str = "{s: {Image|endswith: /ls}, n: {ParentProcessId|gte: 7}, condition: s and n}";
const QUICK: &str = "{s: {Image|endswith: /ls}, n: {ProcessId|gte: 7}, condition: s and n}";

/// A handle on a slow rule and a quick one, and what evaluates `records` records that both are candidates for.
fn budgeted(budget: Option<Budget>) -> (RuleHandle, impl Fn(&RuleHandle, usize) -> usize) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(5_000)));
    let options = StatsOptions {
        clock: Arc::clone(&clock) as Arc<_>,
        cost_sampled_one_in: one_in(16),
        budget,
    };
    let handle = RuleHandle::with_stats(rules(&[("slow", SLOW), ("quick", QUICK)]), options);
    let run = move |handle: &RuleHandle, records: usize| {
        let rules = handle.rules();
        let mut evaluator = handle.evaluator(&linux());
        let values = [
            ("Image", FieldValue::from("/bin/ls")),
            ("ParentProcessId", FieldValue::from(7_u64)),
            ("ProcessId", FieldValue::from(7_u64)),
        ];
        let record = Slow {
            record: FlatRecord::new(rules.fields(), values),
            field: rules.fields().id("ParentProcessId").unwrap(),
            clock: &clock,
            takes: Duration::from_micros(3),
        };
        (0..records).map(|_| evaluator.matches(&record).len()).sum()
    };
    (handle, run)
}

fn budget(ns: u64, over: OverBudget) -> Budget {
    Budget::new(NonZeroU64::new(ns).unwrap(), over)
        .with_window_events(NonZeroU64::new(1_000).unwrap())
}

#[test]
fn a_cost_is_what_the_rule_takes_by_itself() {
    let (handle, run) = budgeted(None);
    assert_eq!(run(&handle, 1_000), 2_000);
    let (slow, quick) = (stats_of(&handle, "slow"), stats_of(&handle, "quick"));
    assert!((40..=130).contains(&slow.timed), "one in 16 of 1,000: {slow:?}");
    assert_eq!((slow.mean_cost_ns, slow.ns_per_event()), (Some(3_000), Some(3_000)));
    assert_eq!((quick.mean_cost_ns, quick.timed), (Some(0), slow.timed));
}

#[test]
fn without_a_budget_no_rule_is_ever_skipped() {
    let (handle, run) = budgeted(None);
    assert_eq!(run(&handle, 10_000), 20_000);
    assert_eq!(stats_of(&handle, "slow").state, RuleState::Active);
    assert_eq!(handle.take_budget_notices(), []);
}

#[test]
fn a_rule_over_its_budget_is_disabled_and_that_is_said() {
    let (handle, run) = budgeted(Some(budget(2_999, OverBudget::Disable)));
    let found = run(&handle, 5_000);
    let (slow, quick) = (stats_of(&handle, "slow"), stats_of(&handle, "quick"));
    assert_eq!((quick.evaluated, quick.matched, quick.skipped), (5_000, 5_000, 0));
    assert_eq!((quick.state, quick.excess), (RuleState::Active, None));
    assert_eq!(slow.state, RuleState::Disabled);
    assert_eq!(slow.evaluated + slow.skipped, 5_000, "every candidate is counted");
    assert!((1_000..1_024).contains(&slow.evaluated), "{slow:?}");
    assert_eq!(found as u64, slow.matched + quick.matched);
    let excess = slow.excess.unwrap();
    assert_eq!((excess.ns_per_event, excess.budget_ns), (3_000, 2_999));
    assert!(excess.at > Timestamp::from_millis(5_000));
    let notices = handle.take_budget_notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(
        notices[0].to_string(),
        "the rule `slow` (slow) takes 3000 ns per event, its budget is 2999: it is not evaluated any more"
    );
    assert_eq!(notices[0].excess, excess);
    assert_eq!(handle.take_budget_notices(), [], "it is said once");
}

#[test]
fn a_rule_over_its_budget_is_sampled_so_thinly_that_it_keeps_to_it() {
    let (handle, run) = budgeted(Some(budget(700, OverBudget::Sample)));
    run(&handle, 10_000);
    let slow = stats_of(&handle, "slow");
    assert_eq!(slow.state, RuleState::Sampled { one_in: one_in(5) });
    assert_eq!(slow.evaluated + slow.skipped, 10_000);
    let before = 10_000 - (slow.skipped * 5 / 4);
    assert!((1_000..1_030).contains(&before), "{slow:?}");
    assert_eq!(slow.matched, slow.evaluated);
    assert_eq!(handle.take_budget_notices().len(), 1, "600 ns keep to the budget");
    // A new evaluator goes by it from its first record.
    run(&handle, 1_000);
    assert_eq!(stats_of(&handle, "slow").skipped - slow.skipped, 800);
}

#[test]
fn a_verdict_stands_until_the_rule_changes_or_is_reactivated() {
    let (handle, run) = budgeted(Some(budget(100, OverBudget::Disable)));
    run(&handle, 2_000);
    assert_eq!(stats_of(&handle, "slow").state, RuleState::Disabled);
    handle.swap(rules(&[("quick", QUICK), ("slow", SLOW)]));
    let slow = stats_of(&handle, "slow");
    assert_eq!(slow.state, RuleState::Disabled, "it is the same rule");
    run(&handle, 100);
    assert_eq!(stats_of(&handle, "slow").skipped, slow.skipped + 100);

    assert!(handle.reactivate("slow"));
    assert!(!handle.reactivate("nobody"));
    let slow = stats_of(&handle, "slow");
    assert_eq!((slow.state, slow.excess), (RuleState::Active, None));
    run(&handle, 2_000);
    assert_eq!(stats_of(&handle, "slow").state, RuleState::Disabled, "it is judged anew");
    assert_eq!(handle.take_budget_notices().len(), 1);

    let changed = SLOW.replace("gte", "gt");
    handle.swap(rules(&[("quick", QUICK), ("slow", &changed)]));
    let slow = stats_of(&handle, "slow");
    assert_eq!((slow.state, slow.evaluated, slow.skipped), (RuleState::Active, 0, 0));
}

#[test]
fn stats_are_json() {
    let (handle, run) = budgeted(Some(budget(700, OverBudget::Sample)));
    run(&handle, 2_000);
    let json = serde_json::to_value(handle.rule_stats()).unwrap();
    assert_eq!(json[0]["id"], "slow");
    assert_eq!(json[0]["offered"], 2_000);
    assert_eq!(json[0]["state"], serde_json::json!({"sampled": {"one_in": 5}}));
    assert_eq!(json[0]["excess"]["budget_ns"], 700);
    assert_eq!(json[1]["state"], "active");
    assert_eq!(json[1].get("excess"), None);
}
