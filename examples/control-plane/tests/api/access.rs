//! Every route, for every role and tenant.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use lavender_control_plane::access::new_token;
use lavender_control_plane::{Commanding, Options, api};
use lavender_core::command::CommandAction;
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{EventKind, LossStage};
use lavender_core::ruleset::{RuleFile, Ruleset};
use lavender_core::store::{IssuedCommand, LivenessTimes, Role, UploadedRuleset};
use lavender_core::{TenantId, Timestamp};
use lavender_store::{PostgresOptions, PostgresStore};
use serde_json::{Value, json};

use crate::commands::signer;
use crate::plane::{Plane, raise};
use crate::postgres::Server;

/// What stands for `{…}` in a path: a new thing of the tenant each time, since some of them can be used once.
#[derive(Clone, Copy)]
enum Thing {
    None,
    Alert,
    Agent,
    Token,
    Command,
    Ruleset,
}

struct Route {
    method: Method,
    path: &'static str,
    query: &'static str,
    thing: Thing,
    body: Option<fn() -> Value>,
    /// Who may; `None` for everybody, without a token.
    role: Option<Role>,
    success: StatusCode,
}

const fn get(path: &'static str, query: &'static str, thing: Thing, role: Role) -> Route {
    let (method, success) = (Method::GET, StatusCode::OK);
    Route { method, path, query, thing, body: None, role: Some(role), success }
}

const DAY: &str = "?from=2023-11-14T00:00:00Z&to=2023-11-15T00:00:00Z";

fn routes() -> Vec<Route> {
    use Role::{Admin, Analyst, Viewer};

    let status = || json!({"status": "acknowledged", "revision": 0, "reason": "looked"});
    let rules = || {
        json!({"rules": "title: x\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: linux}\n\
            detection: {s: {Image: /usr/bin/cat}, condition: s}\n",
            "from": "2023-11-14T00:00:00Z", "to": "2023-11-15T00:00:00Z"})
    };
    let token = || json!({"name": "wall", "role": "viewer"});
    let command = || json!({"command": {"action": "ping"}});
    let ruleset = || json!({"files": []});
    let publication = || json!({"revision": 0});
    let open = |path| Route { role: None, ..get(path, "", Thing::None, Viewer) };
    vec![
        get("/api/v1/alerts", "", Thing::None, Viewer),
        get("/api/v1/alerts/statistics", DAY, Thing::None, Viewer),
        get("/api/v1/alerts/{id}", "", Thing::Alert, Viewer),
        get("/api/v1/alerts/{id}/process-tree", "", Thing::Alert, Viewer),
        Route {
            method: Method::PUT,
            body: Some(status),
            ..get("/api/v1/alerts/{id}/status", "", Thing::Alert, Analyst)
        },
        get("/api/v1/events", DAY, Thing::None, Viewer),
        get("/api/v1/agents", "", Thing::None, Viewer),
        get("/api/v1/agents/{agent}", "", Thing::Agent, Viewer),
        get("/api/v1/agents/{agent}/commands", "", Thing::Agent, Viewer),
        Route {
            method: Method::POST,
            body: Some(command),
            success: StatusCode::CREATED,
            ..get("/api/v1/agents/{agent}/commands", "", Thing::Agent, Analyst)
        },
        get("/api/v1/commands/{id}", "", Thing::Command, Viewer),
        get("/api/v1/transitions", "", Thing::None, Viewer),
        get("/api/v1/losses", "", Thing::None, Viewer),
        get("/api/v1/metrics", "", Thing::None, Viewer),
        get("/api/v1/rules", "", Thing::None, Viewer),
        Route {
            method: Method::POST,
            body: Some(rules),
            ..get("/api/v1/rules/test", "", Thing::None, Analyst)
        },
        get("/api/v1/rules/publications", "", Thing::None, Viewer),
        get("/api/v1/rulesets", "", Thing::None, Viewer),
        Route {
            method: Method::POST,
            body: Some(ruleset),
            success: StatusCode::CREATED,
            ..get("/api/v1/rulesets", "", Thing::None, Admin)
        },
        get("/api/v1/rulesets/{digest}", "", Thing::Ruleset, Viewer),
        Route {
            method: Method::POST,
            body: Some(publication),
            ..get("/api/v1/rulesets/{digest}/publish", "", Thing::Ruleset, Admin)
        },
        get("/api/v1/session", "", Thing::None, Viewer),
        get("/api/v1/tokens", "", Thing::None, Admin),
        Route {
            method: Method::POST,
            body: Some(token),
            success: StatusCode::CREATED,
            ..get("/api/v1/tokens", "", Thing::None, Admin)
        },
        Route {
            method: Method::DELETE,
            success: StatusCode::NO_CONTENT,
            ..get("/api/v1/tokens/{id}", "", Thing::Token, Admin)
        },
        get("/api/v1/audit", "", Thing::None, Admin),
        get("/api/v1/live", "", Thing::None, Viewer),
        open("/healthz"),
        open("/metrics"),
    ]
}

