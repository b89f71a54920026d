//! `check`: counts, and every refusal with its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{BROKEN, NETCAT, folder, run, text};

#[test]
fn rules_that_load_are_counted_by_log_source() {
    let rules = folder(&[("a.yml", NETCAT), ("deep/b.yaml", &NETCAT.replace("4d2e", "5d2e"))]);
    let run = run(&["check", text(rules.path()), "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = run.json();
    assert_eq!(report["files"], 2);
    assert_eq!(report["rules"], 2);
    assert_eq!(report["refused"].as_array().unwrap().len(), 0);
    let source = serde_json::json!(
        [{"category": "process_creation", "product": "linux", "rules": 2}]
    );
    assert_eq!(report["logsources"], source);
}

#[test]
fn a_refusal_has_its_file_line_and_reason_and_the_others_are_counted() {
    let rules = folder(&[
        ("good.yml", NETCAT),
        ("broken.yml", BROKEN),
        ("twice.yml", NETCAT),
        ("none.yml", "title: [\n"),
    ]);
    let shown = run(&["check", text(rules.path())]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    let broken = rules.path().join("broken.yml");
    let line =
        format!("refused: {}:7: `endwith` is not a modifier (in `Broken`)\n", broken.display());
    assert!(shown.stdout.contains(&line), "{shown:?}");
    assert!(shown.stdout.contains("rules         1\n"), "{shown:?}");

    let report = run(&["check", text(rules.path()), "--json"]).json();
    let places: Vec<(&str, u64)> = report["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            let file = fault["file"].as_str().unwrap().rsplit('/').next().unwrap();
            (file, fault["line"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(places, [("broken.yml", 7), ("none.yml", 2), ("twice.yml", 1)]);
}

#[test]
fn placeholders_come_from_the_command_line_the_folder_or_lavender() {
    let rule = NETCAT.replace("Image|endswith: /nc", "Image|endswith|expand: '%tools%'");
    let rules = folder(&[("rule.yml", &rule)]);
    let run_check = |more: &[&str]| run(&[&["check", text(rules.path())], more].concat());
    let without = run_check(&[]);
    assert_eq!(without.code, Some(1));
    assert!(without.stdout.contains("rule.yml:13: the placeholder `%tools%`"), "{without:?}");

    let values = folder(&[("values.yml", "tools: [/nc, /ncat]\n"), ("wrong.yml", "- tools\n")]);
    let file = values.path().join("values.yml");
    assert_eq!(run_check(&["--placeholders", text(&file)]).code, Some(0));
    std::fs::copy(&file, rules.path().join("placeholders.yml")).unwrap();
    assert_eq!(run_check(&[]).code, Some(0));

    let wrong = run_check(&["--placeholders", text(&values.path().join("wrong.yml"))]);
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    assert!(wrong.stderr.contains("wrong.yml:1: "), "{wrong:?}");
}

#[test]
fn a_wrong_command_line_is_2_and_what_cannot_be_read_is_3() {
    assert_eq!(run(&["check"]).code, Some(2));
    assert_eq!(run(&["chekc", "."]).code, Some(2));
    let run = run(&["check", "/does/not/exist"]);
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.contains("/does/not/exist"), "{run:?}");
    assert_eq!(run.stdout, "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let rules = folder(&[("a.yml", NETCAT)]);
    let mut child = support::command(&["check", text(rules.path())]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
