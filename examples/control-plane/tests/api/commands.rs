//! Commands: who may give which, what is signed, sent, kept and audited.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use lavender_control_plane::Commanding;
use lavender_core::command::{
    CommandAction, CommandId, CommandOutcome, CommandOutput, CommandResult, CommandSink, Executed,
    FileContent, KeyId, Signer, Verifier,
};
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::store::Role;
use lavender_core::{AgentId, Bytes, Error, ErrorKind, Result, TenantId, async_trait};
use serde_json::{Value, json};

use crate::plane::{Answer, Plane};

const PATH: &str = "/api/v1/agents/web-1/commands";

pub(crate) fn signer() -> Signer {
    Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32])
}

/// Takes what it is given, or nothing.
#[derive(Debug, Default)]
struct Sent {
    taken: Mutex<Vec<(TenantId, AgentId, Bytes)>>,
    broken: bool,
}

#[async_trait]
impl CommandSink for Sent {
    async fn publish(&self, tenant: &TenantId, agent: &AgentId, signed: Bytes) -> Result<()> {
        if self.broken {
            return Err(Error::new(ErrorKind::Unavailable, "broker", "it is away"));
        }
        self.taken.lock().unwrap().push((tenant.clone(), agent.clone(), signed));
        Ok(())
    }
}

async fn plane(commanding: Commanding) -> Plane {
    let plane = Plane::with(|options| options.commanding = commanding);
    let mut sample = Sample::new("acme", "web-1", 1);
    plane.store.append(&sample.source().clone(), &[sample.heartbeat()]).await.unwrap();
    plane
}

fn signing(sink: Option<Arc<dyn CommandSink>>) -> Commanding {
    Commanding { signer: Some(Arc::new(signer())), sink }
}

