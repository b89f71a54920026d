//! `lint`: what loads and smells, each with its line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{BROKEN, NETCAT, NETCAT_TEST, builtin, folder, run, text};

/// Lints one rule, and gives kinds and lines.
fn smells(rule: &str) -> Vec<(String, u64)> {
    let rules = folder(&[("rule.yml", rule), ("rule.test.yml", NETCAT_TEST)]);
    let run = run(&["lint", text(rules.path()), "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = run.json();
    let findings = report["findings"].as_array().unwrap().iter();
    let pair = |finding: &Value| {
        (finding["smell"].as_str().unwrap().to_owned(), finding["line"].as_u64().unwrap())
    };
    findings.map(pair).collect()
}

fn one(rule: &str) -> (String, u64) {
    let mut found = smells(rule);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_good_rule_and_those_of_lavender_have_none() {
    assert_eq!(smells(NETCAT), []);
    let run = run(&["lint", text(&builtin()), "--deny"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("0 findings in "), "{run:?}");
}

#[test]
fn each_smell_is_found_on_its_line() {
    let smell = |kind: &str, line| (kind.to_owned(), line);
    for key in ["level: high", "status: test", "description: netcat gives a program away."] {
        assert_eq!(one(&NETCAT.replace(&format!("{key}\n"), "")), smell("missing_key", 1), "{key}");
    }
    assert_eq!(one(&NETCAT.replace("attack.t1059.004", "attack.T1059")), smell("tag", 7));
    assert_eq!(one(&NETCAT.replace("attack.execution", "execution")), smell("tag", 6));
    assert_eq!(one(&NETCAT.replace("attack.execution", "attack.executing")), smell("tag", 6));
    assert_eq!(one(&NETCAT.replace("contains:", "contains|all:")), smell("all_of_one", 14));
    assert_eq!(one(&NETCAT.replace("' -e '", "[' -e ']")), smell("list_of_one", 14));

    let with = |more: &str, condition: &str| {
        NETCAT.replace("    condition: selection\n", &format!("{more}    condition: {condition}\n"))
    };
    let other = "    other:\n        User: root\n";
    assert_eq!(one(&with(other, "selection")), smell("unused_search", 15));
    let same = "    same:\n        Image|endswith: /nc\n        CommandLine|contains: ' -e '\n";
    assert_eq!(one(&with(same, "1 of s*")), smell("duplicate_search", 15));
    let plain = "    plain:\n        Image|endswith: /nc\n";
    assert_eq!(one(&with(plain, "selection and not plain")), smell("never_matches", 1));
    assert_eq!(one(&with("", "not selection")), smell("matches_nothing_in_particular", 1));
}

#[test]
fn titles_and_missing_tests_are_looked_at_across_files() {
    let other = NETCAT.replace("4d2e", "5d2e");
    let rules = folder(&[("a.yml", NETCAT), ("a.test.yml", NETCAT_TEST), ("b.yml", &other)]);
    let shown = run(&["lint", text(rules.path())]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let b = rules.path().join("b.yml");
    assert!(shown.stdout.contains(&format!("{}:1: untested: ", b.display())), "{shown:?}");
    assert!(shown.stdout.contains(&format!("{}:1: duplicate_title: ", b.display())), "{shown:?}");
    assert!(shown.stdout.contains("2 findings in 2 rules"), "{shown:?}");
    assert_eq!(run(&["lint", text(rules.path()), "--deny"]).code, Some(1));
}

#[test]
fn what_does_not_load_is_told_on_stderr() {
    let rules = folder(&[("broken.yml", BROKEN)]);
    let run = run(&["lint", text(rules.path())]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("broken.yml:7: "), "{run:?}");
    assert!(run.stdout.starts_with("0 findings in 0 rules"), "{run:?}");
}
