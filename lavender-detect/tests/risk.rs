//! Scores of process trees: what they are made of, when they become alerts, and that order, repetition and restarts
//! make no difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "risk/model.rs"]
mod model;
#[path = "risk/setting.rs"]
mod setting;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::Process;
use lavender_core::{
    Alert, Certainty, ErrorKind, RISK_RULE, RuleMeta, Severity, Stateful as _, Timestamp,
};
use lavender_detect::risk::{RiskOptions, RiskStage};
use lavender_detect::{RuleSet, RuleSetBuilder};
use proptest::prelude::*;
use setting::{SECOND, START, alert, minutes, of_scores, pass, process, rule, save};

/// Without what depth and sequence add.
fn plain() -> RiskOptions {
    let mut options = RiskOptions::default();
    (options.depth_points, options.sequence_points, options.rarity_points) = (0, 0, 0);
    options
}

fn stage(options: RiskOptions) -> RiskStage {
    RiskStage::new(options).unwrap()
}

fn score(alerts: &[Alert]) -> u32 {
    alerts[0].risk.as_ref().unwrap().score
}

#[test]
fn every_alert_tells_its_score_and_what_it_is_made_of() {
    let mut stage = stage(RiskOptions::default());
    let root = process(10, 1, None);
    let child = process(11, 2, Some(&root));
    let first = pass(&mut stage, &alert(&rule("a", 20, &["attack.execution"]), &root, 0, 1));
    assert_eq!(score(&first), 20);
    let rule = rule("b", 30, &["attack.command-and-control"]);
    let second = pass(&mut stage, &alert(&rule, &child, SECOND, 2));
    let risk = second[0].risk.as_ref().unwrap();
    assert_eq!(risk.tree, root.id());
    let told: Vec<_> =
        risk.contributions.iter().map(|c| (&*c.rule, c.points, c.event.sequence())).collect();
    assert_eq!(told, [("b", 31, 2), ("a", 20, 1)]);
    assert_eq!(&*risk.contributions[0].why, "30 by the rule, 1 for being deep in the tree");
    let sequence = risk.sequence.as_ref().unwrap();
    assert_eq!(sequence.points, 10);
    assert_eq!(sequence.tactics, ["execution".into(), "command-and-control".into()]);
    assert_eq!(risk.score, 61);
}

/// D32: what is below a threshold was swallowed, and marked as fired, so that it never counted.
#[test]
fn what_is_below_every_threshold_is_raised_and_still_counts() {
    let mut stage = stage(plain());
    let tree = process(10, 1, None);
    let first = pass(&mut stage, &alert(&rule("a", 35, &[]), &tree, 0, 1));
    assert_eq!((first.len(), score(&first)), (1, 35));
    let second = pass(&mut stage, &alert(&rule("b", 35, &[]), &tree, SECOND, 2));
    let raised: Vec<_> = second.iter().map(|alert| (&*alert.rule.id, alert.severity)).collect();
    assert_eq!(
        raised,
        [("b", Severity::Medium), (RISK_RULE, Severity::Medium), (RISK_RULE, Severity::High)]
    );
    assert_eq!(second[2].events.len(), 2);
    assert_eq!(second[2].incident, first[0].incident);
    assert_eq!(second[2].evidence[0].value.to_string(), "70 (from 70)");
}

/// D39: a score per pid was reset by a fork, and a rule counted once for ever, or again with every match.
#[test]
fn a_rule_counts_once_per_tree_whoever_forks_or_execs() {
    let mut stage = stage(plain());
    let root = process(10, 1, None);
    let rule = rule("a", 30, &[]);
    assert_eq!(score(&pass(&mut stage, &alert(&rule, &root, 0, 1))), 30);
    let mut parent = Arc::clone(&root);
    for generation in 0..100 {
        let child = process(11 + generation, u64::from(generation) + 2, Some(&parent));
        let raised = pass(&mut stage, &alert(&rule, &child, 0, u64::from(generation) + 2));
        assert_eq!((raised.len(), score(&raised)), (1, 30));
        parent = child.as_parent();
    }
    assert_eq!(stage.trees(), 1);
}

