//! A rule on the image of a container, on the live kernel: a control group that is called as Docker calls it, and Docker's
//! file of it below a root of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::agent::{Finished, replay};
use support::setting::Setting;
use support::write;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const RULE: &str = "title: Somebody looks around in the web server's container
id: 5f0c9f0e-6f0a-4b6e-9f0e-3d1c1f1f7a11
logsource: {category: process_creation, product: linux}
detection:
  selection: {Image|endswith: /id, ContainerImage|startswith: 'nginx:', ContainerName: web}
  condition: selection
level: high
";

/// A control group below the test's own.
struct Inner(PathBuf);

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn ids(finished: &Finished) -> Vec<String> {
    let mut ids: Vec<_> = finished.alerts().iter().map(|alert| alert["id"].to_string()).collect();
    ids.sort();
    ids
}

#[test]
fn a_rule_on_an_image_alerts_with_the_container_and_so_in_the_replay() {
    need_kernel!();
    let host = tempfile::tempdir().unwrap();
    let path = |name: &str| host.path().join(name);
    write(&path("rules/image.yml"), RULE);
    let docker = format!(r#"{{"ID":"{ID}","Name":"/web","Config":{{"Image":"nginx:1.27"}}}}"#);
    write(&path(&format!("srv/docker/{ID}/config.v2.json")), &docker);
    let setting = Setting::new(&format!(
        "[sensor.containers]\nhost_root = {:?}\ndocker_dirs = [\"/srv/docker\"]\n\
         [rules]\nbuiltin = false\ndirs = [{:?}]\n",
        host.path(),
        path("rules"),
    ));
    let inner = Inner(setting.cgroup.path().join(format!("docker-{ID}.scope")));
    fs::create_dir(&inner.0).unwrap();
    let capture = setting.path("capture.lavcap");
    let mut agent = setting.run(&["--record", capture.to_str().unwrap()]);

    // Whoever is first in a container may be told before its file is read.
    let start = Instant::now();
    let certain = |line: &Value| {
        line["rule"]["title"].is_string() && line["process"]["container"]["image"] == "nginx:1.27"
    };
    while !agent.has(certain) {
        assert!(start.elapsed() < Duration::from_secs(60), "no alert came");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec /usr/bin/id"#]).arg(&inner.0);
        assert!(command.output().unwrap().status.success());
    }
    let live = agent.stop();
    assert_eq!(live.code, Some(0), "{live:?}");
    let alerts = live.alerts();
    let alert = alerts.iter().find(|alert| certain(alert)).unwrap();
    assert_eq!(alert["process"]["container"]["name"], "web");
    let replayed =
        replay(&[capture.to_str().unwrap(), "--config", setting.config().to_str().unwrap()]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert_eq!(ids(&live), ids(&replayed));
}
