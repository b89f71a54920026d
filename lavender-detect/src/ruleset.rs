//! A compiled, immutable set of rules.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lavender_core::event::Event;
use lavender_core::{PreventionAction, RuleMeta};

use crate::builder::RuleSetBuilder;
use crate::compile::{Expression, PredicateId, Predicates, Subject};
use crate::correlate::{Correlation, Correlations};
use crate::error::RuleErrors;
use crate::evaluate::Evaluator;
use crate::event::Route;
use crate::event::audit::{AuditFields, AuditRecord, AuditView};
use crate::explain::{self, Explanation};
use crate::index::Plan;
use crate::logsource::LogSource;
use crate::novelty::NoveltyClause;
use crate::outlook::{narrowed, outlook};
use crate::record::Record;
use crate::schema::{FieldId, Fields};
use crate::truth::Truth;

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
    /// Which of the fields are audit's.
    pub(crate) audit_fields: AuditFields,
    pub(crate) predicates: Predicates,
    pub(crate) rules: Box<[Rule]>,
    pub(crate) correlations: Correlations,
    /// Whether rules of keywords without a category apply to structured records.
    pub(crate) keywords_on_structured: bool,
    /// Plans made so far.
    plans: Mutex<HashMap<PlanKey, Arc<Plan>>>,
    /// The plan of all rules, once it was asked for.
    unrouted: OnceLock<Arc<Plan>>,
}

/// Which records a plan is for.
#[derive(PartialEq, Eq, Hash)]
enum PlanKey {
    /// Any of a log source.
    LogSource(LogSource),
    /// Those of a log source that have fields, and are not lines of text.
    Structured(LogSource),
    /// An event as one of audit's records.
    Audit(AuditView),
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
    pub(crate) novelty: Option<NoveltyClause>,
    pub(crate) prevents: Option<PreventionAction>,
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

    /// Of which values only the first sight counts, where it says so: [`novelty`](crate::novelty).
    pub const fn novelty(&self) -> Option<&NoveltyClause> {
        self.novelty.as_ref()
    }

    /// What the kernel is to do about what it finds: `prevent` under its key `lavender`. [`RuleSet::preventions`] tells
    /// whether it can.
    pub const fn prevents(&self) -> Option<PreventionAction> {
        self.prevents
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
        Evaluator::new(self.clone(), self.plan(PlanKey::LogSource(logsource.clone())))
    }

    /// An evaluator for structured records of a log source: as [`evaluator`](Self::evaluator), without the rules of
    /// keywords that name no category, and for audit no field. Those are written for lines of text; on structured records they cost ten
    /// times what all others do together, and find noise.
    /// [`RuleSetBuilder::with_keywords_on_structured_records`] takes them in again.
    pub fn structured_evaluator(&self, logsource: &LogSource) -> Evaluator {
        Evaluator::new(self.clone(), self.plan(PlanKey::Structured(logsource.clone())))
    }

    /// An evaluator for one of audit's records, with the rules of `product: linux, service: auditd` that could match
    /// it: one that asks for another type of record, or another system call, is left out. Rules of keywords alone
    /// are for lines of text, as in [`structured_evaluator`](Self::structured_evaluator).
    pub fn audit_evaluator(&self, view: AuditView) -> Evaluator {
        Evaluator::new(self.clone(), self.plan(PlanKey::Audit(view)))
    }

    /// An event as one of audit's records. It has a field only where the event is of the record's kind
    /// ([`AuditView::of`]).
    ///
    /// ```
    /// use lavender_detect::{AuditView, RuleSet};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let rules = RuleSet::from_yaml(
    ///     "title: Search for programs that run as their owner
    /// logsource: {product: linux, service: auditd}
    /// detection:
    ///   selection: {type: EXECVE, a0: find, a2: -perm}
    ///   condition: selection
    /// ",
    /// )?;
    /// # let line = r#"{"id":"00000000-0000-8000-8000-000000000001","kind":"exec","observed_at":1,"boot_time":2,
    /// #     "data":{"filename":"/usr/bin/find"},"process":{"exec_id":{"process":
    /// #     "00000000-0000-8000-8000-000000000001","generation":1},"pid":7,"namespace_pid":7,"name":"find",
    /// #     "executable":{"path":"/usr/bin/find","inode":1,"device":1},"arguments":["find","/","-perm","-4000"],
    /// #     "working_directory":"/","credentials":{"uid":0,"euid":0,"gid":0,"egid":0,"capabilities_effective":0},
    /// #     "cgroup_id":1,"namespaces":{"cgroup":0,"mnt":0,"net":0,"pid":0,"user":0,"uts":0}}}"#;
    /// let event = lavender_core::codec::event_from_json(line)?; // an exec of `find / -perm -4000`
    /// let record = rules.audit_record(AuditView::ExecArguments, &event);
    /// let mut evaluator = rules.audit_evaluator(AuditView::ExecArguments);
    /// assert_eq!(evaluator.matches(&record).count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn audit_record<'a>(&'a self, view: AuditView, event: &'a Event) -> AuditRecord<'a> {
        AuditRecord::new(view, event, &self.inner.audit_fields)
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

