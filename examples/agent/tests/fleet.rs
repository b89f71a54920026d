//! The agent in a fleet, with a real broker that comes, goes and refuses.
#![cfg(feature = "fleet")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[path = "support/broker.rs"]
#[allow(unreachable_pub, reason = "as its neighbours")]
mod broker;
mod support;

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use broker::Broker;
use lavender_core::codec;
use lavender_core::event::{EventData, EventKind, LossStage};
use lavender_transport::nats::{Credentials, JetStreamOptions};
use nkeys::KeyPair;
use support::agent::{Agent, output};
use support::setting::Setting;
use support::stand_in;
use tempfile::TempDir;

const SENSITIVE_FILE: &str = "Sensitive File Read by an Unexpected Program";

/// A setting whose agent publishes to `url`, by way of a spool in the folder.
fn joined(url: &str, more: &str) -> (Setting, TempDir) {
    let spool = tempfile::tempdir().unwrap();
    let directory = spool.path().join("spool");
    let setting = Setting::new(&format!(
        "tenant_id = \"acme\"\nheartbeat_interval_secs = 1\n[alerts]\nsuppress_secs = 0\n[transport]\nurl = {url:?}\nspool_dir = {directory:?}\n{more}"
    ));
    (setting, spool)
}

/// An attack, and the id of its alert.
fn attack(setting: &Setting, agent: &mut Agent, known: &mut Vec<String>) {
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    let (_, line) = agent.wait_for("an alert", |line| {
        line["rule"]["title"] == SENSITIVE_FILE && !known.iter().any(|id| line["id"] == id.as_str())
    });
    known.push(line["id"].as_str().unwrap().to_owned());
}

/// Waits for a stored heartbeat line for whose spool this holds.
fn wait_for_spool(agent: &mut Agent, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
    agent.wait_for(what, |line| {
        line["kind"] == "heartbeat"
            && !line["data"]["spool"].is_null()
            && wanted(&line["data"]["spool"])
    });
}

#[test]
fn whatever_is_killed_everything_arrives_once_and_in_order() {
    need_kernel!();
    let Some(mut broker) = Broker::start("") else { return };
    let options = JetStreamOptions::new([broker.url()]);
    broker.make_streams(options.clone());
    broker.kill();
    let (setting, _spool) = joined(&broker.url(), "");

    // The broker is down: it starts and protects.
    let mut agent = setting.run(&["--events"]);
    let mut raised = Vec::new();
    attack(&setting, &mut agent, &mut raised);
    wait_for_spool(&mut agent, "a heartbeat that says that the broker is away", |spool| {
        spool["fault"].is_string() && spool["waiting"].as_u64() > Some(0)
    });

    // It comes; then it is killed, and so is the agent.
    broker.restart();
    let mut heartbeats = broker.heartbeats();
    let heard = broker.next(&mut heartbeats);
    assert_eq!(heard.subject.as_str(), "heartbeat.acme.test-agent");
    let line = std::str::from_utf8(&heard.payload).unwrap().lines().last().unwrap();
    let heartbeat = codec::event_from_json(line).unwrap();
    assert!(matches!(heartbeat.data, EventData::Heartbeat(beat) if beat.spool.is_some()));
    attack(&setting, &mut agent, &mut raised);
    broker.kill();
    attack(&setting, &mut agent, &mut raised);
    agent.signal("KILL");
    agent.wait();
    let before = setting.stored().events(None);

    // The next run goes on behind it, and delivers what was left.
    let mut agent = setting.run(&["--events"]);
    attack(&setting, &mut agent, &mut raised);
    broker.restart();
    attack(&setting, &mut agent, &mut raised);
    wait_for_spool(&mut agent, "a heartbeat that says that all is well", |spool| {
        spool["fault"].is_null()
    });
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    let published = broker.published(options);
    let stored = setting.stored();
    let sequences = published.sequences();
    assert!(sequences.values().all(|count| *count == 1), "an event came twice");
    let arrived: HashSet<_> = published.events.iter().map(|event| event.id).collect();
    for event in stored.events(None) {
        assert!(
            arrived.contains(&event.event.id),
            "{} is stored and did not arrive",
            event.event.id
        );
    }
    let last = before.iter().map(|stored| stored.event.id.sequence()).max().unwrap();
    assert!(*sequences.keys().next_back().unwrap() > last, "the sequence went on");
    let own = [EventKind::Heartbeat, EventKind::AgentStart, EventKind::AgentStop, EventKind::Lost];
    let seen: Vec<u64> = published
        .events
        .iter()
        .filter(|event| !own.contains(&event.kind()))
        .map(|event| event.id.sequence())
        .collect();
    assert!(seen.is_sorted(), "what the sensor saw came in another order");
    assert_eq!(published.lost(LossStage::Spool), 0);
    let alerts: Vec<String> = published.alerts.iter().map(|alert| alert.id.to_string()).collect();
    for id in &raised {
        assert!(alerts.contains(id), "alert {id} did not arrive");
    }
    let different: HashSet<&String> = alerts.iter().collect();
    assert_eq!(
        different.len(),
        stored.alerts().len(),
        "the host and the fleet have the same alerts"
    );
}

