//! A real browser, which a scenario in Python drives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where Debian has its browser.
const CHROMIUM: &str = "/usr/bin/chromium";

/// What it takes to run scenarios: a Python with Playwright, a browser.
#[derive(Debug)]
pub(crate) struct Browser {
    python: PathBuf,
    chromium: PathBuf,
}

impl Browser {
    /// What is there; `None`, and said, where something is missing.
    pub(crate) fn find() -> Option<Self> {
        let chromium = std::env::var_os("CHROMIUM").map_or_else(|| CHROMIUM.into(), PathBuf::from);
        if !chromium.exists() {
            println!("skipped: there is no browser at {}", chromium.display());
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/playwright");
        let found = Command::new(script).output().unwrap();
        if !found.status.success() {
            let why = String::from_utf8_lossy(&found.stderr);
            println!("skipped: there is no Playwright here: {}", why.trim());
            return None;
        }
        let python = String::from_utf8(found.stdout).unwrap().trim().into();
        Some(Self { python, chromium })
    }

    /// Runs a scenario to its end, and does what it asks for meanwhile: a line of JSON for a line of JSON.
    pub(crate) fn run(
        &self,
        scenario: &str,
        url: &str,
        token: &str,
        mut act: impl FnMut(&Value) -> Value,
    ) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../control-plane/tests/dashboard/scenarios.py");
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(&self.python)
            .arg(script)
            .args([scenario, url])
            .env("LAVENDER_TOKEN", token)
            .env("CHROMIUM", &self.chromium)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Of its own, and gone with it.
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = child.stdin.take().unwrap();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let asked =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            writeln!(answers, "{}", act(&asked)).unwrap();
        }
        assert!(child.wait().unwrap().success(), "{scenario} failed; why stands above");
    }
}
