//! What repeats an alert is counted with it, once, and nothing else is held back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the setting is shared with the tests of scores")]

#[path = "risk/setting.rs"]
mod setting;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Arguments;
use lavender_core::{
    Alert, AlertId, AlertStage as _, Captured, Certainty, ErrorKind, Repeats, RuleMeta,
    Stateful as _,
};
use lavender_detect::{SuppressionAnchor, SuppressionKey, SuppressionOptions, SuppressionStage};
use proptest::prelude::*;
use setting::{SECOND, alert, pass, process, rule, save};

fn options(key: SuppressionKey) -> SuppressionOptions {
    let mut options = SuppressionOptions::default();
    options.key = key;
    options.window = Duration::from_secs(60);
    options
}

fn stage() -> SuppressionStage {
    SuppressionStage::new(options(SuppressionKey::TreeAndEvidence))
}

/// What is told of alerts that were raised before.
fn updates(stage: &mut SuppressionStage, last: bool) -> Vec<(AlertId, u64)> {
    let mut out = Vec::new();
    stage.updates(last, &mut out);
    out.iter().map(|alert| (alert.id, alert.repeats.unwrap().count)).collect()
}

fn with_evidence(alert: Alert, value: &str) -> Alert {
    let mut alert = alert;
    alert.evidence[0].value = value.into();
    alert
}

#[test]
fn the_first_is_raised_at_once_and_repeats_are_counted_with_it() {
    let mut stage = stage();
    let (rule, tree) = (rule("a", 1, &[]), process(10, 1, None));
    let first = alert(&rule, &tree, 0, 1);
    assert_eq!(pass(&mut stage, &first), std::slice::from_ref(&first));
    assert_eq!(updates(&mut stage, false), []);
    let mut told = Vec::new();
    for number in 2..=100_u64 {
        let again = alert(&rule, &tree, number as i64 * 10_000_000, number);
        assert_eq!(pass(&mut stage, &again), []);
        told.extend(updates(&mut stage, false));
    }
    // Whenever they have doubled, and every so many batches.
    let counts: Vec<u64> = told.iter().map(|(_, count)| *count).collect();
    assert!(counts.starts_with(&[1, 2, 4, 8, 16, 32]) && counts.len() < 10, "{counts:?}");
    assert!(told.iter().all(|(id, _)| *id == first.id));
    assert_eq!(updates(&mut stage, true), [(first.id, 99)]);
    assert_eq!(updates(&mut stage, true), []);
    assert_eq!((stage.suppressed(), stage.counters().raised), (99, 1));
}

#[test]
fn an_update_is_the_alert_as_it_was_raised_with_when_it_was_last_seen() {
    let mut stage = stage();
    let (rule, tree) = (rule("a", 1, &[]), process(10, 1, None));
    let first = alert(&rule, &tree, 0, 1);
    let last = alert(&rule, &tree, 9 * SECOND, 2);
    for alert in [&first, &last, &alert(&rule, &tree, 4 * SECOND, 3)] {
        pass(&mut stage, alert);
    }
    let mut out = Vec::new();
    stage.updates(true, &mut out);
    let repeats = Some(Repeats { count: 2, last_seen_at: last.observed_at });
    assert_eq!(out, [Alert { repeats, ..first }]);
}

#[test]
fn the_same_alert_again_is_no_repeat() {
    let mut stage = stage();
    let (rule, tree) = (rule("a", 1, &[]), process(10, 1, None));
    let (first, second) = (alert(&rule, &tree, 0, 1), alert(&rule, &tree, 1, 2));
    for alert in [&first, &second, &first, &second, &second] {
        pass(&mut stage, alert);
    }
    assert_eq!(updates(&mut stage, true), [(first.id, 1)]);
    assert_eq!(stage.counters().duplicates, 3);
}

#[test]
fn only_the_same_of_the_same_tree_is_a_repeat() {
    let (one, other) = (rule("a", 1, &[]), rule("b", 1, &[]));
    let (tree, elsewhere) = (process(10, 1, None), process(11, 2, None));
    let child = process(12, 3, Some(&tree));
    let first = alert(&one, &tree, 0, 1);
    let undetermined = Certainty::Undetermined { fields: vec!["Image".into()] };
    let cases = [
        (alert(&one, &child, 1, 2), false, false),
        (alert(&other, &tree, 1, 2), true, true),
        (alert(&one, &elsewhere, 1, 2), true, true),
        (Alert { certainty: undetermined, ..alert(&one, &tree, 1, 2) }, true, true),
        (with_evidence(alert(&one, &tree, 1, 2), "/bin/other"), true, false),
    ];
    for (next, by_evidence, by_tree) in &cases {
        let keys =
            [(SuppressionKey::TreeAndEvidence, by_evidence), (SuppressionKey::Tree, by_tree)];
        for (key, raised) in keys {
            let mut stage = SuppressionStage::new(options(key));
            assert_eq!(pass(&mut stage, &first).len(), 1);
            assert_eq!(pass(&mut stage, next).len(), usize::from(*raised), "{key:?}: {next:?}");
        }
    }
}