#[test]
fn points_fade_and_a_match_brings_them_back_and_no_more() {
    let mut stage = stage(plain());
    let tree = process(10, 1, None);
    let (one, other) = (rule("a", 40, &[]), rule("b", 8, &[]));
    let hour = 3_600 * SECOND;
    pass(&mut stage, &alert(&one, &tree, 0, 1));
    let after = |nanos| Timestamp::from_nanos(START + nanos);
    // Reading it is enough: nothing has to be added first.
    assert_eq!(stage.score(tree.id(), after(hour)), 20);
    assert_eq!(stage.score(tree.id(), after(2 * hour)), 10);
    assert_eq!(score(&pass(&mut stage, &alert(&other, &tree, 2 * hour, 2))), 18);
    let again = pass(&mut stage, &alert(&one, &tree, 2 * hour + 1, 3));
    assert_eq!(score(&again), 48);
    assert_eq!(score(&pass(&mut stage, &alert(&one, &tree, 2 * hour + 2, 4))), 48);
    let told = again[0].risk.as_ref().unwrap();
    assert_eq!(&*told.contributions[0].why, "40 by the rule");
    let told = pass(&mut stage, &alert(&other, &tree, 3 * hour, 5))[0].risk.clone().unwrap();
    assert_eq!(&*told.contributions[0].why, "40 by the rule, faded for 3599 s");
}

/// D35, D10: processes were related by the names of their ancestors, and inherited by pid.
#[test]
fn neither_the_same_names_nor_the_same_pid_share_a_score() {
    let mut stage = stage(plain());
    let (first, second) = (process(10, 1, None), process(10, 2, None));
    let children = [process(20, 3, Some(&first)), process(21, 3, Some(&second))];
    pass(&mut stage, &alert(&rule("a", 35, &[]), &children[0], 0, 1));
    let other = pass(&mut stage, &alert(&rule("b", 35, &[]), &children[1], SECOND, 2));
    assert_eq!((other.len(), score(&other)), (1, 35));
    assert_ne!(other[0].incident, alert(&rule("a", 35, &[]), &children[0], 0, 1).incident);
}

/// D37: maps grew with what an attacker named.
#[test]
fn state_is_bounded_and_what_has_the_least_goes_first() {
    let mut options = plain();
    options.state_bytes_max = 256 << 10;
    let mut stage = stage(options);
    let worst = process(5, 1, None);
    pass(&mut stage, &alert(&rule("worst", 39, &[]), &worst, 0, 1));
    let rule = rule("a", 5, &[]);
    for tree in 0..20_000 {
        let process = process(100 + tree, u64::from(tree) + 10, None);
        pass(&mut stage, &alert(&rule, &process, i64::from(tree) * 1_000, u64::from(tree) + 2));
        assert!(stage.state_bytes() <= 256 << 10);
    }
    assert!(stage.counters().evicted > 10_000, "{:?}", stage.counters());
    assert_eq!(stage.score(worst.id(), Timestamp::from_nanos(START)), 39);
}

#[test]
fn a_tree_is_forgotten_when_nothing_of_it_counts_any_more() {
    let mut stage = stage(plain());
    let hour = 3_600 * SECOND;
    pass(&mut stage, &alert(&rule("a", 40, &[]), &process(10, 1, None), 0, 1));
    pass(&mut stage, &alert(&rule("a", 40, &[]), &process(11, 2, None), 8 * hour, 2));
    assert_eq!((stage.trees(), stage.counters().evicted), (1, 0));
}

#[test]
fn what_was_not_decided_adds_nothing() {
    let mut stage = stage(plain());
    let tree = process(10, 1, None);
    let undetermined = Alert {
        certainty: Certainty::Undetermined { fields: vec!["CommandLine".into()] },
        ..alert(&rule("a", 90, &[]), &tree, 0, 1)
    };
    assert_eq!(score(&pass(&mut stage, &undetermined)), 0);
    assert_eq!(score(&pass(&mut stage, &alert(&rule("b", 20, &[]), &tree, 1, 2))), 20);
}

#[test]
fn one_rule_alone_raises_no_second_alert() {
    let mut stage = stage(plain());
    let tree = process(10, 1, None);
    assert_eq!(pass(&mut stage, &alert(&rule("a", 900, &[]), &tree, 0, 1)).len(), 1);
    assert_eq!(pass(&mut stage, &alert(&rule("b", 1, &[]), &tree, 1, 2)).len(), 4);
}

