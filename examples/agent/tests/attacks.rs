//! Attacks, by harmless stand-ins on the live kernel: each is an alert on stdout within a second, is in the
//! store in full, and is the same when the recorded capture is replayed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lavender_core::Alert;
use lavender_core::event::Process;
use serde_json::Value;
use support::agent::{Agent, replay};
use support::setting::Setting;
use support::stand_in;
use support::titles::{CREDENTIAL_CHAIN, RAPID_STARTS, REVERSE_SHELL};

const UNEXPECTED_SHELL: &str = "Shell Started by an Unexpected Program";
const SENSITIVE_FILE: &str = "Sensitive File Read by an Unexpected Program";
const SUSPICIOUS_PORT: &str = "Connection to a Port of Known Attack Tools";
const DECODED_PAYLOAD: &str = "Command That Decodes and Runs Its Payload";

/// Runs an attack and waits for its alert, which must come within a second of its end.
fn alert_of(agent: &mut Agent, title: &str, attack: impl FnOnce()) -> Value {
    attack();
    let done = Instant::now();
    let (came, line) = agent.wait_for(title, |line| line["rule"]["title"] == title);
    let took = came.saturating_duration_since(done);
    assert!(took < Duration::from_secs(1), "{title}: the alert took {took:?}");
    line
}

fn command_line(process: &Process) -> String {
    String::from_utf8_lossy(process.arguments.value.command_line()).into_owned()
}

/// The executables of the ancestors, the parent first.
fn ancestors(alert: &Alert) -> Vec<String> {
    let process = alert.process.as_ref().expect("an alert has its process");
    process.ancestors().map(|parent| parent.executable.path.value.to_string()).collect()
}

/// The alert of a rule on the process with this command line.
fn the<'a>(alerts: &'a [Arc<Alert>], title: &str, line: &str) -> &'a Alert {
    let found = alerts.iter().find(|alert| {
        let process = alert.process.as_ref().expect("an alert has its process");
        &*alert.rule.title == title && command_line(process) == line
    });
    found.unwrap_or_else(|| panic!("no alert `{title}` on `{line}`"))
}

