//! Chaos, as `make chaos` runs it, but short.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail loudly, and say what they skip"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The fleet's program and the broker's; or why there is none.
fn programs() -> Result<(&'static Path, String), String> {
    let fleet = Path::new(env!("CARGO_BIN_EXE_lavender-fleet"));
    if !fleet.with_file_name("lavender-worker").exists() {
        return Err("lavender-worker is not built; the whole workspace's tests build it".into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let nats_server = Command::new(script).output().unwrap();
    if !nats_server.status.success() {
        let said = String::from_utf8_lossy(&nats_server.stderr);
        return Err(format!("no nats-server: {}", said.trim()));
    }
    Ok((fleet, String::from_utf8_lossy(&nats_server.stdout).trim().to_owned()))
}

/// The processes that a process has started and that run.
fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let mut fields = behind_name.split_whitespace();
        let (state, of) = (fields.next(), fields.next().and_then(|of| of.parse().ok()));
        if of == Some(parent) && state != Some("Z") {
            found.push(pid);
        }
    }
    found
}

#[test]
fn told_to_stop_it_ends_what_it_started_and_leaves_nothing_behind() {
    let (fleet, nats_server) = match programs() {
        Ok(programs) => programs,
        Err(why) => return println!("skipped: {why}"),
    };
    let directory = tempfile::tempdir().unwrap();
    // The database's user has to reach its own folder.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let mut chaos = Command::new(fleet)
        .args(["chaos", "--events", "1000000", "--agents", "2", "--kills", "100", "--seed", "1"])
        .args(["--nats-server", &nats_server])
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(chaos.stdout.take().unwrap()).lines();
    // The head of the table is there once everything runs.
    for line in lines.by_ref() {
        if line.unwrap().contains("back after") {
            break;
        }
    }
    let started = children(chaos.id());
    kill_process(Pid::from_child(&chaos), Signal::TERM).unwrap();
    let ended = chaos.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    if said.contains("there is no PostgreSQL") {
        println!("skipped: {said}");
        return;
    }
    assert!(!ended.status.success() && said.contains("SIGTERM"), "{said}");
    assert!(started.len() >= 8, "{started:?}");
    let runs = || started.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let mut looks = 0;
    while runs() {
        looks += 1;
        assert!(looks < 1_200, "some of {started:?} still run");
        std::thread::sleep(Duration::from_millis(50));
    }
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn whatever_is_killed_nothing_is_missing_and_nothing_comes_twice() {
    let (fleet, nats_server) = match programs() {
        Ok(programs) => programs,
        Err(why) => return println!("skipped: {why}"),
    };
    let output = Command::new(fleet)
        .args(["chaos", "--events", "20000", "--agents", "5", "--kills", "9", "--seed", "1"])
        .args(["--nats-server", &nats_server])
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("there is no PostgreSQL") {
        println!("skipped: {err}");
        return;
    }
    assert!(output.status.success(), "{out}\n{err}");
    for part in [
        "nats-server-1",
        "postgresql",
        "ingest",
        "detect-1",
        "detect-2",
        "telemetry-writer",
        "alert-writer",
        "agents-1",
        "agents-2",
    ] {
        assert!(out.contains(part), "{part} was not killed: {out}");
    }
    let figures = out.lines().last().unwrap();
    let expected = "chaos: seed 1, 9 kills, 5 agents: 20005 events produced = 20005 stored + 0 counted as lost, none twice";
    assert!(figures.starts_with(expected) && figures.contains("none missing"), "{figures}");
}
