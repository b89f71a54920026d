//! Correlations as documents: what is refused, with its line and the reason; what is silent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lavender_detect::RuleSet;
use lavender_detect::correlate::CorrelationKind;

const RULES: &str = "title: A\nid: a\nname: rule_a\nlogsource: {product: test}\ndetection: {s: {x: 1}, condition: s}
---
title: B\nid: b\nname: rule_b\nlogsource: {product: test}\ndetection: {s: {x: 2}, condition: s}
---
";

/// The line on which the correlation begins.
const LINE: u32 = 13;

fn faults(correlation: &str) -> Vec<String> {
    match RuleSet::from_yaml(&format!("{RULES}{correlation}")) {
        Ok(_) => panic!("loads: {correlation}"),
        Err(errors) => errors.faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_fault_has_its_line_and_reason() {
    let head = "title: C\ncorrelation:\n";
    for (text, line, reason) in [
        ("  type: event_count\n", 1, "`rules`"),
        ("  type: event_counts\n  rules: a\n  timespan: 1m\n", 2, "is not a correlation type"),
        ("  rules: a\n  timespan: 1m\n", 1, "`type` is missing"),
        ("  type: temporal\n  rules: [a, b]\n", 1, "`timespan` is missing"),
        ("  type: temporal\n  rules: [a, b]\n  timespan: 1M\n", 4, "is not a timespan"),
        ("  type: temporal\n  rules: [a, b]\n  timespan: 0s\n", 4, "longer than nothing"),
        ("  type: temporal\n  rules: [a, b]\n  timespan: 99999999999w\n", 4, "too long"),
        ("  type: temporal\n  rules: [a, z]\n  timespan: 1m\n", 3, "it correlates `z`"),
        (
            "  type: temporal\n  rules: [a, b]\n  timespan: 1m\n  window: session\n",
            5,
            "`window` is no key",
        ),
        (
            "  type: temporal\n  rules: [a, b]\n  timespan: 1m\n  condition: a and c\n",
            5,
            "names `c`",
        ),
        (
            "  type: temporal\n  rules: [a, b]\n  timespan: 1m\n  condition: a and and\n",
            5,
            "cannot be read",
        ),
        ("  type: event_count\n  rules: a\n  timespan: 1m\n", 0, "needs a condition"),
        (
            "  type: event_count\n  rules: a\n  timespan: 1m\n  condition: {gte: x}\n",
            5,
            "must be a number",
        ),
        (
            "  type: event_count\n  rules: a\n  timespan: 1m\n  condition: {gte: 0}\n",
            0,
            "holds for any count",
        ),
        (
            "  type: event_count\n  rules: a\n  timespan: 1m\n  condition: {gte: -4}\n",
            5,
            "0 to 1,000,000",
        ),
        (
            "  type: event_count\n  rules: a\n  timespan: 1m\n  condition: {most: 4}\n",
            5,
            "`most` is no key",
        ),
        (
            "  type: value_count\n  rules: a\n  timespan: 1m\n  condition: {gte: 4}\n",
            0,
            "needs `field`",
        ),
        (
            "  type: event_count\n  rules: a\n  timespan: 1m\n  condition: {gte: 4, field: x}\n",
            0,
            "takes no `field`",
        ),
        (
            "  type: value_percentile\n  rules: a\n  timespan: 1m\n  condition: {gte: 4, field: x}\n",
            0,
            "needs `percentile`",
        ),
        (
            "  type: temporal_ordered\n  rules: [a, b]\n  timespan: 1m\n  condition: {gte: 1}\n",
            0,
            "has no condition",
        ),
        (
            "  type: temporal\n  rules: [a, b]\n  timespan: 1m\n  aliases: {u: {c: x}}\n",
            5,
            "not among the `rules`",
        ),
        (
            "  type: temporal\n  rules: [a, b]\n  timespan: 1m\nlavender:\n  missing: [b]\n",
            6,
            "only `temporal_ordered`",
        ),
        (
            "  type: temporal_ordered\n  rules: [a, b]\n  timespan: 1m\nlavender:\n  missing: [a, b]\n",
            0,
            "must not be missing",
        ),
        (
            "  type: temporal_ordered\n  rules: [a, b]\n  timespan: 1m\nlavender:\n  until: z\n",
            6,
            "it correlates `z`",
        ),
        (
            "  type: temporal\n  rules: [a, b]\n  timespan: 1m\nlavender:\n  descendants_of: z\n",
            6,
            "not among the `rules`",
        ),
    ] {
        let found = faults(&format!("{head}{text}"));
        // Lines of the table are counted from that of the title.
        let place = format!("rules:{}: ", LINE + line);
        assert!(
            found.iter().any(|fault| fault.starts_with(&place) && fault.contains(reason)),
            "{text}\nexpected {place}{reason}\nfound {found:#?}"
        );
    }
}

#[test]
fn one_that_rests_on_itself_is_refused() {
    let text = "title: C\nid: c\ncorrelation: {type: temporal, rules: [a, d], timespan: 1m}\n---\n\
                title: D\nid: d\ncorrelation: {type: temporal, rules: [c, b], timespan: 1m}\n";
    let found = faults(text);
    assert!(found.iter().any(|fault| fault.contains("it rests on itself")), "{found:#?}");
}

#[test]
fn a_fault_in_one_hides_none_in_another() {
    let text = "title: C\ncorrelation: {type: temporal, rules: [a, y], timespan: 1m}\n---\n\
                title: D\ncorrelation: {type: event_count, rules: [a], timespan: 1m}\n";
    let found = faults(text);
    assert!(found.iter().any(|fault| fault.contains("`y`")), "{found:#?}");
    assert!(found.iter().any(|fault| fault.contains("needs a condition")), "{found:#?}");
}

#[test]
fn rules_that_are_only_there_for_correlations_are_silent() {
    let set = |generate: &str| {
        RuleSet::from_yaml(&format!(
            "{RULES}title: C\nid: c\ncorrelation: {{type: temporal, rules: [rule_a, b], timespan: 1m{generate}}}\n"
        ))
        .unwrap()
    };
    let rules = set("");
    assert!(rules.is_silent(rules.rule("a").unwrap()) && rules.is_silent(rules.rule("b").unwrap()));
    let rules = set(", generate: true");
    assert!(!rules.is_silent(rules.rule("a").unwrap()));
    let rules = set("}\nlavender: {generate: [b]");
    assert!(
        rules.is_silent(rules.rule("a").unwrap()) && !rules.is_silent(rules.rule("b").unwrap())
    );
    let correlation = rules.correlation("c").unwrap();
    assert_eq!(correlation.kind(), CorrelationKind::Temporal);
    assert_eq!(correlation.timespan_ns(), 60_000_000_000);
    assert_eq!(correlation.members().iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_correlation_below_another_raises_only_when_asked_to() {
    let text = |generate: &str| {
        format!(
            "{RULES}title: C\nid: c\ncorrelation: {{type: event_count, rules: [a], timespan: 1m, condition: {{gte: 3}}}}\n---\n\
             title: D\nid: d\ncorrelation: {{type: temporal_ordered, rules: [c, b], timespan: 1m{generate}}}\n"
        )
    };
    let rules = RuleSet::from_yaml(&text("")).unwrap();
    assert!(!rules.correlation("c").unwrap().raises() && rules.correlation("d").unwrap().raises());
    let rules = RuleSet::from_yaml(&text(", generate: true")).unwrap();
    assert!(rules.correlation("c").unwrap().raises());
}

#[test]
fn what_decides_at_once_adds_to_a_score_only_if_its_group_is_of_one_tree() {
    let risk = |group: &str, more: &str| {
        let text = format!(
            "title: A\nid: a\nlogsource: {{product: linux}}\ndetection: {{s: {{Image: /bin/a}}, condition: s}}\n---\n\
             title: Many\nid: many\nlevel: high\n\
             correlation: {{type: event_count, rules: [a], group-by: [{group}], timespan: 9s, condition: {{gte: 4}}}}\n{more}"
        );
        let rules = RuleSet::from_yaml(&text).unwrap();
        rules.correlations()[0].meta().risk
    };
    assert_eq!(risk("ProcessTreeGuid", ""), None);
    assert_eq!(risk("ProcessTreeGuid", "lavender: {risk: 5}"), Some(5));
    assert_eq!(risk("CurrentDirectory", ""), Some(0));
    // It says so itself, and waits until its order is known.
    assert_eq!(risk("CurrentDirectory", "lavender: {risk: 5}"), Some(5));
}
