//! Killed in the middle of a storm: what was committed is there, once; the next run goes on behind it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::collections::HashSet;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lavender_core::event::EventKind;
use support::setting::Setting;
use support::stand_in;

/// A process that lives through all of it, and starts a program when it is asked to.
fn long_lived(setting: &Setting) -> Child {
    let mut command = setting.cgroup.command(stand_in::service(setting.folder.path()));
    command.args(["-e", r#"$| = 1; print "ready\n"; while (<STDIN>) { system("/bin/true", "asked"); print "done\n" }"#]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Starts a program in the group, with this argument, and waits for its end.
fn start(setting: &Setting, argument: &str) {
    let status = setting.cgroup.command("/bin/true").arg(argument).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_chain_whose_first_half_came_before_a_kill_is_one_alert() {
    need_kernel!();
    let folder = tempfile::tempdir().unwrap();
    let rule = |name: &str| {
        format!(
            "title: {name}\nid: {name}\nlogsource: {{product: linux, category: process_creation}}\n\
             detection: {{s: {{CommandLine|endswith: ' {name}-half'}}, condition: s}}\n---\n"
        )
    };
    let rules = rule("first")
        + &rule("second")
        + "title: Both Halves\nid: both\nlevel: high\ncorrelation: {type: temporal_ordered, rules: [first, second], \
           group-by: [User], timespan: 5m}\n";
    std::fs::write(folder.path().join("both.yml"), rules).unwrap();
    let dirs = format!("[rules]\ndirs = [{:?}]\n", folder.path().canonicalize().unwrap());
    let setting = Setting::new(&dirs);

    // Once long enough for what was seen to be saved, once not: then it is read from the stored events.
    for wait in [Duration::from_millis(1_500), Duration::ZERO] {
        let mut agent = setting.run(&["--events"]);
        start(&setting, "first-half");
        agent.wait_for("the first half", |line| line.to_string().contains("first-half"));
        thread::sleep(wait);
        agent.signal("KILL");
        assert_eq!(agent.wait().signal, Some(9));
    }
    let mut agent = setting.run(&[]);
    start(&setting, "second-half");
    agent.wait_for("both halves", |line| line["rule"]["id"] == "both");
    agent.signal("KILL");
    agent.wait();
    let agent = setting.run(&[]);
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let again = finished.stdout.iter().filter(|line| line["rule"]["id"] == "both").count();
    assert_eq!(again, 0, "it was raised already");
    let alerts = setting.stored().alerts();
    assert_eq!(alerts.iter().filter(|alert| &*alert.rule.id == "both").count(), 1);
}

/// Forks and execs without end.
fn storm(setting: &Setting) -> Child {
    let program = r#"while (1) { my $p = fork; if (!$p) { exec "/bin/true" } waitpid $p, 0 }"#;
    setting.cgroup.command("/usr/bin/perl").args(["-e", program]).spawn().unwrap()
}

#[test]
fn a_killed_agent_loses_nothing_that_was_stored_and_goes_on_behind_it() {
    need_kernel!();
    let setting = Setting::new("");
    let mut service = long_lived(&setting);
    let mut said = service.stdout.take().map(std::io::BufReader::new).unwrap();
    let mut asked = service.stdin.take().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();

    let mut sequences = Vec::new();
    for _ in 0..3 {
        let mut storm = storm(&setting);
        let mut agent = setting.run(&["--events"]);
        agent.wait_for("an exec of the storm", |line| line["kind"] == "exec");
        thread::sleep(Duration::from_millis(700));
        agent.signal("KILL");
        let killed = agent.wait();
        assert_eq!(killed.signal, Some(9), "{killed:?}");
        storm.kill().unwrap();
        storm.wait().unwrap();

        // What was shown was stored before.
        let stored = setting.stored();
        let ids: Vec<String> =
            stored.events(None).iter().map(|stored| stored.event.id.to_string()).collect();
        let unique: HashSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "an event is there twice");
        for shown in killed.stdout.iter().filter(|line| line["kind"] != "alert") {
            let id = shown["id"].as_str().unwrap().to_owned();
            assert!(unique.contains(&id), "{shown} was shown and is not stored");
        }
        let last = stored.events(None).iter().map(|s| s.event.id.sequence()).max().unwrap();
        assert!(sequences.last().is_none_or(|before| last > *before));
        sequences.push(last);
    }

    let agent = setting.run(&[]);
    std::io::Write::write_all(&mut asked, b"now\n").unwrap();
    line.clear();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let stored = setting.stored();
    let starts = stored.events(Some(EventKind::AgentStart));
    let newest = starts.iter().map(|stored| stored.event.id.sequence()).max().unwrap();
    assert!(newest > sequences[2], "the sequence went back: {newest} after {sequences:?}");

    // The service was there before this run: its child's ancestry comes from the snapshot.
    let asked_exec = stored
        .events(Some(EventKind::Exec))
        .into_iter()
        .find(|stored| {
            let process = stored.event.process.as_ref().unwrap();
            process.arguments.value.command_line() == b"/bin/true asked"
        })
        .expect("the program that the service started");
    let process = asked_exec.event.process.as_ref().unwrap();
    let parent = process.parent.as_ref().expect("the parent is known");
    assert_eq!(parent.pid, service.id());
    let expected = stand_in::service(setting.folder.path()).canonicalize().unwrap();
    assert_eq!(parent.executable.path.value.to_string(), expected.to_str().unwrap());
    assert!(
        parent.arguments.value.command_line().starts_with(expected.to_str().unwrap().as_bytes())
            || !parent.arguments.value.is_empty()
    );
    let above: Vec<u32> = process.ancestors().map(|ancestor| ancestor.pid).collect();
    assert!(above.contains(&std::process::id()), "{above:?} lacks the test itself");

    drop(asked);
    let deadline = Instant::now() + Duration::from_secs(60);
    while service.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let _ = service.kill();
    let _ = service.wait();
}
