//! Published rules in the agent: from its own dashboard.
#![cfg(all(feature = "live", feature = "fleet", feature = "control-plane"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[path = "support/http.rs"]
#[allow(unreachable_pub, reason = "as its neighbours")]
mod http;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use http::ask;
use serde_json::{Value, json};
use support::agent::Agent;
use support::setting::Setting;

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
