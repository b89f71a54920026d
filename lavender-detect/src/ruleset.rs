//! A compiled, immutable set of rules.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lavender_core::RuleMeta;

use crate::builder::RuleSetBuilder;
use crate::compile::{Expression, PredicateId, Predicates, Subject};
use crate::correlate::{Correlation, Correlations};
use crate::error::RuleErrors;
use crate::evaluate::Evaluator;
use crate::explain::{self, Explanation};
use crate::index::Plan;
use crate::logsource::LogSource;
use crate::record::Record;
use crate::schema::Fields;

/// A set of rules, compiled once and shared by every thread. Cloning is cheap.
///
/// ```
/// use lavender_detect::{FieldValue, FlatRecord, LogSource, RuleSet};
///
/// # fn main() -> Result<(), lavender_detect::RuleErrors> {
/// let rules = RuleSet::from_yaml(
///     "title: Encoded command
/// id: 4d2e1c7a-2f0b-4f0e-9a53-6d6c4b1f0b11
/// logsource: {category: process_creation, product: linux}
/// detection:
///   selection: {CommandLine|contains|all: [base64, ' -d']}
///   condition: selection
/// level: medium
/// ",
/// )?;
/// let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));
/// let line = FieldValue::from("bash -c 'echo aWQ= | base64 -d | sh'");
/// let record = FlatRecord::new(rules.fields(), [("CommandLine", line)]);
/// let titles: Vec<_> = evaluator.matches(&record).map(|m| m.meta().title.to_string()).collect();
/// assert_eq!(titles, ["Encoded command"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RuleSet {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) fields: Fields,
    pub(crate) predicates: Predicates,
    pub(crate) rules: Box<[Rule]>,
    pub(crate) correlations: Correlations,
    /// Whether rules of keywords without a category apply to structured records.
    pub(crate) keywords_on_structured: bool,
    /// Plans made so far, by log source and whether its records are structured.
    plans: Mutex<HashMap<(LogSource, bool), Arc<Plan>>>,
    /// The plan of all rules, once it was asked for.
    unrouted: OnceLock<Arc<Plan>>,
}

/// A rule of a [`RuleSet`].
#[derive(Debug)]
pub struct Rule {
    /// Its place in the set.
    pub(crate) number: u32,
    pub(crate) meta: Arc<RuleMeta>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) logsource: LogSource,
    pub(crate) expression: Expression,
    pub(crate) extension: Option<serde_json::Value>,
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
}

impl Rule {
    /// What it says of itself.
    pub const fn meta(&self) -> &Arc<RuleMeta> {
        &self.meta
    }

    /// Sigma's `name`, by which correlations and filters may call it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether this is its id or its name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        *self.meta.id == *name || self.name.as_deref() == Some(name)
    }

    /// What it is written for.
    pub const fn logsource(&self) -> &LogSource {
        &self.logsource
    }

    /// What stands under its key `lavender`.
    pub const fn extension(&self) -> Option<&serde_json::Value> {
        self.extension.as_ref()
    }

    /// The file that it was read from.
    pub const fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The line on which it begins.
    pub const fn line(&self) -> u32 {
        self.line
    }
}

impl RuleSet {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// A set without rules.
    pub fn empty() -> Self {
        Self::new(Inner::new(
            Fields::new(),
            Predicates::default(),
            Vec::new(),
            Correlations::default(),
            false,
        ))
    }

    /// Reads rules from one text.
    ///
    /// # Errors
    ///
    /// Every fault in it.
    pub fn from_yaml(text: &str) -> Result<Self, RuleErrors> {
        let mut builder = RuleSetBuilder::new();
        builder.add_str("rules", text);
        builder.build().map(|loaded| loaded.rules)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn inner_correlations(&self) -> &Correlations {
        &self.inner.correlations
    }

    /// The rules.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.inner.rules.iter()
    }

