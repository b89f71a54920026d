//! `test`: rules against their cases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{BROKEN, NETCAT, NETCAT_TEST, builtin, folder, run, text};

#[test]
fn the_rules_of_lavender_pass() {
    for arguments in [&["test", "--builtin", "--json"], &["test", text(&builtin()), "--json"]] {
        let run = run(arguments);
        assert_eq!(run.code, Some(0), "{run:?}");
        let report = run.json();
        assert_eq!(report["failed"], 0);
        assert_eq!(report["untested"], 0);
        assert_eq!(report["passed"], report["rules"].as_array().unwrap().len());
        assert!(report["passed"].as_u64().unwrap() >= 19);
    }
}

#[test]
fn a_failure_has_its_line_and_says_what_was_missing() {
    let cases = NETCAT_TEST.replace("nc -e /bin/sh", "nc -c /bin/sh").replace("nc -h", "nc -e x");
    let rules = folder(&[("nc.yml", NETCAT), ("nc.test.yml", &cases)]);
    let run = run(&["test", text(rules.path())]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let file = rules.path().join("nc.test.yml");
    let (must, must_not) = (
        format!("{}:3: must match, and does not: a shell is given away", file.display()),
        format!("{}:6: must not match, and does: it asks for its version", file.display()),
    );
    assert!(run.stdout.contains(&must) && run.stdout.contains(&must_not), "{run:?}");
    assert!(run.stdout.contains("- CommandLine like \"* -e *\""), "{run:?}");
    assert!(run.stdout.ends_with("2 cases: 0 rules passed, 1 failed, 0 untested\n"), "{run:?}");
}

#[test]
fn a_file_is_tested_by_the_file_beside_it() {
    let other = NETCAT.replace("4d2e", "5d2e");
    let rules = folder(&[("nc.yml", NETCAT), ("nc.test.yml", NETCAT_TEST), ("b.yml", &other)]);
    let run_one = run(&["test", text(&rules.path().join("nc.yml"))]);
    assert_eq!(run_one.code, Some(0), "{run_one:?}");
    assert_eq!(run_one.stdout, "2 cases: 1 rules passed, 0 failed, 0 untested\n");
    let both = run(&["test", text(rules.path())]);
    assert_eq!(both.stdout, "2 cases: 1 rules passed, 0 failed, 1 untested\n");
}

#[test]
fn no_cases_cases_for_no_rule_and_rules_that_do_not_load_are_findings() {
    let without = folder(&[("nc.yml", NETCAT)]);
    assert_eq!(run(&["test", text(without.path())]).code, Some(1));

    let stray = folder(&[("nc.yml", NETCAT), ("nc.test.yml", "rule: other\npositive: []\n")]);
    let stray = run(&["test", text(stray.path())]);
    assert_eq!(stray.code, Some(1), "{stray:?}");
    assert!(stray.stderr.contains("nc.test.yml:1: no rule has the id `other`"), "{stray:?}");

    let files = [("nc.yml", NETCAT), ("nc.test.yml", NETCAT_TEST), ("broken.yml", BROKEN)];
    let broken = folder(&files);
    let broken = run(&["test", text(broken.path())]);
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(broken.stderr.contains("broken.yml:7: "), "{broken:?}");
    assert!(broken.stdout.starts_with("2 cases: 1 rules passed"), "{broken:?}");
}
