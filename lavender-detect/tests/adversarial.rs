//! Rules and events made to cost: everything loads, or is refused with a fault that says why, and evaluates right.
//! What it costs is measured by the benchmark `adversarial`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;

use lavender_detect::{
    Evaluator, FieldValue, FlatRecord, LogSource, Placeholders, RuleSet, RuleSetBuilder, Truth,
};

const HEAD: &str = "title: T\nlogsource: {product: linux}\ndetection:\n";

fn load(detection: &str) -> Result<RuleSet, String> {
    RuleSet::from_yaml(&format!("{HEAD}{detection}")).map_err(|errors| errors.to_string())
}

fn loaded(detection: &str) -> RuleSet {
    load(detection).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Asserts that a rule is refused for this reason.
fn refused(detection: &str, reason: &str) {
    let error = load(detection).expect_err("it loads");
    assert!(error.contains(reason), "{}", &error[..error.len().min(2_000)]);
    assert!(error.len() < 10_000, "a fault of {} bytes", error.len());
}

fn found(rules: &RuleSet, fields: &[(&str, FieldValue<'_>)]) -> usize {
    let mut evaluator: Evaluator = rules.evaluator(&LogSource::product("linux"));
    let record = FlatRecord::new(rules.fields(), fields.iter().copied());
    let found: Vec<_> = evaluator.matches(&record).map(|found| found.truth()).collect();
    assert!(found.iter().all(|truth| *truth == Truth::True), "{found:?}");
    found.len()
}

fn line(rules: &RuleSet, line: &str) -> usize {
    found(rules, &[("CommandLine", FieldValue::from(line))])
}

const MEBIBYTE: usize = 1 << 20;

#[test]
fn fields_of_a_mebibyte_are_evaluated_in_full() {
    let rules = loaded(
        "  plain: {CommandLine|contains: needle}\n  \
           glob: {CommandLine: '*aa?b*needle*a'}\n  \
           expression: {CommandLine|re: 'b.*needle'}\n  \
           end: {CommandLine|endswith: a}\n  \
           other: {ParentCommandLine|fieldref: CommandLine}\n  \
           condition: all of them\n",
    );
    let filler = "aaXb".repeat(MEBIBYTE / 4);
    let long = format!("{filler}needle{filler}a");
    let fields = |parent| {
        [("CommandLine", FieldValue::from(&*long)), ("ParentCommandLine", FieldValue::from(parent))]
    };
    assert_eq!(found(&rules, &fields(&*long)), 1);
    assert_eq!(found(&rules, &fields("aaXb")), 0);
    assert_eq!(line(&rules, &filler), 0);
    // What a huge field left behind does not disturb the next record.
    let small = "aaxb needle a";
    let both = [("CommandLine", FieldValue::from(small)), ("ParentCommandLine", small.into())];
    let mut evaluator = rules.evaluator(&LogSource::product("linux"));
    let huge = FlatRecord::new(rules.fields(), fields(&*long));
    let tiny = FlatRecord::new(rules.fields(), both);
    for _ in 0..3 {
        assert_eq!(evaluator.matches(&huge).len(), 1);
        assert_eq!(evaluator.matches(&tiny).len(), 1);
    }
}

#[test]
fn keywords_look_through_a_mebibyte() {
    let rules = loaded("  words: [needle, '*b?n*']\n  condition: words\n");
    let filler = "ab ".repeat(MEBIBYTE / 3);
    assert_eq!(line(&rules, &format!("{filler}Needle")), 1);
    assert_eq!(line(&rules, &filler), 0);
}

#[test]
fn expressions_that_backtrack_elsewhere_are_linear_here() {
    let long = "a".repeat(64 << 10);
    for (expression, matching) in [
        ("^(a+)+$", true),
        ("(a|aa)+$", true),
        ("(a|a?)+x", false),
        ("(.*){50}x", false),
        ("(.*a){20}", true),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", false),
    ] {
        let rules = loaded(&format!("  s: {{CommandLine|re: '{expression}'}}\n  condition: s\n"));
        assert_eq!(line(&rules, &long), usize::from(matching), "{expression}");
        assert_eq!(
            line(&rules, &format!("{long}!")),
            usize::from(expression == "(.*a){20}"),
            "{expression}"
        );
    }
}

#[test]
fn expressions_too_large_to_compile_are_refused() {
    for expression in ["a{1000}{1000}", "(\\w{100}){100}", "(((x{99}){99}){99}){99}", "\\w{9999}"] {
        let rule = format!("  s: {{CommandLine|re: '{expression}'}}\n  condition: s\n");
        refused(&rule, "the regular expression cannot be used: it takes more than 10485760 bytes");
    }
    let deep = format!("{}x{}", "(".repeat(5_000), ")".repeat(5_000));
    let rule = format!("  s: {{CommandLine|re: '{deep}'}}\n  condition: s\n");
    refused(&rule, "the regular expression cannot be used: ");
}

/// Distinct words none of which is in another.
fn word(number: usize) -> String {
    format!("<{number}>")
}

#[test]
fn ten_thousand_patterns_on_one_field_find_theirs() {
    for modifier in ["contains", "startswith", "endswith", "contains|cased"] {
        let mut text = String::new();
        for number in 0..10_000 {
            write!(
                text,
                "---\ntitle: {number}\nlogsource: {{product: linux}}\ndetection: {{s: {{CommandLine|{modifier}: '{}'}}, condition: s}}\n",
                word(number)
            )
            .unwrap();
        }
        let rules = RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(rules.len(), 10_000);
        assert_eq!(line(&rules, &word(9_876)), 1, "{modifier}");
        assert_eq!(line(&rules, "<10000>"), 0, "{modifier}");
    }
}

#[test]
fn a_rule_of_a_hundred_thousand_values_finds_each() {
    for modifier in ["", "|contains", "|startswith", "|endswith"] {
        let mut text = format!("  s:\n    CommandLine{modifier}:\n");
        for number in 0..100_000 {
            writeln!(text, "      - '{}'", word(number)).unwrap();
        }
        text += "  condition: s\n";
        let rules = loaded(&text);
        for number in [0, 5, 99_999] {
            assert_eq!(line(&rules, &word(number)), 1, "{modifier} {number}");
        }
        assert_eq!(line(&rules, "<100000>"), 0, "{modifier}");
        let whole = format!("x{}x", word(7));
        assert_eq!(line(&rules, &whole), usize::from(modifier == "|contains"), "{modifier}");
    }
}

#[test]
fn values_that_stand_in_each_other_are_found_all_the_same() {
    let mut text = String::from("  s:\n    CommandLine|contains:\n");
    for number in 1..2_000 {
        writeln!(text, "      - '{}b'", "a".repeat(number)).unwrap();
    }
    text += "  condition: s\n";
    let rules = loaded(&text);
    assert_eq!(line(&rules, "xaab"), 1);
    assert_eq!(line(&rules, "xb"), 0);
    let prefixes = loaded(&text.replace("contains", "startswith"));
    assert_eq!(line(&prefixes, &format!("{}bc", "a".repeat(1_500))), 1);
    assert_eq!(line(&prefixes, &format!("{}bc", "a".repeat(2_500))), 0);
}

#[test]
fn conditions_nest_to_a_bound() {
    let search = "  s: {CommandLine|contains: x}\n";
    let condition = |condition: &str| format!("{search}  condition: '{condition}'\n");
    let parentheses =
        |depth: usize| condition(&format!("{}s{}", "(".repeat(depth), ")".repeat(depth)));
    let nots = |depth: usize| condition(&format!("{}s", "not ".repeat(depth)));
    let both =
        |depth: usize| condition(&format!("{}s{}", "not (".repeat(depth), ")".repeat(depth)));
    for rule in [parentheses(60), nots(60), both(30)] {
        assert_eq!(line(&loaded(&rule), "x"), 1);
        assert_eq!(line(&loaded(&rule), "y"), 0);
    }
    for rule in
        [parentheses(65), parentheses(30_000), nots(65), nots(15_000), both(33), both(10_000)]
    {
        refused(&rule, "parentheses and `not` nest more than 64 deep");
    }
    let wide = condition(&vec!["(s)"; 4_000].join(" and not not "));
    assert_eq!(line(&loaded(&wide), "x"), 1);
    let unclosed = condition(&format!("{} s", "( ".repeat(60)));
    refused(&unclosed, "the condition cannot be read");
    let long = condition(&vec!["s"; 40_000].join(" or "));
    refused(&long, "the condition cannot be read");
}

#[test]
fn a_condition_does_not_multiply_its_searches_without_bound() {
    let mut search = String::from("  s:\n");
    for number in 0..1_000 {
        writeln!(search, "    F{number}: x").unwrap();
    }
    let twice = format!("{search}  condition: s or not s\n");
    assert_eq!(loaded(&twice).len(), 1);
    let often = format!("{search}  condition: '{}'\n", vec!["s"; 5_000].join(" or "));
    refused(&often, "the condition makes more than 4096 tests of the 1000 written");
    let mut many = String::new();
    for number in 0..2_000 {
        writeln!(many, "  s{number}: {{A: b}}").unwrap();
    }
    refused(&format!("{many}  condition: 1 of s*\n"), "more than 1024 searches");
}

#[test]
fn modifiers_and_placeholders_do_not_multiply_values_without_bound() {
    let steps = |modifier: &str| {
        format!("  s: {{CommandLine{}: abcd}}\n  condition: s\n", format!("|{modifier}").repeat(30))
    };
    for modifier in ["base64offset", "base64", "wide", "contains"] {
        refused(&steps(modifier), "more than 8 modifiers that change texts");
    }
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for modifier in ["expand", "re|expand", "cidr|expand"] {
        let placeholders = Placeholders::new().with_values("x", names.clone());
        let mut builder = RuleSetBuilder::new().with_placeholders(placeholders);
        let value = "%x%".repeat(8);
        builder
            .add_str("x.yml", &format!("{HEAD}  s: {{A|{modifier}: '{value}'}}\n  condition: s\n"));
        let errors = builder.build().unwrap_err();
        let expected = "it expands to more than 10000 values";
        assert!(errors.faults[0].reason.contains(expected), "{modifier}: {}", errors.faults[0]);
    }
}

#[test]
fn documents_nest_and_repeat_to_a_bound() {
    let deep = format!("  s: {}x{}\n  condition: s\n", "[".repeat(5_000), "]".repeat(5_000));
    refused(&deep, "");
    let long = "y".repeat(100_000);
    let mut aliases = format!("  a: {{A: &a '{long}'}}\n  s:\n    B:\n");
    (0..1_000).for_each(|_| aliases += "      - *a\n");
    refused(&format!("{aliases}  condition: s\n"), "aliases stand for more than 1 MiB");
    let mut keys = String::from("  s:\n");
    (0..50_000).for_each(|number| writeln!(keys, "    F{number}: x").unwrap());
    assert_eq!(loaded(&format!("{keys}  condition: s\n")).len(), 1);
    refused(&format!("{keys}    F7: y\n  condition: s\n"), "the key `F7` is there twice");
}

#[test]
fn many_filters_for_many_rules_each_find_theirs() {
    let mut text = String::new();
    for number in 0..3_000 {
        write!(
            text,
            "---\ntitle: r{number}\nid: r{number}\nlogsource: {{product: linux}}\ndetection: {{s: {{CommandLine|contains: 'x'}}, condition: s}}\n\
             ---\ntitle: f{number}\nlogsource: {{product: linux}}\nfilter: {{rules: [r{number}], n: {{User: u{number}}}, condition: not n}}\n"
        )
        .unwrap();
    }
    let rules = RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let fields = [("CommandLine", FieldValue::from("x")), ("User", FieldValue::from("u7"))];
    assert_eq!(found(&rules, &fields), 2_999);
}
