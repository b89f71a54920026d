//! Any text as a file of rules: it loads, or says why not; what loads evaluates, with and without the index alike.
#![no_main]

use lavender_detect::{FieldValue, FlatRecord, RuleSet, Truth};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(rules) = RuleSet::from_yaml(text) else { return };
    let values = rules.fields().iter().map(|(id, name)| (&**name, id.index()));
    let values = values.map(|(name, number)| match number % 5 {
        0 => (name, FieldValue::from(text)),
        1 => (name, FieldValue::Int(number as i64)),
        2 => (name, FieldValue::Unreadable),
        3 => (name, FieldValue::Null),
        _ => (name, FieldValue::Absent),
    });
    let record = FlatRecord::new(rules.fields(), values);
    let mut evaluator = rules.unrouted_evaluator();
    let mut verdicts = vec![Truth::False; rules.len()];
    for found in evaluator.matches(&record) {
        let at = rules.iter().position(|rule| std::ptr::eq(rule, found.rule()));
        verdicts[at.expect("a match is of a rule of the set")] = found.truth();
    }
    for (rule, verdict) in rules.iter().zip(verdicts) {
        assert_eq!(rules.explain(rule, &record).truth(), verdict);
    }
});
