//! What loads and yet smells: rules that say too little of themselves, or do not do what they seem to.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use lavender_core::RuleMeta;
use rsigma_parser::ConditionExpr;
use serde::Serialize;

use crate::attack;
use crate::correlate::Correlation;
use crate::event::{EventField, Route};
use crate::outlook::{Nothing, Possible, outlook};
use crate::rule::{
    Detection, Document, Entry, Node, Value, names_matching, parse_documents, read_yaml, to_json,
};
use crate::ruleset::{Rule, RuleSet};
use crate::truth::Truth;

/// Something in a rule that should be looked at: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The rule's file.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u32,
    /// What kind of thing it is.
    pub smell: Smell,
    /// The rule's title.
    pub rule: Arc<str>,
    /// What it is, in words.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, smell, rule, message } = self;
        write!(f, "{file}:{line}: {smell}: {message} (in `{rule}`)")
    }
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Smell {
    /// A key that every rule should have is missing: id, level, status, description, falsepositives, tags.
    MissingKey,
    /// A tag that is not of the form `namespace.name`, or names nothing that ATT&CK has.
    Tag,
    /// No events that it is tested on.
    Untested,
    /// `|all` on one value.
    AllOfOne,
    /// A list of one value.
    ListOfOne,
    /// A search that says the same as another.
    DuplicateSearch,
    /// A search that no condition names.
    UnusedSearch,
    /// A condition that can never hold.
    NeverMatches,
    /// A condition that a record without any field fulfils.
    MatchesNothingInParticular,
    /// A title that another rule has too.
    DuplicateTitle,
    /// A field under `novelty` that no event of the rule's log source has, so that nothing is ever new.
    NoveltyField,
    /// It asks to `prevent` what it finds, and says something that the kernel cannot decide.
    Unpreventable,
}

impl Smell {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::Tag => "tag",
            Self::Untested => "untested",
            Self::AllOfOne => "all_of_one",
            Self::ListOfOne => "list_of_one",
            Self::DuplicateSearch => "duplicate_search",
            Self::UnusedSearch => "unused_search",
            Self::NeverMatches => "never_matches",
            Self::MatchesNothingInParticular => "matches_nothing_in_particular",
            Self::DuplicateTitle => "duplicate_title",
            Self::NoveltyField => "novelty_field",
            Self::Unpreventable => "unpreventable",
        }
    }
}

impl fmt::Display for Smell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The keys that a rule should have, though it loads without.
const EXPECTED_KEYS: [&str; 6] = ["id", "level", "status", "description", "falsepositives", "tags"];

/// Looks at the rules of a set. `files` are the texts that they were loaded from, by the names that
/// [`Rule::file`](crate::Rule::file) gives; `tests` are their test files ([`run_tests`](crate::run_tests)). What did
/// not load is not looked at.
///
/// ```
/// use lavender_detect::{RuleSetBuilder, Smell, lint};
///
/// let text = "
/// title: Whoami
/// logsource: {product: linux, category: process_creation}
/// detection:
///   selection: {Image|endswith: [/whoami]}
///   condition: selection
/// ";
/// let mut builder = RuleSetBuilder::new();
/// builder.add_str("whoami.yml", text);
/// let rules = builder.build()?.rules;
/// let findings = lint(&rules, [("whoami.yml", text)], []);
/// let list = findings.iter().find(|finding| finding.smell == Smell::ListOfOne).unwrap();
/// assert_eq!(list.to_string(), "whoami.yml:5: list_of_one: `Image|endswith` is a list of one value (in `Whoami`)");
/// # Ok::<(), lavender_detect::RuleErrors>(())
/// ```
pub fn lint<'t>(
    rules: &RuleSet,
    files: impl IntoIterator<Item = (&'t str, &'t str)>,
    tests: impl IntoIterator<Item = (&'t str, &'t str)>,
) -> Vec<Finding> {
    let loaded = rules.iter().map(|rule| ((&**rule.file(), rule.line()), rule)).collect();
    let correlations = rules.correlations().iter().map(|c| ((&**c.file(), c.line()), c)).collect();
    let mut linter = Linter { rules, loaded, correlations, findings: Vec::new() };
    let tested = tested(tests);
    for rule in rules.iter() {
        linter.rule(rule);
        linter.novelty(rule);
        if let Some(Err(why)) = rules.prevents(rule) {
            let message = format!("the kernel can't decide it: {why}");
            linter.find(rule, rule.line(), Smell::Unpreventable, message);
        }
    }
    for subject in linter.subjects() {
        if !tested.contains(&*subject.meta.id) {
            let message = "no test file has cases for it";
            linter.find(subject, subject.line, Smell::Untested, message);
        }
    }
    linter.titles();
    for (name, text) in files {
        linter.file(name, text);
    }
    linter.findings.sort();
    linter.findings
}

