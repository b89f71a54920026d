//! Evidence: an alert names a capture of what came before it, and a replay of that raises the alert.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::agent::replay;
use support::setting::Setting;
use support::stand_in;

/// What is the same in a replay.
fn comparable(alert: &Value) -> Value {
    let mut alert = alert.clone();
    // When the rule found it, where the evidence is, and what the scores knew before.
    for field in ["created_at", "capture", "risk"] {
        alert.as_object_mut().unwrap().remove(field);
    }
    alert
}

#[test]
fn a_replay_of_the_evidence_raises_the_alert() {
    need_kernel!();
    let setting = Setting::new("");
    let mut agent = setting.run(&[]);
    for _ in 0..20 {
        setting.cgroup.command("/bin/true").status().unwrap();
    }
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    let (_, alert) =
        agent.wait_for("the alert of the file", |line| line["event_kind"] == "file_open");
    // In the evidence, and with it the second alert of the same act.
    let live = agent.stop();
    assert_eq!(live.code, Some(0), "{live:?}");

    let capture = alert["capture"].as_str().unwrap();
    assert!(Path::new(capture).starts_with(setting.evidence()), "{capture}");
    let stored = setting.stored().alerts();
    let stored = stored.iter().find(|stored| stored.id.to_string() == alert["id"]).unwrap();
    assert_eq!(stored.capture.as_deref(), Some(capture));

    let replayed = replay(&[capture, "--config", setting.config().to_str().unwrap()]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let again = replayed.alerts().into_iter().find(|again| again["id"] == alert["id"]);
    let again = again.unwrap_or_else(|| panic!("{replayed:?}"));
    assert_eq!(comparable(again), comparable(&alert));
}

#[test]
fn a_folder_that_cannot_be_used_costs_the_evidence_and_nothing_else() {
    need_kernel!();
    let setting = Setting::new("");
    support::write(&setting.evidence(), "a file stands here");
    let mut agent = setting.run(&[]);
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    let (_, alert) =
        agent.wait_for("the alert of the file", |line| line["event_kind"] == "file_open");
    assert!(alert["capture"].is_null(), "{alert}");
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("no evidence is written"), "{}", finished.stderr);
}
