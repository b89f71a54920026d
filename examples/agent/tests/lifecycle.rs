//! How a run begins and ends: signals, the end of stdout, new rules while it runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lavender_core::event::{EventData, EventKind, StopReason};
use support::setting::Setting;
use support::{stand_in, write};

#[test]
fn sigterm_and_sigint_flush_everything() {
    need_kernel!();
    for signal in ["TERM", "INT"] {
        let setting = Setting::new("");
        let agent = setting.run(&["--events"]);
        for _ in 0..20 {
            setting.cgroup.command("/bin/true").status().unwrap();
        }
        // At once: what was seen a moment ago is still on its way.
        agent.signal(signal);
        let finished = agent.wait();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let stored = setting.stored();
        let execs = stored.events(Some(EventKind::Exec));
        let trues = execs
            .iter()
            .filter(|stored| {
                let process = stored.event.process.as_ref().unwrap();
                process.executable.path.value.ends_with(b"/true")
            })
            .count();
        assert_eq!(trues, 20, "{signal}");
        let events = stored.events(None);
        // Where this test is read slowly, lines are skipped, and counted.
        let printed = finished.stdout.iter().filter(|line| line["kind"] != "alert").count();
        assert_eq!(printed + skipped(&finished.stderr), events.len(), "{finished:?}");
        let last = events.iter().max_by_key(|stored| stored.event.id.sequence()).unwrap();
        match &last.event.data {
            EventData::AgentStop(stop) => assert_eq!(stop.reason, StopReason::Shutdown),
            other => panic!("the last event is {other:?}"),
        }
        // Nothing is missing between the first event and the last.
        let mut sequences: Vec<u64> =
            events.iter().map(|stored| stored.event.id.sequence()).collect();
        sequences.sort_unstable();
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    }
}

/// How many lines the agent says that it did not print.
fn skipped(stderr: &str) -> usize {
    let said = stderr.lines().find(|line| line.contains("lines were not printed"));
    said.and_then(|line| line.split_once("skipped=")).map_or(0, |(_, count)| {
        count.split_whitespace().next().and_then(|count| count.parse().ok()).unwrap()
    })
}

#[test]
fn it_stops_by_itself_when_its_time_is_up() {
    need_kernel!();
    let setting = Setting::new("");
    let started = Instant::now();
    let finished = setting.run(&["--duration", "300ms"]).wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(!setting.stored().events(Some(EventKind::AgentStart)).is_empty());
}

#[test]
fn a_reader_that_goes_away_ends_it_cleanly() {
    need_kernel!();
    let setting = Setting::new("");
    let mut child = setting
        .command(&["--events"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let deadline = Instant::now() + Duration::from_secs(90);
    let status = loop {
        // Something to print.
        setting.cgroup.command("/bin/true").status().unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it did not end");
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(setting.stored().events(Some(EventKind::AgentStop)).len() == 1, "{said}");
}

fn rule(title: &str, name: &str) -> String {
    format!(
        "title: {title}\n\
         id: 8b2a7c1e-0000-4000-8000-000000000001\n\
         logsource: {{product: linux, category: process_creation}}\n\
         detection:\n\
         \x20   selection: {{Image|endswith: '/{name}'}}\n\
         \x20   condition: selection\n\
         level: low\n"
    )
}

#[test]
fn sighup_takes_new_rules_whole_or_not_at_all() {
    need_kernel!();
    let setting = Setting::new("[alerts]\nsuppress_secs = 0\n");
    let file = setting.path("rules/one.yml");
    write(&file, &rule("First", "true"));
    let folder = setting.path("rules");
    let mut agent = setting.run(&["--rules", folder.to_str().unwrap()]);
    setting.cgroup.command("/bin/true").status().unwrap();
    agent.wait_for("First", |line| line["rule"]["title"] == "First");

    // A fault anywhere: the old rules stay.
    write(&file, &rule("Second", "true"));
    let broken = setting.path("rules/two.yml");
    write(&broken, "title: Broken\nlogsource: {product: linux}\n");
    agent.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    setting.cgroup.command("/usr/bin/true").status().unwrap();

    std::fs::remove_file(&broken).unwrap();
    agent.signal("HUP");
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline && !agent.has(|line| line["rule"]["title"] == "Second") {
        setting.cgroup.command("/bin/true").status().unwrap();
    }
    agent.wait_for("Second", |line| line["rule"]["title"] == "Second");
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("two.yml"), "{}", finished.stderr);
    let titles: Vec<&str> =
        finished.alerts().iter().map(|alert| alert["rule"]["title"].as_str().unwrap()).collect();
    let second = titles.iter().position(|title| *title == "Second").unwrap();
    // Once before the broken set was refused, once after.
    assert!(second >= 2, "{titles:?}");
}

#[test]
fn a_heartbeat_comes_at_its_interval_however_busy_the_host_is() {
    need_kernel!();
    let setting = Setting::new("heartbeat_interval_secs = 1");
    let started = Instant::now();
    let agent = setting.run(&[]);
    let mut busy = setting
        .cgroup
        .command("/usr/bin/perl")
        .args(["-e", r#"open(my $f, "<", "/dev/null") while 1"#])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(3_500));
    busy.kill().unwrap();
    busy.wait().unwrap();
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let took = started.elapsed();
    let heartbeats = setting.stored().events(Some(EventKind::Heartbeat)).len() as u64;
    assert!(heartbeats >= 3, "{heartbeats} heartbeats in {took:?}");
    assert!(heartbeats <= took.as_secs() + 2, "{heartbeats} heartbeats in {took:?}");
}

#[test]
fn whatever_a_process_is_called_with_stdout_stays_json_lines() {
    need_kernel!();
    let setting = Setting::new("");
    let mut agent = setting.run(&["--events"]);
    let hostile: [&OsStr; 4] = [
        OsStr::new("two\nlines\r\u{2028}"),
        OsStr::new("\u{1b}[31mred\u{7}"),
        OsStr::from_bytes(b"not \xff\xfe UTF-8"),
        OsStr::new(r#"{"kind":"alert"}"#),
    ];
    setting.cgroup.command("/bin/true").args(hostile).status().unwrap();
    let (_, exec) = agent.wait_for("the exec", |line| {
        line["kind"] == "exec" && line["process"]["arguments"][0] == "/bin/true"
    });
    let arguments = &exec["process"]["arguments"];
    assert_eq!(arguments[1], hostile[0].to_str().unwrap());
    assert_eq!(arguments[2], hostile[1].to_str().unwrap());
    assert_eq!(arguments[3]["base64"], "bm90IP/+IFVURi04");
    assert_eq!(arguments[4], hostile[3].to_str().unwrap());
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.alerts().is_empty(), "{finished:?}");
}

#[test]
fn kinds_that_are_not_asked_for_are_not_watched() {
    need_kernel!();
    let setting = Setting::new("[sensor]\nkinds = [\"net_connect\"]");
    let agent = setting.run(&[]);
    stand_in::connect(&setting.cgroup, setting.folder.path(), 4444);
    assert_eq!(agent.stop().code, Some(0));
    let stored = setting.stored();
    assert_eq!(stored.count(EventKind::FileOpen), 0);
    assert_eq!(stored.count(EventKind::NetConnect), 1);
    assert!(stored.count(EventKind::Exec) > 0);
}