#[test]
fn each_attack_is_an_alert_on_stdout_and_in_the_store_and_again_in_the_replay() {
    need_kernel!();
    let setting = Setting::new("");
    let (folder, cgroup) = (setting.folder.path(), &setting.cgroup);
    let capture = setting.path("capture.lavcap");
    let service = stand_in::service(folder).canonicalize().unwrap();
    let mut agent = setting.run(&["--record", capture.to_str().unwrap()]);

    let shell = alert_of(&mut agent, UNEXPECTED_SHELL, || {
        stand_in::shell_from_service(cgroup, folder);
    });
    assert_eq!(shell["agent"], "test-agent");
    alert_of(&mut agent, SENSITIVE_FILE, || stand_in::read_sensitive(cgroup, &setting.sensitive()));
    alert_of(&mut agent, SUSPICIOUS_PORT, || stand_in::connect(cgroup, folder, 4444));
    alert_of(&mut agent, DECODED_PAYLOAD, || stand_in::decoded_payload(cgroup));
    let live = agent.stop();
    assert_eq!(live.code, Some(0), "{live:?}");

    let stored = setting.stored().alerts();
    let printed: BTreeSet<String> =
        live.alerts().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect();
    let kept: BTreeSet<String> = stored.iter().map(|alert| alert.id.to_string()).collect();
    assert_eq!(printed, kept);

    let alert = the(&stored, UNEXPECTED_SHELL, "/bin/sh -c id; true");
    assert_eq!(ancestors(alert)[0], service.to_str().unwrap());
    let parent = alert.process.as_ref().unwrap().parent.as_ref().unwrap();
    assert!(command_line(parent).ends_with(r#"-e system("/bin/sh", "-c", "id; true")"#));

    let sensitive = setting.sensitive();
    let alert = the(&stored, SENSITIVE_FILE, &format!("/bin/cat {}", sensitive.display()));
    let path = alert.evidence.iter().find(|evidence| &*evidence.field == "TargetFilename").unwrap();
    assert_eq!(path.value.to_string(), sensitive.to_str().unwrap());

    let connect = format!("{} -e {}", service.display(), stand_in::connect_program(4444));
    the(&stored, SUSPICIOUS_PORT, &connect);
    the(&stored, DECODED_PAYLOAD, &format!("/bin/bash -c {}", stand_in::PAYLOAD));

    for alert in &stored {
        let process = alert.process.as_ref().unwrap();
        assert_eq!(process.user.as_deref(), Some("root"), "{}", alert.rule.title);
        // The shell that moved it into the group made it, then became it; the test made that shell.
        let test = std::env::current_exe().unwrap().canonicalize().unwrap();
        let line = ancestors(alert);
        assert!(
            line.contains(&test.to_str().unwrap().to_owned()),
            "{}: {line:?}",
            alert.rule.title
        );
    }

    let replayed =
        replay(&[capture.to_str().unwrap(), "--config", setting.config().to_str().unwrap()]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert_eq!(comparable(&live.stdout), comparable(&replayed.stdout));
}

/// An address of this host that is not loopback: nothing listens there, and nothing leaves the host.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Of a datagram socket this only chooses the address to send from.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn each_chain_is_an_alert_within_a_second_and_again_in_the_replay() {
    need_kernel!();
    let Some(address) = own_address() else {
        println!("skipped: this host has no address but loopback");
        return;
    };
    let setting = Setting::new("");
    // What runs this test is one of the programs that start many, as they ship.
    let config = std::fs::read_to_string(setting.config()).unwrap();
    let noisy =
        "[filters.placeholders]\nnoisy_programs = [\"/nowhere\"]\nnoisy_trees = [\"/nowhere\"]\n";
    std::fs::write(setting.config(), format!("{config}{noisy}")).unwrap();
    let cgroup = &setting.cgroup;
    let capture = setting.path("capture.lavcap");
    let mut agent = setting.run(&["--record", capture.to_str().unwrap()]);
    let run = |program: &str, arguments: &[&str]| {
        cgroup.command(program).args(arguments).output().unwrap();
    };
    let credential = alert_of(&mut agent, CREDENTIAL_CHAIN, || {
        stand_in::read_sensitive(cgroup, &setting.sensitive());
        run("/bin/true", &[]);
    });
    assert_eq!(credential["events"].as_array().unwrap().len(), 2);
    let script = format!("exec 3<>/dev/tcp/{address}/9; /bin/sh -c :");
    let shell = alert_of(&mut agent, REVERSE_SHELL, || {
        run("/bin/bash", &["-c", &format!("{script}; true")]);
    });
    assert_eq!(shell["events"].as_array().unwrap().len(), 3);
    alert_of(&mut agent, RAPID_STARTS, || (0..5).for_each(|_| run("/bin/true", &[])));
    let live = agent.stop();
    assert_eq!(live.code, Some(0), "{live:?}");
    let replayed =
        replay(&[capture.to_str().unwrap(), "--config", setting.config().to_str().unwrap()]);
    assert_eq!(comparable(&live.stdout), comparable(&replayed.stdout));
}

/// Alerts by id, without the time at which the rule found them.
fn comparable(lines: &[Value]) -> Vec<Value> {
    let mut alerts: Vec<Value> =
        lines.iter().filter(|line| line["kind"] == "alert").cloned().collect();
    for alert in &mut alerts {
        alert.as_object_mut().unwrap().remove("created_at");
        // A replay writes no evidence.
        alert.as_object_mut().unwrap().remove("capture");
    }
    alerts.sort_by_key(|alert| alert["id"].as_str().unwrap().to_owned());
    alerts
}

#[test]
fn the_capture_that_the_agent_brings_along_shows_the_same_attacks() {
    let finished = replay(&[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let titles: BTreeSet<&str> =
        finished.alerts().iter().map(|alert| alert["rule"]["title"].as_str().unwrap()).collect();
    for title in [UNEXPECTED_SHELL, SENSITIVE_FILE, SUSPICIOUS_PORT, DECODED_PAYLOAD] {
        assert!(titles.contains(title), "{title} is not among {titles:?}");
    }
}

#[test]
fn an_ignored_program_raises_no_alert_and_one_that_took_its_name_does() {
    need_kernel!();
    let setting = Setting::new("");
    let excepted = setting.path("cat");
    std::fs::copy("/bin/cat", &excepted).unwrap();
    let other = setting.path("other/cat");
    support::write(&other, "");
    std::fs::copy("/bin/cat", &other).unwrap();
    let config = std::fs::read_to_string(setting.config()).unwrap();
    let line = format!("{config}ignored_executables = [{:?}]\n", excepted.to_str().unwrap());
    std::fs::write(setting.config(), line).unwrap();
    let mut agent = setting.run(&[]);
    for program in [&excepted, &other] {
        let status = setting.cgroup.command(program).arg(setting.sensitive()).output().unwrap();
        assert!(status.status.success());
    }
    agent.wait_for(SENSITIVE_FILE, |line| line["rule"]["title"] == SENSITIVE_FILE);
    let finished = agent.stop();
    let executables: BTreeSet<&str> = finished
        .alerts()
        .iter()
        .map(|alert| alert["process"]["executable"]["path"].as_str().unwrap())
        .collect();
    assert_eq!(executables, BTreeSet::from([other.to_str().unwrap()]), "{finished:?}");
}
