//! Tokens: made with a secret that works, listed without it.

use axum::http::{Method, StatusCode};
use lavender_core::store::Role;
use serde_json::json;

use crate::plane::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_for_its_tenant_and_its_secret_shown_once() {
    let plane = Plane::new();
    let admin = plane.token("acme", Role::Admin).await;
    let body =
        json!({"name": "night shift", "role": "analyst", "expires_at": "2024-01-01T00:00:00Z"});
    let answer = plane.ask(Method::POST, "/api/v1/tokens", Some(&admin), Some(&body)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let made = answer.json();
    let secret = made["secret"].as_str().unwrap();
    plane.read("/api/v1/alerts", secret).await;
    plane.get("/api/v1/audit", secret).await.is_problem(StatusCode::FORBIDDEN);
    let list = plane.get("/api/v1/tokens", &admin).await;
    let text = String::from_utf8(list.body).unwrap();
    assert!(text.contains("night shift") && !text.contains("$argon2") && !text.contains("lvd_"));
    plane.clock.advance(std::time::Duration::from_secs(60 * 86_400));
    plane.get("/api/v1/alerts", secret).await.is_problem(StatusCode::UNAUTHORIZED);
    for body in [
        json!({"name": "", "role": "viewer"}),
        json!({"name": "x".repeat(101), "role": "viewer"}),
        json!({"name": "late", "role": "viewer", "expires_at": "2023-01-01T00:00:00Z"}),
    ] {
        let answer = plane.ask(Method::POST, "/api/v1/tokens", Some(&admin), Some(&body)).await;
        answer.is_problem(StatusCode::BAD_REQUEST);
    }
}
