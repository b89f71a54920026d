//! Prevention as configured: off unless it is turned on, told in dry-run, and done otherwise, with an alert by the same rule.
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
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lavender_core::event::{EventData, EventKind};
use lavender_core::{
    Outcome, PreventionHealth, ResponseAction, ResponseCause, ResponseOutcome, ResponseTarget,
};
use rustix::io::Errno;
use support::agent::{Agent, output};
use support::setting::Setting;
use support::write;

const TITLE: &str = "A program that must not run";

fn rule(id: &str, program: &Path, prevent: &str) -> String {
    format!(
        "title: {TITLE}\nid: {id}\nlogsource: {{category: process_creation, product: linux}}\n\
         detection:\n  one: {{Image: {}}}\n  condition: one\nlevel: high\nlavender: {{prevent: {prevent}}}\n",
        program.display()
    )
}

fn program(setting: &Setting, name: &str) -> PathBuf {
    let path = setting.path(name);
    fs::copy("/bin/sh", &path).unwrap();
    path
}

/// Runs a program that writes a file; the signal that ended it, if one did, and whether it ran.
fn run(setting: &Setting, program: &Path) -> (Option<i32>, bool) {
    let marker = setting.path("marker");
    let mut command: Command = setting.cgroup.command(program);
    let status = command.args(["-c", ": > \"$1\"", "sh"]).arg(&marker).status().unwrap();
    (status.signal(), fs::remove_file(&marker).is_ok())
}

fn setting(prevention: &str) -> (Setting, PathBuf) {
    let setting = Setting::new("heartbeat_interval_secs = 1\n");
    let config = fs::read_to_string(setting.config()).unwrap();
    write(&setting.config(), &format!("{config}\n{prevention}\n"));
    let evil = program(&setting, "evil-program");
    (setting, evil)
}

fn agent(setting: &Setting) -> Agent {
    setting.run(&["--events", "--rules", setting.path("rules").to_str().unwrap()])
}

fn stored(setting: &Setting) -> (Vec<ResponseOutcome>, Vec<PreventionHealth>) {
    let stored = setting.stored();
    let responses = stored.events(Some(EventKind::Response)).into_iter();
    let responses = responses.map(|event| match &event.event.data {
        EventData::Response(outcome) => {
            let process = event.event.process.as_ref().expect("whom it was done to is known").id();
            assert_eq!(outcome.order.target, ResponseTarget::Process(process));
            outcome.clone()
        }
        other => panic!("{other:?}"),
    });
    let beats = stored.events(Some(EventKind::Heartbeat)).into_iter();
    let beats = beats.filter_map(|event| match &event.event.data {
        EventData::Heartbeat(beat) => beat.prevention.as_deref().cloned(),
        other => panic!("{other:?}"),
    });
    (responses.collect(), beats.collect())
}

#[test]
fn a_program_is_killed_and_told_and_its_exec_is_an_alert() {
    need_kernel!();
    let (setting, evil) = setting("[prevention]\nenabled = true\ndry_run = false");
    write(&setting.path("rules/evil.yml"), &rule("no-evil", &evil, "kill"));
    let mut agent = agent(&setting);
    assert_eq!(run(&setting, &evil), (Some(9), false));
    agent.wait_for(TITLE, |line| line["rule"]["title"] == TITLE);
    // Another set of rules: the first program may run, and another may not.
    let other = program(&setting, "other-program");
    assert_eq!(run(&setting, &other), (None, true));
    write(&setting.path("rules/evil.yml"), &rule("no-other", &other, "kill"));
    agent.signal("HUP");
    agent.wait_said("the rules are loaded again");
    assert_eq!(run(&setting, &evil), (None, true));
    assert_eq!(run(&setting, &other), (Some(9), false));
    agent.wait_for("the second alert", |line| line["rule"]["id"] == "no-other");
    agent.wait_for("the count", |line| line["data"]["prevention"]["acts"] == 2);
    assert_eq!(agent.stop().code, Some(0));
    let (responses, beats) = stored(&setting);
    let causes: Vec<_> = responses.iter().map(|answer| answer.order.cause.clone()).collect();
    let rule = |id: &str| ResponseCause::Rule(id.into());
    assert_eq!(causes, [rule("no-evil"), rule("no-other")]);
    let stored = setting.stored();
    let alerts = stored.alerts();
    for (answer, id) in responses.iter().zip(["no-evil", "no-other"]) {
        assert_eq!((answer.order.action, &answer.outcome), (ResponseAction::Kill, &Outcome::Done));
        let of_target = alerts.iter().filter(|alert| &*alert.rule.id == id).any(|alert| {
            let process = alert.process.as_ref().unwrap().id();
            answer.order.target == ResponseTarget::Process(process)
        });
        assert!(of_target, "{id}: the process that was killed is that of no alert");
    }
    let last = beats.last().unwrap();
    assert_eq!((last.dry_run, last.rules, last.counts.acts), (false, 1, 2));
}

/// Changes a file, reads another, and becomes a program; the kernel's error of each that fails, or 0.
const TRIES: &str = r#"
    my ($program, $kept, $secret, $marker) = @ARGV;
    sub told { print $_[0] ? 0 : $! + 0, "\n" }
    told(open(my $change, ">>", $kept));
    told(open(my $read, "<", $secret));
    told(exec { $program } $program, "-c", ": > $marker");
"#;

