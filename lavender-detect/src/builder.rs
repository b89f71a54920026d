//! Loading: from files to a [`RuleSet`], or to every fault in them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builtin;
use crate::compile::{Expression, Lowering, Placeholders, Predicates, lower_detection};
use crate::correlate::{Correlations, compile};
use crate::error::{Fault, RuleErrors};
use crate::novelty::NoveltyClause;
use crate::rule::{
    CorrelationDocument, Detection, Document, FilterDocument, RuleDocument, parse_documents,
};
use crate::ruleset::{Inner, Rule, RuleSet};
use crate::schema::Fields;

/// A rule file larger than this is refused: the largest public one has some tens of KiB.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Directories nested deeper than this are refused; a link that leads back up nests without end.
const MAX_DIRECTORY_DEPTH: usize = 32;

/// Gathers rule files and compiles them.
///
/// ```
/// use lavender_detect::RuleSetBuilder;
///
/// let mut builder = RuleSetBuilder::new();
/// builder.add_str("broken.yml", "
/// title: Broken
/// logsource: {product: linux}
/// detection:
///   selection:
///     Image|endwith: /nc
///   condition: selektion
/// ");
/// let errors = builder.build().unwrap_err();
/// assert_eq!(errors.faults[0].to_string(), "broken.yml:6: `endwith` is not a modifier (in `Broken`)");
/// ```
#[derive(Debug, Default)]
pub struct RuleSetBuilder {
    placeholders: Placeholders,
    mapping: HashMap<String, String>,
    skip_correlations: bool,
    keywords_on_structured: bool,
    rules: Vec<(Arc<str>, RuleDocument)>,
    filters: Vec<(Arc<str>, FilterDocument)>,
    correlations: Vec<(Arc<str>, CorrelationDocument)>,
    skipped: Vec<Fault>,
    faults: Vec<Fault>,
    files: usize,
    /// How many rules and correlations give way to what has their ids.
    giving_way: (usize, usize),
}

/// What [`RuleSetBuilder::build`] made.
#[derive(Debug)]
pub struct Loaded {
    /// The rules.
    pub rules: RuleSet,
    /// How many files they came from.
    pub files: usize,
    /// How many filters were added to them.
    pub filters: usize,
    /// Correlations that were left out, when that was asked for, each with its place.
    pub skipped: Vec<Fault>,
}

impl RuleSetBuilder {
    /// A builder without rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives placeholders their values.
    #[must_use]
    pub fn with_placeholders(mut self, placeholders: Placeholders) -> Self {
        self.placeholders = placeholders;
        self
    }

    /// Lets fields of rules stand for fields of other names in the records: pairs of the rule's name and the
    /// record's.
    #[must_use]
    pub fn with_field_mapping<A: Into<String>, B: Into<String>>(
        mut self,
        mapping: impl IntoIterator<Item = (A, B)>,
    ) -> Self {
        self.mapping.extend(mapping.into_iter().map(|(rule, record)| (rule.into(), record.into())));
        self
    }

    /// Leaves out correlation documents, and says which ([`Loaded::skipped`]): for who looks at single events only.
    #[must_use]
    pub const fn with_correlations_skipped(mut self) -> Self {
        self.skip_correlations = true;
        self
    }

    /// Lets rules of keywords that name no category apply to structured records too; see
    /// [`RuleSet::structured_evaluator`].
    #[must_use]
    pub const fn with_keywords_on_structured_records(mut self) -> Self {
        self.keywords_on_structured = true;
        self
    }

    /// Adds the documents of a text. `name` is what faults call it.
    pub fn add_str(&mut self, name: &str, text: &str) -> &mut Self {
        let file: Arc<str> = name.into();
        self.files += 1;
        for document in parse_documents(&file, text, &mut self.faults) {
            match document {
                Document::Rule(rule) => self.rules.push((Arc::clone(&file), *rule)),
                Document::Filter(filter) => self.filters.push((Arc::clone(&file), filter)),
                Document::Correlation(correlation) if self.skip_correlations => {
                    let CorrelationDocument { meta, line, .. } = *correlation;
                    let reason = "a correlation: this set is for rules on single events".to_owned();
                    let file = Arc::clone(&file);
                    self.skipped.push(Fault { file, line, rule: Some(meta.title), reason });
                }
                Document::Correlation(correlation) => {
                    self.correlations.push((Arc::clone(&file), *correlation));
                }
            }
        }
        self
    }

