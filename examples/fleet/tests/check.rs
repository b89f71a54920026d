//! The whole fleet, as `make fleet-check` runs it, but short.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail loudly, and say what they skip"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A watch for a hang, and no measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The nats-server to test with, or why there is none.
fn nats_server() -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/nats-server");
    let output = Command::new(&script).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The fleet's program, and the nats-server for it; `None`, and said, where something is missing.
fn ready() -> Option<(&'static Path, String)> {
    let fleet = Path::new(env!("CARGO_BIN_EXE_lavender-fleet"));
    for program in ["lavender-agent", "lavender-worker", "lavender-control-plane"] {
        if !fleet.with_file_name(program).exists() {
            println!("skipped: {program} is not built; the whole workspace's tests build it");
            return None;
        }
    }
    let doctor =
        Command::new(fleet.with_file_name("lavender-agent")).arg("doctor").output().unwrap();
    if !doctor.status.success() {
        println!("skipped: this host cannot watch: `lavender-agent doctor` says why");
        return None;
    }
    match nats_server() {
        Ok(path) => Some((fleet, path)),
        Err(why) => {
            println!("skipped: no nats-server: {why}");
            None
        }
    }
}

#[test]
fn an_attack_on_the_live_kernel_is_an_alert_in_the_database_and_nothing_is_missing() {
    let Some((fleet, nats_server)) = ready() else { return };
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
            && figures.contains("a published rule in use after")
            && figures.contains("none missing")
            && figures.contains("4 of poison put aside"),
        "{figures}"
    );
}

/// Asks a control plane; the status, and what came.
fn ask(address: &str, path: &str, token: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap_or_default())
}

#[test]
fn a_fleet_that_is_up_says_where_its_dashboard_is_and_shows_its_agent_there() {
    let Some((fleet, nats_server)) = ready() else { return };
    let mut up = Command::new(fleet)
        .args(["up", "--nats-server", &nats_server])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    let mut said = |words: &str| {
        let line = lines.find_map(|line| line.unwrap().split_once(words).map(|it| it.1.to_owned()));
        line.unwrap_or_default()
    };
    let address = said("Dashboard: http://");
    if address.is_empty() {
        let mut why = String::new();
        up.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        up.wait().unwrap();
        assert!(why.contains("there is no PostgreSQL"), "{why}");
        println!("skipped: {why}");
        return;
    }
    let token = said("first admin token of tenant acme, shown only now: ");
    // What the agent saw and raised is there, and who has no token sees none of it.
    assert_eq!(said(" web-1 high: Command That Decodes"), " and Runs Its Payload");
    let (status, agents) = ask(&address, "/api/v1/agents", &token);
    assert_eq!((status, &agents["items"][0]["agent"]), (200, &"web-1".into()), "{agents}");
    let (status, alerts) = ask(&address, "/api/v1/alerts", &token);
    assert!(status == 200 && !alerts["items"].as_array().unwrap().is_empty(), "{alerts}");
    let (status, session) = ask(&address, "/api/v1/session", &token);
    assert_eq!((status, &session["signs_commands"]), (200, &true.into()), "{session}");
    assert_eq!(ask(&address, "/api/v1/agents", "lvd_nothing").0, 401);
    let pid = rustix::process::Pid::from_child(&up);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(up.wait().unwrap().success(), "{rest:?}");
    assert!(TcpStream::connect(&address).is_err(), "it is gone with the fleet");
}
