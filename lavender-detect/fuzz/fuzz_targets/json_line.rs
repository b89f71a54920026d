//! Any bytes as a line of JSON: accepted if and only if `serde_json` accepts them as an object, with the same values
//! and the same matches.
#![no_main]

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use lavender_detect::{Evaluator, FieldId, JsonFields, JsonLines, Record, RuleSet, Truth};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    RuleSet::from_yaml(
        "title: All\nlogsource: {product: test}\ndetection:\n  \
         a: {a|contains: [x, yy], a|re|i: 'q+w'}\n  \
         b: {b|cidr: 10.0.0.0/8, b|gt: 3}\n  \
         c: {a|fieldref: b, c|hour: 3}\n  \
         d: {c.d: 'x*y?z', c.d|exists: true}\n  \
         e: [keyword, '*in*the*middle*']\n  \
         f: {a: null}\n  \
         g: {c.d.e|exists: true, a.b: 1}\n  \
         condition: a or b or c or d or e or g and not f\n",
    )
    .expect("the rule is good")
});

/// What one thread works in, from line to line: nothing of a line may be seen in the next.
struct Readers {
    fields: JsonFields,
    lines: JsonLines,
    evaluator: Evaluator,
}

thread_local! {
    static READERS: RefCell<Readers> = RefCell::new({
        let fields = JsonFields::new(RULES.fields());
        let lines = JsonLines::new(&fields);
        Readers { fields, lines, evaluator: RULES.unrouted_evaluator() }
    });
}

/// Every value of a field, or of the record. A value sorts the keys of its objects, and a line does not.
fn values(record: &impl Record, field: Option<FieldId>) -> Vec<String> {
    let mut values = Vec::new();
    let mut keep = |value: lavender_detect::FieldValue<'_>| {
        values.push(format!("{value:?}"));
        ControlFlow::Continue(())
    };
    let _ = match field {
        None => record.each_value(&mut keep),
        Some(field) => {
            let _ = keep(record.value(field));
            record.elements(field, &mut keep)
        }
    };
    values.sort_unstable();
    values
}

fuzz_target!(|line: &[u8]| {
    // Keys that serde_json keeps for itself are keys like any other here.
    if line.windows(11).any(|part| part == b"$serde_json") {
        return;
    }
    READERS.with_borrow_mut(|Readers { fields, lines, evaluator }| {
        let value = serde_json::from_slice::<Value>(line).ok().filter(Value::is_object);
        let (value, record) = match (value, lines.parse(line)) {
            (None, Err(_)) => return,
            (Some(value), Ok(record)) => (value, record),
            (value, record) => panic!("{value:?}, but {record:?}"),
        };
        let expected = fields.record(&value);
        for (field, name) in RULES.fields().iter() {
            assert_eq!(values(&record, Some(field)), values(&expected, Some(field)), "{name}");
        }
        assert_eq!(values(&record, None), values(&expected, None));
        let matched = evaluator.matches(&record).count();
        assert_eq!(matched, evaluator.matches(&expected).count());
        for rule in RULES.iter() {
            let explained = RULES.explain(rule, &record);
            assert_eq!(explained.truth() == Truth::True, matched == 1, "{explained}");
        }
    });
});
