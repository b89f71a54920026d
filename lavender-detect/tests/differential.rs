//! The engine against the reference evaluator, on generated rules and events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generator;
mod reference;

use std::collections::BTreeSet;

use generator::{VALUE_PARTS, any_text, event, rule};
use lavender_detect::{
    FieldValue, FlatRecord, JsonFields, Kept, LogSource, RuleSet, RuleSetBuilder, Truth,
};
use proptest::prelude::*;
use serde_json::Value;

fn titled(rules: Vec<Value>) -> Vec<String> {
    rules
        .into_iter()
        .enumerate()
        .map(|(number, mut rule)| {
            rule["title"] = format!("rule {number}").into();
            rule["id"] = format!("id-{number}").into();
            rule.to_string()
        })
        .collect()
}

fn load(rules: &[String]) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    for rule in rules {
        builder.add_str("generated", rule);
    }
    builder.build().unwrap_or_else(|errors| panic!("{errors}\n{rules:#?}")).rules
}

fn parse(rule: &str) -> rsigma_parser::SigmaRule {
    let mut parsed = rsigma_parser::parse_sigma_yaml(rule).unwrap();
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    parsed.rules.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matches_what_the_specification_says(
        rules in prop::collection::vec(rule(), 1..6),
        events in prop::collection::vec(event(), 1..6),
    ) {
        let rules = titled(rules);
        let set = load(&rules);
        let reference: Vec<_> = rules.iter().map(|rule| parse(rule)).collect();
        let fields = JsonFields::new(set.fields());
        let mut evaluator = set.evaluator(&LogSource::product("test"));
        // Twice: what is remembered of a value must not change what is found in it.
        for event in events.iter().chain(&events) {
            let expected: BTreeSet<_> = reference
                .iter()
                .filter(|rule| reference::matches(rule, event))
                .map(|rule| rule.title.clone())
                .collect();
            let record = fields.record(event);
            let found: BTreeSet<_> = evaluator
                .matches(&record)
                .inspect(|found| assert_eq!(found.truth(), Truth::True))
                .map(|found| found.meta().title.to_string())
                .collect();
            prop_assert_eq!(&found, &expected, "rules {:#?}\nevent {}", rules, event);
            // `explain` evaluates without the index, and agrees.
            for rule in set.iter() {
                let truth = set.explain(rule, &record).truth();
                prop_assert_eq!(truth == Truth::True, found.contains(&*rule.meta().title));
            }
        }
    }

    #[test]
    fn what_is_said_of_a_truncated_value_is_true_of_the_whole(
        rules in prop::collection::vec(rule(), 1..6),
        mut texts in prop::collection::vec(any_text(VALUE_PARTS, 6), 3),
        cut in 0_usize..12,
        from_the_end in any::<bool>(),
    ) {
        let rules = titled(rules);
        let set = load(&rules);
        let mut evaluator = set.evaluator(&LogSource::product("test"));
        texts[0].push('a');
        let cut = cut % texts[0].len();
        let (kept, part) = match from_the_end {
            false => (Kept::Start, &texts[0].as_bytes()[..cut]),
            true => (Kept::End, &texts[0].as_bytes()[texts[0].len() - cut..]),
        };
        let mut verdicts = |first: FieldValue<'_>| -> Vec<Truth> {
            let values = [("A", first), ("B", texts[1].as_str().into()), ("Image", texts[2].as_str().into())];
            let record = FlatRecord::new(set.fields(), values);
            let mut all = vec![Truth::False; rules.len()];
            for found in evaluator.matches(&record) {
                let number: usize = found.meta().title["rule ".len()..].parse().unwrap();
                all[number] = found.truth();
            }
            for (rule, truth) in set.iter().zip(&all) {
                assert_eq!(set.explain(rule, &record).truth(), *truth, "{}", rule.meta().title);
            }
            all
        };
        let whole = verdicts(texts[0].as_str().into());
        let known = verdicts(FieldValue::Truncated(part, kept));
        let unread = verdicts(FieldValue::Unreadable);
        for (number, whole) in whole.iter().enumerate() {
            for partial in [known[number], unread[number]] {
                prop_assert!(
                    partial == Truth::Undetermined || partial == *whole,
                    "said {:?}, is {:?}: {}\n{:?} of {:?}", partial, whole, rules[number],
                    String::from_utf8_lossy(part), texts
                );
            }
        }
    }
}