#[test]
fn what_a_full_spool_sheds_is_counted() {
    need_kernel!();
    let Some(mut broker) = Broker::start("") else { return };
    let options = JetStreamOptions::new([broker.url()]);
    broker.make_streams(options.clone());
    broker.kill();
    let (setting, _spool) = joined(&broker.url(), "spool_bytes_max = 1048576\n");
    let mut agent = setting.run(&["--events", "--store", "memory:"]);
    // More than fits, however well it is compressed.
    let program = r#"for (1..30000) { open(my $f, "<", "/dev/null") }"#;
    for _ in 0..20 {
        let mut opens = setting.cgroup.command("/usr/bin/perl");
        assert!(opens.args(["-e", program]).status().unwrap().success());
        // As much as fills it: how much is left of it before depends on how busy the machine is.
        thread::sleep(Duration::from_millis(1_500));
        agent.keep(|line| line["kind"] != "file_open");
        if agent.has(|line| line["data"]["spool"]["shed"].as_u64() > Some(0)) {
            break;
        }
    }
    let mut raised = Vec::new();
    attack(&setting, &mut agent, &mut raised);
    wait_for_spool(&mut agent, "a heartbeat that tells what was shed", |spool| {
        spool["shed"].as_u64() > Some(0)
    });
    broker.restart();
    wait_for_spool(&mut agent, "a heartbeat that says that all is well", |spool| {
        spool["shed"].as_u64() > Some(0)
            && spool["fault"].is_null()
            && spool["waiting"].as_u64() < Some(8)
    });
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    // Every number is there, or counted.
    let published = broker.published(options);
    let sequences = published.sequences();
    assert!(sequences.values().all(|count| *count == 1), "an event came twice");
    let produced = *sequences.keys().next_back().unwrap();
    let (shed, queue) = (published.lost(LossStage::Spool), published.lost(LossStage::Queue));
    assert!(shed > 0);
    assert_eq!(produced, sequences.len() as u64 + shed + queue);
    assert!(published.alerts.iter().any(|alert| alert.id.to_string() == raised[0]));
    let evidence = published.events.iter().filter(|event| event.kind() == EventKind::Exec).count();
    assert!(evidence > 0, "processes are shed last");
}