#[test]
fn a_rule_or_an_operator_may_want_every_alert() {
    let every = Arc::new(RuleMeta { unsuppressed: true, ..(*rule("a", 1, &[])).clone() });
    let tree = process(10, 1, None);
    let mut none = SuppressionOptions::default();
    none.window = Duration::ZERO;
    for (rule, options) in [(every, SuppressionOptions::default()), (rule("a", 1, &[]), none)] {
        let mut stage = SuppressionStage::new(options);
        for number in 0..5_u64 {
            let alert = alert(&rule, &tree, number as i64, number + 1);
            assert_eq!(pass(&mut stage, &alert).len(), 1);
            assert_eq!(pass(&mut stage, &alert).len(), 0, "the same one is not raised twice");
        }
    }
}

#[test]
fn what_goes_on_is_raised_again_once_a_window() {
    let mut stage = stage();
    let (rule, tree) = (rule("a", 1, &[]), process(10, 1, None));
    let raised = (0..180)
        .flat_map(|second| pass(&mut stage, &alert(&rule, &tree, second * SECOND, second as u64)));
    assert_eq!(raised.count(), 3);
    let mut told = updates(&mut stage, true);
    told.sort_by_key(|(_, count)| *count);
    assert_eq!(told.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [59, 59, 59]);
}

/// D39: the response was decided again with every repeat; and one that nobody answers must not hide behind another.
#[test]
fn a_repeat_is_answered_once_for_each_process() {
    let mut stage = stage();
    let rule = rule("a", 1, &[]);
    let tree = process(10, 1, None);
    let child = process(12, 3, Some(&tree));
    let first = alert(&rule, &tree, 0, 1);
    let mut answered = Vec::new();
    let all = [
        first.clone(),
        alert(&rule, &tree, 1, 2),
        alert(&rule, &child, 2, 3),
        alert(&rule, &child, 3, 4),
    ];
    for alert in all {
        stage.pass(&mut vec![alert], &mut answered);
    }
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0].id, first.id);
    assert_eq!(answered[0].process.as_ref().unwrap().id(), child.id());
}

#[test]
fn it_counts_for_no_more_alerts_than_it_may_and_tells_before_it_forgets() {
    let mut options = options(SuppressionKey::Tree);
    options.alerts_max = 10;
    let mut stage = SuppressionStage::new(options);
    let rule = rule("a", 1, &[]);
    let trees: Vec<_> = (0..30_u32).map(|pid| process(10 + pid, 1, None)).collect();
    let mut number = 0;
    let mut told = BTreeMap::new();
    for tree in &trees {
        for _ in 0..4 {
            number += 1;
            pass(&mut stage, &alert(&rule, tree, number as i64, number));
        }
        told.extend(updates(&mut stage, false));
    }
    told.extend(updates(&mut stage, true));
    assert_eq!(told.len(), 30);
    assert!(told.values().all(|count| *count == 3), "{told:?}");
    assert_eq!((stage.suppressed(), stage.counters().forgotten), (90, 20));
}

#[test]
fn long_arguments_do_not_fill_the_memory() {
    let mut options = options(SuppressionKey::TreeAndEvidence);
    options.state_bytes_max = 1 << 20;
    let mut stage = SuppressionStage::new(options);
    let rule = rule("a", 1, &[]);
    for number in 0..100_u32 {
        let mut process = (*process(10 + number, 1, None)).clone();
        process.arguments = Captured::complete(Arguments::new(&[b'x'; 100_000]));
        let alert = alert(&rule, &Arc::new(process), i64::from(number), u64::from(number) + 1);
        assert_eq!(pass(&mut stage, &alert).len(), 1);
        assert!(stage.state_bytes() <= 1 << 20);
    }
    assert!(stage.counters().forgotten > 90, "{:?}", stage.counters());
}

