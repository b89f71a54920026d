//! Commands from a real control plane over a real broker, and from the agent's own dashboard; published rulesets over the
//! same connection.
#![cfg(all(feature = "live", feature = "fleet", feature = "control-plane"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[path = "support/broker.rs"]
#[allow(unreachable_pub, dead_code, reason = "as its neighbours")]
mod broker;
#[path = "support/http.rs"]
#[allow(unreachable_pub, reason = "as its neighbours")]
mod http;
mod support;

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use broker::Broker;
use http::ask;
use lavender_bpf::{CommandJournal, Enforcer, EnforcerOptions, HostExecutor, SharedEnforcer};
use lavender_control_plane::{
    Broker as PlaneBroker, Commanding, ControlPlane, Options, serve, welcome,
};
use lavender_core::command::{CommandAction, KeyId, Signer, Verifier};
use lavender_core::event::{Event, EventData, EventKind};
use lavender_core::pipeline::run_commands;
use lavender_core::ruleset::PublishedRulesets;
use lavender_core::store::{AuditAction, AuditQuery, TimeRange};
use lavender_core::{
    AgentId, AgentIdentity, BootId, Clock as _, CommandsRefused, Origin, Outcome, ProcessId,
    ResponseAction, ResponseCause, Sequencer, SystemClock, TenantId,
};
use lavender_store::Store;
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions, Setup};
use serde_json::{Value, json};
use support::cgroup::{self, Cgroup};
use support::setting::Setting;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const TRIES: usize = 100;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

fn signer() -> Signer {
    Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32])
}