/// The live stream does not end, so only its head is asked for.
async fn ask(
    plane: &Plane,
    route: &Route,
    path: &str,
    token: Option<&str>,
) -> (StatusCode, String) {
    use axum::body::Body;
    use axum::http::{Request, header};
    use tower::ServiceExt as _;

    let body = route.body.map(|body| body());
    if route.path == "/api/v1/live" {
        let mut request = Request::builder().uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = plane.router.clone().oneshot(request).await.unwrap();
        return (response.status(), String::new());
    }
    let answer = plane.ask(route.method.clone(), path, token, body.as_ref()).await;
    if answer.status.is_client_error() {
        answer.is_problem(answer.status);
    }
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// A rule that compiles.
const RULE: &str = "title: Made\nid: made\nlogsource: {product: linux}\n\
    detection: {s: {Image: /made}, condition: s}\n";

/// One of a thing of the tenant of `sample`, as a path names it.
async fn make(plane: &Plane, sample: &mut Sample, thing: Thing) -> String {
    match thing {
        Thing::None => String::new(),
        Thing::Alert => raise(plane, sample, "made").await.id.to_string(),
        Thing::Agent => sample.source().agent.to_string(),
        Thing::Token => {
            let tenant = sample.source().tenant.clone();
            let (_, token) = new_token(tenant, Role::Viewer, "made", "test", START, None).unwrap();
            plane.store.create_token(&token).await.unwrap();
            token.id.to_string()
        }
        Thing::Command => {
            let (tenant, agent) = (sample.source().tenant.clone(), sample.source().agent.clone());
            let minute = Duration::from_secs(60);
            let signed = signer().order(tenant, agent, CommandAction::Ping, START, minute).unwrap();
            let issued = IssuedCommand::new(signed, "test", None);
            plane.store.issue(&issued).await.unwrap();
            issued.command().id.to_string()
        }
        Thing::Ruleset => {
            let rules = Ruleset::new([RuleFile::new("made.yml", RULE).unwrap()]).unwrap();
            let uploaded = UploadedRuleset::new(&rules, "test", None, START);
            plane.store.put_ruleset(&sample.source().tenant, &rules, &uploaded).await.unwrap();
            rules.digest().to_string()
        }
    }
}

fn filled(route: &Route, thing: &str) -> String {
    let path = route.path.replace("{id}", thing).replace("{agent}", thing);
    let path = path.replace("{digest}", thing);
    format!("{path}{}", route.query)
}

async fn every_route_for_every_role_and_tenant(plane: &Plane) {
    let mut acme = Sample::new("acme", "acme-web-1", 1);
    let mut globex = Sample::new("globex", "globex-db-7", 2);
    for sample in [&mut acme, &mut globex] {
        let lost = sample.lost(LossStage::Queue, EventKind::Exec, 3);
        plane.store.append(&sample.source().clone(), &[lost]).await.unwrap();
        raise(plane, sample, "first").await;
    }
    plane.store.sweep_liveness(&LivenessTimes::default(), START).await.unwrap();
    let mut tokens = Vec::new();
    for tenant in ["acme", "globex"] {
        for role in Role::ALL {
            tokens.push((tenant, role, plane.token(tenant, role).await));
        }
    }
    let good = &tokens[0].2;
    let wrong =
        format!("{}{}", &good[..good.len() - 2], if good.ends_with("00") { "11" } else { "00" });
    let unknown = format!("lvd_{}_{}", "0".repeat(32), "0".repeat(64));
    let (expired, of_expired) = dead(plane, Some(START), None).await;
    let (revoked, of_revoked) = dead(plane, None, Some(START)).await;
    assert_ne!(of_expired, of_revoked);

    let table = routes();
    for route in &table {
        let name = format!("{} {}", route.method, route.path);
        let thing = make(plane, &mut acme, route.thing).await;
        let path = filled(route, &thing);
        for bad in
            [None, Some("x"), Some(&*wrong), Some(&*unknown), Some(&*expired), Some(&*revoked)]
        {
            let (status, _) = ask(plane, route, &path, bad).await;
            let expected = match route.role {
                Some(_) => StatusCode::UNAUTHORIZED,
                None => route.success,
            };
            assert_eq!(status, expected, "{name} with a bad token");
        }
        for (tenant, role, token) in &tokens {
            let thing = make(plane, &mut acme, route.thing).await;
            let path = filled(route, &thing);
            let (status, body) = ask(plane, route, &path, Some(token)).await;
            let may = route.role.is_none_or(|needed| role.may_act_as(needed));
            let theirs = *tenant != "acme" && !matches!(route.thing, Thing::None);
            let expected = match (may, theirs) {
                (false, _) => StatusCode::FORBIDDEN,
                (true, true) => StatusCode::NOT_FOUND,
                (true, false) => route.success,
            };
            assert_eq!(status, expected, "{name} as {role} of {tenant}: {body}");
            let (other, own) = match *tenant {
                "acme" => ("globex", "acme"),
                _ => ("acme", "globex"),
            };
            assert!(
                theirs || !body.contains(other),
                "{name} shows {tenant} what is of {other}: {body}"
            );
            let shows =
                ["alerts", "events", "agents", "transitions", "losses", "v1/metrics", "statistics"];
            if status == StatusCode::OK && shows.iter().any(|end| route.path.ends_with(end)) {
                assert!(body.contains(&format!("{own}-")), "{name} shows {tenant} nothing: {body}");
            }
        }
    }

    let document = api::document(&plane.plane);
    let mut documented = BTreeSet::new();
    for (path, item) in document.paths.paths {
        let methods = [
            (Method::GET, item.get.is_some()),
            (Method::PUT, item.put.is_some()),
            (Method::POST, item.post.is_some()),
            (Method::DELETE, item.delete.is_some()),
            (Method::PATCH, item.patch.is_some()),
        ];
        let there = methods.into_iter().filter(|(_, there)| *there);
        documented.extend(there.map(|(method, _)| format!("{method} {path}")));
    }
    let tested: BTreeSet<_> =
        table.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(tested, documented, "a route is not in the table");
}

/// An admin's token that is good no more.
async fn dead(
    plane: &Plane,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
) -> (String, lavender_core::store::TokenId) {
    let tenant = TenantId::new("acme").unwrap();
    let (secret, token) =
        new_token(tenant.clone(), Role::Admin, "dead", "test", START, expires_at).unwrap();
    plane.store.create_token(&token).await.unwrap();
    if let Some(at) = revoked_at {
        plane.store.revoke_token(&tenant, token.id, &"test".into(), at).await.unwrap();
    }
    (secret.reveal(), token.id)
}

fn sign(options: &mut Options) {
    options.commanding = Commanding { signer: Some(Arc::new(signer())), sink: None };
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    every_route_for_every_role_and_tenant(&Plane::with(sign)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let Some(mut server) = Server::start() else { return };
    let store = PostgresStore::open(&server.database().await, PostgresOptions::default()).unwrap();
    every_route_for_every_role_and_tenant(&Plane::over(Arc::new(store), sign)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_back_is_refused_at_once() {
    let plane = Plane::new();
    let (admin, viewer) =
        (plane.token("acme", Role::Admin).await, plane.token("acme", Role::Viewer).await);
    plane.read("/api/v1/alerts", &viewer).await;
    let listed = plane.read("/api/v1/tokens", &admin).await;
    let of_viewer = listed["items"].as_array().unwrap().iter().find(|t| t["role"] == "viewer");
    let path = format!("/api/v1/tokens/{}", of_viewer.unwrap()["id"].as_str().unwrap());
    let answer = plane.ask(Method::DELETE, &path, Some(&admin), None).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    plane.get("/api/v1/alerts", &viewer).await.is_problem(StatusCode::UNAUTHORIZED);
}
