//! The public Sigma rules: `SIGMA_RULES` names a directory that holds a copy of the SigmaHQ repository.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lavender_detect::{JsonFields, Placeholders, RuleSetBuilder};
use serde_json::Value;

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

/// An event of the recorded ones, and the rules that it was recorded for.
struct Recorded {
    folder: PathBuf,
    rules: Vec<String>,
    event: Value,
}

/// The recorded events: one JSON file beside an `info.yml` that names the rule.
fn recorded(directory: &Path, found: &mut Vec<Recorded>) {
    let info = std::fs::read_to_string(directory.join("info.yml"));
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            recorded(&path, found);
        } else if let (true, Ok(info)) = (path.extension().is_some_and(|e| e == "json"), &info) {
            let text = std::fs::read_to_string(&path).unwrap();
            for event in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
                let rules = info.lines().filter_map(|line| line.trim().strip_prefix("- id: "));
                let rules = rules.map(str::to_owned).collect();
                found.push(Recorded {
                    folder: directory.to_owned(),
                    rules,
                    event: flat(&event.unwrap()),
                });
            }
        }
    }
}

/// A Windows event as rules see it: the data of the event beside its id and channel, under names without spaces.
fn flat(event: &Value) -> Value {
    let mut flat = serde_json::Map::new();
    let system = &event["Event"]["System"];
    for key in ["EventID", "Channel", "Computer"] {
        flat.insert(key.into(), system[key].clone());
    }
    flat.insert("Provider_Name".into(), system["Provider"]["#attributes"]["Name"].clone());
    for part in ["EventData", "UserData"] {
        if let Some(data) = event["Event"][part].as_object() {
            for (key, value) in data {
                flat.insert(key.replace(' ', ""), value.clone());
            }
        }
    }
    Value::Object(flat)
}

#[test]
fn recorded_events_match_their_rules_and_the_reference_agrees_on_all_others() {
    let Some(corpus) = corpus() else { return };
    let rules = builder(&corpus).build().unwrap_or_else(|errors| panic!("{errors}")).rules;
    let mut events = Vec::new();
    recorded(&corpus.join("regression_data"), &mut events);
    assert!(events.len() > 100, "only {} recorded events", events.len());

    let mut parsed = Vec::new();
    for rule in rules.iter() {
        let text = std::fs::read_to_string(&**rule.file()).unwrap();
        let document = rsigma_parser::parse_sigma_yaml(&text).unwrap().rules;
        parsed.extend(
            document.into_iter().filter(|rule| !text.contains("|expand") || rule.id.is_none()),
        );
    }
    let fields = JsonFields::new(rules.fields());
    let mut evaluator = rules.unrouted_evaluator();
    let mut by_folder = BTreeMap::new();
    let mut matches = 0;
    for recorded in &events {
        let record = fields.record(&recorded.event);
        let found: BTreeSet<&str> =
            evaluator.matches(&record).map(|found| &*found.rule().meta().id).collect();
        let expected: BTreeSet<&str> = parsed
            .iter()
            .filter(|rule| reference::matches(rule, &recorded.event))
            .filter_map(|rule| rule.id.as_deref())
            .collect();
        matches += expected.len();
        assert_eq!(found, expected, "{}", recorded.folder.display());
        let hit = recorded.rules.iter().any(|id| found.contains(&**id));
        *by_folder.entry(&recorded.folder).or_insert(false) |= hit;
    }
    // A recording may hold events around the one that matters.
    let unmatched: Vec<_> = by_folder.iter().filter(|(_, hit)| !**hit).collect();
    println!("{} events, {} rules, {matches} matches", events.len(), rules.len());
    assert!(unmatched.is_empty(), "{unmatched:#?}");
}
