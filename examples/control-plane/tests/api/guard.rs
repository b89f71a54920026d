//! What stands before the routes: limits, headers, problems, health.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use lavender_control_plane::Broker;
use lavender_core::store::Role;
use serde_json::{Value, json};

use crate::plane::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_headers() {
    let plane = Plane::new();
    let viewer = plane.token("acme", Role::Viewer).await;
    for path in ["/api/v1/alerts", "/healthz", "/metrics", "/nothing", "/api/v1/openapi.json"] {
        let answer = plane.get(path, &viewer).await;
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            let value = answer.headers[name].to_str().unwrap();
            assert!(value.contains(part), "{path}: {name}: {value}");
        }
    }
    let answer = plane.get("/nothing", &viewer).await;
    answer.is_problem(StatusCode::NOT_FOUND);
    let answer = plane.ask(Method::PATCH, "/api/v1/alerts", Some(&viewer), None).await;
    answer.is_problem(StatusCode::METHOD_NOT_ALLOWED);
    let answer = plane.ask(Method::GET, "/api/v1/alerts", None, None).await;
    answer.is_problem(StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
}

/// Every file of the dashboard is there, as it is, with what it may do: run what came from here, and nothing inline.
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_may_do_what_it_needs_and_nothing_else() {
    let plane = Plane::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        let answer = plane.ask(Method::GET, &path, None, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.body == std::fs::read(file.path()).unwrap(), "{path} is another");
        let kind = match name.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(answer.headers[header::CONTENT_TYPE], kind, "{path}");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in
            ["default-src 'none'", "script-src 'self';", "require-trusted-types-for 'script'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        files += 1;
    }
    assert!(files > 20, "{files}");
    plane.ask(Method::POST, "/", None, None).await.is_problem(StatusCode::METHOD_NOT_ALLOWED);
    plane.ask(Method::GET, "/ui/../Cargo.toml", None, None).await.is_problem(StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_must_be_json() {
    let plane = Plane::new();
    let admin = plane.token("acme", Role::Admin).await;
    let post = |kind: &'static str, body: String| {
        let request = Request::post("/api/v1/tokens")
            .header(header::AUTHORIZATION, format!("Bearer {admin}"))
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .unwrap();
        plane.send(request)
    };
    let large = json!({"name": "x".repeat(200_000), "role": "viewer"}).to_string();
    post("application/json", large).await.is_problem(StatusCode::PAYLOAD_TOO_LARGE);
    let form = post("text/plain", "{}".into()).await;
    form.is_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    post("application/json", "{".into()).await.is_problem(StatusCode::BAD_REQUEST);
    let unknown = json!({"name": "x", "role": "viewer", "tenant": "globex"}).to_string();
    post("application/json", unknown).await.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_that_asks_too_much_is_refused_and_others_are_not() {
    let plane = Plane::with(|options| {
        options.requests_per_second = NonZeroU32::new(10).unwrap();
    });
    let from = |address: &str, token: Option<&str>| {
        let address: SocketAddr = address.parse().unwrap();
        let mut request = Request::get("/api/v1/alerts").extension(ConnectInfo(address));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        plane.send(request.body(Body::empty()).unwrap())
    };
    let viewer = plane.token("acme", Role::Viewer).await;
    // The first wrong token costs as much as ten.
    assert_eq!(from("192.0.2.1:1", Some("x")).await.status, StatusCode::UNAUTHORIZED);
    let mut refused = 0;
    for port in 2..60 {
        let answer = from(&format!("192.0.2.1:{port}"), None).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            answer.is_problem(StatusCode::TOO_MANY_REQUESTS);
            refused += 1;
        }
    }
    assert!(refused > 0, "nothing is refused");
    assert_eq!(from("192.0.2.2:1", Some(&viewer)).await.status, StatusCode::OK);
    let metrics = plane.get("/metrics", "").await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains(&format!("lavender_control_plane_limited_total {refused}\n")), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_that_of_the_store() {
    let plane = Plane::new();
    let answer = plane.ask(Method::GET, "/healthz", None, None).await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::OK, json!({"status": "ok", "checked": ["store"]}))
    );
    plane.store.close().await.unwrap();
    let answer = plane.ask(Method::GET, "/healthz", None, None).await;
    let detail = answer.is_problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(!detail.contains("lavender.db"), "it tells where the store is: {detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_told_of_and_ends_nothing() {
    let broker = Broker::new("nats://127.0.0.1:1").unwrap();
    let plane = Plane::with(|options| options.broker = Some(broker));
    let answer = plane.ask(Method::GET, "/healthz", None, None).await;
    let expected =
        json!({"status": "degraded", "checked": ["store", "broker"], "away": ["broker"]});
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    let metrics = async |plane: &Plane| {
        let answer = plane.ask(Method::GET, "/metrics", None, None).await;
        String::from_utf8(answer.body).unwrap()
    };
    let told = metrics(&plane).await;
    assert!(told.contains("\nlavender_control_plane_broker_connected 0\n"), "{told}");
    let told = metrics(&Plane::new()).await;
    assert!(!told.contains("\nlavender_control_plane_broker_connected "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_and_says_what_problems_there_are() {
    let plane = Plane::new();
    let document: Value = plane.ask(Method::GET, "/api/v1/openapi.json", None, None).await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403", "404", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        }
    }
}