    fn plan(&self, key: PlanKey) -> Arc<Plan> {
        let inner = &*self.inner;
        let mut plans = inner.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&key) {
            return Arc::clone(plan);
        }
        let rules = inner.rules.iter().enumerate();
        let rules: Vec<(u32, Cow<'_, Expression>)> = rules
            .filter_map(|(number, rule)| Some((number as u32, inner.planned(rule, &key)?)))
            .collect();
        let rules = rules.iter().map(|(number, expression)| (*number, &**expression));
        let plan = Arc::new(Plan::new(rules, &inner.predicates));
        plans.insert(key, Arc::clone(&plan));
        plan
    }

    /// How a rule's condition comes out on a record, part by part. Allocates; costs some microseconds.
    pub fn explain<R: Record + ?Sized>(&self, rule: &Rule, record: &R) -> Explanation {
        let inner = &*self.inner;
        explain::explain(&rule.expression, &inner.predicates, &inner.fields, record)
    }

    /// The names of the fields that a rule looks at.
    pub fn fields_of(&self, rule: &Rule) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        self.inner.each_field(rule, &mut |field| {
            names.push(Arc::clone(self.inner.fields.name(field)));
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
            audit_fields: AuditFields::new(&fields),
            fields,
            predicates,
            rules: rules.into(),
            correlations,
            keywords_on_structured,
            plans: Mutex::new(HashMap::new()),
            unrouted: OnceLock::new(),
        }
    }

    /// What of a rule is evaluated on such records; `None` where it is not for them.
    fn planned<'r>(&self, rule: &'r Rule, key: &PlanKey) -> Option<Cow<'r, Expression>> {
        let applies = match key {
            PlanKey::LogSource(logsource) => rule.logsource.applies_to(logsource),
            PlanKey::Structured(logsource) => {
                rule.logsource.applies_to(logsource) && !self.leaves_to_text(rule)
            }
            PlanKey::Audit(view) => {
                let serves = AuditView::serves(&rule.logsource) && !self.leaves_to_text(rule);
                if !serves || self.audit_outlook(rule, *view) == Truth::False {
                    return None;
                }
                // The record's type, which every rule asks for, and whatever else is known is asked no more.
                let possible = |field| view.possible_of(&self.audit_fields, field);
                return Some(Cow::Owned(narrowed(&rule.expression, &self.predicates, &possible)));
            }
        };
        applies.then_some(Cow::Borrowed(&rule.expression))
    }

    /// What of a rule is evaluated on the events of a route; `None` where it is not for them.
    pub(crate) fn planned_on<'r>(
        &self,
        rule: &'r Rule,
        route: Route,
    ) -> Option<Cow<'r, Expression>> {
        self.planned(rule, &PlanKey::Structured(route.logsource()))
    }

    /// What of a rule is evaluated on one of audit's records; `None` where it is not for them.
    pub(crate) fn planned_as<'r>(
        &self,
        rule: &'r Rule,
        view: AuditView,
    ) -> Option<Cow<'r, Expression>> {
        self.planned(rule, &PlanKey::Audit(view))
    }

    /// Gives `visit` every field that a rule looks at, some more than once.
    pub(crate) fn each_field(&self, rule: &Rule, visit: &mut dyn FnMut(FieldId)) {
        rule.expression.each_test(&mut |id: PredicateId| {
            let predicate = self.predicates.get(id);
            if let Subject::Field(field) = predicate.subject {
                visit(field);
            }
        });
        rule.novelty().into_iter().flat_map(|clause| &clause.columns).copied().for_each(visit);
    }

    /// How a rule comes out on a record of audit's, before there is one.
    pub(crate) fn audit_outlook(&self, rule: &Rule, view: AuditView) -> Truth {
        outlook(&rule.expression, &self.predicates, &|field| {
            view.possible_of(&self.audit_fields, field)
        })
    }

    /// Whether a rule is for lines of text: one of keywords that names no category. One for audit that names fields
    /// beside its keywords (`type: EXECVE`, most often) is for records.
    pub(crate) fn leaves_to_text(&self, rule: &Rule) -> bool {
        if self.keywords_on_structured || rule.logsource.category.is_some() {
            return false;
        }
        let (mut keywords, mut fields) = (false, false);
        rule.expression.each_test(&mut |id| match self.predicates.get(id).subject {
            Subject::AnyValue => keywords = true,
            Subject::Field(_) => fields = true,
        });
        keywords && !(fields && AuditView::serves(&rule.logsource))
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