#[test]
fn an_alert_of_a_threshold_stands_for_its_episode() {
    let mut stage = stage(plain());
    let tree = process(10, 1, None);
    let rules = [rule("a", 25, &[]), rule("b", 25, &[])];
    let mut raised = Vec::new();
    for minute in 0..180 {
        let rule = &rules[usize::from(minute % 2 == 0)];
        let at = i64::from(minute) * 60 * SECOND;
        raised.extend(pass(&mut stage, &alert(rule, &tree, at, minute as u64 + 1)));
    }
    assert_eq!(of_scores(&raised).len(), 3);
    assert_eq!(raised.iter().filter(|alert| alert.rule.is_risk()).count(), 3);
}

#[test]
fn a_rule_says_its_points_and_else_its_level_does() {
    let text = |extension: &str| {
        format!(
            "title: t\nid: r\nlevel: high\nlogsource: {{product: linux}}\n\
             detection: {{s: {{a: b}}, condition: s}}\n{extension}"
        )
    };
    let meta = |extension: &str| -> Arc<RuleMeta> {
        let rules = RuleSet::from_yaml(&text(extension)).unwrap();
        let rule = rules.iter().next().unwrap();
        Arc::clone(rule.meta())
    };
    let mut stage = stage(plain());
    let tree = |pid| process(pid, 1, None);
    assert_eq!(score(&pass(&mut stage, &alert(&meta(""), &tree(1), 0, 1))), 45);
    let said = meta("lavender: {risk: 12, suppress: false}\n");
    assert_eq!(score(&pass(&mut stage, &alert(&said, &tree(2), 0, 2))), 12);
    assert!(said.unsuppressed && !meta("").unsuppressed);
    let none = pass(&mut stage, &alert(&meta("lavender: {risk: 0}\n"), &tree(3), 0, 3));
    assert_eq!(score(&none), 0);
    for (extension, fault) in [
        ("lavender: {risk: -1}\n", "`risk` is a number from 0 to 1000"),
        ("lavender: {risk: lots}\n", "`risk` is a number from 0 to 1000"),
        ("lavender: {suppress: 5}\n", "`suppress` is true or false"),
    ] {
        let mut builder = RuleSetBuilder::new();
        builder.add_str("r.yml", &text(extension));
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(fault) && error.contains("r.yml:6"), "{error}");
    }
}

#[test]
fn a_rule_that_matches_on_no_other_day_adds_more() {
    let mut options = plain();
    options.rarity_points = 10;
    let mut stage = stage(options);
    let day = 24 * 3_600 * SECOND;
    let noon = day / 2;
    let (common, rare) = (rule("common", 20, &[]), rule("rare", 20, &[]));
    let tree = |number: u32| process(100 + number, u64::from(number) + 1, None);
    for number in 0..10_u32 {
        let at = noon + i64::from(number) * day;
        let raised = pass(&mut stage, &alert(&common, &tree(number), at, u64::from(number) + 1));
        // Nothing is rare while it is learned what is.
        assert_eq!(score(&raised), 20, "on day {number}");
    }
    let raised = pass(&mut stage, &alert(&rare, &tree(50), noon + 10 * day, 50));
    assert_eq!(score(&raised), 30);
    let why = &raised[0].risk.as_ref().unwrap().contributions[0].why;
    assert_eq!(&**why, "20 by the rule, 10 for being rare on this host");
    let raised = pass(&mut stage, &alert(&rare, &tree(51), noon + 11 * day, 51));
    assert_eq!(score(&raised), 29, "it matched on one day of eleven");
}

#[test]
fn state_that_is_none_is_refused_and_changes_nothing() {
    let mut stage = stage(plain());
    let tree = process(10, 1, None);
    pass(&mut stage, &alert(&rule("a", 30, &[]), &tree, 0, 1));
    let key = format!("risk/tree/{}", tree.id());
    for (key, value) in [
        (key.as_str(), "{}"),
        (key.as_str(), "{\"version\":9}"),
        ("risk/tree/x", "{}"),
        ("risk/rule/r", "[]"),
        ("other/key", "{}"),
    ] {
        let error = stage.restore(key, value.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{key}");
    }
    assert_eq!(stage.score(tree.id(), Timestamp::from_nanos(START)), 30);
}

/// What may happen: which rule, in which process, when.
#[derive(Clone, Debug)]
struct Step {
    rule: usize,
    process: usize,
    at: i64,
    delay: i64,
    again_after: Option<i64>,
}

const LATENESS_NS: i64 = 5 * SECOND;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..6_usize,
        0..6_usize,
        prop_oneof![0..20 * SECOND, 0..7_200 * SECOND, (0..20_i64).prop_map(|s| s * SECOND)],
        0..=LATENESS_NS,
        prop_oneof![3 => Just(None), 1 => (0..3_600 * SECOND).prop_map(Some)],
    );
    let step = step.prop_map(|(rule, process, at, delay, again_after)| Step {
        rule,
        process,
        at,
        delay,
        again_after,
    });
    prop::collection::vec(step, 1..40)
}

