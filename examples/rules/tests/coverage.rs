//! `coverage`: a Navigator layer, and what a host cannot fire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{BROKEN, NETCAT, folder, run, text};

fn technique<'a>(layer: &'a Value, id: &str) -> Option<&'a Value> {
    let techniques = layer["techniques"].as_array().unwrap();
    techniques.iter().find(|technique| technique["techniqueID"] == id)
}

#[test]
fn the_layer_scores_techniques_by_their_rules() {
    let run = run(&["coverage", "--builtin"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let layer = run.json();
    assert_eq!(layer["versions"]["layer"], "4.5");
    assert_eq!(layer["domain"], "enterprise-attack");
    let shell = technique(&layer, "T1059.004").unwrap();
    let titles: Vec<&str> = shell["comment"].as_str().unwrap().split('\n').collect();
    assert_eq!(shell["score"], titles.len());
    assert!(titles.contains(&"Shell Opens a Network Stream by Name"), "{titles:?}");
    let most = layer["techniques"].as_array().unwrap().iter().map(|t| t["score"].as_u64());
    assert_eq!(layer["gradient"]["maxValue"].as_u64(), most.max().unwrap());
}

#[test]
fn former_names_count_as_the_present_ones() {
    let tagged = |id: &str, technique: &str| {
        let rule = NETCAT.replace("4d2e", id);
        rule.replace("attack.execution", "attack.defense-evasion")
            .replace("attack.t1059.004", technique)
    };
    let rules = folder(&[
        ("a.yml", &tagged("a", "attack.t1562.004")),
        ("b.yml", &tagged("b", "attack.t1686")),
        ("c.yml", &tagged("c", "attack.t1036")),
    ]);
    let report = run(&["coverage", text(rules.path()), "--json"]).json();
    assert_eq!(technique(&report["layer"], "T1686").unwrap()["score"], 2);
    assert!(technique(&report["layer"], "T1562.004").is_none());
    let tactics = report["coverage"]["tactics"].as_array().unwrap();
    let count = |tactic: &str| {
        tactics.iter().find(|covered| covered["tactic"] == tactic).unwrap()["rules"].clone()
    };
    assert_eq!(count("defense-impairment"), 2);
    assert_eq!(count("stealth"), 1);
    assert_eq!(count("execution"), 0);
    assert!(!tactics.iter().any(|covered| covered["tactic"] == "defense-evasion"));
}

/// A table as `lavender-agent doctor --json` prints it.
fn capabilities(files: &str) -> Value {
    let probe = |name: &str, kind: &str, status: &str| {
        let mut row = json!({"probe": name, "kind": kind, "mechanism": "m", "status": status});
        if status == "unavailable" {
            row["reason"] = "the kernel says no".into();
        }
        row
    };
    json!({
        "kernel_release": "6.1.0", "architecture": "x86_64", "btf": true, "missing": [],
        "probes": [
            probe("process_exec", "exec", "available"),
            probe("process_exit", "exit", "available"),
            probe("file_open", "file_open", files),
            probe("net_connect", "net_connect", "available"),
            {"probe": "snapshot", "mechanism": "iter/task", "status": "available"},
        ],
    })
}

#[test]
fn rules_that_cannot_fire_on_a_host_are_listed_with_the_reason() {
    let with = |id: &str, from: &str, to: &str| NETCAT.replace("4d2e", id).replace(from, to);
    let selection = "        Image|endswith: /nc\n        CommandLine|contains: ' -e '\n";
    let audit = |id: &str, to: &str| {
        with(id, selection, &format!("        {to}\n"))
            .replace("category: process_creation", "service: auditd")
    };
    let either = "        - OriginalFileName|contains: abc\n        - Image|endswith: /nc\n";
    let rules = folder(&[
        ("fires.yml", NETCAT),
        ("file.yml", &with("b", "process_creation", "file_event")),
        ("field.yml", &with("c", "CommandLine", "OriginalFileName")),
        ("either.yml", &with("d", selection, either)),
        ("windows.yml", &with("e", "product: linux", "product: windows")),
        ("audit.yml", &audit("f", "type: EXECVE")),
        ("audit-gap.yml", &audit("g", "type: SERVICE_STOP")),
        ("look-up.yml", &with("h", "process_creation", "dns_query")),
    ]);
    let tables = folder(&[
        ("full.json", &capabilities("available").to_string()),
        ("no-files.json", &capabilities("unavailable").to_string()),
        ("wrong.json", "{}"),
    ]);
    let on = |table: &str, more: &[&str]| {
        let file = tables.path().join(table);
        let arguments = ["coverage", text(rules.path()), "--capabilities", text(&file)];
        run(&[&arguments, more].concat())
    };
    let blocked = |table: &str| -> Vec<(String, Value)> {
        let report = on(table, &["--json"]).json();
        let rules = report["cannot_fire"].as_array().unwrap().iter();
        let name = |rule: &Value| rule["file"].as_str().unwrap().rsplit('/').next().unwrap().into();
        rules.map(|rule| (name(rule), rule["reasons"][0].clone())).collect()
    };
    let field: (String, Value) = (
        "field.yml".into(),
        json!({"reason": "fields", "category": "process_creation", "fields": ["OriginalFileName"]}),
    );
    let windows: (String, Value) = (
        "windows.yml".into(),
        json!({"reason": "log_source",
               "logsource": {"category": "process_creation", "product": "windows"}}),
    );
    let file: (String, Value) = (
        "file.yml".into(),
        json!({"reason": "kind", "kind": "file_open", "why": "the kernel says no"}),
    );
    // A file event has a process as well, and so it can fire where files are seen.
    // Audit's records are made of what is seen, and there is no probe for look-ups.
    let gap: (String, Value) =
        ("audit-gap.yml".into(), json!({"reason": "record_type", "types": ["SERVICE_STOP"]}));
    let look_up: (String, Value) = (
        "look-up.yml".into(),
        json!({"reason": "kind", "kind": "dns_query", "why": "the table lists no probe for it"}),
    );
    let always = [gap, field, look_up, windows];
    assert_eq!(blocked("full.json"), always);
    let [gap, field, look_up, windows] = always;
    assert_eq!(blocked("no-files.json"), [gap, field, file, look_up, windows]);

    let shown = on("no-files.json", &[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(technique(&shown.json(), "T1059.004").is_some());
    assert!(shown.stderr.contains("field.yml:1: cannot fire: "), "{shown:?}");
    assert!(
        shown.stderr.contains("never have OriginalFileName (`Netcat With a Program`)"),
        "{shown:?}"
    );
    assert!(shown.stderr.ends_with("5 of 8 rules cannot fire on this host\n"), "{shown:?}");
    assert_eq!(on("wrong.json", &[]).code, Some(3));
}

#[test]
fn what_does_not_load_is_told_on_stderr() {
    let rules = folder(&[("nc.yml", NETCAT), ("broken.yml", BROKEN)]);
    let run = run(&["coverage", text(rules.path())]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("broken.yml:7: "), "{run:?}");
    assert!(technique(&run.json(), "T1059.004").is_some());
}
