//! Rules: listed, and tested on what is stored.

use axum::http::{Method, StatusCode};
use lavender_core::conformance::sample::Sample;
use lavender_core::store::Role;
use lavender_detect::{RuleHandle, RuleSetBuilder};
use serde_json::json;

use crate::plane::{Plane, raise};

const RULE: &str = "title: Somebody reads secrets\nid: 11111111-1111-4111-8111-111111111111\n\
    logsource: {product: linux, category: process_creation}\n\
    detection: {s: {Image|endswith: /cat, CommandLine|contains: shadow}, condition: s}\nlevel: high\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_tested_on_stored_events() {
    let plane = Plane::new();
    let analyst = plane.token("acme", Role::Analyst).await;
    raise(&plane, &mut Sample::new("acme", "web-1", 1), "r").await;
    raise(&plane, &mut Sample::new("globex", "db-1", 2), "r").await;
    let test = |rules: &str| {
        let body =
            json!({"rules": rules, "from": "2023-11-14T00:00:00Z", "to": "2023-11-15T00:00:00Z"});
        let (plane, analyst) = (&plane, &analyst);
        async move { plane.ask(Method::POST, "/api/v1/rules/test", Some(analyst), Some(&body)).await }
    };
    let result = test(RULE).await.json();
    assert_eq!((&result["events"], &result["matches"]), (&json!(3), &json!(1)), "{result}");
    assert_eq!(result["found"][0]["title"], "Somebody reads secrets");
    let none = test(&RULE.replace("shadow", "gshadow")).await.json();
    assert_eq!(none["matches"], 0);
    let detail = test("title: x\ndetection: {}\n").await.is_problem(StatusCode::BAD_REQUEST);
    assert!(detail.contains("rules:"), "it says where: {detail}");
    let long = "#".repeat(70_000);
    test(&long).await.is_problem(StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_by_pages() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    let rules = builder.build().unwrap().rules;
    let count = rules.len() + rules.correlations().len();
    let plane = Plane::with(|options| options.rules = RuleHandle::new(rules));
    let viewer = plane.token("acme", Role::Viewer).await;
    let mut read = 0;
    let mut path = "/api/v1/rules?limit=17".to_owned();
    loop {
        let page = plane.read(&path, &viewer).await;
        read += page["items"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/rules?limit=17&after={next}");
    }
    assert_eq!(read, count);
}
