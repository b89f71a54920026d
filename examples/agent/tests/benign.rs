//! A build and the installation of a package are none of what chains and novelty look for, though all of it is seen,
//! and nothing of it was learned before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use lavender_core::event::{EventKind, Process};
use serde_json::Value;
use support::runner::Runner;
use support::setting::Setting;
use support::titles::{
    CREDENTIAL_CHAIN, FIRST_CHILD, FIRST_CONNECTION, RAPID_STARTS, REVERSE_SHELL,
};
use support::{benign, stand_in};

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A program, by the last part of its path, and that of its parent.
fn pair(process: &Process) -> (String, String) {
    let name = |process: &Process| {
        let path = process.executable.path.value.to_string();
        path.rsplit('/').next().unwrap().to_owned()
    };
    (process.parent.as_deref().map(name).unwrap_or_default(), name(process))
}

fn title(alert: &Value) -> &str {
    alert["rule"]["title"].as_str().unwrap_or_default()
}

#[test]
fn a_build_and_an_installation_raise_no_chain_and_nothing_new() {
    need_kernel!();
    for program in ["make", "cc", "dpkg", "dpkg-deb"] {
        if !is_there(program) {
            println!("skipped: there is no {program}");
            return;
        }
    }
    let setting = Setting::new("");
    // The lists as they ship, and nothing learned before.
    let config = "[agent]\nagent_id = \"test-agent\"\n[rules]\nnovelty_baseline_secs = 0\n";
    std::fs::write(setting.config(), config).unwrap();
    let mut runner = Runner::new(&setting.cgroup, setting.folder.path());
    let mut agent = setting.run(&[]);
    // All from one shell, so in one tree.
    let mut work = "set -e\n".to_owned() + &benign::make(&setting.path("make"));
    let with_cargo = is_there("cargo");
    if with_cargo {
        work += &benign::cargo(&setting.path("cargo"));
    } else {
        println!("without cargo");
    }
    work += &benign::package(&setting.path("package"));
    runner.run(&setting.path("work.sh"), &work);

    // The same agent tells of what is new, and does so after whatever it had to tell of the work.
    let server = stand_in::named(setting.folder.path(), "nginx");
    stand_in::start_child(&setting.cgroup, &server, &["/bin/sh", "-c", ":; true"]);
    let (_, child) = agent.wait_for(FIRST_CHILD, |line| title(line) == FIRST_CHILD);
    assert!(child["evidence"].to_string().contains("/nginx"), "{child}");
    for watched in [CREDENTIAL_CHAIN, REVERSE_SHELL, RAPID_STARTS, FIRST_CONNECTION] {
        assert!(!agent.has(|line| title(line) == watched), "{watched}");
    }
    // And of a chain, when the same shell starts programs that neither build nor install.
    let rapid = "for word in a b c d e; do /usr/bin/uname >/dev/null; done\n";
    runner.run(&setting.path("rapid.sh"), rapid);
    agent.wait_for(RAPID_STARTS, |line| title(line) == RAPID_STARTS);
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let of_novelty = |alert: &&&Value| [FIRST_CONNECTION, FIRST_CHILD].contains(&title(alert));
    assert_eq!(finished.alerts().iter().filter(of_novelty).count(), 1, "{finished:?}");

    let stored = setting.stored();
    let execs = stored.events(Some(EventKind::Exec));
    let process =
        |stored: &lavender_core::store::StoredEvent| stored.event.process.clone().unwrap();
    let pairs: BTreeSet<(String, String)> = execs.iter().map(|one| pair(&process(one))).collect();
    println!("{} programs started, in {} pairs", execs.len(), pairs.len());
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let shell = shell.file_name().unwrap().to_str().unwrap();
    let seen = |parent: &str, child: &str| pairs.contains(&(parent.to_owned(), child.to_owned()));
    for (parent, child) in [
        (shell, "make"),
        ("make", shell),
        (shell, "greet"),
        ("make", "perl"),
        ("perl", shell),
        (shell, "uname"),
        (shell, "hostname"),
        ("dpkg", "dpkg-deb"),
        ("dpkg", shell),
        (shell, "perl"),
        (shell, "chmod"),
    ] {
        assert!(seen(parent, child), "{parent} and {child} are not among {pairs:?}");
    }
    let programs: BTreeSet<&str> = pairs.iter().map(|(_, program)| &**program).collect();
    for program in ["cc1", "collect2"].into_iter().chain(with_cargo.then_some("rustc")) {
        assert!(programs.contains(program), "{program} is not among {programs:?}");
    }
    assert!(stored.count(EventKind::NetConnect) > 0, "the tests of the build connect");
    assert_eq!(stored.lost(EventKind::Exec), 0);
}