#[test]
fn state_that_is_none_is_refused() {
    let mut stage = stage();
    for (key, value) in [("suppressed/x", "{}"), ("suppressed/00", "{}"), ("risk/tree/x", "{}")] {
        assert_eq!(stage.restore(key, value.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn repeats_of_an_alert_that_was_damaged_in_the_store_are_counted_as_forgotten() {
    let (rule, shell) = (rule("a", 1, &[]), process(10, 1, None));
    let mut before = stage();
    assert_eq!(pass(&mut before, &alert(&rule, &shell, 0, 1)).len(), 1);
    let mut saved = BTreeMap::new();
    save(&mut before, &mut saved);
    let mut after = stage();
    for (key, value) in &saved {
        after.restore(key, &value[..value.len() - 10]).unwrap();
    }
    assert_eq!(pass(&mut after, &alert(&rule, &shell, 1, 2)).len(), 0, "it is known all the same");
    assert_eq!(updates(&mut after, true), []);
    assert_eq!(after.counters().forgotten, 1);
    assert_eq!(updates(&mut after, true), []);
    assert_eq!(after.counters().forgotten, 1, "once");
}

proptest! {
    /// Killed at any moment: what was told stays, and what comes again since the save is counted once.
    #[test]
    fn no_count_that_was_told_is_lost_or_doubled_by_a_restart(
        stream in prop::collection::vec((0..3_u32, 0..50 * SECOND), 1..60),
        save_at in 0..60_usize,
        more in 0..20_usize,
    ) {
        let mut stream = stream;
        stream.sort_by_key(|(_, at)| *at);
        let rule = rule("a", 1, &[]);
        let alerts: Vec<Alert> = stream
            .iter()
            .enumerate()
            .map(|(number, (tree, at))| {
                alert(&rule, &process(10 + tree, 1, None), *at, number as u64 + 1)
            })
            .collect();
        let save_at = save_at.min(alerts.len());
        let killed_at = (save_at + more).min(alerts.len());
        // What a store makes of it.
        let mut stored: BTreeMap<AlertId, u64> = BTreeMap::new();
        let mut take = |raised: Vec<Alert>, told: Vec<(AlertId, u64)>| {
            for (id, count) in raised.iter().map(|alert| (alert.id, 0)).chain(told) {
                let kept = stored.entry(id).or_default();
                *kept = count.max(*kept);
            }
        };
        let mut saved = BTreeMap::new();
        let mut before = stage();
        for (number, alert) in alerts[..killed_at].iter().enumerate() {
            if number == save_at {
                save(&mut before, &mut saved);
            }
            let raised = pass(&mut before, alert);
            take(raised, updates(&mut before, false));
        }
        if save_at == killed_at {
            save(&mut before, &mut saved);
        }
        let mut after = stage();
        for (key, value) in &saved {
            after.restore(key, value).unwrap();
        }
        for alert in &alerts[save_at..] {
            let raised = pass(&mut after, alert);
            take(raised, updates(&mut after, false));
        }
        take(Vec::new(), updates(&mut after, true));
        let mut expected: BTreeMap<AlertId, u64> = BTreeMap::new();
        let mut first: BTreeMap<_, AlertId> = BTreeMap::new();
        for alert in &alerts {
            match first.get(&alert.incident) {
                Some(id) => *expected.get_mut(id).unwrap() += 1,
                None => {
                    first.insert(alert.incident, alert.id);
                    expected.insert(alert.id, 0);
                }
            }
        }
        prop_assert_eq!(stored, expected);
    }
}

fn by_cells() -> SuppressionStage {
    let mut options = options(SuppressionKey::TreeAndEvidence);
    options.anchor = SuppressionAnchor::Cell;
    SuppressionStage::new(options)
}

/// Every order, every alert twice, and now and then by another stage that is given what the one before it has saved.
#[test]
fn by_cells_of_time_the_same_is_raised_whatever_the_order() {
    let (rule, tree) = (rule("a", 1, &[]), process(10, 1, None));
    // Cells end at 60 s and 120 s.
    let times = [50, 59, 61, 70, 119, 121].map(|second| second * SECOND);
    let alerts: Vec<Alert> =
        times.iter().zip(1..).map(|(time, event)| alert(&rule, &tree, *time, event)).collect();
    let mut expected: Option<BTreeMap<AlertId, u64>> = None;
    for order in 0..720_usize {
        let mut left: Vec<&Alert> = alerts.iter().chain(&alerts).collect();
        let (mut stage, mut number) = (by_cells(), order);
        let mut told: BTreeMap<AlertId, u64> = BTreeMap::new();
        let mut saved = BTreeMap::new();
        while !left.is_empty() {
            let next = left.swap_remove(number % left.len());
            number = number / 3 + order;
            for raised in pass(&mut stage, next) {
                told.entry(raised.id).or_default();
            }
            for (id, count) in updates(&mut stage, true) {
                let known = told.get_mut(&id).expect("it was raised before");
                assert!(count > *known, "only what is new is told");
                *known = count;
            }
            if number % 4 == 0 {
                let mut other = by_cells();
                save(&mut stage, &mut saved);
                for (key, value) in &saved {
                    other.restore(key, value).unwrap();
                }
                stage = other;
            }
        }
        assert_eq!(told.values().sum::<u64>(), 3);
        assert_eq!(told.len(), 3, "one for each cell");
        assert_eq!(*expected.get_or_insert_with(|| told.clone()), told, "order {order}");
    }
}

#[test]
fn by_cells_of_time_what_has_an_id_of_its_own_cell_is_left_alone() {
    let (rule, tree) = (rule("a", 1, &[]), process(10, 1, None));
    let mut stage = by_cells();
    for second in [1, 2] {
        let id = AlertId::of_correlation("a", b"group", second);
        let correlated = Alert { id, ..alert(&rule, &tree, second * SECOND, 1) };
        assert_eq!(pass(&mut stage, &correlated), std::slice::from_ref(&correlated));
    }
}
