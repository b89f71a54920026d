//! A store that stops taking: alerts still show, what was stored stays, and the end says what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::agent::Agent;
use support::setting::Setting;
use support::stand_in;
use support::store::Stored;

const SENSITIVE_FILE: &str = "Sensitive File Read by an Unexpected Program";

/// A file system of a test's own.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(
            Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success()
        );
    }

    fn database(&self) -> PathBuf {
        self.0.join("lavender.db")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn start(setting: &Setting, database: &Path, more: &[&str]) -> Agent {
    let store = format!("sqlite:{}", database.display());
    let mut arguments = vec!["--store", store.as_str()];
    arguments.extend(more);
    setting.run(&arguments)
}

#[test]
fn a_full_disk_hides_no_attack_and_the_end_says_what_is_missing() {
    need_kernel!();
    let setting = Setting::new("[alerts]\nsuppress_secs = 0\n");
    let Some(mount) = Mount::new(setting.path("small"), "size=3m") else {
        println!("skipped: no file system may be mounted here");
        return;
    };
    let mut agent = start(&setting, &mount.database(), &[]);
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    let (_, first) =
        agent.wait_for("the first alert", |line| line["rule"]["title"] == SENSITIVE_FILE);

    let program = r#"for (1..60000) { open(my $f, "<", "/dev/null") }"#;
    let mut opens = setting.cgroup.command("/usr/bin/perl");
    assert!(opens.args(["-e", program]).status().unwrap().success());
    thread::sleep(Duration::from_millis(1_500));
    // Not only the first that the store refuses.
    let mut seen = vec![first.clone()];
    for _ in 0..2 {
        stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
        let (_, next) = agent.wait_for("an alert while the disk is full", |line| {
            line["rule"]["title"] == SENSITIVE_FILE
                && seen.iter().all(|one| one["id"] != line["id"])
        });
        seen.push(next);
    }
    let second = &seen[1];

    let asked = Instant::now();
    let finished = agent.stop();
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!(finished.code, Some(6), "{}", finished.stderr);
    assert!(finished.stderr.contains("full"), "{}", finished.stderr);
    assert!(finished.stderr.contains("not stored"), "{}", finished.stderr);

    mount.remount("size=64m");
    let alerts = Stored::open(&mount.database()).alerts();
    assert!(alerts.iter().any(|alert| alert.id.to_string() == first["id"].as_str().unwrap()));

    // With room again the next run goes on.
    let mut agent = start(&setting, &mount.database(), &[]);
    stand_in::read_sensitive(&setting.cgroup, &setting.sensitive());
    let (_, third) = agent.wait_for("an alert after that", |line| line["kind"] == "alert");
    // Not by its id: a number that was never made durable is given to another event.
    assert_ne!(third["process"]["exec_id"], second["process"]["exec_id"]);
    assert!(third["observed_at"].as_i64() > second["observed_at"].as_i64(), "{third} {second}");
    assert_eq!(agent.stop().code, Some(0));
}

#[test]
fn a_store_that_cannot_be_written_is_told_at_the_start() {
    need_kernel!();
    let setting = Setting::new("");
    let Some(mount) = Mount::new(setting.path("locked"), "ro") else {
        println!("skipped: no file system may be mounted here");
        return;
    };
    let url = format!("sqlite:{}", mount.database().display());
    let finished = Agent::try_start(setting.command(&["--store", &url])).err().expect("it started");
    assert_eq!(finished.code, Some(6), "{finished:?}");
    assert!(finished.stderr.contains("locked/lavender.db"), "{}", finished.stderr);
}

#[test]
fn a_ring_that_the_kernel_cannot_give_is_told_with_its_size() {
    need_kernel!();
    let setting = Setting::new("[sensor]\nfile_ring_bytes = 2147483648");
    let Err(finished) = Agent::try_start(setting.command(&[])) else {
        println!("skipped: this kernel gives a ring of 2 GiB");
        return;
    };
    assert_eq!(finished.code, Some(4), "{finished:?}");
    assert!(finished.stderr.contains("file_ring_bytes"), "{}", finished.stderr);
}