fn secret(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_the_broker_does_not_permit_is_said_and_hides_no_attack() {
    need_kernel!();
    let (worker, agent_key) = (KeyPair::new_user(), KeyPair::new_user());
    // The agent's key is that of another agent.
    let Some(broker) = Broker::start(&format!(
        "authorization {{ users: [\n{{ nkey: {} }}\n{{ nkey: {}, permissions {{ publish: [\"telemetry.raw.acme.other\"], subscribe: [\"_INBOX.acme.other.>\"] }} }}\n] }}",
        worker.public_key(),
        agent_key.public_key()
    )) else {
        return;
    };
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str| keys.path().join(name);
    secret(&file("worker.nk"), &worker.seed().unwrap(), 0o600);
    secret(&file("agent.nk"), &agent_key.seed().unwrap(), 0o600);
    let mut options = JetStreamOptions::new([broker.url()]);
    options.credentials = Credentials::Nkey(file("worker.nk"));
    broker.make_streams(options.clone());

    let (setting, _spool) = joined(&broker.url(), &format!("nkey_file = {:?}\n", file("agent.nk")));
    let mut agent = setting.run(&["--events"]);
    let mut raised = Vec::new();
    attack(&setting, &mut agent, &mut raised);
    wait_for_spool(&mut agent, "a heartbeat that says what is not permitted", |spool| {
        spool["fault"].as_str().is_some_and(|fault| fault.contains("does not let this client"))
    });
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        attack(&setting, &mut agent, &mut raised);
        thread::sleep(Duration::from_millis(500));
    }
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "what waits is on disk: {finished:?}");
    assert!(finished.stderr.contains("does not let this client publish on"), "{finished:?}");
    let tries = finished.stderr.matches("not delivered").count();
    assert!((1..=2).contains(&tries), "it was tried {tries} times: {finished:?}");
    for key in [&worker, &agent_key] {
        assert!(!finished.stderr.contains(&key.seed().unwrap()), "a secret was told");
    }
    let published = broker.published(options);
    assert!(published.events.is_empty() && published.alerts.is_empty());
}

#[test]
fn a_transport_that_cannot_be_is_refused_at_the_start() {
    need_kernel!();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    secret(&file("open.nk"), "SU", 0o644);
    secret(&file("own.key"), "", 0o600);
    let open = format!("nkey_file = {:?}\n", file("open.nk"));
    let missing = format!("nkey_file = {:?}\n", file("missing.nk"));
    let half = format!("key_file = {:?}\n", file("own.key"));
    for (more, expected) in [
        (&*open, "chmod o="),
        (&*missing, "missing.nk: cannot be read"),
        (&*half, "`certificate_file` and `key_file` go together"),
        ("spool_bytes_max = 1\n", "`spool_bytes_max`"),
        ("inbox_prefix = \"a b\"\n", "`inbox_prefix`"),
    ] {
        let (setting, _spool) = joined("nats://127.0.0.1:1", more);
        let finished = Agent::try_start(setting.command(&[])).err().expect(more);
        assert_eq!(finished.code, Some(3), "{finished:?}");
        assert!(finished.stderr.contains(expected), "{finished:?}");
    }
    // A spool belongs to one agent at a time.
    let (setting, _spool) = joined("nats://127.0.0.1:1", "");
    let first = setting.run(&[]);
    let other = setting.path("other.db");
    let store = format!("sqlite:{}", other.display());
    let finished = Agent::try_start(setting.command(&["--store", &store])).err().expect("two");
    assert_eq!(finished.code, Some(6), "{finished:?}");
    assert!(finished.stderr.contains("another process has it"), "{finished:?}");
    assert_eq!(first.stop().code, Some(0));
}

#[test]
fn a_url_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lavender.toml");
    fs::write(
        &config,
        "[transport]\nurl = \"nats://broker:4222\"\n[agent]\nagent_id = \"web.*\"\n",
    )
    .unwrap();
    let named = config.to_str().unwrap();
    let finished = output(&["check-config", named]);
    assert_eq!(finished.code, Some(3), "a name that is not one token of a subject: {finished:?}");
    assert!(finished.stderr.contains("use 1 to 64 of the characters"), "{finished:?}");
    let url = "nats://agent:hunter2@broker:4222";
    fs::write(&config, format!("[transport]\nurl = \"{url}\"\n")).unwrap();
    let (file, flag) = (output(&["check-config", named]), output(&["run", "--transport", url]));
    assert_eq!((file.code, flag.code), (Some(3), Some(2)), "{file:?} {flag:?}");
    for finished in [file, flag] {
        assert!(finished.stderr.contains("credentials do not belong into a URL"), "{finished:?}");
        assert!(!finished.stderr.contains("hunter2"), "{finished:?}");
    }
}
