//! The evaluator: what a thread holds.

use std::fmt;
use std::sync::Arc;

use lavender_core::{Evidence, RuleMeta};

use super::meter::Meter;
use super::pass::Pass;
use super::scratch::Scratch;
use crate::index::Plan;
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};
use crate::stats::{Entry, Ledger};
use crate::truth::Truth;

/// Evaluates records of one log source, one after the other, on one thread.
///
/// It shares the rules and owns its working memory: evaluating a record allocates nothing. Make one per thread
/// with [`RuleSet::evaluator`].
pub struct Evaluator {
    rules: RuleSet,
    plan: Arc<Plan>,
    scratch: Scratch,
    /// Where what is counted goes; `None` when nobody wants it.
    meter: Option<Meter>,
}

impl Evaluator {
    pub(crate) fn new(rules: RuleSet, plan: Arc<Plan>) -> Self {
        let scratch = Scratch::new(&plan);
        Self { rules, plan, scratch, meter: None }
    }

    /// Counts for these rules' totals, by their numbers in the set.
    pub(crate) fn metered(mut self, ledger: &Arc<Ledger>, entries: &[Arc<Entry>]) -> Self {
        let ledger = Arc::clone(ledger);
        self.meter = Some(Meter::new(ledger, &self.plan, entries, &mut self.scratch));
        self
    }

    /// The rules that match the record, or that cannot be decided on it, in no certain order.
    ///
    /// Costs one pass over the fields that rules wait on, and then the few rules whose witness was seen: some 100 ns
    /// for a Linux event and the public rules, however many rules of other log sources are loaded.
    pub fn matches<'a, R: Record + ?Sized>(
        &'a mut self,
        record: &'a R,
    ) -> impl ExactSizeIterator<Item = Match<'a>> {
        let due = self.meter.as_mut().is_some_and(Meter::count);
        let inner = self.rules.inner();
        let predicates = &inner.predicates;
        Pass::new(&self.plan, predicates, &mut self.scratch, record).run();
        if due {
            self.time(record);
            self.add_up();
        }
        let inner = self.rules.inner();
        let (plan, hits) = (&self.plan, &self.scratch.hits);
        hits.iter().map(move |(rule, truth)| {
            let number = plan.rules[*rule as usize].rule;
            Match { rule: &inner.rules[number as usize], number, truth: *truth }
        })
    }

    /// Times rules on the record that was just evaluated.
    #[cold]
    fn time<R: Record + ?Sized>(&mut self, record: &R) {
        let (plan, predicates) = (&*self.plan, &self.rules.inner().predicates);
        if let Some(meter) = &mut self.meter {
            meter.time(&mut self.scratch, |scratch, rule| {
                Pass::new(plan, predicates, scratch, record).evaluate_alone(rule);
            });
        }
    }

    /// Adds what was counted to the totals.
    pub(crate) fn add_up(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.add_up(&mut self.scratch);
        }
    }

    /// How many rules apply to this log source.
    pub fn len(&self) -> usize {
        self.plan.rules.len()
    }

    /// Whether no rule applies to this log source.
    pub fn is_empty(&self) -> bool {
        self.plan.rules.is_empty()
    }

    /// How many rules the last record came near to: those whose witness was seen.
    pub fn candidates(&self) -> usize {
        self.scratch.candidates.len()
    }

    /// How many rules a record comes near to, by the index alone: none of them is decided. What evaluation costs
    /// beyond this is what deciding those rules costs.
    pub fn near<R: Record + ?Sized>(&mut self, record: &R) -> usize {
        let predicates = &self.rules.inner().predicates;
        Pass::new(&self.plan, predicates, &mut self.scratch, record).gate_all();
        self.candidates()
    }

    /// The rules that it evaluates with.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }
}

impl Drop for Evaluator {
    fn drop(&mut self) {
        self.add_up();
    }
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("rules", &self.len()).finish_non_exhaustive()
    }
}

/// A rule that matches a record, or cannot be decided on it.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    rule: &'a Rule,
    /// The rule's number in the set.
    number: u32,
    truth: Truth,
}

impl<'a> Match<'a> {
    /// The rule's number in the set.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// The rule.
    pub const fn rule(&self) -> &'a Rule {
        self.rule
    }

    /// What the rule says of itself.
    pub fn meta(&self) -> &'a Arc<RuleMeta> {
        self.rule.meta()
    }

    /// [`Truth::True`], or [`Truth::Undetermined`]; never false.
    pub const fn truth(&self) -> Truth {
        self.truth
    }

    /// The fields and values that made it match. Allocates; costs a few microseconds.
    pub fn evidence<R: Record + ?Sized>(&self, rules: &RuleSet, record: &R) -> Vec<Evidence> {
        rules.explain(self.rule, record).evidence()
    }
}
