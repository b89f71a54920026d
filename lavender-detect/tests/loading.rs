//! What is refused, where, and why; and what is loaded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lavender_detect::{Placeholders, RuleSet, RuleSetBuilder};

/// A rule with this detection section, of which the first line is line 4.
fn rule(detection: &str) -> String {
    format!("title: T\nlogsource: {{product: linux}}\ndetection:\n{detection}")
}

fn faults(text: &str) -> Vec<String> {
    let errors = RuleSet::from_yaml(text).unwrap_err();
    errors.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn every_fault_is_reported_with_its_line() {
    for (detection, expected) in [
        ("  s: {A|foo: x}\n  condition: s", "rules:4: `foo` is not a modifier"),
        ("  s: {A|not: x}\n  condition: s", "rules:4: `not` is no modifier"),
        (
            "  s:\n    A:\n      - x\n      - null\n  condition: s",
            "rules:7: null cannot stand in a list",
        ),
        ("  s: {A: {b: c}}\n  condition: s", "rules:4: a value of `A` is a mapping"),
        ("  s: {A: []}\n  condition: s", "rules:4: `A` has no value"),
        ("  s: {}\n  condition: s", "rules:4: an empty search"),
        ("  s: {A: x}\n  condition: t", "rules:5: the condition names `t`"),
        ("  s: {A: x}\n  condition: 1 of t*", "rules:5: no search fits `1 of t*`"),
        ("  s: {A: x}\n  condition: 2 of s*", "rules:5: `2 of` is not Sigma"),
        ("  s: {A: x}\n  condition: s and", "rules:5: the condition cannot be read"),
        ("  s: {A: x}\n  condition: s | count() > 3", "rules:5: aggregations after `|`"),
        ("  s: {A: x}\n  condition: {a: b}", "rules:5: a condition is a string"),
        ("  s: {A: x}", "rules:4: `condition` is missing"),
        ("  s: {A: x}\n  timeframe: 5m\n  condition: s", "rules:5: `timeframe` was removed"),
        ("  s:\n    A|re: '('\n  condition: s", "rules:5: the regular expression cannot be used"),
        (
            "  s:\n    A|re: '(?=x)'\n  condition: s",
            "rules:5: the regular expression cannot be used",
        ),
        ("  s: {A|cidr: 10.0.0.0/99}\n  condition: s", "rules:4: `10.0.0.0/99` is no network"),
        ("  s: {A|gt: many}\n  condition: s", "rules:4: a comparison takes a number"),
        ("  s: {A|exists: 1}\n  condition: s", "rules:4: `exists` takes true or false"),
        ("  s: {A|exists|all: true}\n  condition: s", "rules:4: `exists` takes no other modifier"),
        ("  s: {A|re|cidr: x}\n  condition: s", "rules:4: two modifiers that say how to compare"),
        ("  s: {A|i: x}\n  condition: s", "rules:4: `i`, `m` and `s` come after `re`"),
        ("  s: {A|base64: 'a*'}\n  condition: s", "rules:4: `base64` takes no wildcards"),
        ("  s: {A|expand: '%x%'}\n  condition: s", "rules:4: the placeholder `%x%` has no value"),
        ("  s: {A|contains: null}\n  condition: s", "rules:4: null has no text to look into"),
        ("  s: [null]\n  condition: s", "rules:4: null cannot be a keyword"),
        ("  s: {A: x, A: y}\n  condition: s", "rules:4: the key `A` is there twice"),
    ] {
        let found = faults(&rule(detection));
        assert!(found[0].starts_with(expected), "{detection}\nfound {found:#?}");
    }
    for (text, expected) in [
        ("", "rules: there is no document in it"),
        ("- a", "rules:1: a rule is a mapping, not a list"),
        ("a: [", "rules:2: not YAML"),
        ("logsource: {product: x}", "rules:1: `title` is missing"),
        ("title: T\ndetection: {s: {A: x}, condition: s}", "rules:1: `logsource` is missing"),
        ("title: T\nlogsource: {product: x}", "rules:1: `detection` is missing"),
        (
            "title: T\nlogsource: {}\ndetection: {s: {A: x}, condition: s}",
            "rules:2: `logsource` sets none",
        ),
        (
            "title: T\nlevel: bad\nlogsource: {product: x}\ndetection: {s: {A: x}, condition: s}",
            "rules:2: `bad` is not a level",
        ),
        (
            "title: T\nstatus: new\nlogsource: {product: x}\ndetection: {s: {A: x}, condition: s}",
            "rules:2: `new` is not a status",
        ),
        ("action: global\ntitle: T", "rules:1: `action` documents are not part of Sigma 2"),
    ] {
        let found = faults(text);
        assert!(found[0].starts_with(expected), "{text}\nfound {found:#?}");
    }
}

#[test]
fn one_fault_hides_no_other_and_nothing_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let good = rule("  s: {A: x}\n  condition: s");
    write("a.yml", &good);
    write("b.yml", &rule("  s: {A|foo: x, B|bar: y}\n  t: {C|re: '['}\n  condition: s"));
    write("c.yml", &format!("{good}\n---\n{}", rule("  s: {A: x}\n  condition: u")));
    write("d.txt", "not a rule");
    write("e.test.yml", "not a rule either");
    std::fs::write(directory.path().join("f.yml"), b"title: \xff").unwrap();
    let mut builder = RuleSetBuilder::new();
    builder.add_dir(directory.path());
    let errors = builder.build().unwrap_err();
    let found: Vec<_> = errors
        .faults
        .iter()
        .map(|fault| (fault.file.rsplit('/').next().unwrap(), fault.line))
        .collect();
    // The rule in c.yml that is good has the same text as a.yml, and so the same derived id.
    assert_eq!(found, [("b.yml", 4), ("b.yml", 4), ("c.yml", 1), ("c.yml", 11), ("f.yml", 0)]);
}

