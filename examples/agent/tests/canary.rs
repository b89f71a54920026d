//! The canary goes through the whole path: a sensor that sees it is told of in heartbeats, one that does not is an alert.
#![cfg(feature = "live")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lavender_agent::canary;
use lavender_bpf::{Canary, SensorBuilder, host};
use lavender_core::event::{CanaryHealth, Event, EventData, EventKind};
use lavender_core::pipeline::{CANARY_RULE, CanaryOptions, CanaryWatch, Pipeline};
use lavender_core::store::{
    FleetQuery, Liveness, LivenessReason, LivenessTimes, TimeRange, TransitionQuery,
};
use lavender_core::transport::{Message, Payload};
use lavender_core::{
    AgentId, AgentIdentity, Alert, Clock as _, Origin, Publisher, Result, SensorPlan, Sequencer,
    SystemClock, TenantId, async_trait,
};
use serde_json::Value;
use support::agent::Agent;
use support::cgroup::Cgroup;
use support::setting::Setting;
use support::write;
use tokio::sync::oneshot;

const CONFIG: &str =
    "heartbeat_interval_secs = 1\n[canary]\ninterval_secs = 10\ndeadline_secs = 5\n";

fn canary_of(line: &Value) -> Option<&Value> {
    (line["kind"] == "heartbeat").then(|| &line["data"]["canary"])
}

fn is_alert(line: &Value) -> bool {
    line["kind"] == "alert" && line["rule"]["id"] == CANARY_RULE
}

/// Whether it is done by a canary's process: this program, told so.
fn is_of_canary(event: &Event) -> bool {
    event.process.as_ref().is_some_and(|process| {
        process.arguments.value.iter().skip(1).take(2).eq([&b"canary"[..], b"act"])
    })
}

#[test]
fn what_the_sensor_sees_is_stored_and_told_and_no_alert() {
    need_kernel!();
    for telemetry in ["all", "rules"] {
        let more = format!("{CONFIG}[sensor]\ntelemetry = \"{telemetry}\"\n");
        let setting = Setting::new(&more);
        let mut agent = setting.run(&["--events"]);
        let (_, beat) = agent.wait_for("a heartbeat after two acts", |line| {
            canary_of(line).is_some_and(|canary| canary["seen"].as_u64() >= Some(2))
        });
        let canary = canary_of(&beat).unwrap();
        assert!(canary["last_seen_at"].is_i64() && canary["latency_ms"].is_u64(), "{canary}");
        assert!(canary["missing"].is_null(), "{canary}");
        let finished = agent.stop();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        // The rules that come along look at it as at everything else, and find nothing.
        assert!(finished.alerts().is_empty(), "{finished:?}");
        let stored = setting.stored();
        for kind in Canary::KINDS {
            let events = stored.events(Some(kind));
            let count = events.iter().filter(|stored| is_of_canary(&stored.event)).count();
            assert!(count >= 2, "{count} of {kind}");
        }
    }
}

fn rule(title: &str, category: &str, search: &str) -> String {
    format!(
        "title: {title}\nid: 8b2a7c1e-0000-4000-8000-000000000002\n\
         logsource: {{product: linux, category: {category}}}\n\
         detection:\n  selection: {search}\n  condition: selection\nlevel: low\n"
    )
}

/// What the rules need of files is what the canary is seen by, too: rules that go must not take it along.
#[test]
fn rules_that_are_loaded_again_leave_the_canary_in_sight() {
    need_kernel!();
    let more = format!("{CONFIG}[sensor]\ntelemetry = \"rules\"\n[rules]\nbuiltin = false\n");
    let setting = Setting::new(&more);
    let (file, folder) = (setting.path("rules/one.yml"), setting.path("rules"));
    let read = || {
        let sensitive = setting.sensitive();
        setting.cgroup.command("/bin/cat").arg(sensitive).output().unwrap();
    };
    write(&file, &rule("Read", "file_access", "{TargetFilename|endswith: /etc/shadow}"));
    let mut agent = setting.run(&["--events", "--rules", folder.to_str().unwrap()]);
    let seen = |line: &Value| canary_of(line).and_then(|canary| canary["seen"].as_u64());
    // One that was begun before may be seen after.
    let seen_twice_more = |agent: &mut Agent| {
        let now = agent.last(|line| seen(line)).unwrap_or(0);
        agent.wait_for("two more acts", |line| seen(line) >= Some(now + 2));
    };
    read();
    agent.wait_for("Read", |line| line["rule"]["title"] == "Read");
    seen_twice_more(&mut agent);

    write(&file, &rule("Program", "process_creation", "{Image|endswith: /cat}"));
    agent.signal("HUP");
    agent.wait_said("the rules are loaded again");
    read();
    agent.wait_for("Program", |line| line["rule"]["title"] == "Program");
    seen_twice_more(&mut agent);

    write(&file, "title: no rule\n");
    agent.signal("HUP");
    agent.wait_said("the rules are not taken, those in use stay");
    seen_twice_more(&mut agent);
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(!finished.stdout.iter().any(is_alert), "{finished:?}");
    for canary in finished.stdout.iter().filter_map(canary_of) {
        assert!(canary["missed"] == 0 && canary["missing"].is_null(), "{canary}");
    }
}

