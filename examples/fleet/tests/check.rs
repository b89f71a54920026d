//! The whole fleet, as `make fleet-check` runs it, but short.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail loudly, and say what they skip"
)]

use std::path::Path;
use std::process::Command;

/// The nats-server to test with, or why there is none.
fn nats_server() -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let output = Command::new(&script).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[test]
fn an_attack_on_the_live_kernel_is_an_alert_in_the_database_and_nothing_is_missing() {
    let fleet = Path::new(env!("CARGO_BIN_EXE_lavender-fleet"));
    for program in ["lavender-agent", "lavender-worker"] {
        if !fleet.with_file_name(program).exists() {
            println!("skipped: {program} is not built; the whole workspace's tests build it");
            return;
        }
    }
    let doctor =
        Command::new(fleet.with_file_name("lavender-agent")).arg("doctor").output().unwrap();
    if !doctor.status.success() {
        println!("skipped: this host cannot watch: `lavender-agent doctor` says why");
        return;
    }
    let nats_server = match nats_server() {
        Ok(path) => path,
        Err(why) => {
            println!("skipped: no nats-server: {why}");
            return;
        }
    };
    let output = Command::new(fleet)
        .args(["check", "--acts", "3", "--nats-server", &nats_server])
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("there is no PostgreSQL") {
        println!("skipped: {err}");
        return;
    }
    assert!(output.status.success(), "{out}\n{err}");
    let figures = out.lines().last().unwrap();
    assert!(figures.starts_with("fleet-check: 3 acts, 3 alerts in PostgreSQL"), "{figures}");
    assert!(
        figures.contains("3 commands carried out")
            && figures.contains("none missing")
            && figures.contains("4 of poison put aside"),
        "{figures}"
    );
}
