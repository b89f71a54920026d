//! The shape of the workspace, held by tests: who may depend on whom, and what must not grow.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const SIBLINGS: [&str; 4] =
    ["lavender-bpf", "lavender-transport", "lavender-detect", "lavender-store"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The normal dependencies of each package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter();
            let names = normal
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect()
}

/// The names of all crates that a package is built from, as `cargo tree` lists them.
fn closure(package: &str, arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-e", "normal", "--prefix", "none", "--format", "{p}", "-p", package])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_crates_form_a_star() {
    let dependencies = dependencies();
    for sibling in SIBLINGS {
        let lavender: Vec<_> =
            dependencies[sibling].iter().filter(|name| name.starts_with("lavender-")).collect();
        assert_eq!(lavender, ["lavender-core"], "{sibling} knows core and no other");
    }
    let core = &dependencies["lavender-core"];
    assert!(!core.iter().any(|name| name.starts_with("lavender-")), "{core:?}");
}

#[test]
fn core_stays_small() {
    let closure = closure("lavender-core", &[]);
    // Macros and their parsers are built, and not part of what runs.
    let at_build = ["proc-macro2", "quote", "syn", "unicode-ident"];
    let runs: Vec<_> = closure
        .iter()
        .filter(|name| {
            !at_build.contains(&name.as_str())
                && !name.ends_with("_derive")
                && !name.ends_with("-impl")
        })
        .collect();
    assert!(runs.len() <= 20, "{} crates: {runs:?}", runs.len());
    for heavy in ["tokio", "libbpf-rs", "libbpf-sys", "rusqlite", "tokio-postgres", "async-nats"] {
        assert!(!closure.contains(heavy), "core must not reach {heavy}");
    }
}

#[test]
fn only_the_sensor_reaches_libbpf() {
    let others = [
        "lavender-detect",
        "lavender-transport",
        "lavender-store",
        "lavender-cookbook",
        "lavender-rules",
    ];
    for package in others {
        assert!(!closure(package, &["--all-features"]).contains("libbpf-sys"), "{package}");
    }
    assert!(!closure("lavender-bpf", &["--no-default-features"]).contains("libbpf-sys"));
    assert!(!closure("lavender-agent", &["--no-default-features"]).contains("libbpf-sys"));
    assert!(closure("lavender-agent", &[]).contains("libbpf-sys"));
}

#[test]
fn detection_is_synchronous() {
    assert!(!closure("lavender-detect", &[]).contains("tokio"));
}

#[test]
fn unsafe_code_is_forbidden_outside_the_sensor() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(inherits || name == "lavender-bpf", "{name} has lints of its own");
    }
}

#[test]
fn binaries_only_compose() {
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let main = entry.unwrap().path().join("src/main.rs");
        if let Ok(text) = std::fs::read_to_string(&main) {
            let lines = text.lines().count();
            assert!(lines <= 150, "{} has {lines} lines; 150 are wiring enough", main.display());
        }
    }
}

#[test]
fn samples_stay_short() {
    let samples = root().join("examples/cookbook/examples");
    for entry in std::fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 80, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "Makefile",
        "README.md",
        "benches",
        "clippy.toml",
        "deny.toml",
        "docs",
        "examples",
        "lavender-bpf",
        "lavender-core",
        "lavender-detect",
        "lavender-store",
        "lavender-transport",
        "rustfmt.toml",
        "target",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "{name}");
    }
}