    /// Adds the rules that come with Lavender, and their placeholders' values; those given by
    /// [`with_placeholders`](Self::with_placeholders) come first.
    pub fn add_builtin(&mut self) -> &mut Self {
        for (name, text) in builtin::rules() {
            self.add_str(name, text);
        }
        self.add_builtin_placeholders()
    }

    /// Gives the placeholders that have no value yet those of the rules that come with Lavender.
    pub fn add_builtin_placeholders(&mut self) -> &mut Self {
        self.placeholders.merge(builtin::placeholders());
        self
    }

    fn add_placeholders(&mut self, name: &str, text: &str) {
        match Placeholders::from_yaml(name, text) {
            Ok(placeholders) => self.placeholders.merge(placeholders),
            Err(faults) => self.faults.extend(faults),
        }
    }

    /// Lets what is added from now on take the place of what was added before and has the same id: where a rule of one's
    /// own replaces one that everybody has.
    ///
    /// ```
    /// use lavender_detect::RuleSetBuilder;
    ///
    /// let rule = |level: &str| format!(
    ///     "title: T\nid: 7\nlogsource: {{product: linux}}\ndetection: {{s: {{Image: /x}}, condition: s}}\nlevel: {level}\n"
    /// );
    /// let mut builder = RuleSetBuilder::new();
    /// builder.add_str("theirs.yml", &rule("low")).replace_earlier().add_str("ours.yml", &rule("high"));
    /// let rules = builder.build()?.rules;
    /// assert_eq!(rules.iter().map(|rule| rule.meta().level.as_str()).collect::<Vec<_>>(), ["high"]);
    /// # Ok::<(), lavender_detect::RuleErrors>(())
    /// ```
    pub fn replace_earlier(&mut self) -> &mut Self {
        self.give_way();
        self.giving_way = (self.rules.len(), self.correlations.len());
        self
    }

    /// Removes what was replaced.
    fn give_way(&mut self) {
        let (rules, correlations) = std::mem::take(&mut self.giving_way);
        let of_rules = self.rules[rules..].iter().map(|(_, rule)| &rule.meta.id);
        let of_correlations = self.correlations[correlations..].iter().map(|(_, it)| &it.meta.id);
        let newer: HashSet<Arc<str>> = of_rules.chain(of_correlations).cloned().collect();
        let mut place = 0;
        self.rules.retain(|(_, rule)| {
            place += 1;
            place > rules || !newer.contains(&rule.meta.id)
        });
        place = 0;
        self.correlations.retain(|(_, correlation)| {
            place += 1;
            place > correlations || !newer.contains(&correlation.meta.id)
        });
    }

    /// Adds a file of a set by its name and text, as [`add_dir`](Self::add_dir) does: `placeholders.yml` gives values to
    /// placeholders, and `*.test.yml` is left alone.
    pub fn add_file_of_set(&mut self, name: &str, text: &str) -> &mut Self {
        match name.rsplit('/').next() {
            Some(builtin::PLACEHOLDERS) => self.add_placeholders(name, text),
            Some(file) if !is_rule_file(file) => {}
            _ => {
                self.add_str(name, text);
            }
        }
        self
    }

    /// Adds a file.
    pub fn add_file(&mut self, path: &Path) -> &mut Self {
        match read(path) {
            Ok(text) => self.add_str(&path.to_string_lossy(), &text),
            Err(reason) => self.fault_of(path, reason),
        }
    }

    /// Adds every `.yml` and `.yaml` file under a directory, in the order of their names. Files whose names begin
    /// with a dot, and `*.test.yml` (the events that rules are tested on), are left alone. `placeholders.yml` gives
    /// values to placeholders (see [`Placeholders::from_yaml`]).
    pub fn add_dir(&mut self, directory: &Path) -> &mut Self {
        let mut files = Vec::new();
        self.list(directory, 0, &mut files);
        for file in &files {
            if file.file_name().is_some_and(|name| name == builtin::PLACEHOLDERS) {
                match read(file) {
                    Ok(text) => self.add_placeholders(&file.to_string_lossy(), &text),
                    Err(reason) => {
                        self.fault_of(file, reason);
                    }
                }
            } else {
                self.add_file(file);
            }
        }
        self
    }

