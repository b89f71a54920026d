//! Alerts: filters, pages, status, statistics, process trees.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use lavender_core::Severity;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{EventData, Exit, ExitStatus};
use lavender_core::store::Role;
use serde_json::{Value, json};

use crate::plane::{Plane, raise};

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_pages_select() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut all = Vec::new();
    for number in 0..7 {
        sample.set_now(START.saturating_add(Duration::from_secs(60 * number)));
        let rule = if number % 2 == 0 { "even" } else { "odd" };
        all.insert(0, raise(&plane, &mut sample, rule).await.id.to_string());
    }
    let mut read = Vec::new();
    let mut path = "/api/v1/alerts?limit=3".to_owned();
    loop {
        let page = plane.read(&path, &viewer).await;
        read.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/alerts?limit=3&after={next}");
    }
    assert_eq!(read, all);
    for (query, expected) in [
        ("rule=odd", vec![1, 3, 5]),
        ("technique=T1059", (0..7).collect()),
        ("technique=T1003", vec![]),
        ("severity=critical", vec![]),
        ("severity=medium&agent=web-1&status=open", (0..7).collect()),
        ("status=resolved", vec![]),
        ("from=2023-11-14T22:15:00Z&to=2023-11-14T23:18:30%2B01:00", vec![1, 2, 3, 4]),
    ] {
        let page = plane.read(&format!("/api/v1/alerts?{query}"), &viewer).await;
        let expected: Vec<_> = expected.into_iter().map(|at: usize| all[at].clone()).collect();
        assert_eq!(ids(&page), expected, "{query}");
    }
    for query in [
        "status=pending",
        "severity=bad",
        "limit=0",
        "limit=201",
        "limit=x",
        "statu=open",
        "after=x",
        "agent=a%20b",
        "incident=1",
        "from=yesterday",
        "from=9999-01-01T00:00:00Z",
    ] {
        let answer = plane.get(&format!("/api/v1/alerts?{query}"), &viewer).await;
        answer.is_problem(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_changed_once_and_audited() {
    let plane = Plane::new();
    let admin = plane.token("acme", Role::Admin).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let alert = raise(&plane, &mut sample, "r").await;
    let path = format!("/api/v1/alerts/{}/status", alert.id);
    let put = |body: Value| {
        let (plane, path, admin) = (&plane, &path, &admin);
        async move { plane.ask(Method::PUT, path, Some(admin), Some(&body)).await }
    };
    let answer = put(json!({"status": "acknowledged", "revision": 0, "reason": "mine"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let detail = answer.json();
    assert_eq!((&detail["status"], &detail["revision"]), (&json!("acknowledged"), &json!(1)));
    assert_eq!(detail["history"][0]["reason"], "mine");
    assert_eq!(detail["ancestors"].as_array().unwrap().len(), 3);
    assert_eq!(detail["process"]["command_line"], "cat /etc/shadow");

    let late = put(json!({"status": "dismissed", "revision": 0})).await;
    assert!(late.is_problem(StatusCode::CONFLICT).contains("acknowledged"));
    let again = put(json!({"status": "acknowledged", "revision": 1})).await;
    again.is_problem(StatusCode::BAD_REQUEST);
    put(json!({"status": "gone", "revision": 1}))
        .await
        .is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    put(json!({"status": "open"})).await.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    let long = json!({"status": "open", "revision": 1, "reason": "x".repeat(2_001)});
    put(long).await.is_problem(StatusCode::BAD_REQUEST);

    let audit = plane.read("/api/v1/audit", &admin).await;
    let entries = audit["items"].as_array().unwrap();
    let of_alerts: Vec<_> = entries.iter().filter(|e| e["action"] == "alert_status").collect();
    assert_eq!(of_alerts.len(), 1);
    assert_eq!(of_alerts[0]["target"], alert.id.to_string());
    assert_eq!(of_alerts[0]["change"], "open to acknowledged");
    assert!(of_alerts[0]["actor"].as_str().unwrap().starts_with("admin of acme ("));
    let unknown = "/api/v1/alerts/00000000-0000-5000-8000-000000000000";
    plane.get(unknown, &admin).await.is_problem(StatusCode::NOT_FOUND);
    plane.get("/api/v1/alerts/7", &admin).await.is_problem(StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_of_the_last_day_unless_said() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    raise(&plane, &mut sample, "r").await;
    plane.clock.advance(Duration::from_secs(3_600));
    let day = plane.read("/api/v1/alerts/statistics", &viewer).await;
    assert_eq!(day["total"], 1);
    assert_eq!(day["by_severity"][3], json!({"name": "high", "count": 1}));
    assert_eq!(day["techniques"], json!([{"name": "T1059.004", "count": 1}]));
    assert_eq!(day["buckets"].as_array().unwrap().len(), 1);
    plane.clock.advance(Duration::from_secs(86_400));
    assert_eq!(plane.read("/api/v1/alerts/statistics", &viewer).await["total"], 0);
    for query in ["bucket_s=1", "bucket_s=0", "top=0", "top=101", "from=1700-01-01T00:00:00Z"] {
        let answer = plane.get(&format!("/api/v1/alerts/statistics?{query}"), &viewer).await;
        answer.is_problem(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_tells_the_container_image_and_pod() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let shell = sample.process();
    let events = sample.container_execs(&shell);
    plane.store.append(&sample.source().clone(), &events).await.unwrap();
    let mut told = Vec::new();
    // In a pod, in none, and one of which nothing is known yet.
    for event in &events[..3] {
        let alert = sample.alert(event, "r", Severity::High);
        plane.store.insert(std::slice::from_ref(&alert)).await.unwrap();
        let detail = plane.read(&format!("/api/v1/alerts/{}", alert.id), &viewer).await;
        let field = |name: &str| detail["process"][name].as_str().unwrap_or("-").to_owned();
        let fields = ["container_name", "container_image", "pod_name", "pod_namespace"];
        assert_ne!(field("container_id"), "-");
        told.push(fields.map(field));
    }
    assert_eq!(
        told,
        [
            ["web", "docker.io/library/nginx:1.27", "web-0", "shop"],
            ["proxy", "nginx:1.27", "-", "-"],
            ["-", "-", "-", "-"],
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_shows_what_led_to_an_alert_and_what_came_of_it() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let alert = raise(&plane, &mut sample, "r").await;
    let about = alert.process.clone().unwrap();
    let later = sample.child(&about, "/usr/bin/curl", &["curl", "http://198.51.100.7/"]);
    // Of another login, and of another host's: not in it.
    let other = sample.process();
    let mut beside = Sample::new("acme", "web-2", 1);
    let events = vec![
        sample.exec(&later),
        sample.event(Some(&later), EventData::Exit(Exit { status: ExitStatus::Code(0) })),
        sample.exec(&other),
    ];
    plane.store.append(&sample.source().clone(), &events).await.unwrap();
    let of_beside = beside.exec(&later);
    plane.store.append(&beside.source().clone(), &[of_beside]).await.unwrap();
    let path = format!("/api/v1/alerts/{}/process-tree", alert.id);
    let tree = plane.read(&path, &viewer).await;
    assert_eq!(tree["truncated"], false);
    let told: Vec<_> = tree["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let executable = node["executable"].as_str().unwrap();
            (executable, node["evidence"].as_bool().unwrap(), node["exited_at"].is_string())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("/usr/lib/systemd/systemd", false, false),
            ("/usr/sbin/sshd", false, false),
            ("/usr/bin/bash", false, false),
            ("/usr/bin/cat", true, false),
            ("/usr/bin/curl", false, true),
        ]
    );
    let nodes = tree["processes"].as_array().unwrap();
    for pair in nodes.windows(2) {
        assert_eq!(pair[1]["parent"], pair[0]["process_id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_searched_in_a_span_of_time() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let alert = raise(&plane, &mut sample, "r").await;
    let day = "from=2023-11-14T00:00:00Z&to=2023-11-15T00:00:00Z";
    let page = plane.read(&format!("/api/v1/events?{day}&kind=file_open"), &viewer).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let event = &page["items"][0];
    assert_eq!((&event["kind"], &event["agent"]), (&json!("file_open"), &json!("web-1")));
    assert_eq!(event["event"]["id"], alert.events[0].to_string());
    let process = alert.process.as_ref().unwrap().id();
    let page = plane.read(&format!("/api/v1/events?{day}&process={process}"), &viewer).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let first = plane.read(&format!("/api/v1/events?{day}&limit=2"), &viewer).await;
    let next = first["next"].as_str().unwrap();
    let rest = plane.read(&format!("/api/v1/events?{day}&limit=2&after={next}"), &viewer).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let typo = format!("?{day}&kind=execve");
    for query in ["", "?kind=exec", "?from=2023-11-14T00:00:00Z", &typo] {
        let answer = plane.get(&format!("/api/v1/events{query}"), &viewer).await;
        answer.is_problem(StatusCode::BAD_REQUEST);
    }
}