    /// The rule with this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.iter().find(|rule| &*rule.meta.id == id)
    }

    /// The correlations of what the rules find.
    pub fn correlations(&self) -> &[Correlation] {
        &self.inner.correlations.all
    }

    /// The correlation with this id.
    pub fn correlation(&self, id: &str) -> Option<&Correlation> {
        self.correlations().iter().find(|correlation| *correlation.meta().id == *id)
    }

    /// Whether a rule is there for correlations only, and none of them says `generate`: what it finds by itself is
    /// nothing to show.
    pub fn is_silent(&self, rule: &Rule) -> bool {
        self.inner.correlations.silent.get(rule.number as usize).is_some_and(|silent| *silent)
    }

    /// How many rules there are, without correlations.
    pub fn len(&self) -> usize {
        self.inner.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.rules.is_empty()
    }

    /// The field names that it knows, and their numbers.
    pub fn fields(&self) -> &Fields {
        &self.inner.fields
    }

    /// Whether `other` is this very set, and not merely an equal one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// An evaluator for records of a log source, with every rule that applies to it.
    ///
    /// The first one for a log source builds its index, some microseconds per rule; those after share it.
    pub fn evaluator(&self, logsource: &LogSource) -> Evaluator {
        Evaluator::new(self.clone(), self.plan(logsource, false))
    }

    /// An evaluator for structured records of a log source: as [`evaluator`](Self::evaluator), without the rules of
    /// keywords that name no category. Those are written for lines of text; on structured records they cost ten
    /// times what all others do together, and find noise.
    /// [`RuleSetBuilder::with_keywords_on_structured_records`] takes them in again.
    pub fn structured_evaluator(&self, logsource: &LogSource) -> Evaluator {
        Evaluator::new(self.clone(), self.plan(logsource, true))
    }

    /// An evaluator with every rule, whatever its log source: for records of which it is not known.
    pub fn unrouted_evaluator(&self) -> Evaluator {
        let inner = &*self.inner;
        let plan = inner.unrouted.get_or_init(|| {
            let rules = inner.rules.iter().enumerate();
            let rules = rules.map(|(number, rule)| (number as u32, &rule.expression));
            Arc::new(Plan::new(rules, &inner.predicates))
        });
        Evaluator::new(self.clone(), Arc::clone(plan))
    }

    fn plan(&self, logsource: &LogSource, structured: bool) -> Arc<Plan> {
        let inner = &*self.inner;
        let structured = structured && !inner.keywords_on_structured;
        let key = (logsource.clone(), structured);
        let mut plans = inner.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.entry(key).or_insert_with(|| {
            let applies = |rule: &Rule| {
                rule.logsource.applies_to(logsource) && !(structured && inner.leaves_to_text(rule))
            };
            let rules = inner.rules.iter().enumerate().filter(|(_, rule)| applies(rule));
            let rules = rules.map(|(number, rule)| (number as u32, &rule.expression));
            Arc::new(Plan::new(rules, &inner.predicates))
        });
        Arc::clone(plan)
    }

    /// How a rule's condition comes out on a record, part by part. Allocates; costs some microseconds.
    pub fn explain<R: Record + ?Sized>(&self, rule: &Rule, record: &R) -> Explanation {
        let inner = &*self.inner;
        explain::explain(&rule.expression, &inner.predicates, &inner.fields, record)
    }

    /// The names of the fields that a rule looks at.
    pub fn fields_of(&self, rule: &Rule) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        rule.expression.each_test(&mut |id: PredicateId| {
            if let Subject::Field(field) = self.inner.predicates.get(id).subject {
                names.push(Arc::clone(self.inner.fields.name(field)));
            }
        });
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the indexes made so far take, in bytes.
    pub fn index_bytes(&self) -> usize {
        let plans = self.inner.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.values().chain(self.inner.unrouted.get()).map(|plan| plan.heap_bytes()).sum()
    }
}

impl Inner {
    pub(crate) fn new(
        fields: Fields,
        mut predicates: Predicates,
        rules: Vec<Rule>,
        correlations: Correlations,
        keywords_on_structured: bool,
    ) -> Self {
        predicates.freeze();
        Self {
            fields,
            predicates,
            rules: rules.into(),
            correlations,
            keywords_on_structured,
            plans: Mutex::new(HashMap::new()),
            unrouted: OnceLock::new(),
        }
    }

    /// Whether a rule is for lines of text: one of keywords that names no category.
    pub(crate) fn leaves_to_text(&self, rule: &Rule) -> bool {
        !self.keywords_on_structured && rule.logsource.category.is_none() && self.has_keywords(rule)
    }

    fn has_keywords(&self, rule: &Rule) -> bool {
        let mut found = false;
        rule.expression.each_test(&mut |id| {
            found |= self.predicates.get(id).subject == Subject::AnyValue;
        });
        found
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet")
            .field("rules", &self.len())
            .field("predicates", &self.inner.predicates.len())
            .finish_non_exhaustive()
    }
}