fn rules() -> Vec<Arc<RuleMeta>> {
    vec![
        rule("a", 10, &["attack.execution"]),
        rule("b", 25, &["attack.persistence", "attack.execution"]),
        rule("c", 40, &[]),
        rule("d", 7, &["attack.command-and-control"]),
        rule("e", 70, &["attack.impact", "attack.t1486"]),
        rule("f", 1, &["attack.initial-access"]),
    ]
}

fn processes() -> Vec<Arc<Process>> {
    let roots = [process(10, 1, None), process(20, 1, None)];
    let children = roots.clone().map(|root| process(30, root.id().start_ns() + 7, Some(&root)));
    let grandchildren = children.clone().map(|child| process(40, 99, Some(&child)));
    roots.into_iter().chain(children).chain(grandchildren).collect()
}

fn options() -> RiskOptions {
    let mut options = RiskOptions::default();
    options.half_life = minutes(10);
    options.episode = minutes(30);
    options.lateness = Duration::from_nanos(LATENESS_NS as u64);
    options.rarity_points = 0;
    options
}

/// The history, and the order in which it comes: late by no more than allowed, some of it again.
fn played(steps: &[Step]) -> (Vec<Alert>, Vec<Alert>) {
    let (rules, processes) = (rules(), processes());
    let mut arrivals = Vec::new();
    let mut history = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let Step { rule, process, at, delay, again_after } = *step;
        let alert = alert(&rules[rule], &processes[process], at, number as u64 + 1);
        arrivals.push((at + delay, alert.clone()));
        arrivals.extend(again_after.map(|after| (at + delay + after, alert.clone())));
        history.push(alert);
    }
    arrivals.sort_by_key(|(at, _)| *at);
    (history, arrivals.into_iter().map(|(_, alert)| alert).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_same_alerts_come_out_in_any_order_and_again_and_as_by_brute_force(steps in steps()) {
        let (history, arrivals) = played(&steps);
        let expected = model::expected(&history, &options());
        let mut stage = stage(options());
        let raised: Vec<Alert> =
            arrivals.iter().flat_map(|alert| pass(&mut stage, alert)).collect();
        prop_assert_eq!(of_scores(&raised), expected.clone());
        let count = raised.iter().filter(|alert| alert.rule.is_risk()).count();
        prop_assert_eq!(count, expected.len(), "an alert was raised twice");
        prop_assert_eq!(stage.counters().evicted + stage.counters().overflowed, 0);
    }

    #[test]
    fn a_restart_with_what_came_since_the_save_makes_no_difference(
        steps in steps(),
        save_at in 0..60_usize,
        more in 0..20_usize,
    ) {
        let (history, arrivals) = played(&steps);
        let save_at = save_at.min(arrivals.len());
        let killed_at = (save_at + more).min(arrivals.len());
        let mut saved = BTreeMap::new();
        let mut before = stage(options());
        let mut raised = Vec::new();
        for (number, alert) in arrivals[..killed_at].iter().enumerate() {
            // Every now and then, and the last time in the middle.
            if number == save_at || (number < save_at && number % 7 == 0) {
                save(&mut before, &mut saved);
            }
            raised.extend(pass(&mut before, alert));
        }
        if save_at == killed_at {
            save(&mut before, &mut saved);
        }
        let mut after = stage(options());
        for (key, value) in &saved {
            after.restore(key, value).unwrap();
        }
        for alert in &arrivals[save_at..] {
            raised.extend(pass(&mut after, alert));
        }
        prop_assert_eq!(of_scores(&raised), model::expected(&history, &options()));
    }

    #[test]
    fn state_of_any_bytes_is_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut stage = stage(options());
        let key = format!("risk/tree/{}", process(10, 1, None).id());
        let _ = stage.restore(&key, &bytes);
        pass(&mut stage, &alert(&rule("a", 30, &[]), &process(10, 1, None), 0, 1));
    }
}