#[test]
fn a_control_group_that_was_made_anew_is_not_seen_and_that_is_one_alert() {
    need_kernel!();
    let setting = Setting::new(CONFIG);
    let mut agent = setting.run(&["--events"]);
    agent.wait_for("a heartbeat after an act", |line| {
        canary_of(line).is_some_and(|canary| canary["seen"].as_u64() >= Some(1))
    });
    // As when a service starts again: the same path, and to the kernel another group.
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::remove_dir(setting.cgroup.path()).is_err() {
        assert!(Instant::now() < deadline, "the control group stays");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::create_dir(setting.cgroup.path()).unwrap();
    let (_, alert) = agent.wait_for("the alert", is_alert);
    assert_eq!(alert["severity"], "high");
    agent.wait_for("a heartbeat after three acts that were missed", |line| {
        canary_of(line).is_some_and(|canary| canary["missed"].as_u64() >= Some(3))
    });
    // Killed, since one that stops is offline.
    agent.signal("KILL");
    let finished = agent.wait();
    let raised: Vec<_> = finished.stdout.iter().filter(|line| is_alert(line)).collect();
    assert_eq!(raised.len(), 1, "{finished:?}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = lavender_store::open(&format!("sqlite:{}", setting.database().display())).unwrap();
    runtime.block_on(async {
        store.sweep_liveness(&LivenessTimes::default(), SystemClock.now()).await.unwrap();
        let tenant = TenantId::default();
        let agents = store.fleet(&tenant, &FleetQuery::default()).await.unwrap().items;
        let (beat, _) = agents[0].heartbeat.clone().unwrap();
        let missing = beat.canary.unwrap().missing.unwrap();
        assert_eq!((missing.kinds.as_slice(), missing.fault), (&Canary::KINDS[..], None));
        assert_eq!(agents[0].liveness.unwrap().0, Liveness::Degraded);
        let query = TransitionQuery::new(TimeRange::ALL);
        let told = store.transitions(&tenant, &query).await.unwrap().items;
        assert_eq!(told[0].reason, LivenessReason::Blind);
        store.close().await.unwrap();
    });
}

/// Keeps what is published.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Message>>);

#[async_trait]
impl Publisher for Kept {
    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        self.0.lock().unwrap().extend(messages);
        Ok(())
    }
}

impl Kept {
    fn alerts(&self) -> Vec<Arc<Alert>> {
        let messages = self.0.lock().unwrap();
        let alerts = messages.iter().filter_map(|message| match &message.payload {
            Payload::Alerts(alerts) => Some(alerts.clone()),
            _ => None,
        });
        alerts.flatten().collect()
    }

    /// What the last heartbeat told.
    fn health(&self) -> Option<CanaryHealth> {
        let messages = self.0.lock().unwrap();
        let events = messages.iter().filter_map(|message| match &message.payload {
            Payload::Events(events) => Some(events),
            _ => None,
        });
        let mut told = events.flatten().filter_map(|event| match &event.data {
            EventData::Heartbeat(beat) => beat.canary.as_deref().cloned(),
            _ => None,
        });
        told.next_back()
    }

    async fn until(&self, what: &str, holds: impl Fn(&CanaryHealth) -> bool) -> CanaryHealth {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(health) = self.health().filter(&holds) {
                return health;
            }
            assert!(Instant::now() < deadline, "not {what}: {:?}", self.health());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The hooks of a sensor are taken from it while it goes on to say that it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_is_blinded_is_told_of_and_so_is_one_that_sees_again() {
    need_kernel!();
    let identity = AgentIdentity {
        tenant: TenantId::default(),
        agent: AgentId::new("blinded").unwrap(),
        host: "test-host".into(),
    };
    let boot = host::boot_id().unwrap();
    let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
    let group = Cgroup::new();
    let acts = Canary::new(env!("CARGO_BIN_EXE_lavender-agent"), ["canary"]).with_filters(
        &[group.path().to_owned()],
        &[],
        &[],
    );
    let sensor = SensorBuilder::new(identity.clone(), boot, ids.clone())
        .with_included_cgroup(group.path())
        .with_plan(acts.plan())
        .spawn()
        .unwrap();
    let plan = sensor.plan_handle();
    let watch = CanaryWatch::new(CanaryOptions {
        kinds: Canary::KINDS.into(),
        interval: Duration::from_secs(10),
        deadline: Duration::from_secs(5),
    });
    let kept = Arc::new(Kept::default());
    let publisher: Arc<dyn Publisher> = Arc::<Kept>::clone(&kept);
    let pipeline = Pipeline::new(sensor, identity, ids, publisher)
        .with_heartbeat(Duration::from_secs(1))
        .with_canary(watch.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let pipeline = tokio::spawn(pipeline.run(stopped));
    let acting = tokio::spawn(canary::act_on(acts.clone(), watch));
    let apply = async |new: SensorPlan| {
        let plan = plan.clone();
        tokio::task::spawn_blocking(move || plan.apply(new)).await.unwrap().unwrap();
    };

    let before = kept.until("seen", |health| health.seen > 0).await;
    assert_eq!((before.missed, before.missing), (0, None));
    apply(SensorPlan::default()).await;
    let blind = kept.until("missed twice", |health| health.missed > 1).await.missing.unwrap();
    assert_eq!(blind.kinds, [EventKind::FileOpen, EventKind::NetConnect]);
    apply(acts.plan()).await;
    kept.until("seen again", |health| health.missing.is_none()).await;
    acting.abort();
    stop.send(()).unwrap();
    pipeline.await.unwrap().unwrap();

    let alerts = kept.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(&*alerts[0].rule.id, CANARY_RULE);
    assert_eq!(alerts[0].evidence[0].value.to_string(), "file_open, net_connect");
}
