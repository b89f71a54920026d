//! What the agent does with what it cannot use: it says what is wrong, where, and exits with the code for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::agent::{Finished, command, output};
use support::write;

const CONFIGURATION: Option<i32> = Some(3);
const HOST: Option<i32> = Some(4);
const CAPTURE: Option<i32> = Some(5);
const STORE: Option<i32> = Some(6);

/// Two faults in one file and one in another.
fn broken_rules(folder: &Path) {
    write(
        &folder.join("rules/first.yml"),
        "title: No such modifier\n\
         logsource: {product: linux, category: process_creation}\n\
         detection:\n\
         \x20   selection:\n\
         \x20       Image|startsnear: '/tmp/'\n\
         \x20   condition: selection\n",
    );
    write(
        &folder.join("rules/sub/second.yaml"),
        "title: No such selection\n\
         logsource: {product: linux, category: process_creation}\n\
         detection:\n\
         \x20   selection: {Image: '/bin/a'}\n\
         \x20   condition: selektion\n",
    );
}

fn replay_with_rules(folder: &Path) -> Finished {
    output(&["replay", "--rules", folder.join("rules").to_str().unwrap()])
}

#[test]
fn broken_rules_are_all_listed_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    broken_rules(folder.path());
    let finished = replay_with_rules(folder.path());
    assert_eq!(finished.code, CONFIGURATION, "{finished:?}");
    assert!(finished.stderr.contains("first.yml:5"), "{}", finished.stderr);
    assert!(finished.stderr.contains("startsnear"), "{}", finished.stderr);
    assert!(finished.stderr.contains("sub/second.yaml:5"), "{}", finished.stderr);
    assert!(finished.stderr.contains("selektion"), "{}", finished.stderr);
    assert!(finished.stdout.is_empty());
}

#[test]
fn a_rules_folder_that_is_missing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let finished = replay_with_rules(folder.path());
    assert_eq!(finished.code, CONFIGURATION, "{finished:?}");
    assert!(finished.stderr.contains("rules"), "{}", finished.stderr);
}

#[test]
fn a_broken_configuration_names_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lavender.toml");
    write(&config, "[response]\ndryrun = false\n");
    let named = config.to_str().unwrap();
    for arguments in [vec!["check-config", named], vec!["replay", "--config", named]] {
        let finished = output(&arguments);
        assert_eq!(finished.code, CONFIGURATION, "{finished:?}");
        let expected = format!("{named}:2:1: unknown field `dryrun`");
        assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
        assert!(finished.stderr.contains("dry_run"), "{}", finished.stderr);
    }
}

#[test]
fn a_configuration_named_by_the_environment_must_be_there() {
    let mut command = command(&["check-config"]);
    command.env("LAVENDER_CONFIG", "/nonexistent/lavender.toml");
    let finished = Finished::from(command.output().unwrap());
    assert_eq!(finished.code, CONFIGURATION, "{finished:?}");
    assert!(finished.stderr.contains("/nonexistent/lavender.toml"), "{}", finished.stderr);
    assert!(finished.stderr.contains("LAVENDER_CONFIG"), "{}", finished.stderr);
}

#[test]
fn a_configuration_in_the_working_directory_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("lavender.toml"), "[response]\ndry_run = false\n");
    let mut command = command(&["check-config"]);
    let finished = command.current_dir(folder.path()).output().unwrap();
    assert!(finished.status.success());
    let printed = String::from_utf8(finished.stdout).unwrap();
    assert!(printed.contains("dry_run = true"), "{printed}");
}

#[test]
fn what_check_config_prints_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let printed = command(&["check-config"]).output().unwrap();
    let config = folder.path().join("lavender.toml");
    fs::write(&config, &printed.stdout).unwrap();
    let again = command(&["check-config", config.to_str().unwrap()]).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(again.stdout, printed.stdout);
}

#[test]
fn a_damaged_capture_is_said_to_be_damaged_and_what_came_before_it_counts() {
    let folder = tempfile::tempdir().unwrap();
    let whole = include_bytes!("../captures/demo.lavcap");
    let good = output(&["replay"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    let alerts = good.alerts().len();

    let file = folder.path().join("capture");
    let named = file.to_str().unwrap();
    // Cut in the middle of a record.
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    let cut = output(&["replay", named]);
    assert_eq!(cut.code, CAPTURE, "{cut:?}");
    assert!(cut.stderr.contains(named), "{}", cut.stderr);
    assert!(cut.alerts().len() + 1 >= alerts, "{} of {alerts}", cut.alerts().len());
    // A byte turned over.
    let mut turned = whole.to_vec();
    turned[whole.len() / 2] ^= 0xff;
    fs::write(&file, turned).unwrap();
    let turned = output(&["replay", named]);
    assert_eq!(turned.code, CAPTURE, "{turned:?}");
    // No capture at all.
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let none = output(&["replay", named]);
    assert_eq!(none.code, CAPTURE, "{none:?}");
    assert!(none.stdout.is_empty());
    // Not there.
    fs::remove_file(&file).unwrap();
    let missing = output(&["replay", named]);
    assert_eq!(missing.code, CAPTURE, "{missing:?}");
    assert!(missing.stderr.contains(named), "{}", missing.stderr);
}

#[test]
fn a_store_that_cannot_be_opened_is_told_before_anything_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("lavender.db");
    write(&database, &"this is no database\n".repeat(100));
    let text = fs::read(&database).unwrap();
    let url = format!("sqlite:{}", database.display());
    let finished = output(&["replay", "--store", &url]);
    assert_eq!(finished.code, STORE, "{finished:?}");
    assert!(finished.stderr.contains("lavender.db"), "{}", finished.stderr);
    assert_eq!(fs::read(&database).unwrap(), text, "somebody else's file was changed");

    let unknown = output(&["replay", "--store", "mysql://localhost/lavender"]);
    assert_eq!(unknown.code, CONFIGURATION, "{unknown:?}");
    assert!(unknown.stderr.contains("sqlite:"), "{}", unknown.stderr);
}

#[test]
fn the_command_line_is_checked() {
    for arguments in [vec!["run", "--duration", "30"], vec!["watch"], vec![]] {
        assert_eq!(output(&arguments).code, Some(2), "{arguments:?}");
    }
    let help = command(&["--help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("Exit codes:"), "{text}");
}

/// Without root's capabilities the agent says what is missing and offers the capture that it brings along.
#[test]
fn without_privileges_it_says_what_is_missing() {
    need_kernel!();
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("lavender.db").display());
    let agent = command(&["run", "--duration", "1s", "--store", &store]);
    let mut dropped = Command::new("setpriv");
    dropped.args(["--bounding-set", "-all", "--inh-caps", "-all", "--"]);
    dropped.arg(agent.get_program()).args(agent.get_args());
    let finished = match dropped.output() {
        Ok(output) => Finished::from(output),
        Err(error) => {
            println!("skipped: setpriv: {error}");
            return;
        }
    };
    assert_eq!(finished.code, HOST, "{finished:?}");
    assert!(finished.stderr.contains("CAP_BPF"), "{}", finished.stderr);
    assert!(finished.stderr.contains("lavender-agent replay"), "{}", finished.stderr);
}