    /// Adds a file, or all of a directory.
    pub fn add_path(&mut self, path: &Path) -> &mut Self {
        if path.is_dir() { self.add_dir(path) } else { self.add_file(path) }
    }

    fn fault_of(&mut self, path: &Path, reason: String) -> &mut Self {
        let file = path.to_string_lossy().into();
        self.faults.push(Fault { file, line: 0, rule: None, reason });
        self
    }

    fn list(&mut self, directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
        if depth > MAX_DIRECTORY_DEPTH {
            self.fault_of(directory, "directories are nested too deeply".to_owned());
            return;
        }
        let entries = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.fault_of(directory, format!("cannot be listed: {error}"));
                return;
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                self.list(&path, depth + 1, files);
            } else if is_rule_file(&name) {
                files.push(path);
            }
        }
    }

    /// Compiles what was added.
    ///
    /// # Errors
    ///
    /// Every fault of every file. Nothing is loaded then.
    pub fn build(self) -> Result<Loaded, RuleErrors> {
        let (loaded, faults) = self.build_partial();
        if faults.is_empty() { Ok(loaded) } else { Err(RuleErrors { faults }) }
    }

    /// Compiles what can be compiled, and says what is wrong with the rest: for tools that look at rules. Whoever
    /// runs them wants [`build`](Self::build), which refuses a set with a fault as a whole.
    pub fn build_partial(mut self) -> (Loaded, Vec<Fault>) {
        self.give_way();
        let mut refused = self.check_ids();
        let mut fields = Fields::new();
        let mut predicates = Predicates::default();
        let mut faults = std::mem::take(&mut self.faults);
        let mut lower = |detection: &Detection, fields: &mut Fields| {
            let mut lowering = Lowering {
                fields,
                predicates: &mut predicates,
                placeholders: &self.placeholders,
                mapping: &self.mapping,
                faults: Vec::new(),
            };
            (lower_detection(detection, &mut lowering), lowering.faults)
        };
        let mut rules = Vec::with_capacity(self.rules.len());
        for ((file, document), refused) in self.rules.iter_mut().zip(&mut refused) {
            let (expression, mut found) = lower(&document.detection, &mut fields);
            let novelty = document.novelty.take();
            let novelty = novelty.map(|it| NoveltyClause::compile(it, &mut fields, &self.mapping));
            let novelty = novelty.transpose().unwrap_or_else(|fault| {
                found.push(fault);
                None
            });
            *refused |= !found.is_empty();
            faults.extend(found.into_iter().map(fault_in(file, &document.meta.title)));
            rules.push(Rule {
                number: 0,
                meta: Arc::new(std::mem::take(&mut document.meta)),
                name: document.name.take(),
                logsource: std::mem::take(&mut document.logsource),
                expression,
                novelty,
                prevents: document.prevents,
                extension: document.extension.take(),
                file: Arc::clone(file),
                line: document.line,
            });
        }
        let called = if self.filters.is_empty() { HashMap::new() } else { callable(&rules) };
        let mut filters = 0;
        for (file, filter) in &self.filters {
            let (expression, mut found) = lower(&filter.detection, &mut fields);
            // What is wrong in itself changes no rule.
            let expression = if found.is_empty() { expression } else { Expression::Constant(true) };
            found.extend(apply(&mut rules, &called, filter, &expression));
            filters += usize::from(found.is_empty());
            faults.extend(found.into_iter().map(fault_in(file, &filter.title)));
        }
        let rules = rules.into_iter().zip(refused);
        let mut rules: Vec<Rule> =
            rules.filter(|(_, refused)| !refused).map(|(rule, _)| rule).collect();
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.number = number as u32;
        }
        let correlations = self.compile_correlations(&rules, &mut fields, &mut faults);
        faults.sort();
        faults.dedup();
        let inner =
            Inner::new(fields, predicates, rules, correlations, self.keywords_on_structured);
        let (files, skipped) = (self.files, self.skipped);
        (Loaded { rules: RuleSet::new(inner), files, filters, skipped }, faults)
    }

    /// Compiles the correlations that can be, and adds what is wrong with the others.
    fn compile_correlations(
        &mut self,
        rules: &[Rule],
        fields: &mut Fields,
        faults: &mut Vec<Fault>,
    ) -> Correlations {
        loop {
            match compile(&self.correlations, rules, fields, &self.mapping) {
                Ok(correlations) => return correlations,
                Err(wrong) => {
                    let mut number = 0;
                    let mut refused = vec![false; self.correlations.len()];
                    for (number, line, reason) in wrong {
                        let (file, document) = &self.correlations[number];
                        refused[number] = true;
                        faults.push(fault_in(file, &document.meta.title)((line, reason)));
                    }
                    // Each time some are left out, so it comes to an end.
                    self.correlations.retain(|_| {
                        number += 1;
                        !refused[number - 1]
                    });
                }
            }
        }
    }

    /// Says of each rule whether it is refused because one before it has the same id.
    fn check_ids(&mut self) -> Vec<bool> {
        let mut seen: HashMap<Arc<str>, (Arc<str>, u32)> = HashMap::new();
        let mut refused = Vec::with_capacity(self.rules.len());
        let documents = self.rules.iter().map(|(file, rule)| (file, &rule.meta, rule.line));
        let correlations = self.correlations.iter().map(|(file, c)| (file, &c.meta, c.line));
        for (file, meta, rule_line) in documents.chain(correlations) {
            let id = Arc::clone(&meta.id);
            let other = seen.get(&id);
            refused.push(other.is_some());
            match other {
                None => {
                    seen.insert(id, (Arc::clone(file), rule_line));
                }
                Some((other, line)) => self.faults.push(Fault {
                    file: Arc::clone(file),
                    line: rule_line,
                    rule: Some(Arc::clone(&meta.title)),
                    reason: format!("its id `{id}` is already that of the rule at {other}:{line}"),
                }),
            }
        }
        let mut of_correlations = refused.split_off(self.rules.len()).into_iter();
        self.correlations.retain(|_| !of_correlations.next().unwrap_or_default());
        refused
    }
}