async fn give(plane: &Plane, token: &str, body: &Value) -> Answer {
    plane.ask(Method::POST, PATH, Some(token), Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_admitted_by_the_agent_that_it_is_for_and_its_result_shown() {
    let sent = Arc::new(Sent::default());
    let plane = plane(signing(Some(sent.clone()))).await;
    let (tenant, agent) = (TenantId::new("acme").unwrap(), AgentId::new("web-1").unwrap());
    let admin = plane.token("acme", Role::Admin).await;
    let process = Sample::new("acme", "web-1", 1).process().id();
    let body = json!({"command": {"action": "kill_tree", "process": process}, "reason": "miner",
        "lifetime_s": 60});
    let answer = give(&plane, &admin, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
    let given = answer.json();
    let command = &given["command"];
    assert_eq!((&given["sent"], &command["status"]), (&json!(true), &json!("pending")));
    assert_eq!((&command["command"], &command["reason"]), (&body["command"], &json!("miner")));

    let taken = sent.taken.lock().unwrap().clone();
    let [(to_tenant, to_agent, bytes)] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((to_tenant, to_agent), (&tenant, &agent));
    let pinned = |tenant: &str| {
        Verifier::new(TenantId::new(tenant).unwrap(), agent.clone())
            .with_key(signer().key().clone(), signer().public_key())
            .unwrap()
    };
    assert!(pinned("globex").admit(bytes, START, &mut Executed::new(9)).is_err());
    let admitted = pinned("acme").admit(bytes, START, &mut Executed::new(9)).unwrap();
    assert_eq!(admitted.action, CommandAction::KillTree { process });
    assert_eq!(admitted.expires_at, START.saturating_add(Duration::from_secs(60)));
    assert_eq!(command["id"], admitted.id.to_string());

    let audit = plane.read("/api/v1/audit", &admin).await;
    let line = audit["items"].as_array().unwrap().iter().find(|l| l["action"] == "command_issue");
    let line = line.expect("it is not audited");
    assert_eq!(line["target"], command["id"]);
    assert_eq!((&line["reason"], &line["actor"]), (&json!("miner"), &command["actor"]));
    assert_eq!(line["change"], "kill_tree for web-1");

    let path = format!("/api/v1/commands/{}", admitted.id);
    let viewer = plane.token("acme", Role::Viewer).await;
    assert_eq!(plane.read(&path, &viewer).await, *command);
    plane.clock.advance(Duration::from_secs(60));
    assert_eq!(plane.read(&path, &viewer).await["status"], "expired");
    let result = CommandResult {
        command: admitted.id,
        tenant,
        agent,
        outcome: CommandOutcome::Failed { reason: "it is gone".into() },
        finished_at: START,
    };
    assert!(plane.store.record_result(&result, START).await.unwrap());
    let listed = plane.read(PATH, &viewer).await;
    assert_eq!(listed["items"][0]["status"], "failed");
    assert_eq!(listed["items"][0]["failure"], "it is gone");
    let stranger = plane.token("globex", Role::Admin).await;
    plane.get(&path, &stranger).await.is_problem(StatusCode::NOT_FOUND);
    plane.get(PATH, &stranger).await.is_problem(StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_gave_is_for_who_may_give_it() {
    let plane = plane(signing(None)).await;
    let admin = plane.token("acme", Role::Admin).await;
    let body =
        json!({"command": {"action": "collect_file", "path": "/etc/passwd", "max_bytes": 9}});
    let given = give(&plane, &admin, &body).await.json();
    let id = given["command"]["id"].as_str().unwrap().to_owned();
    assert_eq!(given["command"].get("output_kind"), None);
    let content = FileContent::new(&b"root:x:0:"[..]);
    let result = CommandResult {
        command: id.parse().unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        agent: AgentId::new("web-1").unwrap(),
        outcome: CommandOutcome::done(CommandOutput::File { content, bytes: 900 }),
        finished_at: START,
    };
    assert!(plane.store.record_result(&result, START).await.unwrap());
    for (role, may) in [(Role::Viewer, false), (Role::Analyst, false), (Role::Admin, true)] {
        let token = plane.token("acme", role).await;
        let listed = plane.read(PATH, &token).await["items"][0].clone();
        assert_eq!((&listed["output_kind"], listed.get("output")), (&json!("file"), None));
        let one = plane.read(&format!("/api/v1/commands/{id}"), &token).await;
        let output = json!({"kind": "file", "content": "cm9vdDp4OjA6", "bytes": 900});
        assert_eq!(one.get("output"), may.then_some(&output), "as {role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_tenants_bound_what_may_be_given() {
    let sent = Arc::new(Sent::default());
    let plane = plane(signing(Some(sent.clone()))).await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, plane.token("acme", role).await));
    }
    let stranger = plane.token("globex", Role::Admin).await;
    let process = Sample::new("acme", "web-1", 1).process().id();
    let mut given = 0;
    for (needed, command) in [
        (Role::Analyst, json!({"action": "ping"})),
        (Role::Analyst, json!({"action": "list_processes"})),
        (Role::Analyst, json!({"action": "hash_file", "path": "/bin/sh"})),
        (Role::Admin, json!({"action": "kill", "process": process})),
        (Role::Admin, json!({"action": "kill_tree", "process": process})),
        (Role::Admin, json!({"action": "isolate"})),
        (Role::Admin, json!({"action": "release"})),
        (Role::Admin, json!({"action": "quarantine", "file": {"path": "/tmp/x"}})),
        (Role::Admin, json!({"action": "restore", "entry": "x"})),
        (Role::Admin, json!({"action": "collect_file", "path": "/tmp/x", "max_bytes": 9})),
        (Role::Admin, json!({"action": "reload_rules"})),
    ] {
        let body = json!({"command": command});
        for (role, token) in &tokens {
            let may = role.may_act_as(needed);
            let expected = if may { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
            assert_eq!(give(&plane, token, &body).await.status, expected, "{command} as {role}");
            given += usize::from(may);
        }
        give(&plane, &stranger, &body).await.is_problem(StatusCode::NOT_FOUND);
    }
    assert_eq!(sent.taken.lock().unwrap().len(), given);
    let listed = plane.read(&format!("{PATH}?limit=200"), &tokens[0].1).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), given);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_not_kept() {
    let plane = plane(signing(None)).await;
    let admin = plane.token("acme", Role::Admin).await;
    for body in [
        json!({"command": {"action": "dance"}}),
        json!({"command": {"action": "kill"}}),
        json!({"command": {"action": "ping", "process": "x"}}),
        json!({"command": "ping"}),
        json!({"command": {"action": "hash_file", "path": ""}}),
        json!({"command": {"action": "ping"}, "lifetime_s": 0}),
        json!({"command": {"action": "ping"}, "lifetime_s": 86_401}),
        json!({"command": {"action": "ping"}, "reason": "x".repeat(2_001)}),
    ] {
        give(&plane, &admin, &body).await.is_problem(StatusCode::BAD_REQUEST);
    }
    let listed = plane.read(PATH, &admin).await;
    assert_eq!(listed["items"], json!([]));
    let unknown = format!("/api/v1/commands/{}", CommandId::from_u128(7));
    plane.get(&unknown, &admin).await.is_problem(StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_stays_pending_and_what_cannot_be_signed_is_refused() {
    let broken: Arc<dyn CommandSink> = Arc::new(Sent { broken: true, ..Sent::default() });
    for sink in [None, Some(broken)] {
        let plane = plane(signing(sink)).await;
        let analyst = plane.token("acme", Role::Analyst).await;
        let answer = give(&plane, &analyst, &json!({"command": {"action": "ping"}})).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.json()["sent"], false);
        let listed = plane.read(PATH, &analyst).await;
        assert_eq!(listed["items"][0]["status"], "pending");
    }
    let plane = plane(Commanding::default()).await;
    let analyst = plane.token("acme", Role::Analyst).await;
    let answer = give(&plane, &analyst, &json!({"command": {"action": "ping"}})).await;
    let why = answer.is_problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("--signing-key"), "{why}");
}
