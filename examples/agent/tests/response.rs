//! What is done about an alert: nothing in dry-run; else the very process is killed, unless it is protected.
//! Every process that anything is done to is a child of the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lavender_core::Outcome;
use lavender_core::event::{EventData, EventKind};
use support::setting::Setting;
use support::stand_in;

const SENSITIVE_FILE: &str = "Sensitive File Read by an Unexpected Program";

/// A process that reads the sensitive file and then lives on.
fn reader(setting: &Setting) -> Child {
    let program = format!(r#"open(my $f, "<", "{}"); sleep 60"#, setting.sensitive().display());
    let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
    command.args(["-e", &program]).stdout(Stdio::null()).spawn().unwrap()
}

/// Waits for the end of the child; `None` when it lives on.
fn ended(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Lets a process read the file under a response policy: whether it was killed, and what is stored about it.
fn outcome(response: &str) -> (bool, Vec<Outcome>) {
    outcome_in(&Setting::new(&format!("[response]\n{response}")))
}

fn outcome_in(setting: &Setting) -> (bool, Vec<Outcome>) {
    let mut agent = setting.run(&[]);
    let mut reader = reader(setting);
    agent.wait_for(SENSITIVE_FILE, |line| line["rule"]["title"] == SENSITIVE_FILE);
    let status = ended(&mut reader, Duration::from_secs(1));
    let _ = reader.kill();
    let _ = reader.wait();
    assert_eq!(agent.stop().code, Some(0));
    let outcomes = setting
        .stored()
        .events(Some(EventKind::Response))
        .into_iter()
        .map(|stored| match &stored.event.data {
            EventData::Response(response) => {
                assert_eq!(response.target.tgid(), reader.id());
                response.outcome.clone()
            }
            other => panic!("not a response: {other:?}"),
        })
        .collect();
    (status.is_some_and(|status| status.signal() == Some(9)), outcomes)
}

#[test]
fn by_default_it_only_says_what_it_would_do() {
    need_kernel!();
    let (killed, outcomes) = outcome(r#"kill_severity = "high""#);
    assert!(!killed);
    assert!(!outcomes.is_empty());
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::DryRun), "{outcomes:?}");
}

#[test]
fn the_process_of_an_alert_is_killed_when_policy_says_so() {
    need_kernel!();
    let (killed, outcomes) = outcome("kill_severity = \"high\"\ndry_run = false");
    assert!(killed, "{outcomes:?}");
    assert!(outcomes.contains(&Outcome::Done), "{outcomes:?}");
}

#[test]
fn an_alert_below_the_severity_is_let_be() {
    need_kernel!();
    let (killed, outcomes) = outcome("kill_severity = \"critical\"\ndry_run = false");
    assert!(!killed);
    assert!(outcomes.is_empty(), "{outcomes:?}");
}

#[test]
fn a_protected_program_is_never_killed() {
    need_kernel!();
    let setting = Setting::new("[response]\nkill_severity = \"high\"\ndry_run = false");
    let service = stand_in::service(setting.folder.path()).canonicalize().unwrap();
    let config = std::fs::read_to_string(setting.config()).unwrap();
    let protected =
        format!("dry_run = false\nprotected_executables = [{:?}]", service.to_str().unwrap());
    std::fs::write(setting.config(), config.replace("dry_run = false", &protected)).unwrap();
    let (killed, outcomes) = outcome_in(&setting);
    assert!(!killed);
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Outcome::Protected { .. })),
        "{outcomes:?}"
    );
    assert!(!outcomes.is_empty());
}