fn who(tenant: &str, agent: &str) -> (TenantId, AgentId) {
    (TenantId::new(tenant).unwrap(), AgentId::new(agent).unwrap())
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process of the test's own, in a control group of its own.
struct Victim {
    child: Child,
    _cgroup: Cgroup,
}

impl Victim {
    fn start() -> Self {
        let cgroup = Cgroup::new();
        let mut command = cgroup.command("/bin/sleep");
        command.arg("600").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let victim = Self { child, _cgroup: cgroup };
        until("its program", || {
            let program = std::fs::read_link(format!("/proc/{}/exe", victim.child.id())).ok()?;
            program.ends_with("sleep").then_some(())
        });
        victim
    }

    fn id(&self) -> ProcessId {
        let boot: BootId = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap();
        ProcessId::new(boot, ticks.parse::<u64>().unwrap() * 10_000_000, self.child.id())
    }

    fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control plane that brings commands over a broker.
struct Plane {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Store>,
    address: String,
    token: String,
    _folder: TempDir,
}

impl Plane {
    /// Knows agent `web-1` of tenant `acme`.
    fn start(broker: &Broker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let path = folder.path().join("plane.db");
        let store = lavender_store::open(&format!("sqlite:{}", path.display())).unwrap();
        let sink = PlaneBroker::new(&broker.url()).unwrap();
        let commanding =
            Commanding { signer: Some(Arc::new(signer())), sink: Some(Arc::new(sink.clone())) };
        let options = Options {
            commanding,
            rulesets: Some(Arc::new(sink.clone())),
            resend_every: Duration::from_millis(200),
            sweep_every: Duration::from_millis(200),
            ..Options::default()
        };
        let (tenant, agent) = who("acme", "web-1");
        let token = runtime.block_on(async {
            let ids = Sequencer::new(Origin::new(&tenant, &agent, BootId::from_u128(1)));
            let heartbeat = Arc::new(Event {
                id: ids.next(),
                observed_at: SystemClock.now(),
                boot_time: SystemClock.boot_time(),
                tid: 0,
                process: None,
                data: EventData::Heartbeat(Box::default()),
            });
            let source = AgentIdentity { tenant: tenant.clone(), agent, host: "web-1".into() };
            store.append(&source, &[heartbeat]).await.unwrap();
            welcome(&*store, &tenant, SystemClock.now()).await.unwrap().unwrap().reveal()
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let plane = ControlPlane::new(Arc::clone(&store), options);
        let (served, taking) = (plane.clone(), plane);
        runtime.spawn(async move { serve(served, listener).await });
        runtime.spawn(async move { sink.take_reports(taking).await });
        Self { runtime, store, address, token, _folder: folder }
    }

    fn give(&self, command: &Value) -> String {
        let body = json!({"command": command, "reason": "a test"});
        let path = "/api/v1/agents/web-1/commands";
        let (status, given) = ask(&self.address, "POST", path, &self.token, Some(&body));
        assert_eq!(status, 201, "{given}");
        given["command"]["id"].as_str().unwrap().to_owned()
    }

    fn command(&self, id: &str) -> Value {
        let path = format!("/api/v1/commands/{id}");
        let (status, command) = ask(&self.address, "GET", &path, &self.token, None);
        assert_eq!(status, 200, "{command}");
        command
    }

    /// What became of a command, once something has.
    fn result(&self, id: &str) -> Value {
        until("a result", || {
            let command = self.command(id);
            (command["status"] != "pending").then_some(command)
        })
    }

    /// The reasons of all that was refused.
    fn refusals(&self) -> Vec<Arc<str>> {
        let mut query = AuditQuery { limit: 1_000, ..AuditQuery::new(TimeRange::ALL) };
        let (tenant, _) = who("acme", "web-1");
        let mut reasons = Vec::new();
        loop {
            let page = self.store.audit(&tenant, &query);
            let page = self.runtime.block_on(page).unwrap();
            let refused =
                page.items.iter().filter(|line| line.action == AuditAction::CommandRefuse);
            reasons.extend(refused.filter_map(|line| line.reason.clone()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return reasons,
            }
        }
    }
}

fn broker() -> Option<Broker> {
    let broker = Broker::start("")?;
    broker.make_streams(JetStreamOptions::new([broker.url()]));
    Some(broker)
}

async fn connect(url: &str) -> JetStream {
    let mut options = JetStreamOptions::new([url.to_owned()]);
    options.setup = Setup::Skip;
    JetStream::open(options).await.unwrap()
}

#[test]
fn what_is_no_order_is_refused_and_audited_every_time_and_a_good_one_acts() {
    if cgroup::mount().is_none() {
        println!("skipped: no cgroup v2 hierarchy is mounted");
        return;
    }
    let Some(broker) = broker() else { return };
    let plane = Plane::start(&broker);
    let folder = tempfile::tempdir().unwrap();
    let who_it_is = who("acme", "web-1");
    let (tenant, agent) = &who_it_is;
    let clock = Arc::new(SystemClock);
    let verifier = Verifier::new(tenant.clone(), agent.clone())
        .with_key(signer().key().clone(), signer().public_key())
        .unwrap();
    let journal = CommandJournal::open(folder.path(), (tenant, agent), clock.now());
    let options = EnforcerOptions { dry_run: false, ..EnforcerOptions::default() };
    let enforcer = SharedEnforcer::new(Enforcer::new(options, clock.clone()));
    let executor = HostExecutor::new(who_it_is.clone(), verifier, journal, enforcer, clock.clone());
    let executor = Arc::new(Mutex::new(executor));
    let (told, mut responses) = mpsc::channel(16);
    let url = broker.url();
    let source = plane
        .runtime
        .block_on(async { connect(&url).await.commands(tenant, agent).await.unwrap() });
    let taking = Arc::clone(&executor);
    plane.runtime.spawn(async move { run_commands(source, taking, told).await });

    let ping = plane.give(&json!({"action": "ping"}));
    assert_eq!(plane.result(&ping)["status"], "done");
    let mut victim = Victim::start();
    let pending = plane.store.command(tenant, ping.parse().unwrap());
    let replayed = plane.runtime.block_on(pending).unwrap().unwrap().signed().to_bytes();
    let stranger = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[8; 32]);
    let minute = Duration::from_secs(60);
    let kill = CommandAction::Kill { process: victim.id() };
    let order = |by: &Signer, of: &str, to: &str, at| {
        let (tenant, agent) = who(of, to);
        by.order(tenant, agent, kill.clone(), at, minute).unwrap().to_bytes()
    };
    plane.runtime.block_on(async {
        let client = async_nats::connect(&url).await.unwrap();
        for number in 0..TRIES {
            let now = clock.now();
            let past = now.saturating_sub(Duration::from_secs(120));
            for bytes in [
                order(&stranger, "acme", "web-1", now),
                order(&signer(), "globex", "web-1", now),
                order(&signer(), "acme", "web-2", now),
                order(&signer(), "acme", "web-1", past),
                vec![number as u8; number],
                replayed.clone(),
            ] {
                client.publish("cmd.acme.web-1", bytes.into()).await.unwrap();
            }
        }
        client.flush().await.unwrap();
    });
    let refusals = until("every refusal", || {
        let refusals = plane.refusals();
        (refusals.len() >= 6 * TRIES).then_some(refusals)
    });
    for (what, why) in [
        ("forged", "the signature is not one of"),
        ("of another tenant", "is for tenant"),
        ("for another agent", "is for agent"),
        ("expired", "expired at"),
        ("no command", "not a command"),
        ("replayed", "admitted before"),
    ] {
        let told = refusals.iter().filter(|reason| reason.contains(why)).count();
        assert_eq!(told, TRIES, "{what}");
    }
    assert_eq!(refusals.len(), 6 * TRIES);
    assert!(victim.lives());
    assert_eq!(plane.command(&ping)["status"], "done", "nothing that was refused changes it");
    let counts = executor.lock().unwrap().tally().counts();
    let tries = TRIES as u64;
    let refused = CommandsRefused {
        forged: tries,
        wrong_tenant: tries,
        wrong_agent: tries,
        expired: tries,
        malformed: tries,
        replayed: tries,
        ..CommandsRefused::default()
    };
    assert_eq!((counts.refused, counts.admitted), (refused, 1));

    // After all that, an order is an order.
    let killed = plane.give(&json!({"action": "kill", "process": victim.id()}));
    assert_eq!(plane.result(&killed)["status"], "done");
    until("its end", || (!victim.lives()).then_some(()));
    let answer = plane.runtime.block_on(responses.recv()).unwrap();
    assert_eq!(answer.order.cause, ResponseCause::Command(killed.parse().unwrap()));
}

#[test]
fn what_is_given_while_the_broker_is_away_is_brought_when_it_comes() {
    let Some(mut broker) = broker() else { return };
    broker.kill();
    let plane = Plane::start(&broker);
    let given = plane.give(&json!({"action": "ping"}));
    assert_eq!(plane.command(&given)["status"], "pending");
    broker.restart();
    let url = broker.url();
    let (tenant, agent) = who("acme", "web-1");
    let signed = plane.runtime.block_on(async {
        use lavender_core::command::CommandSource as _;

        let mut source = connect(&url).await.commands(&tenant, &agent).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, source.next()).await;
        next.expect("it was not brought").unwrap().unwrap().signed
    });
    let issued = plane.store.command(&tenant, given.parse().unwrap());
    let issued = plane.runtime.block_on(issued).unwrap().unwrap();
    assert_eq!(signed, issued.signed().to_bytes());
}

#[test]
fn what_is_published_while_the_broker_is_away_lies_where_workers_look_for_it_when_it_comes() {
    let Some(mut broker) = broker() else { return };
    broker.kill();
    let plane = Plane::start(&broker);
    let rule = "title: A\nid: a\nlogsource: {product: linux, category: process_creation}\n\
                detection: {s: {CommandLine|contains: shadow}, condition: s}\n";
    let files = json!({"files": [{"name": "a.yml", "text": rule}]});
    let post = |path: &str, body| ask(&plane.address, "POST", path, &plane.token, Some(body));
    let (status, uploaded) = post("/api/v1/rulesets", &files);
    assert_eq!(status, 201, "{uploaded}");
    let digest = uploaded["digest"].as_str().unwrap();
    let path = format!("/api/v1/rulesets/{digest}/publish");
    let (status, published) = post(&path, &json!({"revision": 0}));
    assert_eq!((status, &published["sent"]), (200, &json!(false)), "{published}");
    broker.restart();

    // As a worker makes it.
    let (url, (tenant, _)) = (broker.url(), who("acme", "web-1"));
    let bucket = plane.runtime.block_on(async {
        let mut options = JetStreamOptions::new([url]);
        options.streams.telemetry_bytes_max = 256 << 20;
        options.streams.other_bytes_max = 32 << 20;
        let transport = JetStream::open(options).await.unwrap();
        PublishedRulesets::new(Arc::new(transport.state(BucketOptions::rules()).await.unwrap()))
    });
    let found = until("the ruleset", || plane.runtime.block_on(bucket.published(&tenant)).unwrap());
    let rules = plane.runtime.block_on(bucket.fetch(&tenant, &found)).unwrap();
    assert_eq!((&*rules.digest().to_string(), found.revision), (digest, 1));
    assert_eq!(&**rules.files()[0].text(), rule);
}

#[test]
fn the_agent_takes_commands_from_its_broker_and_they_are_events() {
    need_kernel!();
    let Some(broker) = broker() else { return };
    let plane = Plane::start(&broker);
    let public: String = signer().public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = tempfile::tempdir().unwrap();
    let setting = Setting::new(&format!(
        "tenant_id = \"acme\"\n[transport]\nurl = {:?}\nspool_dir = {:?}\n\
         [response]\ndry_run = false\n[commands]\n\
         keys = [{{ id = \"ops-1\", public_key = \"{public}\" }}]\nstate_dir = {:?}",
        broker.url(),
        folder.path().join("spool"),
        folder.path().join("commands"),
    ));
    let config = std::fs::read_to_string(setting.config()).unwrap();
    support::write(&setting.config(), &config.replace("test-agent", "web-1"));
    let agent = setting.run(&[]);
    let mut victim = Victim::start();
    let killed = plane.give(&json!({"action": "kill_tree", "process": victim.id()}));
    let told = plane.result(&killed);
    assert_eq!((&told["status"], &told["output"]["killed"]), (&json!("done"), &json!(1)));
    until("its end", || (!victim.lives()).then_some(()));
    let rules = plane.result(&plane.give(&json!({"action": "reload_rules"})));
    assert!(rules["output"]["rules"].as_u64() > Some(0), "{rules}");
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    let stored = setting.stored().events(Some(EventKind::Response));
    let [event] = &stored[..] else { panic!("{} responses", stored.len()) };
    let EventData::Response(answer) = &event.event.data else { panic!("{event:?}") };
    assert_eq!(answer.order.cause, ResponseCause::Command(killed.parse().unwrap()));
    assert_eq!((answer.order.action, &answer.outcome), (ResponseAction::KillTree, &Outcome::Done));
}

#[test]
fn the_agents_own_dashboard_gives_it_commands() {
    need_kernel!();
    let setting = Setting::new("heartbeat_interval_secs = 1");
    let token = "first admin token of tenant default, shown only now: ";
    let mut secret = None;
    // After a restart, too: the key is kept.
    for _ in 0..2 {
        let agent = setting.run(&["--listen", "127.0.0.1:0"]);
        let url = agent.wait_said("Dashboard: ");
        let address = url.strip_prefix("http://").unwrap();
        let token = secret.get_or_insert_with(|| agent.wait_said(token));
        for (action, status) in
            [("ping", "done"), ("list_processes", "done"), ("isolate", "dry_run")]
        {
            let body = json!({"command": {"action": action}});
            let path = "/api/v1/agents/test-agent/commands";
            let given = until("a control plane that knows the agent", || {
                let (status, given) = ask(address, "POST", path, token, Some(&body));
                (status == 201).then_some(given)
            });
            assert_eq!(given["sent"], true, "{given}");
            let id = given["command"]["id"].as_str().unwrap();
            let told = until("a result", || {
                let path = format!("/api/v1/commands/{id}");
                let (_, told) = ask(address, "GET", &path, token, None);
                (told["status"] != "pending").then_some(told)
            });
            assert_eq!(told["status"], status, "{action}: {}", told["failure"]);
            if action == "list_processes" {
                let listed = told["output"]["processes"].as_array().unwrap();
                assert!(!listed.is_empty());
            }
        }
        assert_eq!(agent.stop().code, Some(0));
    }
}
