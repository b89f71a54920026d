//! What is done about an alert: nothing unless the configuration says so, nothing in dry-run; else exactly what it
//! says, to the very process or file, unless that is protected. Everything that anything is done to is of the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lavender_bpf::Quarantine;
use lavender_core::event::EventKind;
use lavender_core::{Outcome, ResponseAction, ResponseOutcome, ResponseTarget, SystemClock};
use support::agent::Agent;
use support::setting::Setting;
use support::{stand_in, write};

const SENSITIVE_FILE: &str = "Sensitive File Read by an Unexpected Program";

/// How long a process is watched that should live on.
const A_WHILE: Duration = Duration::from_secs(1);

/// A process that reads the sensitive file and then does this.
fn reader_that(setting: &Setting, then: &str) -> Child {
    let program = format!(r#"open(my $f, "<", "{}"); {then}"#, setting.sensitive().display());
    let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
    command.args(["-e", &program]).stdout(Stdio::null()).spawn().unwrap()
}

fn reader(setting: &Setting) -> Child {
    reader_that(setting, "sleep 300")
}

/// Waits for the end of the child; `None` when it lives on.
fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// A setting whose configuration has this under `[response]`; `FOLDER` stands for the test's folder.
fn setting(response: &str) -> Setting {
    let setting = Setting::new("");
    let folder = setting.path("");
    let config = fs::read_to_string(setting.config()).unwrap();
    let response = response.replace("FOLDER", folder.to_str().unwrap().trim_end_matches('/'));
    write(&setting.config(), &format!("{config}\n[response]\n{response}\n"));
    setting
}

/// A clause for whatever is bad enough.
fn clause(action: &str, severity: &str) -> String {
    format!("[[response.policy]]\nactions = [{action:?}]\nmin_severity = {severity:?}\n")
}

/// Runs the agent while a process reads the file. What is stored of what was done about the alert.
fn responses(setting: &Setting, title: &str, act: impl FnOnce(&mut Agent)) -> Vec<ResponseOutcome> {
    let mut agent = setting.run(&[]);
    act(&mut agent);
    assert_eq!(agent.stop().code, Some(0));
    let stored = setting.stored();
    let alerts = stored.alerts();
    let of_rule = alerts.iter().filter(|alert| &*alert.rule.title == title);
    let answers: Vec<_> = of_rule.flat_map(|alert| stored.responses_to(alert.id)).collect();
    // Whatever was done was about one of these alerts, or about another that the process raised.
    let every: usize = alerts.iter().map(|alert| stored.responses_to(alert.id).len()).sum();
    assert_eq!(every as u64, stored.count(EventKind::Response));
    answers
}

/// Lets a process read the file under a response policy: how it ended, and what is stored about it.
fn outcome_in(setting: &Setting) -> (Option<ExitStatus>, Vec<ResponseOutcome>) {
    let mut status = None;
    let mut pid = 0;
    let answers = responses(setting, SENSITIVE_FILE, |agent| {
        let mut reader = reader(setting);
        pid = reader.id();
        agent.wait_for(SENSITIVE_FILE, |line| line["rule"]["title"] == SENSITIVE_FILE);
        status = ended(&mut reader, A_WHILE);
        let _ = reader.kill();
        let _ = reader.wait();
    });
    for answer in &answers {
        if let ResponseTarget::Process(id) = answer.order.target {
            assert_eq!(id.tgid(), pid);
        }
    }
    (status, answers)
}

fn outcomes(answers: &[ResponseOutcome]) -> Vec<Outcome> {
    answers.iter().map(|answer| answer.outcome.clone()).collect()
}

fn was_killed(status: Option<ExitStatus>) -> bool {
    status.is_some_and(|status| status.signal() == Some(9))
}

#[test]
fn by_default_nothing_is_decided() {
    need_kernel!();
    let (status, answers) = outcome_in(&setting("dry_run = false"));
    assert_eq!(status, None);
    assert_eq!(answers, []);
}

#[test]
fn in_dry_run_it_only_says_what_it_would_do() {
    need_kernel!();
    for action in ["kill", "kill_tree", "stop"] {
        let (status, answers) = outcome_in(&setting(&clause(action, "high")));
        assert_eq!(status, None);
        assert_eq!(outcomes(&answers), [Outcome::DryRun]);
        assert_eq!(answers[0].order.action.as_str(), action);
        assert_eq!(&*answers[0].order.decided_by, "severity high (from high)");
    }
}

#[test]
fn the_process_of_an_alert_is_killed_when_policy_says_so() {
    need_kernel!();
    let (status, answers) =
        outcome_in(&setting(&format!("dry_run = false\n{}", clause("kill", "high"))));
    assert!(was_killed(status), "{answers:?}");
    assert_eq!(outcomes(&answers), [Outcome::Done]);
}

#[test]
fn an_alert_below_the_severity_is_let_be() {
    need_kernel!();
    let policy = format!("dry_run = false\n{}", clause("kill", "critical"));
    let (status, answers) = outcome_in(&setting(&policy));
    assert_eq!((status, answers), (None, Vec::new()));
}

#[test]
fn a_protected_program_is_never_killed() {
    need_kernel!();
    let setting = setting(&format!(
        "dry_run = false\nprotected_executables = [\"FOLDER/webserver\"]\n{}",
        clause("kill", "high")
    ));
    let (status, answers) = outcome_in(&setting);
    assert_eq!(status, None);
    assert_eq!(answers.len(), 1);
    assert!(matches!(answers[0].outcome, Outcome::Protected { .. }), "{answers:?}");
}

/// The process leaves two behind that have sessions and parents of their own by then, one before it is seen and
/// one after.
#[test]
fn a_tree_is_killed_whole_though_it_scatters() {
    need_kernel!();
    let setting = setting(&format!("dry_run = false\n{}", clause("kill_tree", "high")));
    let answers = responses(&setting, SENSITIVE_FILE, |agent| {
        let leave = "sub leave { my $c = fork; \
            if (!$c) { setpgrp; my $o = fork; exit if $o; sleep 300; exit } waitpid($c, 0) }";
        let file = setting.sensitive();
        let program = format!(
            r#"{leave} leave(); open(my $f, "<", "{}"); fork; leave() for 1..200; sleep 300"#,
            file.display()
        );
        let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
        let mut child = command.args(["-e", &program]).stdout(Stdio::null()).spawn().unwrap();
        agent.wait_for(SENSITIVE_FILE, |line| line["rule"]["title"] == SENSITIVE_FILE);
        let deadline = Instant::now() + Duration::from_secs(60);
        let procs = || fs::read_to_string(setting.cgroup.path().join("cgroup.procs")).unwrap();
        child.wait().unwrap();
        while !procs().is_empty() {
            assert!(Instant::now() < deadline, "these live on: {}", procs());
            thread::sleep(Duration::from_millis(10));
        }
    });
    let root = answers.iter().find(|answer| answer.tree_of.is_none()).unwrap();
    assert_eq!(root.outcome, Outcome::Done);
    let done = answers.iter().filter(|answer| answer.outcome == Outcome::Done).count();
    assert!(done >= 3, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.order.action == ResponseAction::KillTree));
}

