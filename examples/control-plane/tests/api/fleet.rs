//! Agents: what is shown of them, and that somebody looks.

use std::time::Duration;

use axum::http::StatusCode;
use lavender_control_plane::watch;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{EventKind, LossStage};
use lavender_core::store::{LivenessTimes, Role};
use serde_json::json;

use crate::plane::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_falls_silent_is_offline_within_the_time() {
    let plane = Plane::with(|options| options.sweep_every = Duration::from_millis(10));
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = vec![sample.agent_start("0.1.0"), sample.heartbeat()];
    plane.store.append(&sample.source().clone(), &events).await.unwrap();
    let watching = tokio::spawn(watch(plane.plane.clone()));
    let until = async |state: &str| loop {
        let agent = plane.read("/api/v1/agents/web-1", &viewer).await;
        if agent["liveness"] == state {
            return agent;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let agent = until("online").await;
    assert_eq!((&agent["version"], &agent["rules"]), (&json!("0.1.0"), &json!(6)));
    assert_eq!(agent["kinds"], json!(["exec", "file_open"]));
    plane.clock.advance(Duration::from_secs(40));
    until("degraded").await;
    plane.clock.advance(Duration::from_secs(10));
    until("offline").await;
    let history = plane.read("/api/v1/transitions?agent=web-1", &viewer).await;
    let told: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["to"].as_str().unwrap(), t["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("offline", "silent"), ("degraded", "late"), ("online", "heard")]);
    let offline = plane.read("/api/v1/agents?liveness=offline", &viewer).await;
    assert_eq!(offline["items"].as_array().unwrap().len(), 1);
    plane.get("/api/v1/agents?liveness=gone", &viewer).await.is_problem(StatusCode::BAD_REQUEST);
    plane.get("/api/v1/agents/web-2", &viewer).await.is_problem(StatusCode::NOT_FOUND);
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_say_what_a_host_was_blind_to() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let lost = sample.lost(LossStage::KernelRing, EventKind::FileOpen, 41);
    plane.store.append(&sample.source().clone(), &[lost]).await.unwrap();
    let lines = plane.read("/api/v1/losses?agent=web-1", &viewer).await;
    let expected = json!([{"agent": "web-1", "host": "web-1.acme.example", "kind": "file_open",
        "stage": "kernel_ring", "count": 41}]);
    assert_eq!(lines, expected);
    assert_eq!(plane.read("/api/v1/losses?to=2023-11-14T22:13:20Z", &viewer).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_said_of_itself_last_is_shown() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    plane.store.append(&source, &[sample.agent_start("0.1.0")]).await.unwrap();
    let agent = plane.read("/api/v1/agents/web-1", &viewer).await;
    assert_eq!((agent.get("heartbeat"), agent.get("heartbeat_at")), (None, None));
    plane.store.append(&source, &[sample.heartbeat()]).await.unwrap();
    let listed = plane.read("/api/v1/agents", &viewer).await["items"][0].clone();
    assert_eq!(listed["heartbeat"]["ruleset"]["in_use"]["revision"], 8);
    assert_eq!(listed["heartbeat"]["ruleset"]["fault"], "of a later one");
    let refused = &listed["heartbeat"]["commands"]["refused"];
    assert_eq!((&refused["forged"], &refused["replayed"]), (&json!(12), &json!(0)));
    assert_eq!(listed["heartbeat_at"], listed["last_seen"]);
    assert_eq!(plane.read("/api/v1/agents/web-1", &viewer).await, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_count_is_there_for_prometheus() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    let events = [sample.agent_start("0.1.0"), sample.heartbeat()];
    plane.store.append(&source, &events).await.unwrap();
    plane.store.sweep_liveness(&LivenessTimes::default(), START).await.unwrap();
    let mut silent = Sample::new("acme", "web-2", 2);
    plane.store.append(&silent.source().clone(), &[silent.agent_start("0.1.0")]).await.unwrap();
    let answer = plane.get("/api/v1/metrics", &viewer).await;
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "liveness{agent=\"web-1\",state=\"online\"} 1",
        "liveness{agent=\"web-1\",state=\"offline\"} 0",
        "last_seen_timestamp_seconds{agent=\"web-2\"} 1700000000",
        "isolated{agent=\"web-1\"} 1",
        "events_total{agent=\"web-1\"} 1",
        "alerts_total{agent=\"web-1\"} 2",
        "lost_total{agent=\"web-1\"} 3",
        "filtered_total{agent=\"web-1\",kind=\"file_open\"} 7",
        "throttled_total{agent=\"web-1\",kind=\"file_open\"} 1",
        "unhashed_total{agent=\"web-1\",reason=\"gone\"} 2",
        "undescribed_total{agent=\"web-1\",reason=\"not_found\"} 3",
    ] {
        assert!(text.contains(&format!("\nlavender_agent_{line}\n")), "{line}: {text}");
    }
    // Nobody has looked at it yet, and it has said nothing of itself.
    assert!(!text.contains("liveness{agent=\"web-2\""), "{text}");
    assert!(!text.contains("events_total{agent=\"web-2\""), "{text}");
    assert!(text.ends_with("# EOF\n"));
}
