//! Published rules in the agent: from its own dashboard, and from a fleet by a real broker that permits it no more than it
//! needs.
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

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use broker::Broker;
use http::ask;
use lavender_core::ruleset::{PublishedRulesets, RuleFile, Ruleset};
use lavender_core::store::PutMode;
use lavender_core::{StateStore, TenantId};
use lavender_transport::nats::{
    BucketOptions, Credentials, JetStream, JetStreamOptions, ruleset_permissions,
};
use nkeys::KeyPair;
use serde_json::{Value, json};
use support::agent::Agent;
use support::setting::Setting;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// No rules of its own, and only what published ones need leaves the kernel.
const CONFIG: &str = "heartbeat_interval_secs = 1\n[sensor]\ntelemetry = \"rules\"\n\
                      [rules]\nbuiltin = false\n[alerts]\nsuppress_secs = 0\n";

fn rule(title: &str, program: &str) -> String {
    format!(
        "title: {title}\nid: 8b2a7c1e-0000-4000-8000-000000000004\n\
         logsource: {{product: linux, category: file_access}}\n\
         detection:\n  selection: {{Image|endswith: /{program}, TargetFilename|endswith: /etc/shadow, Result: success}}\n  \
         condition: selection\nlevel: low\n"
    )
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

/// Has a program read the file that rules look at until one of this title raises an alert.
fn alerts(setting: &Setting, agent: &mut Agent, title: &str, program: &str) {
    until(title, || {
        setting.cgroup.command(program).arg(setting.sensitive()).output().unwrap();
        agent.has(|line| line["rule"]["title"] == title).then_some(())
    });
}

/// Uploads a rule to a control plane and publishes it after so many others.
fn publish(address: &str, token: &str, rule: &str, revision: u64) -> Value {
    let post = |path: &str, body| ask(address, "POST", path, token, Some(body));
    let files = json!({"files": [{"name": "a.yml", "text": rule}]});
    let (status, uploaded) = post("/api/v1/rulesets", &files);
    assert_eq!(status, 201, "{uploaded}");
    let path = format!("/api/v1/rulesets/{}/publish", uploaded["digest"].as_str().unwrap());
    let (status, published) = post(&path, &json!({"revision": revision}));
    assert_eq!(status, 200, "{published}");
    published
}

#[test]
fn what_its_own_dashboard_publishes_is_in_use_at_once_and_after_a_restart() {
    need_kernel!();
    let setting = Setting::new(CONFIG);
    let mut agent = setting.run(&["--listen", "127.0.0.1:0"]);
    let address =
        |agent: &Agent| agent.wait_said("Dashboard: ").strip_prefix("http://").unwrap().to_owned();
    let token = agent.wait_said("first admin token of tenant default, shown only now: ");
    let sent = publish(&address(&agent), &token, &rule("First", "cat"), 0);
    assert_eq!(sent["sent"], true, "{sent}");
    alerts(&setting, &mut agent, "First", "/bin/cat");
    assert_eq!(agent.stop().code, Some(0));

    let mut agent = setting.run(&["--listen", "127.0.0.1:0"]);
    alerts(&setting, &mut agent, "First", "/bin/cat");
    // It takes the place of the first, also where the files are loaded again.
    publish(&address(&agent), &token, &rule("Second", "head"), 1);
    agent.signal("HUP");
    alerts(&setting, &mut agent, "Second", "/usr/bin/head");
    let before = agent.stop();
    assert_eq!(before.code, Some(0), "{before:?}");
}

/// A broker that permits an agent of tenant `acme` what it needs; who publishes there, and a setting that joins it.
struct Fleet {
    broker: Broker,
    runtime: tokio::runtime::Runtime,
    keys: TempDir,
    setting: Setting,
    tenant: TenantId,
}

impl Fleet {
    fn start() -> Option<Self> {
        let (worker, agent) = (KeyPair::new_user(), KeyPair::new_user());
        let tenant = TenantId::new("acme").unwrap();
        let own =
            ["telemetry.raw", "alerts", "heartbeat"].map(|of| format!("{of}.acme.test-agent"));
        let may = own.into_iter().chain(ruleset_permissions(&tenant));
        let may: Vec<String> = may.map(|subject| format!("{subject:?}")).collect();
        let broker = Broker::start(&format!(
            "authorization {{ users: [\n{{ nkey: {} }}\n{{ nkey: {}, permissions {{ publish: [{}], \
             subscribe: [\"_INBOX.acme.test-agent.>\"] }} }}\n] }}",
            worker.public_key(),
            agent.public_key(),
            may.join(", ")
        ))?;
        let keys = tempfile::tempdir().unwrap();
        for (name, pair) in [("worker.nk", worker), ("agent.nk", agent)] {
            let path = keys.path().join(name);
            fs::write(&path, pair.seed().unwrap()).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        let path = |name: &str| keys.path().join(name);
        let rules = CONFIG.replace(
            "builtin = false\n",
            &format!("builtin = false\npublished_dir = {:?}\n", path("rules")),
        );
        let setting = Setting::new(&format!(
            "tenant_id = \"acme\"\n{rules}[transport]\nurl = {:?}\nspool_dir = {:?}\nnkey_file = {:?}\n",
            broker.url(),
            path("spool"),
            path("agent.nk")
        ));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let fleet = Self { broker, runtime, keys, setting, tenant };
        fleet.broker.make_streams(fleet.options());
        Some(fleet)
    }

    fn options(&self) -> JetStreamOptions {
        let mut options = JetStreamOptions::new([self.broker.url()]);
        options.credentials = Credentials::Nkey(self.keys.path().join("worker.nk"));
        options
    }

    fn bucket(&self) -> Arc<dyn StateStore> {
        let mut options = self.options();
        options.streams.telemetry_bytes_max = 256 << 20;
        options.streams.other_bytes_max = 32 << 20;
        self.runtime.block_on(async {
            let transport = JetStream::open(options).await.unwrap();
            Arc::new(transport.state(BucketOptions::rules()).await.unwrap()) as _
        })
    }

    /// Publishes a file of rules; the digest.
    fn publish(&self, revision: u64, text: &str) -> String {
        let rules = Ruleset::new([RuleFile::new("a.yml", text).unwrap()]).unwrap();
        let published = PublishedRulesets::new(self.bucket());
        let taken = published.publish(&self.tenant, revision, &rules);
        assert!(self.runtime.block_on(taken).unwrap());
        rules.digest().to_string()
    }

    /// Puts what nobody would publish in place of what is published.
    fn put(&self, values: &[(String, Vec<u8>)]) {
        let bucket = self.bucket();
        for (key, value) in values {
            let put = bucket.put(key, value.clone().into(), PutMode::Overwrite, None);
            self.runtime.block_on(put).unwrap();
        }
    }

    fn kept(&self) -> PathBuf {
        self.keys.path().join("rules/published.bundle")
    }
}

fn ruleset_of(line: &Value) -> Option<&Value> {
    (line["kind"] == "heartbeat").then_some(&line["data"]["ruleset"])
}

fn wait_for_fault(agent: &mut Agent, what: &str, why: &str) -> Value {
    let (_, line) = agent.wait_for(what, |line| {
        let fault = ruleset_of(line).and_then(|ruleset| ruleset["fault"].as_str());
        fault.is_some_and(|fault| fault.contains(why))
    });
    line["data"]["ruleset"]["in_use"].clone()
}

#[test]
fn what_its_fleet_publishes_is_in_use_without_a_restart_and_after_one_without_the_broker() {
    need_kernel!();
    let Some(mut fleet) = Fleet::start() else { return };
    let mut agent = fleet.setting.run(&["--events"]);
    let digest = fleet.publish(1, &rule("First", "cat"));
    alerts(&fleet.setting, &mut agent, "First", "/bin/cat");
    agent.wait_for("a heartbeat that tells which it is", |line| {
        ruleset_of(line).is_some_and(|ruleset| {
            ruleset["in_use"] == json!({"revision": 1, "digest": digest})
                && ruleset["fault"].is_null()
        })
    });
    assert_eq!(agent.stop().code, Some(0));

    fleet.broker.kill();
    let mut agent = fleet.setting.run(&["--events"]);
    alerts(&fleet.setting, &mut agent, "First", "/bin/cat");
    fleet.broker.restart();
    fleet.publish(2, &rule("Second", "head"));
    alerts(&fleet.setting, &mut agent, "Second", "/usr/bin/head");
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    // What others changed on disk is not taken, and it is said.
    let mut kept = fs::read(fleet.kept()).unwrap();
    *kept.last_mut().unwrap() ^= 1;
    fs::write(fleet.kept(), kept).unwrap();
    fleet.broker.kill();
    let agent = fleet.setting.run(&[]);
    agent.wait_said("the published rules are not in use");
    assert_eq!(agent.stop().code, Some(0));
}

#[test]
fn what_is_no_ruleset_is_refused_and_those_in_use_stay() {
    need_kernel!();
    let Some(fleet) = Fleet::start() else { return };
    let digest = fleet.publish(1, &rule("First", "cat"));
    let mut agent = fleet.setting.run(&["--events"]);
    let in_use = json!({"revision": 1, "digest": digest});
    agent.wait_for("the first", |line| {
        ruleset_of(line).is_some_and(|ruleset| ruleset["in_use"] == in_use)
    });
    let said = |revision: u64, pieces: u32| {
        let said = json!({"revision": revision, "digest": "0".repeat(64), "pieces": pieces});
        ("published/acme".to_owned(), said.to_string().into_bytes())
    };
    let piece = |revision: u64, number: u32, bytes: Vec<u8>| {
        (format!("bundle/acme/{revision:020}/{number:04}"), bytes)
    };

    fleet.publish(2, "title: [");
    assert_eq!(wait_for_fault(&mut agent, "that it is no rule", "a.yml"), in_use);
    let other = Ruleset::new([RuleFile::new("a.yml", rule("Other", "cat")).unwrap()]).unwrap();
    fleet.put(&[piece(3, 0, other.to_bundle().unwrap()), said(3, 1)]);
    let fault = "and not 0000";
    assert_eq!(wait_for_fault(&mut agent, "that it is another", fault), in_use);
    fleet.put(&[piece(4, 0, vec![0; 1_000]), said(4, 1)]);
    assert_eq!(wait_for_fault(&mut agent, "that it is none", "do not begin as a bundle"), in_use);
    let large = (0..10).map(|number| piece(5, number, vec![7; 900 << 10]));
    fleet.put(&large.chain([said(5, 10)]).collect::<Vec<_>>());
    assert_eq!(wait_for_fault(&mut agent, "that it is large", "larger than any ruleset"), in_use);
    fleet.put(&[said(6, u32::MAX)]);
    assert_eq!(wait_for_fault(&mut agent, "that it says so", "more pieces than"), in_use);
    fleet.put(&[("published/acme".to_owned(), b"{".to_vec())]);
    assert_eq!(wait_for_fault(&mut agent, "that it cannot be read", "EOF"), in_use);
    alerts(&fleet.setting, &mut agent, "First", "/bin/cat");

    fleet.publish(7, &rule("Second", "head"));
    alerts(&fleet.setting, &mut agent, "Second", "/usr/bin/head");
    agent.wait_for("a heartbeat without a fault", |line| {
        ruleset_of(line)
            .is_some_and(|ruleset| ruleset["in_use"]["revision"] == 7 && ruleset["fault"].is_null())
    });
    assert_eq!(agent.stop().code, Some(0));
}
