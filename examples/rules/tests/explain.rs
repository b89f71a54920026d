//! `explain`: part by part, and what was missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{NETCAT, event, folder, run_with, text};

const ID: &str = "4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11";
const OTHER: &[u8] = br#"{
    "Image": "/usr/bin/nc",
    "CommandLine": "nc -h"
}"#;

#[test]
fn what_was_missing_is_said() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let run = run_with(&["explain", ID, "--rules", text(rules.path())], OTHER);
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = "\
Netcat With a Program (4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11), high, for product=linux,category=process_creation
it does not match
- all of
  + Image like \"*/nc\"; found \"/usr/bin/nc\"
  - CommandLine like \"* -e *\"; found \"nc -h\"

missing:
  - CommandLine like \"* -e *\"; found \"nc -h\"
";
    assert_eq!(run.stdout, expected);
}

#[test]
fn a_rule_is_found_by_file_and_among_those_of_lavender() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let file = rules.path().join("nc.yml");
    let run = run_with(&["explain", text(&file), "--json"], OTHER);
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = run.json();
    assert_eq!(report["id"], ID);
    assert_eq!(report["truth"], "false");
    assert_eq!(report["missing"][0]["test"]["field"], "CommandLine");
    assert!(report.get("applies").is_none());

    let bundled = "372d7775-795c-424c-879d-63dd73c60362";
    let matching = br#"{"Image":"/bin/bash","CommandLine":"bash -c 'cat </dev/tcp/192.0.2.1/80'"}"#;
    let run = run_with(&["explain", bundled], matching);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("\nit matches\n"), "{run:?}");
    assert!(!run.stdout.contains("missing:"), "{run:?}");
}

#[test]
fn an_event_of_another_log_source_is_said_to_be() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let with = |more: &[&str], event: &[u8]| {
        let arguments = [&["explain", ID, "--json", "--rules", text(rules.path())], more].concat();
        run_with(&arguments, event).json()["applies"].clone()
    };
    assert_eq!(with(&["--logsource", "product=linux,category=process_creation"], OTHER), true);
    assert_eq!(with(&["--logsource", "product=linux,category=file_event"], OTHER), false);
    assert_eq!(with(&[], event::exec().as_bytes()), true);
    assert_eq!(with(&[], event::exit().as_bytes()), false);
}

#[test]
fn a_rule_on_audits_records_is_explained_on_the_one_that_comes_nearest() {
    let audit = NETCAT
        .replace("category: process_creation", "service: auditd")
        .replace("Image|endswith: /nc", "type: EXECVE")
        .replace("CommandLine|contains: ' -e '", "a0: ncat");
    let rules = folder(&[("nc.yml", &audit)]);
    let arguments = ["explain", ID, "--rules", text(rules.path())];
    let shown = run_with(&arguments, event::exec().as_bytes());
    assert!(shown.stdout.contains("\nas audit's record EXECVE\nit does not match\n"), "{shown:?}");
    assert!(shown.stdout.contains("missing:\n  - a0 like \"ncat\"; found \"nc\"\n"), "{shown:?}");
    let json = [&arguments[..], &["--json"]].concat();
    let report = run_with(&json, event::exec().as_bytes()).json();
    assert_eq!((&report["record"], &report["applies"]), (&"EXECVE".into(), &true.into()));
    let report = run_with(&json, event::exit().as_bytes()).json();
    assert_eq!((report.get("record"), &report["applies"]), (None, &false.into()));
}

#[test]
fn what_was_not_captured_leaves_it_undetermined() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let arguments = ["explain", ID, "--rules", text(rules.path())];
    let run = run_with(&arguments, event::exec_truncated().as_bytes());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("\nundetermined: "), "{run:?}");
    assert!(run.stdout.contains("? CommandLine like"), "{run:?}");
}

#[test]
fn an_unknown_rule_is_2_and_an_event_that_cannot_be_read_is_3() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let run = run_with(&["explain", "no-such-rule", "--rules", text(rules.path())], OTHER);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("no-such-rule"), "{run:?}");
    for wrong in [&b""[..], b"{", b"[]", b"{} {}"] {
        let run = run_with(&["explain", ID, "--rules", text(rules.path())], wrong);
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.stderr.starts_with("error: stdin: "), "{run:?}");
    }
}

#[test]
fn a_correlation_is_explained_by_what_it_rests_on() {
    let event = br#"{"Image":"/usr/bin/bash"}"#;
    let run = run_with(&["explain", "c5b5a0d4-93f1-4c54-a3a6-0d1f7b9d2e68"], event);
    assert_eq!(run.code, Some(0), "{run:?}");
    for part in [
        "high: temporal_ordered within 30 s of",
        "  - Shell Started (7f8d3a52-6d5e-4f0e-9b1c-2a4c8e51d7f3)",
        "by ProcessTreeGuid",
        "it matches",
        "it does not match",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{run:?}");
    }
}
