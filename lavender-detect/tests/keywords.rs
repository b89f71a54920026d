//! Rules of keywords beside rules on fields, against the reference evaluator: what rules values out, and what is
//! remembered of them, must change nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod reference;

use std::collections::BTreeSet;

use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSetBuilder};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Long enough, or with a blank, so that values can be ruled out by them; and some of plain bytes only.
const KEYWORDS: &[&str] = &[
    "scp ",
    "rsync ",
    " -v ",
    "sh_history",
    "/etc/ld.so.preload",
    "(){:;};",
    "deadbeefdeadbeef",
    "2026-11-26T00:00",
    "chmod * /tmp/",
    "rm -f /var/log/syslog",
    "/bin/Ærøskøbing",
];
const PARTS: &[&str] = &[
    "scp ",
    "SCP ",
    "rsync",
    " ",
    " -v ",
    "-v",
    "sh_",
    "history",
    "/etc/ld.so.",
    "preload",
    "PRELOAD",
    "(){:",
    ";};",
    "deadbeef",
    "{",
    "}",
    "-",
    "2026-11-26T",
    "00:00",
    "chmod ",
    "+x",
    " /tmp/",
    "rm -f",
    " /var/log",
    "/syslog",
    "/bin/",
    "ærøskøbing",
    "\u{212a}",
    "bash",
    "k",
    "0",
];

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PARTS), 0..8).prop_map(|parts| parts.concat())
}

/// A rule on keywords, on fields, or on both.
fn rule() -> impl Strategy<Value = Value> {
    let keywords = prop::collection::vec(prop::sample::select(KEYWORDS), 1..4);
    let field = (
        prop::sample::select(vec!["A|contains", "A|endswith", "B", "B|startswith", "C|contains"]),
        prop::sample::select(PARTS),
        prop::sample::select(vec![
            "keywords",
            "field",
            "keywords or field",
            "keywords and not field",
        ]),
    );
    (keywords, field).prop_map(|(keywords, (field, part, condition))| {
        json!({
            "title": "generated", "logsource": {"product": "test"},
            "detection": {"keywords": keywords, "field": {field: part}, "condition": condition},
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keywords_match_what_the_specification_says(
        rules in prop::collection::vec(rule(), 1..6),
        events in prop::collection::vec(prop::collection::vec(text(), 5), 1..6),
    ) {
        let rules: Vec<String> = (0..)
            .zip(rules)
            .map(|(number, mut rule): (usize, Value)| {
                rule["title"] = number.to_string().into();
                // A condition may leave a selection out.
                let condition = rule["detection"]["condition"].as_str().unwrap().to_owned();
                for unused in ["keywords", "field"].into_iter().filter(|name| !condition.contains(name)) {
                    rule["detection"].as_object_mut().unwrap().remove(unused);
                }
                rule.to_string()
            })
            .collect();
        let mut builder = RuleSetBuilder::new();
        for rule in &rules {
            builder.add_str("generated", rule);
        }
        let set = builder.build().unwrap_or_else(|errors| panic!("{errors}\n{rules:#?}")).rules;
        let parsed = |rule: &String| rsigma_parser::parse_sigma_yaml(rule).unwrap().rules.remove(0);
        let reference: Vec<_> = rules.iter().map(parsed).collect();
        let mut evaluator = set.evaluator(&LogSource::product("test"));
        for values in events.iter().chain(&events) {
            let named = ["A", "B", "C", "D", "E"].into_iter().zip(values);
            let event = Value::Object(named.clone().map(|(name, text)| (name.into(), text.as_str().into())).collect());
            let expected: BTreeSet<&str> = reference
                .iter()
                .filter(|rule| reference::matches(rule, &event))
                .map(|rule| rule.title.as_str())
                .collect();
            let values = named.map(|(name, text)| (name, FieldValue::from(text.as_str())));
            let record = FlatRecord::new(set.fields(), values);
            let found: BTreeSet<String> =
                evaluator.matches(&record).map(|found| found.meta().title.to_string()).collect();
            let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
            prop_assert_eq!(&found, &expected, "rules {:#?}\nevent {}", rules, event);
        }
    }
}