#[test]
fn the_program_of_an_alert_is_put_into_quarantine() {
    need_kernel!();
    let setting = setting(&format!(
        "dry_run = false\nquarantine_dir = \"FOLDER/quarantine\"\n{}",
        clause("quarantine", "high")
    ));
    let program = stand_in::service(setting.folder.path());
    let before = fs::read(&program).unwrap();
    let (status, answers) = outcome_in(&setting);
    assert_eq!(status, None, "the process itself is let be");
    assert_eq!(outcomes(&answers), [Outcome::Done]);
    assert!(!program.exists());
    let folder = setting.path("quarantine");
    let quarantine = Quarantine::open(&folder, Arc::new(SystemClock)).unwrap();
    let entry = answers[0].quarantine_entry.as_deref().unwrap();
    assert_eq!(quarantine.manifest(entry).unwrap().cause, answers[0].order.cause);
    quarantine.restore(entry).unwrap();
    assert!(fs::read(&program).unwrap() == before);
}

const OWN_RULE: &str = "A Rule That Asks for a Response";

/// A rule of the test's own that asks for this, under a policy that lets rules ask for that.
fn asked(response: &str, rule_actions: &str) -> Setting {
    let setting = setting(&format!(
        "dry_run = false\nrule_actions = {rule_actions}\n[rules]\nbuiltin = false\ndirs = [\"FOLDER/rules\"]"
    ));
    write(
        &setting.path("rules/own.yml"),
        &format!(
            "title: {OWN_RULE}\nlogsource: {{category: file_event, product: linux}}\ndetection:\n  \
             file: {{TargetFilename: '{}'}}\n  condition: file\nlevel: low\nlavender:\n  \
             response: {response}\n",
            setting.path("dropped").display()
        ),
    );
    setting
}

