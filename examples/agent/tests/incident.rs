//! A chain of harmless stand-ins of attacks on the live kernel: its alerts tell the score and what it is made of, are
//! one incident, and come to alerts of the score; what repeats is counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lavender_core::{Outcome, RISK_RULE, Severity};
use support::agent::replay;
use support::setting::Setting;
use support::stand_in;

const UNEXPECTED_SHELL: &str = "Shell Started by an Unexpected Program";
const SENSITIVE_FILE: &str = "Sensitive File Read by an Unexpected Program";
const DECODED_PAYLOAD: &str = "Command That Decodes and Runs Its Payload";

/// A service starts a shell that runs what it decodes: one exec, two rules.
fn payload_from_service(setting: &Setting) {
    let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
    let program = format!(r#"system("/bin/bash", "-c", "{}")"#, stand_in::PAYLOAD);
    command.args(["-e", &program]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

#[test]
fn a_chain_of_attacks_is_one_incident_with_a_score_that_says_why() {
    need_kernel!();
    let setting = Setting::new("");
    let capture = setting.path("capture.lavcap");
    let mut agent = setting.run(&["--record", capture.to_str().unwrap()]);
    payload_from_service(&setting);
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    let done = Instant::now();
    let (came, _) = agent.wait_for("the score of 100", |line| {
        line["rule"]["id"] == RISK_RULE && line["severity"] == "critical"
    });
    assert!(came.saturating_duration_since(done) < Duration::from_secs(1));
    let live = agent.stop();
    assert_eq!(live.code, Some(0), "{live:?}");

    let stored = setting.stored();
    let alerts = stored.alerts();
    let of = |title: &str| alerts.iter().find(|alert| &*alert.rule.title == title).unwrap();
    let (shell, payload) = (of(UNEXPECTED_SHELL), of(DECODED_PAYLOAD));
    assert_eq!(shell.events, payload.events, "one exec, two rules");
    let incident = shell.incident.expect("an alert with a process has an incident");
    let of_incident = stored.alerts_of(incident);
    assert_eq!(of_incident.len(), alerts.len(), "{live:?}");
    assert!(of_incident.len() >= 5, "{live:?}");

    // What is raised with one event comes with the worst first.
    let lines = live.alerts();
    let of_exec: Vec<Severity> = lines
        .iter()
        .filter(|line| {
            line["events"][0] == shell.events[0].to_string() && line["repeats"].is_null()
        })
        .filter(|line| line["rule"]["id"] != RISK_RULE)
        .map(|line| line["severity"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(of_exec.len() >= 2 && of_exec.is_sorted_by(|one, next| one >= next), "{of_exec:?}");

    for alert in &alerts {
        let risk = alert.risk.as_ref().expect("an alert with a process has a score");
        let told: u32 = risk.contributions.iter().map(|told| told.points).sum();
        let sequence = risk.sequence.as_ref().map_or(0, |sequence| sequence.points);
        assert_eq!(told + risk.other_points + sequence, risk.score, "{risk:?}");
        assert!(risk.contributions.iter().all(|told| !told.why.is_empty()));
    }
    let worst = alerts
        .iter()
        .find(|alert| alert.rule.is_risk() && alert.severity == Severity::Critical)
        .unwrap();
    let risk = worst.risk.as_ref().unwrap();
    assert!(risk.score >= 100 && risk.contributions.len() >= 2, "{risk:?}");
    let rested_on: BTreeSet<_> = alerts.iter().flat_map(|alert| alert.events.clone()).collect();
    assert!(worst.events.iter().all(|event| rested_on.contains(event)));
    assert!(worst.rule.tags.iter().any(|tag| tag.starts_with("attack.")));

    let ids = |lines: &[&serde_json::Value]| -> BTreeSet<String> {
        lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    let again =
        replay(&[capture.to_str().unwrap(), "--config", setting.config().to_str().unwrap()]);
    assert_eq!(ids(&live.alerts()), ids(&again.alerts()));
}

#[test]
fn what_repeats_is_counted_on_the_alert_and_in_the_heartbeat() {
    need_kernel!();
    let setting = Setting::new("heartbeat_interval_secs = 1");
    let mut agent = setting.run(&["--events"]);
    for _ in 0..10 {
        stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    }
    agent.wait_for("a heartbeat that counts them", |line| {
        line["kind"] == "heartbeat"
            && line["data"]["suppressed"].as_u64() >= Some(9)
            && line["data"]["forgotten"] == 0
    });
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let stored = setting.stored();
    let alerts = stored.alerts();
    let reads: Vec<_> =
        alerts.iter().filter(|alert| &*alert.rule.title == SENSITIVE_FILE).collect();
    assert_eq!(reads.len(), 1);
    let repeats = reads[0].repeats.unwrap();
    assert_eq!(repeats.count, 9);
    assert!(repeats.last_seen_at > reads[0].observed_at);
    // The telemetry has every one of them.
    let opens = finished.stdout.iter().filter(|line| {
        line["kind"] == "file_open" && line["data"]["path"] == setting.sensitive().to_str().unwrap()
    });
    assert_eq!(opens.count(), 10);
}

#[test]
fn a_response_may_go_by_the_score() {
    need_kernel!();
    let setting = Setting::new("[[response.policy]]\nactions = [\"kill_tree\"]\nmin_score = 100\n");
    let mut agent = setting.run(&[]);
    payload_from_service(&setting);
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    agent.wait_for("the score of 100", |line| {
        line["rule"]["id"] == RISK_RULE && line["severity"] == "critical"
    });
    assert_eq!(agent.stop().code, Some(0));
    let stored = setting.stored();
    let mut answered = 0;
    for alert in stored.alerts() {
        let answers = stored.responses_to(alert.id);
        let score = alert.risk.as_ref().unwrap().score;
        assert_eq!(!answers.is_empty(), score >= 100, "{}: {score}", alert.rule.title);
        for answer in answers {
            answered += 1;
            // It may have come to its end before anything could be done.
            assert!(matches!(answer.outcome, Outcome::DryRun | Outcome::Gone), "{answer:?}");
            assert_eq!(&*answer.order.decided_by, format!("score {score} (from 100)"));
        }
    }
    assert!(answered > 0);
}
