//! `telemetry = "rules"`: what rules need leaves the kernel and nothing else, also when the rules change; `doctor --plan`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::time::{Duration, Instant};

use lavender_core::event::EventKind;
use lavender_core::{Clock as _, SystemClock};
use serde_json::Value;
use support::setting::Setting;
use support::{agent, write};

const CONFIG: &str = "heartbeat_interval_secs = 1\n[sensor]\ntelemetry = \"rules\"\n\
                      [rules]\nbuiltin = false\n[alerts]\nsuppress_secs = 0\n";

fn rule(title: &str, category: &str, search: &str) -> String {
    format!(
        "title: {title}\nid: 8b2a7c1e-0000-4000-8000-000000000002\n\
         logsource: {{product: linux, category: {category}}}\n\
         detection:\n  selection: {search}\n  condition: selection\nlevel: low\n"
    )
}

#[test]
fn rules_that_come_and_go_take_their_events_with_them() {
    need_kernel!();
    let setting = Setting::new(CONFIG);
    let (file, folder) = (setting.path("rules/one.yml"), setting.path("rules"));
    let read = || {
        let sensitive = setting.sensitive();
        setting.cgroup.command("/bin/cat").arg(sensitive).output().unwrap();
    };
    write(&file, &rule("Program", "process_creation", "{Image|endswith: /cat}"));
    let mut agent = setting.run(&["--events", "--rules", folder.to_str().unwrap()]);
    read();
    agent.wait_for("Program", |line| line["rule"]["title"] == "Program");

    let search = "{TargetFilename|endswith: /etc/SHADOW, Result: success}";
    write(&file, &rule("Read", "file_access", search));
    agent.signal("HUP");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && !agent.has(|line| line["rule"]["title"] == "Read") {
        read();
    }
    agent.wait_for("Read", |line| line["rule"]["title"] == "Read");
    // `cat` opens its libraries too, which no rule needs: they are told of as filtered, and not as lost.
    let filtered = |line: &Value| line["data"]["filtered"]["file_open"].as_u64() > Some(0);
    agent.wait_for("a heartbeat that tells of it", |line| {
        line["kind"] == "heartbeat" && filtered(line)
    });
    // While plans were exchanged, all opens went on. Now something is filtered, so the new one holds.
    let settled = SystemClock.now();
    read();
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let stored = setting.stored();
    assert!(stored.events(Some(EventKind::Lost)).is_empty());
    for kind in [EventKind::NetConnect, EventKind::FileDelete, EventKind::CredChange] {
        assert!(stored.events(Some(kind)).is_empty(), "{kind}");
    }
    let mut opens = stored.events(Some(EventKind::FileOpen));
    opens.retain(|open| open.event.observed_at >= settled);
    assert!(!opens.is_empty());
    for open in opens {
        let data = format!("{:?}", open.event.data);
        assert!(data.contains("etc/shadow"), "{data}");
    }
}

#[test]
fn doctor_tells_the_plan() {
    need_kernel!();
    let setting = Setting::new(CONFIG);
    let (config, folder) = (setting.config(), setting.path("rules"));
    let search = "{TargetFilename|startswith: [/etc/cron.d/, /var/spool/], Result: success}";
    write(&setting.path("rules/one.yml"), &rule("Read", "file_access", search));
    write(
        &setting.path("rules/two.yml"),
        &rule("Never", "registry_set", "{TargetObject: x}").replace("0002", "0003"),
    );
    let arguments = ["doctor", "--plan", "--config", config.to_str().unwrap(), "--rules"];
    let run = |more: &[&str]| {
        let output = agent::command(&arguments).arg(&folder).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    let row = |kind: &str| text.lines().find(|line| line.starts_with(kind)).unwrap().to_owned();
    assert!(row("file_open").ends_with("/etc/cron.d/*, /var/spool/*"), "{text}");
    assert!(row("net_connect").ends_with("not watched") && row("exec ").ends_with("all"), "{text}");
    assert!(text.contains("1 of the rules cannot match on this host"), "{text}");
    let report: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let kinds = report["kinds"].as_array().unwrap();
    let opens = kinds.iter().find(|row| row["kind"] == "file_open").unwrap();
    assert_eq!(opens["rules"][0], "8b2a7c1e-0000-4000-8000-000000000002");
    assert_eq!(report["blocked"][0]["title"], "Never");
}

/// What is told of a kind: its line, and those below that have no kind of their own.
fn of(text: &str, kind: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with(kind));
    let more = lines.clone().skip(1).take_while(|line| line.starts_with(' '));
    lines.take(1).chain(more).collect::<Vec<_>>().join("\n")
}

/// The canary's part of the plan is told beside that of the rules, and where no rule needs the kind.
#[test]
fn doctor_tells_what_the_canary_needs() {
    need_kernel!();
    let search = "{TargetFilename|startswith: /etc/cron.d/, Result: success}";
    let doctor = |telemetry: &str, enabled: bool, more: &[&str]| {
        let config = CONFIG.replace("\"rules\"", &format!("{telemetry:?}"));
        let setting = Setting::new(&format!("{config}[canary]\nenabled = {enabled}\n"));
        write(&setting.path("rules/one.yml"), &rule("Read", "file_access", search));
        let (config, folder) = (setting.config(), setting.path("rules"));
        let arguments = ["doctor", "--plan", "--config", config.to_str().unwrap(), "--rules"];
        let output = agent::command(&arguments).arg(&folder).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = doctor("rules", true, &[]);
    let (opens, connects) = (of(&text, "file_open "), of(&text, "net_connect "));
    for part in ["/etc/cron.d/*", "the canary's: ", "lavender-agent"] {
        assert!(opens.contains(part), "{part}: {text}");
    }
    assert!(connects.contains("the canary's\n") && connects.contains("the canary's: "), "{text}");
    let report: Value = serde_json::from_str(&doctor("rules", true, &["--json"])).unwrap();
    let kinds = report["kinds"].as_array().unwrap().iter();
    let canary = kinds.filter(|row| !row["canary"].is_null()).map(|row| &row["kind"]);
    assert_eq!(canary.collect::<Vec<_>>(), ["file_open", "net_connect"], "{report}");

    let text = doctor("rules", false, &[]);
    assert!(of(&text, "net_connect ").ends_with("not watched"), "{text}");
    assert!(!text.contains("canary"), "{text}");
    // All of it is there anyhow.
    let text = doctor("all", true, &[]);
    assert!(of(&text, "net_connect ").ends_with("all"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}