/// Lets a process write the file that the rule is about: its state a little later, and what was done.
fn writer(setting: &Setting) -> (Option<char>, Vec<ResponseOutcome>) {
    let mut state = None;
    let answers = responses(setting, OWN_RULE, |agent| {
        let file = setting.path("dropped");
        let program = format!(r#"open(my $f, ">", "{}"); sleep 300"#, file.display());
        let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
        let mut child = command.args(["-e", &program]).stdout(Stdio::null()).spawn().unwrap();
        agent.wait_for(OWN_RULE, |line| line["rule"]["title"] == OWN_RULE);
        if ended(&mut child, A_WHILE).is_none() {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            state = stat.rsplit_once(") ").unwrap().1.chars().next();
        }
        let _ = child.kill();
        let _ = child.wait();
    });
    (state, answers)
}

#[test]
fn what_a_rule_asks_for_is_done_as_far_as_policy_lets_it() {
    need_kernel!();
    let asleep = Some('S');
    for (response, rule_actions, state, action, outcome) in [
        ("kill", "[]", asleep, ResponseAction::Kill, Outcome::NotAllowed),
        ("kill", r#"["stop", "quarantine"]"#, Some('T'), ResponseAction::Stop, Outcome::Done),
        ("kill_tree", r#"["kill"]"#, None, ResponseAction::Kill, Outcome::Done),
        ("stop", r#"["kill"]"#, asleep, ResponseAction::Stop, Outcome::NotAllowed),
    ] {
        let (after, answers) = writer(&asked(response, rule_actions));
        assert_eq!(after, state, "{response} under {rule_actions}: {answers:?}");
        assert_eq!(outcomes(&answers), [outcome]);
        assert_eq!(answers[0].order.action, action);
        assert!(answers[0].order.decided_by.starts_with("the rule asks for"), "{answers:?}");
    }
}

#[test]
fn a_rule_may_have_the_file_taken_away_that_was_written() {
    need_kernel!();
    let setting = asked("quarantine", "[\"quarantine\"]\nquarantine_dir = \"FOLDER/quarantine\"");
    let config = fs::read_to_string(setting.config()).unwrap();
    let folder = setting.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    write(&setting.config(), &config.replace("FOLDER", &folder));
    let (state, answers) = writer(&setting);
    assert_eq!(state, Some('S'));
    assert_eq!(outcomes(&answers), [Outcome::Done]);
    assert!(!setting.path("dropped").exists());
    assert!(stand_in::service(setting.folder.path()).exists());
}

#[test]
fn a_rule_isolates_nothing_unless_policy_lets_it() {
    need_kernel!();
    // There is no such group: whatever became of it, nothing would be cut off.
    let setting = asked("isolate", "[]\n[response.isolate]\ncgroup = \"FOLDER/none\"");
    let (state, answers) = writer(&setting);
    assert_eq!(state, Some('S'));
    assert_eq!(outcomes(&answers), [Outcome::NotAllowed]);
    assert_eq!(answers[0].order.target, ResponseTarget::Host);
}