/// The ids of the rules for which there are cases.
fn tested<'t>(tests: impl IntoIterator<Item = (&'t str, &'t str)>) -> HashSet<String> {
    let documents = tests.into_iter().flat_map(|(_, text)| read_yaml(text).0);
    documents
        .filter_map(|document| Some(document.get("rule")?.scalar_text()?.into_owned()))
        .collect()
}

/// A rule or a correlation, as findings name it.
#[derive(Clone, Copy)]
struct Subject<'a> {
    file: &'a Arc<str>,
    line: u32,
    meta: &'a RuleMeta,
}

impl<'a> From<&'a Rule> for Subject<'a> {
    fn from(rule: &'a Rule) -> Self {
        Self { file: rule.file(), line: rule.line(), meta: rule.meta() }
    }
}

impl<'a> From<&'a Correlation> for Subject<'a> {
    fn from(rule: &'a Correlation) -> Self {
        Self { file: rule.file(), line: rule.line(), meta: rule.meta() }
    }
}

struct Linter<'a> {
    rules: &'a RuleSet,
    /// By file and line.
    loaded: HashMap<(&'a str, u32), &'a Rule>,
    correlations: HashMap<(&'a str, u32), &'a Correlation>,
    findings: Vec<Finding>,
}

impl<'a> Linter<'a> {
    fn find<'s>(
        &mut self,
        subject: impl Into<Subject<'s>>,
        line: u32,
        smell: Smell,
        message: impl Into<String>,
    ) {
        let subject = subject.into();
        let (file, title) = (Arc::clone(subject.file), Arc::clone(&subject.meta.title));
        self.findings.push(Finding { file, line, smell, rule: title, message: message.into() });
    }

    /// Every rule and every correlation.
    fn subjects(&self) -> Vec<Subject<'a>> {
        let rules: &'a RuleSet = self.rules;
        let correlations = rules.correlations().iter().map(Subject::from);
        rules.iter().map(Subject::from).chain(correlations).collect()
    }

    /// What the compiled rule tells.
    fn rule(&mut self, rule: &Rule) {
        let line = rule.line();
        let predicates = &self.rules.inner().predicates;
        if outlook(&rule.expression, predicates, &|_| Possible::Anything) == Truth::False {
            self.find(rule, line, Smell::NeverMatches, "its condition can never hold");
        } else if self.rules.explain(rule, &Nothing).truth() == Truth::True {
            let message =
                "it matches a record without any field: it asks only what must not be there";
            self.find(rule, line, Smell::MatchesNothingInParticular, message);
        }
    }

    /// Whether what is to be new is there at all, as far as the log source is one of Lavender's own.
    fn novelty(&mut self, rule: &Rule) {
        let routes =
            Route::ALL.iter().filter(|route| rule.logsource().applies_to(&route.logsource()));
        let routes: Vec<&Route> = routes.collect();
        let Some(clause) = rule.novelty().filter(|_| !routes.is_empty()) else { return };
        for (column, line) in clause.columns.iter().zip(&clause.lines) {
            let field = EventField::ALL.get(column.index());
            if !field.is_some_and(|field| routes.iter().any(|route| route.carries(*field))) {
                let name = self.rules.fields().name(*column);
                let message = format!("no event of {} has the field `{name}`", rule.logsource());
                self.find(rule, *line, Smell::NoveltyField, message);
            }
        }
    }

    fn titles(&mut self) {
        let mut first: HashMap<&str, Subject<'_>> = HashMap::new();
        for subject in self.subjects() {
            match first.get(&*subject.meta.title) {
                None => {
                    first.insert(&subject.meta.title, subject);
                }
                Some(other) => {
                    let message =
                        format!("the rule at {}:{} has the same title", other.file, other.line);
                    self.find(subject, subject.line, Smell::DuplicateTitle, message);
                }
            }
        }
    }

    /// What the text tells.
    fn file(&mut self, name: &str, text: &str) {
        let text = text.trim_start_matches('\u{feff}');
        let (nodes, _) = read_yaml(text);
        for node in &nodes {
            if let Some(rule) = self.loaded.get(&(name, node.line)).copied() {
                self.keys(rule.into(), node);
                self.tags(rule.into(), node);
                self.searches(rule, node);
            }
            if let Some(correlation) = self.correlations.get(&(name, node.line)).copied() {
                self.keys(correlation.into(), node);
                self.tags(correlation.into(), node);
            }
        }
        for document in parse_documents(&name.into(), text, &mut Vec::new()) {
            if let Document::Rule(document) = document
                && let Some(rule) = self.loaded.get(&(name, document.line)).copied()
            {
                self.unused(rule, &document.detection, &nodes);
            }
        }
    }

    fn keys(&mut self, subject: Subject<'_>, node: &Node) {
        for key in EXPECTED_KEYS {
            if node.get(key).is_none_or(|value| matches!(value.value, Value::Null)) {
                let message = format!("`{key}` is missing");
                self.find(subject, subject.line, Smell::MissingKey, message);
            }
        }
    }

    fn tags(&mut self, subject: Subject<'_>, node: &Node) {
        let tags = node.get("tags").and_then(Node::as_list).unwrap_or_default();
        for (line, tag) in tags.iter().filter_map(|tag| Some((tag.line, tag.scalar_text()?))) {
            if !tag.contains('.') {
                let message = format!("`{tag}` has no namespace: `attack.`, `cve.`, …");
                self.find(subject, line, Smell::Tag, message);
            } else if tag.to_ascii_lowercase().starts_with("attack.") && !attack::is_tag(&tag) {
                let message =
                    format!("`{tag}` is no ATT&CK tag: `attack.execution`, `attack.t1059.004`, …");
                self.find(subject, line, Smell::Tag, message);
            }
        }
    }

    fn searches(&mut self, rule: &Rule, node: &Node) {
        let searches: Vec<&Entry> = searches_of(node).collect();
        for (at, entry) in searches.iter().enumerate() {
            let body = to_json(&entry.node);
            if let Some(other) = searches[..at].iter().find(|other| to_json(&other.node) == body) {
                let message = format!("`{}` says the same as `{}`", entry.key, other.key);
                self.find(rule, entry.line, Smell::DuplicateSearch, message);
            }
            self.search(rule, &entry.key, entry.line, &entry.node);
        }
    }

    fn search(&mut self, rule: &Rule, name: &str, line: u32, node: &Node) {
        match &node.value {
            Value::List(items) => {
                if items.len() == 1 {
                    self.find(rule, line, Smell::ListOfOne, format!("`{name}` is a list of one"));
                }
                for item in items {
                    if matches!(item.value, Value::Map(_)) {
                        self.search(rule, name, item.line, item);
                    }
                }
            }
            Value::Map(items) => items.iter().for_each(|item| self.item(rule, item)),
            _ => {}
        }
    }

    fn item(&mut self, rule: &Rule, entry: &Entry) {
        let key = &entry.key;
        let values = entry.node.as_list();
        let one = values.is_none_or(|values| values.len() == 1);
        if one && key.split('|').skip(1).any(|modifier| modifier == "all") {
            self.find(rule, entry.line, Smell::AllOfOne, format!("`{key}` has one value"));
        } else if one && values.is_some() {
            let message = format!("`{key}` is a list of one value");
            self.find(rule, entry.line, Smell::ListOfOne, message);
        }
    }

    fn unused(&mut self, rule: &Rule, detection: &Detection, nodes: &[Node]) {
        let mut used = vec![false; detection.searches.len()];
        for condition in &detection.conditions {
            mark(condition, detection, &mut used);
        }
        let node = nodes.iter().find(|node| node.line == rule.line());
        for ((name, _), used) in detection.searches.iter().zip(used) {
            if !used {
                let entry = node.and_then(|node| searches_of(node).find(|e| *e.key == **name));
                let line = entry.map_or(rule.line(), |entry| entry.line);
                let message = format!("no condition names `{name}`");
                self.find(rule, line, Smell::UnusedSearch, message);
            }
        }
    }
}

/// The searches of a rule, without what else stands under `detection`.
fn searches_of(node: &Node) -> impl Iterator<Item = &Entry> {
    let entries = node.get("detection").and_then(Node::as_map).unwrap_or_default();
    entries.iter().filter(|entry| entry.key != "condition" && entry.key != "timeframe")
}

/// Marks the searches that a condition names.
fn mark(condition: &ConditionExpr, detection: &Detection, used: &mut [bool]) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| mark(part, detection, used));
        }
        ConditionExpr::Not(inner) => mark(inner, detection, used),
        ConditionExpr::Identifier(name) => {
            for ((search, _), used) in detection.searches.iter().zip(used) {
                *used |= **search == **name;
            }
        }
        ConditionExpr::Selector { pattern, .. } => {
            for index in names_matching(pattern, &detection.searches) {
                used[index] = true;
            }
        }
    }
}