/// Makes a line and a reason a fault of this rule.
fn fault_in(file: &Arc<str>, title: &Arc<str>) -> impl Fn((u32, String)) -> Fault {
    move |(line, reason)| Fault {
        file: Arc::clone(file),
        line,
        rule: Some(Arc::clone(title)),
        reason,
    }
}

/// The numbers of the rules by what filters may call them: their ids and names.
fn callable(rules: &[Rule]) -> HashMap<Arc<str>, Vec<usize>> {
    let mut called: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for (number, rule) in rules.iter().enumerate() {
        let name = rule.name.as_ref().filter(|name| **name != rule.meta.id);
        for key in [&rule.meta.id].into_iter().chain(name) {
            called.entry(Arc::clone(key)).or_default().push(number);
        }
    }
    called
}

/// Adds a filter's condition to the rules that it is for, and says what is wrong with it: line and reason.
fn apply(
    rules: &mut [Rule],
    called: &HashMap<Arc<str>, Vec<usize>>,
    filter: &FilterDocument,
    expression: &Expression,
) -> Vec<(u32, String)> {
    let add = |rule: &mut Rule| {
        let before = std::mem::replace(&mut rule.expression, Expression::Constant(true));
        rule.expression = Expression::all(vec![before, expression.clone()]);
    };
    let Some(names) = &filter.rules else {
        let fitting = rules.iter_mut().filter(|rule| filter.logsource.applies_to(&rule.logsource));
        fitting.for_each(add);
        return Vec::new();
    };
    let mut faults = Vec::new();
    for (line, name) in names {
        let meant = called.get(&**name).map(Vec::as_slice).unwrap_or_default();
        if meant.is_empty() {
            faults.push((
                *line,
                format!("the filter is for `{name}`, and no rule has that id or name"),
            ));
        }
        for number in meant {
            let rule = &mut rules[*number];
            if filter.logsource.applies_to(&rule.logsource) {
                add(rule);
            } else {
                let reason = format!(
                    "the filter's logsource ({}) is not that of the rule `{name}` ({})",
                    filter.logsource, rule.logsource
                );
                faults.push((*line, reason));
            }
        }
    }
    faults
}

fn is_rule_file(name: &str) -> bool {
    let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml"));
    stem.is_some_and(|stem| !stem.ends_with(".test"))
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has {size} bytes, more than {MAX_FILE_BYTES}"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {error}"))
}
