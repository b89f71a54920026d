//! Isolation by policy: an alert of the test's own processes cuts the test's own control group off a network of the
//! test's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use lavender_bpf::Isolation;
use lavender_core::event::{EventData, EventKind};
use lavender_core::{Outcome, ResponseAction, ResponseCause, ResponseTarget};
use serde_json::Value;
use support::agent::{Agent, output};
use support::net::{Net, THERE};
use support::setting::Setting;
use support::{stand_in, write};

const RULE: &str = "A File Is Dropped";
const ALLOWED: u16 = 7001;
const OTHER: u16 = 7002;

/// A rule of the test's own, and a policy that isolates by it; `more` under `[response.isolate]`.
fn setting(dry_run: bool, more: &str) -> Setting {
    let setting = Setting::new("heartbeat_interval_secs = 1\n");
    let config = fs::read_to_string(setting.config()).unwrap();
    let text = |name: &str| setting.path(name).to_str().unwrap().to_owned();
    let isolate = format!(
        "[response]\ndry_run = {dry_run}\n[response.isolate]\ncgroup = {:?}\nstate_file = {:?}\n{more}\n\
         [[response.policy]]\nactions = [\"isolate\"]\nmin_severity = \"low\"\n\
         [risk]\nenabled = false\n[rules]\nbuiltin = false\ndirs = [{:?}]\n",
        setting.cgroup.path(),
        text("isolated.json"),
        text("rules"),
    );
    write(&setting.config(), &format!("{config}\n{isolate}"));
    write(
        &setting.path("rules/own.yml"),
        &format!(
            "title: {RULE}\nlogsource: {{category: file_event, product: linux}}\ndetection:\n  \
             file: {{TargetFilename: '{}'}}\n  condition: file\nlevel: low\n",
            text("dropped")
        ),
    );
    setting
}

/// Drops the file and waits for the alert, which is answered by then.
fn drop_file(setting: &Setting, agent: &mut Agent) {
    let program = format!(r#"open(my $f, ">", "{}")"#, setting.path("dropped").display());
    let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
    command.args(["-e", &program]).stdout(Stdio::null()).status().unwrap();
    agent.wait_for(RULE, |line| line["rule"]["title"] == RULE);
}

/// What a process of the group reaches. What should be may take a moment on a busy machine.
fn reaches(setting: &Setting, net: &Net, port: u16, expected: bool) {
    let mut reached = !expected;
    for _ in 0..10 {
        reached = net.is_reached(&setting.cgroup, port);
        if reached == expected {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(reached, expected, "port {port}");
}

/// What the first heartbeat says of isolation that says what is waited for.
fn told(agent: &mut Agent, wanted: impl Fn(bool) -> bool) -> bool {
    let isolated = |line: &Value| line["data"]["isolated"].as_bool().unwrap_or(false);
    let is_it = |line: &Value| line["kind"] == "heartbeat" && wanted(isolated(line));
    isolated(&agent.wait_for("such a heartbeat", is_it).1)
}

fn release(setting: &Setting) -> String {
    let finished = output(&["release", "--config", setting.config().to_str().unwrap()]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stderr
}

#[test]
fn an_alert_isolates_and_neither_a_kill_nor_a_boot_ends_it() {
    need_kernel!();
    let Some(net) = Net::new() else { return };
    let net = net.answering_at(ALLOWED).answering_at(OTHER);
    let setting = setting(false, &format!("allow = [\"{THERE}:{ALLOWED}\"]"));
    let is_isolated = |isolated: bool| {
        reaches(&setting, &net, ALLOWED, true);
        reaches(&setting, &net, OTHER, !isolated);
    };
    let mut agent = setting.run(&["--events"]);
    is_isolated(false);
    assert!(!told(&mut agent, |_| true));
    drop_file(&setting, &mut agent);
    is_isolated(true);
    told(&mut agent, |isolated| isolated);
    agent.signal("KILL");
    agent.wait();
    is_isolated(true);

    let agent = setting.run(&[]);
    is_isolated(true);
    assert_eq!(agent.stop().code, Some(0));
    is_isolated(true);

    // After a boot the kernel knows nothing of it.
    Isolation::find(Some(setting.cgroup.path())).unwrap().unwrap().release().unwrap();
    is_isolated(false);
    let mut agent = setting.run(&["--events"]);
    is_isolated(true);
    assert!(told(&mut agent, |_| true), "from the first on");

    assert!(release(&setting).contains("released"));
    is_isolated(false);
    told(&mut agent, |isolated| !isolated);
    assert_eq!(agent.stop().code, Some(0));
    assert!(release(&setting).contains("it was not isolated"));
    let agent = setting.run(&[]);
    is_isolated(false);
    assert_eq!(agent.stop().code, Some(0));

    let stored = setting.stored();
    let released = stored.events(Some(EventKind::Response)).into_iter().filter_map(|stored| {
        let EventData::Response(answer) = &stored.event.data else { return None };
        (answer.order.action == ResponseAction::Release).then(|| answer.clone())
    });
    let released: Vec<_> = released.collect();
    let [release] = &released[..] else { panic!("{released:?}") };
    assert!(matches!(release.order.cause, ResponseCause::Operator(_)), "{release:?}");
    assert_eq!((&release.order.target, &release.outcome), (&ResponseTarget::Host, &Outcome::Done));
    let alerts = stored.alerts();
    let [alert] = &alerts[..] else { panic!("{} alerts", alerts.len()) };
    let responses = stored.responses_to(alert.id);
    let [response] = &responses[..] else { panic!("{responses:?}") };
    assert_eq!(response.order.action, ResponseAction::Isolate);
    assert_eq!(response.order.target, ResponseTarget::Host);
    assert_eq!(response.outcome, Outcome::Done);
    assert_eq!(&*response.order.decided_by, "severity low (from low)");
}

#[test]
fn in_dry_run_it_only_says_that_it_would_isolate() {
    need_kernel!();
    let Some(net) = Net::new() else { return };
    let net = net.answering_at(OTHER);
    let setting = setting(true, "");
    let mut agent = setting.run(&[]);
    drop_file(&setting, &mut agent);
    let finished = agent.stop();
    assert!(finished.stderr.contains("isolate (severity low"), "{finished:?}");
    reaches(&setting, &net, OTHER, true);
    assert!(!setting.path("isolated.json").exists());
    let stored = setting.stored();
    let alerts = stored.alerts();
    let responses = stored.responses_to(alerts[0].id);
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].outcome, Outcome::DryRun);
}

#[cfg(feature = "fleet")]
#[test]
fn the_brokers_stay_reachable() {
    need_kernel!();
    let setting = setting(false, "");
    let config = fs::read_to_string(setting.config()).unwrap();
    // Nobody answers there, and the agent protects all the same.
    let transport = format!(
        "[transport]\nurl = \"nats://127.0.0.1:1,localhost:2\"\nspool_dir = {:?}\n",
        setting.path("spool")
    );
    write(&setting.config(), &format!("{config}\n{transport}"));
    let mut agent = setting.run(&[]);
    drop_file(&setting, &mut agent);
    let noted: serde_json::Value =
        serde_json::from_slice(&fs::read(setting.path("isolated.json")).unwrap()).unwrap();
    let allow = noted["allow"].as_array().unwrap();
    for broker in ["127.0.0.1:1", "127.0.0.1:2"] {
        assert!(allow.contains(&broker.into()), "{broker}: {noted}");
    }
    assert_eq!(agent.stop().code, Some(0));
    assert!(release(&setting).contains("released"));
}
