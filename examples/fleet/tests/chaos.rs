//! Chaos, as `make chaos` runs it, but short.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail loudly, and say what they skip"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn whatever_is_killed_nothing_is_missing_and_nothing_comes_twice() {
    let fleet = Path::new(env!("CARGO_BIN_EXE_lavender-fleet"));
    if !fleet.with_file_name("lavender-worker").exists() {
        println!("skipped: lavender-worker is not built; the whole workspace's tests build it");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let nats_server = Command::new(script).output().unwrap();
    if !nats_server.status.success() {
        println!(
            "skipped: no nats-server: {}",
            String::from_utf8_lossy(&nats_server.stderr).trim()
        );
        return;
    }
    let nats_server = String::from_utf8_lossy(&nats_server.stdout).trim().to_owned();
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
