//! Any text as a condition over three searches.
#![no_main]

use lavender_detect::{FlatRecord, RuleSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|condition: &str| {
    let rule = serde_json::json!({
        "title": "fuzz",
        "logsource": {"product": "test"},
        "detection": {
            "a": {"A": "x"},
            "sel_b": {"B": null},
            "_c": {"C|exists": false},
            "condition": condition,
        },
    });
    if let Ok(rules) = RuleSet::from_yaml(&rule.to_string()) {
        let record = FlatRecord::default();
        rules.unrouted_evaluator().matches(&record).count();
    }
});
