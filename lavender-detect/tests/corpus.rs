//! The public Sigma rules: `SIGMA_RULES` names a directory that holds a copy of the SigmaHQ repository.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use lavender_detect::{Placeholders, RuleSetBuilder};

fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("SIGMA_RULES").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: SIGMA_RULES does not name a copy of the public Sigma rules");
    }
    path
}

/// The folders of rules that can be used as they are, but for the placeholder of two rules.
const FOLDERS: [&str; 3] = ["rules", "rules-emerging-threats", "rules-threat-hunting"];

fn builder(corpus: &Path) -> RuleSetBuilder {
    let placeholders = Placeholders::new().with_values("known_cdcs", ["dc1.example.org"]);
    let mut builder = RuleSetBuilder::new().with_placeholders(placeholders);
    for folder in FOLDERS {
        builder.add_dir(&corpus.join(folder));
    }
    builder
}

#[test]
fn every_public_rule_loads() {
    let Some(corpus) = corpus() else { return };
    let loaded = builder(&corpus).build().unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.rules.len() > 3_500, "only {} rules", loaded.rules.len());
    println!("{} rules loaded", loaded.rules.len());
}

#[test]
fn rules_with_placeholders_load_once_those_have_values() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("rules-placeholder");
    let mut builder = RuleSetBuilder::new();
    builder.add_dir(&folder);
    let errors = builder.build().unwrap_err();
    let unknown = |reason: &str| reason.contains("has no value configured");
    assert!(errors.faults.iter().all(|fault| unknown(&fault.reason)), "{errors}");

    let mut placeholders = Placeholders::new();
    for fault in &errors.faults {
        let name = fault.reason.split('%').nth(1).unwrap();
        placeholders = placeholders.with_values(name, ["10.0.0.1"]);
    }
    let mut builder = RuleSetBuilder::new().with_placeholders(placeholders);
    builder.add_dir(&folder);
    builder.build().unwrap_or_else(|errors| panic!("{errors}"));
}
