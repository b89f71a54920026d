//! `novelty` in rules: what is refused, with its line and the reason; what smells; what is read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use lavender_detect::{RuleSet, RuleSetBuilder, Smell, lint};

const RULE: &str = "title: A
id: a
status: test
level: low
description: d
falsepositives: [f]
tags: [attack.t1059]
logsource: {product: linux, category: process_creation}
detection: {s: {Image|endswith: /a}, condition: s}
lavender:
    novelty:
";

fn load(novelty: &str) -> Result<RuleSet, Vec<String>> {
    let text: String = novelty.lines().map(|line| format!("        {line}\n")).collect();
    RuleSet::from_yaml(&format!("{RULE}{text}"))
        .map_err(|errors| errors.faults.iter().map(ToString::to_string).collect())
}

#[test]
fn every_fault_has_its_line_and_reason() {
    for (novelty, line, reason) in [
        ("baseline: 7d", 11, "`fields`, of which a value is new, is missing"),
        ("fields: []", 11, "`fields`, of which a value is new, is missing"),
        ("fields: [Image, 7]", 12, "a list of fields, not a number"),
        ("fields: {a: b}", 12, "a list of fields, not a mapping"),
        ("fields: Image|endswith", 12, "without modifiers"),
        ("fields: [Image, User, Image]", 12, "`Image` stands twice"),
        ("fields: Image\nper: [Image]", 13, "`Image` stands twice"),
        ("fields: [a, b, c, d, e, f, g, h, i]", 12, "more than 8 fields"),
        ("fields: Image\nbaseline: 7", 13, "`7` is not a timespan"),
        ("fields: Image\nbaseline: 0s", 13, "longer than nothing"),
        ("fields: Image\nforget: 1y", 13, "`1y` is not a timespan"),
        ("fields: Image\nforget: 10s", 13, "between a minute and ten years"),
        ("fields: Image\nforget: 600w", 13, "between a minute and ten years"),
        ("fields: Image\nbaseline: 7d\nforget: 1d", 14, "`forget` is shorter than `baseline`"),
        ("fields: Image\nbytes_max: 1000", 13, "a number from 65536 to"),
        ("fields: Image\nbytes_max: 1MiB", 13, "a number from 65536 to"),
        ("fields: Image\nbaselin: 7d", 13, "`baselin` is no key of `novelty`"),
    ] {
        let faults = load(novelty).expect_err(novelty);
        assert_eq!(faults.len(), 1, "{novelty}: {faults:?}");
        let place = format!("rules:{line}: ");
        assert!(faults[0].starts_with(&place) && faults[0].contains(reason), "{faults:?}");
        assert!(faults[0].ends_with("(in `A`)"), "{faults:?}");
    }
}

#[test]
fn it_is_no_key_of_correlations_and_filters() {
    for body in [
        "correlation: {type: event_count, rules: a, timespan: 1m, condition: {gte: 2}}",
        "logsource: {product: linux}\nfilter: {rules: any, f: {User: x}, condition: not f}",
    ] {
        let rule = RULE.split("lavender:").next().unwrap();
        let text =
            format!("{rule}---\ntitle: B\n{body}\nlavender: {{novelty: {{fields: Image}}}}\n");
        let errors = RuleSet::from_yaml(&text).unwrap_err();
        let fault = errors.faults[0].to_string();
        assert!(fault.contains("`novelty` is for rules on single events"), "{fault}");
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let rules = load(
        "fields: [ParentImage, Image]\nper: User\nbaseline: 7d\nforget: 30d\nbytes_max: 4194304",
    )
    .unwrap();
    let clause = rules.rule("a").unwrap().novelty().unwrap();
    let names =
        |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(clause.fields()), ["ParentImage", "Image"]);
    assert_eq!(names(clause.per()), ["User"]);
    assert_eq!(clause.baseline(), Duration::from_secs(7 * 86_400));
    assert_eq!(clause.forget(), Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(clause.bytes_max(), Some(4_194_304));
    assert_eq!(names(&rules.fields_of(rules.rule("a").unwrap())), ["Image", "ParentImage", "User"]);
    let rules = load("fields: Image").unwrap();
    let clause = rules.rule("a").unwrap().novelty().unwrap();
    assert_eq!(
        (clause.baseline(), clause.forget(), clause.bytes_max()),
        (Duration::ZERO, None, None)
    );
    assert!(rules.rule("a").unwrap().extension().is_some());
}

#[test]
fn a_field_that_no_event_of_the_log_source_has_smells() {
    let smells = |fields: &str, logsource: &str| -> Vec<(Smell, u32)> {
        let text = format!("{RULE}        fields: {fields}\n")
            .replace("{product: linux, category: process_creation}", logsource);
        let mut builder = RuleSetBuilder::new();
        builder.add_str("r.yml", &text);
        let rules = builder.build().unwrap().rules;
        let found = lint(&rules, [("r.yml", &*text)], [("r.test.yml", "rule: a")]);
        found.into_iter().map(|finding| (finding.smell, finding.line)).collect()
    };
    let process = "{product: linux, category: process_creation}";
    assert_eq!(smells("[ParentImage, Image]", process), []);
    assert_eq!(smells("[Imgae]", process), [(Smell::NoveltyField, 12)]);
    assert_eq!(smells("[DestinationIp]", process), [(Smell::NoveltyField, 12)]);
    assert_eq!(smells("[DestinationIp]", "{product: linux}"), []);
    // Nothing is known of other log sources.
    assert_eq!(smells("[Anything]", "{product: acme}"), []);
}
