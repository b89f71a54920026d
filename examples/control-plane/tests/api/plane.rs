//! A control plane over a store of a test's own, and what is asked of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use lavender_control_plane::access::new_token;
use lavender_control_plane::{ControlPlane, Options, api};
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::store::Role;
use lavender_core::{Alert, ManualClock, Severity, TenantId};
use lavender_store::{SqliteOptions, SqliteStore, Store};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks that it is a problem with this status.
    pub(crate) fn is_problem(&self, status: StatusCode) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status.as_u16());
        assert!(!problem["title"].as_str().unwrap().is_empty());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// A control plane, and how to ask it.
#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) plane: ControlPlane,
    pub(crate) router: Router,
    _directory: Option<TempDir>,
}

pub(crate) fn many() -> NonZeroU32 {
    NonZeroU32::new(1_000_000).unwrap()
}

impl Plane {
    /// Over SQLite, in a directory of its own.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("lavender.db");
        let store = SqliteStore::open(path, SqliteOptions::default()).unwrap();
        Self { _directory: Some(directory), ..Self::over(Arc::new(store), change) }
    }

    pub(crate) fn over(store: Arc<dyn Store>, change: impl FnOnce(&mut Options)) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let mut options = Options {
            clock: clock.clone(),
            requests_per_second: many(),
            feed_every: Duration::from_millis(10),
            ..Options::default()
        };
        change(&mut options);
        let plane = ControlPlane::new(Arc::clone(&store), options);
        let router = api::router(plane.clone());
        Self { store, clock, plane, router, _directory: None }
    }

    /// A token for a tenant, as its holder sends it.
    pub(crate) async fn token(&self, tenant: &str, role: Role) -> String {
        let tenant = TenantId::new(tenant).unwrap();
        let name = format!("{role} of {tenant}");
        let (secret, token) = new_token(tenant, role, name, "test", START, None).unwrap();
        self.store.create_token(&token).await.unwrap();
        secret.reveal()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 16 << 20).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            None => Body::empty(),
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::GET, path, Some(token), None).await
    }

    /// What a route answers when all is well.
    pub(crate) async fn read(&self, path: &str, token: &str) -> Value {
        let answer = self.get(path, token).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{path}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()
    }
}

/// Events of a shell that reads secrets, and an alert about the last of them.
pub(crate) async fn raise(plane: &Plane, sample: &mut Sample, rule: &str) -> Arc<Alert> {
    let shell = sample.process();
    let child = sample.child(&shell, "/usr/bin/cat", &["cat", "/etc/shadow"]);
    let events =
        vec![sample.exec(&shell), sample.exec(&child), sample.file_open(&child, "/etc/shadow")];
    plane.store.append(&sample.source().clone(), &events).await.unwrap();
    let alert = sample.alert(&events[2], rule, Severity::High);
    plane.store.insert(&[Arc::clone(&alert)]).await.unwrap();
    alert
}
