//! The dashboard of the agent itself, in a real browser, on what the live kernel shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]
#![cfg(feature = "control-plane")]

#[path = "../../control-plane/tests/dashboard/browser.rs"]
mod browser;
mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use lavender_control_plane::{ControlPlane, Options, serve};
use lavender_core::store::LivenessTimes;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::agent::{Finished, command};
use crate::support::setting::Setting;
use crate::support::write;

/// Before the first admin token.
const TOKEN: &str = "first admin token of tenant default, shown only now: ";

/// Reads what the rules call a sensitive file, in the agent's sight.
fn attack(setting: &Setting) -> Value {
    let read = setting.cgroup.command("/bin/cat").arg(setting.sensitive()).output().unwrap();
    assert!(read.status.success());
    json!({"title": "Sensitive File Read by an Unexpected Program", "program": "cat"})
}

/// Asks; what comes can be read.
fn ask(url: &str, path: &str, token: &str) -> TcpStream {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    stream
}

/// The status of an answer.
fn get(url: &str, path: &str, token: &str) -> u16 {
    let mut text = String::new();
    ask(url, path, token).read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What the kernel shows is on the page without a reload; and once the agent is killed, another control plane over its
/// store shows that it is gone, to the same token.
#[test]
fn what_the_agent_sees_is_shown_until_it_is_killed() {
    need_kernel!();
    let Some(browser) = Browser::find() else { return };
    let setting = Setting::new("heartbeat_interval_secs = 1");
    let agent = setting.run(&["--listen", "127.0.0.1:0"]);
    let (url, token) = (agent.wait_said("Dashboard: "), agent.wait_said(TOKEN));
    browser.run("the_live_agent_is_shown", &url, &token, |_| attack(&setting));
    agent.signal("KILL");
    agent.wait();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = lavender_store::open(&format!("sqlite:{}", setting.database().display())).unwrap();
    let second = Duration::from_secs(1);
    let liveness = LivenessTimes { degraded_after: second * 2, offline_after: second * 3 };
    let options = Options { liveness, sweep_every: second / 5, ..Options::default() };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(serve(ControlPlane::new(store, options), listener));
    browser.run("the_live_agent_is_gone", &url, &token, |_| json!({}));
}

#[test]
fn the_first_token_is_shown_once() {
    need_kernel!();
    let setting = Setting::new("");
    let agent = setting.run(&["--listen", "127.0.0.1:0"]);
    let token = agent.wait_said(TOKEN);
    let url = agent.wait_said("Dashboard: ");
    assert_eq!((get(&url, "/", ""), get(&url, "/api/v1/agents", "")), (200, 401));
    assert_eq!(get(&url, "/api/v1/agents", &token), 200);
    // Somebody who looks on does not keep it from stopping.
    let mut live = ask(&url, "/api/v1/live", &token);
    live.read_exact(&mut [0; 12]).unwrap();
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr.matches(&token).count(), 1, "it is said again");

    let again = setting.run(&["--listen", "127.0.0.1:0"]);
    let url = again.wait_said("Dashboard: ");
    assert_eq!(get(&url, "/api/v1/rules", &token), 200);
    assert!(!again.stop().stderr.contains("first admin token"));
}

/// Somebody else has the port: the host is watched all the same.
#[test]
fn a_port_that_is_taken_costs_the_dashboard_and_nothing_else() {
    need_kernel!();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = Setting::new("");
    let listen = taken.local_addr().unwrap().to_string();
    let mut agent = setting.run(&["--listen", &listen]);
    let why = agent.wait_said("there is no dashboard: ");
    assert!(why.contains(&listen) && why.contains("--no-control-plane"), "{why}");
    let wanted = attack(&setting);
    agent.wait_for("an alert", |line| line["rule"]["title"] == wanted["title"]);
    assert_eq!(agent.stop().code, Some(0));
}

#[test]
fn there_is_none_where_none_is_wanted() {
    need_kernel!();
    let setting = Setting::new("");
    let mut agent = setting.run(&[]);
    attack(&setting);
    agent.wait_for("an alert", |line| line["kind"] == "alert");
    let finished = agent.stop();
    assert!(!finished.stderr.contains("Dashboard"), "{}", finished.stderr);
}

/// Others could read tokens on their way.
#[test]
fn it_listens_where_others_reach_it_only_behind_a_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lavender.toml");
    let check = || Finished::from(command(&["check-config"]).arg(&config).output().unwrap());
    let open = "[control_plane]\nlisten = \"0.0.0.0:8080\"\n";
    write(&config, open);
    let run = command(&["run", "--listen", "192.0.2.1:80", "--duration", "1s"]).output().unwrap();
    for refused in [check(), Finished::from(run)] {
        assert_eq!(refused.code, Some(3), "{refused:?}");
        assert!(refused.stderr.contains("behind_tls_proxy"), "{}", refused.stderr);
    }
    write(&config, &format!("{open}behind_tls_proxy = true\n"));
    let allowed = command(&["check-config"]).arg(&config).output().unwrap();
    assert!(allowed.status.success());
}
