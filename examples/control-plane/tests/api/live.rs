//! The live stream: nothing missed, nothing of another tenant, and who is slow is told.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode, header};
use futures_util::StreamExt as _;
use lavender_control_plane::watch;
use lavender_core::conformance::sample::Sample;
use lavender_core::store::{LivenessTimes, Role, TokenQuery};
use lavender_core::{Severity, TenantId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::plane::{Plane, raise};

/// One message.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    event: String,
    id: String,
    data: Value,
}

/// A client of the stream.
struct Client {
    body: BodyDataStream,
    text: String,
}

impl Client {
    async fn connect(plane: &Plane, token: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/api/v1/live{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = plane.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start().to_owned())
                };
                let Some(event) = field("event:") else { continue };
                let data = serde_json::from_str(&field("data:").unwrap()).unwrap();
                return Some(Message { event, id: field("id:").unwrap(), data });
            }
            let next = tokio::time::timeout(Duration::from_secs(60), self.body.next()).await;
            let bytes = next.expect("nothing came").transpose().unwrap()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn expect(&mut self, event: &str) -> Message {
        let message = self.next().await.expect("the stream has ended");
        assert_eq!(message.event, event, "{message:?}");
        message
    }
}

fn follow(plane: &Plane) -> tokio::task::JoinHandle<()> {
    tokio::spawn(watch(plane.plane.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_comes_and_a_client_goes_on_where_it_was() {
    let plane = Plane::new();
    let watching = follow(&plane);
    let analyst = plane.token("acme", Role::Analyst).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut other = Sample::new("globex", "db-1", 2);
    raise(&plane, &mut sample, "before").await;

    let mut client = Client::connect(&plane, &analyst, "", None).await;
    client.expect("ready").await;
    raise(&plane, &mut other, "theirs").await;
    let first = raise(&plane, &mut sample, "first").await;
    let message = client.expect("alert_raised").await;
    assert_eq!(message.data["id"], first.id.to_string());
    drop(client);

    // While it is away: an alert, a change of its status, an agent that goes.
    let second = raise(&plane, &mut sample, "second").await;
    let path = format!("/api/v1/alerts/{}/status", second.id);
    let body = json!({"status": "dismissed", "revision": 0});
    let answer = plane.ask(axum::http::Method::PUT, &path, Some(&analyst), Some(&body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    plane.clock.advance(Duration::from_secs(100));
    plane.store.sweep_liveness(&LivenessTimes::default(), plane.plane.now()).await.unwrap();

    for by_query in [true, false] {
        let query = format!("?after={}", message.id);
        let (query, last) =
            if by_query { (query.as_str(), None) } else { ("", Some(message.id.as_str())) };
        let mut client = Client::connect(&plane, &analyst, query, last).await;
        assert_eq!(client.expect("ready").await.id, message.id);
        let mut raised = Vec::new();
        loop {
            let message = client.next().await.unwrap();
            assert_ne!(message.data["agent"], "db-1");
            let done = message.event == "agent_liveness" && message.data["to"] == "offline";
            raised.push((message.event, message.data["id"].clone()));
            if done {
                break;
            }
        }
        let of_alerts: Vec<_> =
            raised.into_iter().filter(|(name, _)| name != "agent_liveness").collect();
        let id = json!(second.id.to_string());
        assert_eq!(of_alerts, [("alert_raised".into(), id.clone()), ("alert_status".into(), id)]);
    }
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn between_a_list_and_the_stream_there_is_no_gap() {
    let plane = Plane::new();
    let watching = follow(&plane);
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut client = Client::connect(&plane, &viewer, "", None).await;
    client.expect("ready").await;
    let store = Arc::clone(&plane.store);
    let writing = tokio::spawn(async move {
        let mut sample = Sample::new("acme", "web-1", 1);
        let process = sample.process();
        for _ in 0..200 {
            let event = sample.exec(&process);
            store.insert(&[sample.alert(&event, "r", Severity::Low)]).await.unwrap();
        }
    });
    // In the middle of it: what is listed now, and what comes, are all of them.
    let listed = plane.read("/api/v1/alerts?limit=200", &viewer).await;
    let mut seen: std::collections::BTreeSet<String> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["id"].as_str().unwrap().to_owned())
        .collect();
    while seen.len() < 200 {
        let message = client.expect("alert_raised").await;
        seen.insert(message.data["id"].as_str().unwrap().to_owned());
    }
    writing.await.unwrap();
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_missed() {
    let plane = Plane::new();
    let watching = follow(&plane);
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut slow = Client::connect(&plane, &viewer, "", None).await;
    slow.expect("ready").await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let process = sample.process();
    let alerts: Vec<_> = (0..1_500)
        .map(|_| {
            let event = sample.exec(&process);
            sample.alert(&event, "r", Severity::Low)
        })
        .collect();
    plane.store.insert(&alerts).await.unwrap();
    let missed = slow.expect("missed").await;
    assert_eq!(missed.data, json!({"changes": 1_500}));
    let last = raise(&plane, &mut sample, "last").await;
    assert_eq!(slow.expect("alert_raised").await.data["id"], last.id.to_string());
    // Of another store, or forgotten: nobody knows how much.
    let mut lost = Client::connect(&plane, &viewer, "?after=999999", None).await;
    lost.expect("ready").await;
    assert_eq!(lost.expect("missed").await.data, json!({"changes": null}));
    let metrics = String::from_utf8(plane.get("/metrics", "").await.body).unwrap();
    assert!(metrics.contains("live_missed_total 1500\n"), "{metrics}");
    assert!(metrics.contains("live_clients 2\n"), "{metrics}");
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_comes_by_filter_and_what_is_too_much_is_told() {
    let plane = Plane::new();
    let watching = follow(&plane);
    let viewer = plane.token("acme", Role::Viewer).await;
    let query = "?telemetry=true&kind=file_open&agent=web-1";
    plane.clock.advance(Duration::from_secs(10));
    let mut client = Client::connect(&plane, &viewer, query, None).await;
    client.expect("ready").await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut other = Sample::new("globex", "web-1", 2);
    for sample in [&mut sample, &mut other] {
        sample.set_now(plane.plane.now());
        let process = sample.process();
        let events = [sample.exec(&process), sample.file_open(&process, "/etc/hosts")];
        plane.store.append(&sample.source().clone(), &events).await.unwrap();
    }
    plane.clock.advance(Duration::from_secs(10));
    let message = client.expect("telemetry").await;
    assert_eq!(message.data["host"], "web-1.acme.example");
    assert_eq!(message.data["kind"], "file_open");
    sample.set_now(plane.plane.now());
    let process = sample.process();
    let many: Vec<_> = (0..600).map(|_| sample.file_open(&process, "/x")).collect();
    plane.store.append(&sample.source().clone(), &many).await.unwrap();
    plane.clock.advance(Duration::from_secs(10));
    let mut shown = 0;
    let missed = loop {
        let message = client.next().await.unwrap();
        if message.event == "missed" {
            break message;
        }
        shown += 1;
    };
    assert_eq!(shown, 500);
    let span = &missed.data["telemetry"];
    let path = format!(
        "/api/v1/events?kind=file_open&limit=200&from={}&to={}",
        span["from"].as_str().unwrap(),
        span["to"].as_str().unwrap()
    );
    let found = plane.read(&path, &viewer).await;
    assert_eq!(
        found["items"].as_array().unwrap().len(),
        101,
        "the last that was shown, and the rest"
    );
    watching.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_is_taken_back_and_seats_are_counted() {
    let plane = Plane::with(|options| options.live_clients = 1);
    let watching = follow(&plane);
    let viewer = plane.token("acme", Role::Viewer).await;
    let tenant = TenantId::new("acme").unwrap();
    let mut client = Client::connect(&plane, &viewer, "", None).await;
    client.expect("ready").await;
    plane.get("/api/v1/live", &viewer).await.is_problem(StatusCode::SERVICE_UNAVAILABLE);
    for bad in ["after=x", "telemetry=true&kind=nothing", "telemetry=true&agent=a.b", "agent=web-1"]
    {
        let answer = plane.get(&format!("/api/v1/live?{bad}"), &viewer).await;
        answer.is_problem(StatusCode::BAD_REQUEST);
    }
    let all = TokenQuery { limit: 10, after: None };
    let token = plane.store.tokens(&tenant, &all).await.unwrap().items[0].id;
    let (actor, now) = ("ana".into(), plane.plane.now());
    plane.store.revoke_token(&tenant, token, &actor, now).await.unwrap();
    raise(&plane, &mut Sample::new("acme", "web-1", 1), "secret").await;
    while let Some(message) = client.next().await {
        assert_ne!(message.event, "alert_raised", "it was shown to who may not see it any more");
    }
    drop(client);
    assert_eq!(plane.plane.metrics().live_clients.get(), 0);
    watching.abort();
}