#[test]
fn what_the_kernel_refuses_is_an_alert_by_its_rule_of_the_process_that_tried_it_and_only_one() {
    need_kernel!();
    let (setting, evil) = setting("[prevention]\nenabled = true\ndry_run = false");
    let files = ["kept", "secret"].map(|name| setting.path(name));
    let [kept, secret] = &files;
    files.iter().for_each(|file| write(file, "content"));
    let of_file = |id: &str, file: &Path, category: &str| {
        rule(id, file, "deny")
            .replace("process_creation", category)
            .replace("Image", "TargetFilename")
    };
    write(&setting.path("rules/evil.yml"), &rule("no-evil", &evil, "deny"));
    write(&setting.path("rules/kept.yml"), &of_file("no-change", kept, "file_event"));
    write(&setting.path("rules/secret.yml"), &of_file("no-read", secret, "file_access"));
    let mut agent = agent(&setting);
    let beat = agent.wait_for("how it stands", |line| line["data"]["prevention"].is_object()).1;
    let unavailable = &beat["data"]["prevention"]["unavailable"];
    for hook in ["prevent_exec_deny", "prevent_open"] {
        if let Some(reason) = unavailable[hook].as_str() {
            println!("skipped: {hook}: {reason}");
            return;
        }
    }
    let marker = setting.path("marker");
    let mut tries: Command = setting.cgroup.command("/usr/bin/perl");
    tries.args(["-e", TRIES]).args([&evil, kept, secret, &marker]);
    let tries = tries.stdout(Stdio::piped()).spawn().unwrap();
    let pid = tries.id();
    let told = tries.wait_with_output().unwrap();
    let (permission, access) = (Errno::PERM.raw_os_error(), Errno::ACCESS.raw_os_error());
    assert_eq!(
        String::from_utf8(told.stdout).unwrap(),
        format!("{access}\n{access}\n{permission}\n")
    );
    assert!(!marker.exists(), "it ran");
    assert_eq!(fs::read_to_string(kept).unwrap(), "content");

    let rules = ["no-change", "no-read", "no-evil"];
    for id in rules {
        let (_, alert) = agent.wait_for(id, |line| line["rule"]["id"] == id);
        assert_eq!(alert["process"]["pid"], pid, "{alert}");
    }
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let (responses, _) = stored(&setting);
    let stored = setting.stored().alerts();
    for id in rules {
        let printed = finished.alerts().into_iter().filter(|alert| alert["rule"]["id"] == id);
        assert_eq!(printed.count(), 1, "{id}");
        let alerts: Vec<_> = stored.iter().filter(|alert| &*alert.rule.id == id).collect();
        let [alert] = &alerts[..] else { panic!("{id}: {alerts:?}") };
        let process = alert.process.as_ref().unwrap();
        assert_eq!((process.pid, &*process.name, alert.repeats), (pid, &b"perl"[..], None), "{id}");
        let of_rule =
            |answer: &&ResponseOutcome| answer.order.cause == ResponseCause::Rule(id.into());
        let done: Vec<_> = responses.iter().filter(of_rule).collect();
        let [done] = &done[..] else { panic!("{id}: {done:?}") };
        assert_eq!((done.order.action, &done.outcome), (ResponseAction::Deny, &Outcome::Done));
        assert_eq!(done.order.target, ResponseTarget::Process(process.id()));
    }
}

#[test]
fn it_is_off_unless_it_is_turned_on_and_then_a_dry_run() {
    need_kernel!();
    for (config, expected) in [("", &[][..]), ("[prevention]\nenabled = true", &[Outcome::DryRun])]
    {
        let (setting, evil) = setting(config);
        write(&setting.path("rules/evil.yml"), &rule("no-evil", &evil, "kill"));
        let mut agent = agent(&setting);
        assert_eq!(run(&setting, &evil), (None, true));
        agent.wait_for(TITLE, |line| line["rule"]["title"] == TITLE);
        if !expected.is_empty() {
            agent.wait_for("what would be done", |line| line["data"]["outcome"] == "dry_run");
        }
        assert_eq!(agent.stop().code, Some(0));
        let (responses, beats) = stored(&setting);
        let outcomes: Vec<_> = responses.into_iter().map(|answer| answer.outcome).collect();
        assert_eq!(outcomes, expected);
        assert_eq!(beats.is_empty(), expected.is_empty());
    }
}

#[test]
fn a_rule_that_the_kernel_cannot_decide_is_told_of_and_finds_as_any_other() {
    need_kernel!();
    let (setting, evil) = setting("[prevention]\nenabled = true\ndry_run = false");
    let undecidable = rule("no-evil", &evil, "kill").replace("Image:", "CommandLine|contains:");
    write(&setting.path("rules/evil.yml"), &undecidable);
    let mut agent = agent(&setting);
    assert_eq!(run(&setting, &evil), (None, true));
    agent.wait_for(TITLE, |line| line["rule"]["title"] == TITLE);
    let said = agent.said();
    let expected = "can't be decided in the kernel: it compares `CommandLine`";
    assert!(said.contains(expected), "{said}");
    assert_eq!(agent.stop().code, Some(0));
    assert_eq!(stored(&setting).0, []);
}

#[test]
fn doctor_tells_each_hook() {
    need_kernel!();
    let told = output(&["doctor", "--json"]);
    let rows = told.stdout[0]["prevention"].as_array().unwrap().clone();
    let hooks: Vec<&str> = rows.iter().map(|row| row["hook"].as_str().unwrap()).collect();
    assert_eq!(&hooks[..4], ["exec_kill", "exec_deny", "open", "connect"]);
    assert_eq!(rows[0]["status"], "available");
    for row in rows {
        assert!(row["status"] == "available" || row["reason"].is_string(), "{row}");
    }
}
