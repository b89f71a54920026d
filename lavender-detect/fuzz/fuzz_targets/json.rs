//! Any text as an event in JSON, before a set of rules that uses every kind of test.
#![no_main]

use std::sync::LazyLock;

use lavender_detect::{JsonFields, RuleSet};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    RuleSet::from_yaml(
        "title: All\nlogsource: {product: test}\ndetection:\n  \
         a: {a|contains: [x, yy], a|re|i: 'q+w'}\n  \
         b: {b|cidr: 10.0.0.0/8, b|gt: 3}\n  \
         c: {a|fieldref: b, c|hour: 3}\n  \
         d: {c.d: 'x*y?z', c.d|exists: true}\n  \
         e: [keyword, '*in*the*middle*']\n  \
         f: {a: null}\n  \
         condition: a or b or c or d or e and not f\n",
    )
    .expect("the rule is good")
});

fuzz_target!(|text: &str| {
    let fields = JsonFields::new(RULES.fields());
    let Ok(event) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let record = fields.record(&event);
    let matched = RULES.unrouted_evaluator().matches(&record).count();
    for rule in RULES.iter() {
        let explained = RULES.explain(rule, &record);
        assert_eq!(explained.truth() == lavender_detect::Truth::True, matched == 1, "{explained}");
    }
});
