//! The rules that come with Lavender, on the events that they should and should not match.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lavender_detect::{RuleSetBuilder, builtin, run_tests};

#[test]
fn every_builtin_rule_passes_its_cases() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    let rules = builder.build().unwrap_or_else(|errors| panic!("{errors}")).rules;
    let results =
        run_tests(&rules, builtin::tests()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let failed: Vec<_> = results.iter().filter(|result| !result.passed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_placeholder_of_the_builtin_rules_has_values() {
    let text = include_str!("../rules/placeholders.yml");
    assert_eq!(
        lavender_detect::Placeholders::from_yaml("placeholders.yml", text),
        Ok(builtin::placeholders())
    );
}

#[test]
fn rules_that_say_nothing_by_themselves_raise_nothing_by_themselves() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    let rules = builder.build().unwrap_or_else(|errors| panic!("{errors}")).rules;
    for rule in rules.iter() {
        let asked_for = rule.meta().level == lavender_core::Severity::Informational;
        assert_eq!(rules.is_silent(rule), asked_for, "{}", rule.meta().title);
    }
    assert!(rules.correlations().iter().all(|correlation| correlation.raises()));
}

#[test]
fn builtin_rules_say_what_an_analyst_needs() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    let rules = builder.build().unwrap_or_else(|errors| panic!("{errors}")).rules;
    for rule in rules.iter() {
        let meta = rule.meta();
        assert!(meta.techniques().next().is_some(), "{}: no ATT&CK technique", meta.title);
        assert!(meta.description.is_some(), "{}: no description", meta.title);
        assert!(!meta.false_positives.is_empty(), "{}: no false positives", meta.title);
    }
}