#[test]
fn correlations_are_left_out_only_when_asked() {
    let text = format!(
        "{}\n---\ntitle: C\ncorrelation: {{type: event_count, rules: [a], timespan: 1m}}",
        rule("  s: {A: x}\n  condition: s")
    );
    let mut builder = RuleSetBuilder::new().with_correlations_skipped();
    builder.add_str("rules", &text);
    let loaded = builder.build().unwrap();
    assert_eq!((loaded.rules.len(), loaded.skipped.len(), loaded.skipped[0].line), (1, 1, 7));
}

#[test]
fn filters_narrow_the_rules_that_they_are_for() {
    use lavender_detect::{FieldValue, FlatRecord, LogSource};
    let two = "title: One\nid: r1\nname: one\nlogsource: {product: linux, category: process_creation}\n\
               detection: {s: {A: x}, condition: s}\n---\n\
               title: Two\nid: r2\nlogsource: {product: linux, category: file_event}\n\
               detection: {s: {A: x}, condition: s}\n---\n";
    let filter = |rules: &str, logsource: &str| {
        format!(
            "{two}title: F\nlogsource: {logsource}\nfilter:\n  rules: {rules}\n  \
             admin: {{User: root}}\n  condition: not admin\n"
        )
    };
    let matched = |text: &str| -> Vec<String> {
        let rules = RuleSet::from_yaml(text).unwrap_or_else(|errors| panic!("{errors}"));
        let values = [("A", FieldValue::from("x")), ("User", "root".into())];
        let record = FlatRecord::new(rules.fields(), values);
        ["process_creation", "file_event"]
            .iter()
            .flat_map(|category| {
                let mut evaluator = rules.evaluator(&LogSource::linux(category));
                evaluator.matches(&record).map(|m| m.meta().title.to_string()).collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(matched(two), ["One", "Two"]);
    assert_eq!(matched(&filter("[r1]", "{product: linux}")), ["Two"]);
    assert_eq!(matched(&filter("[one]", "{product: linux}")), ["Two"]);
    assert_eq!(matched(&filter("any", "{product: linux}")), [] as [String; 0]);
    assert_eq!(matched(&filter("any", "{category: file_event}")), ["One"]);
    assert_eq!(matched(&filter("[]", "{product: windows}")), ["One", "Two"]);

    let found = faults(&filter("[r1, nobody]", "{product: linux}"));
    assert!(found[0].contains("the filter is for `nobody`"), "{found:?}");
    let found = faults(&filter("[r1]", "{product: windows}"));
    assert!(found[0].contains("the filter's logsource"), "{found:?}");
}

#[test]
fn placeholders_come_from_a_file_beside_the_rules_or_from_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("rule.yml", &rule("  s: {User|expand: '%admins%'}\n  condition: s"));
    write("placeholders.yml", "admins: [root, 1000]\n");
    let mut builder = RuleSetBuilder::new();
    builder.add_dir(directory.path());
    let rules = builder.build().unwrap_or_else(|errors| panic!("{errors}")).rules;
    assert_eq!(rules.len(), 1);
    let explained = |rules: &RuleSet| {
        let record = lavender_detect::FlatRecord::default();
        rules.explain(rules.iter().next().unwrap(), &record).to_string()
    };
    assert_eq!(explained(&rules), "- User like \"root\" or \"1000\"; found nothing\n");

    let own = Placeholders::new().with_values("admins", ["alice"]);
    let mut builder = RuleSetBuilder::new().with_placeholders(own);
    builder.add_dir(directory.path());
    let rules = builder.build().unwrap().rules;
    assert_eq!(explained(&rules), "- User like \"alice\"; found nothing\n");
}
