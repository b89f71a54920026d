//! Everything that records of one log source are evaluated with.

use std::collections::{HashMap, HashSet};

use super::gate::{FieldGate, GateBuilder, Posting};
use super::keywords::KeywordGate;
use super::program::{self, Instruction};
use super::witness;
use crate::compile::{Expression, Predicate, PredicateId, Predicates, Subject, Test};
use crate::matcher::pattern::Shape;
use crate::schema::FieldId;

/// A field that rules wait on.
#[derive(Debug)]
pub(crate) struct Gated {
    pub(crate) slot: u32,
    pub(crate) field: FieldId,
    /// What is looked for in it before any rule is.
    pub(crate) gate: FieldGate,
}

/// A predicate as the plan uses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanTest {
    pub(crate) predicate: PredicateId,
    /// The slot of its field; [`ANY_VALUE`] for keywords.
    pub(crate) slot: u32,
    /// Whether it is false unless the gate says otherwise.
    pub(crate) gated: bool,
    /// Whether it is only patterns without regard to case, so that the folded text in the slot is all it needs.
    pub(crate) folded: bool,
    /// Where its regular expression's cache is, for those that have one.
    pub(crate) regex: u32,
}

/// The slot of a test on every value.
pub(crate) const ANY_VALUE: u32 = u32::MAX;

/// A rule as the plan runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanRule {
    /// Its number in the rule set.
    pub(crate) rule: u32,
    /// Where its program begins.
    pub(crate) entry: u32,
}

/// The rules of one log source, indexed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The fields that the plan's tests look at.
    pub(crate) slots: Box<[FieldId]>,
    /// Those of them that rules wait on.
    pub(crate) gated: Box<[Gated]>,
    pub(crate) keywords: Option<KeywordGate>,
    pub(crate) tests: Box<[PlanTest]>,
    pub(crate) rules: Box<[PlanRule]>,
    pub(crate) program: Box<[Instruction]>,
    /// Rules that could match anything.
    pub(crate) always: Box<[u32]>,
    pub(crate) regexes: usize,
    waiting_ends: Box<[u32]>,
    waiting: Box<[u32]>,
}

impl Plan {
    /// The plan for these rules, each with its number in the rule set.
    pub(crate) fn new<'e>(
        rules: impl IntoIterator<Item = (u32, &'e Expression)>,
        predicates: &Predicates,
    ) -> Self {
        let mut builder = Builder {
            predicates,
            slots: Vec::new(),
            slot_of: HashMap::new(),
            tests: Vec::new(),
            test_of: HashMap::new(),
            waiting: Vec::new(),
            always: Vec::new(),
            regexes: 0,
        };
        let rules: Vec<_> = rules.into_iter().collect();
        for (number, (_, expression)) in rules.iter().enumerate() {
            builder.wait(number as u32, expression);
        }
        let mut program = Vec::new();
        let gated = builder.tests.iter().map(|test| test.predicate).collect();
        let rules = rules
            .iter()
            .map(|(rule, expression)| {
                let entry = builder.emit(expression, &gated, &mut program);
                PlanRule { rule: *rule, entry }
            })
            .collect();
        builder.finish(rules, program)
    }

    /// The rules that wait on a test.
    pub(crate) fn waiting_on(&self, test: usize) -> &[u32] {
        let start = test.checked_sub(1).map_or(0, |before| self.waiting_ends[before] as usize);
        &self.waiting[start..self.waiting_ends[test] as usize]
    }

    /// What it takes on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.gated.iter().map(|gated| gated.gate.heap_bytes()).sum::<usize>()
            + self.keywords.as_ref().map_or(0, KeywordGate::heap_bytes)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.gated)
            + size_of_val(&*self.tests)
            + size_of_val(&*self.rules)
            + size_of_val(&*self.program)
            + (self.always.len() + self.waiting_ends.len() + self.waiting.len()) * 4
    }
}

struct Builder<'a> {
    predicates: &'a Predicates,
    slots: Vec<FieldId>,
    slot_of: HashMap<FieldId, u32>,
    tests: Vec<PlanTest>,
    test_of: HashMap<PredicateId, u32>,
    /// Per test, the rules that wait on it. Those that are waited on are numbered first.
    waiting: Vec<Vec<u32>>,
    always: Vec<u32>,
    regexes: u32,
}

impl Builder<'_> {
    /// Lets a rule wait on its witness.
    fn wait(&mut self, rule: u32, expression: &Expression) {
        let Some(witness) = witness::choose(expression, self.predicates) else {
            self.always.push(rule);
            return;
        };
        for id in witness.predicates {
            let test = self.number(id) as usize;
            self.tests[test].gated = true;
            self.waiting.resize_with(self.tests.len(), Vec::new);
            if self.waiting[test].last() != Some(&rule) {
                self.waiting[test].push(rule);
            }
        }
    }

    fn emit(
        &mut self,
        expression: &Expression,
        gated: &HashSet<PredicateId>,
        program: &mut Vec<Instruction>,
    ) -> u32 {
        let predicates = self.predicates;
        let cost =
            |id: PredicateId| if gated.contains(&id) { 0 } else { cost_of(predicates.get(id)) };
        program::emit(expression, program, &mut |id| self.number(id), &cost)
    }

    fn slot(&mut self, field: FieldId) -> u32 {
        *self.slot_of.entry(field).or_insert_with(|| {
            self.slots.push(field);
            (self.slots.len() - 1) as u32
        })
    }

    /// The number of a predicate in the plan.
    fn number(&mut self, id: PredicateId) -> u32 {
        if let Some(number) = self.test_of.get(&id) {
            return *number;
        }
        let predicate = self.predicates.get(id);
        let slot = match predicate.subject {
            Subject::Field(field) => self.slot(field),
            Subject::AnyValue => ANY_VALUE,
        };
        let folded = match &predicate.test {
            Test::Patterns(patterns) => patterns.iter().all(|pattern| !pattern.cased),
            _ => false,
        };
        let regex = self.regexes;
        self.regexes += u32::from(matches!(predicate.test, Test::Regex(_)));
        let number = self.tests.len() as u32;
        self.tests.push(PlanTest { predicate: id, slot, gated: false, folded, regex });
        self.test_of.insert(id, number);
        number
    }

    fn finish(self, rules: Box<[PlanRule]>, program: Vec<Instruction>) -> Plan {
        let mut gates: Vec<GateBuilder> = Vec::new();
        gates.resize_with(self.slots.len() + 1, GateBuilder::default);
        for (number, test) in self.tests.iter().enumerate().filter(|(_, test)| test.gated) {
            let number = number as u32;
            let gate = (test.slot as usize).min(self.slots.len());
            let gate = &mut gates[gate];
            let predicate = self.predicates.get(test.predicate);
            match witness::anchors(test.predicate, predicate, self.predicates) {
                None => gate.add_present(Posting::possible(number)),
                Some(anchors) => {
                    for (anchor, certain) in anchors {
                        let posting = if certain {
                            Posting::certain(number)
                        } else {
                            Posting::possible(number)
                        };
                        gate.add_anchor(anchor, posting);
                    }
                }
            }
        }
        let keywords = gates.pop().unwrap_or_default();
        let used = |gate: FieldGate| (!gate.all.is_empty()).then_some(gate);
        let gated: Box<[Gated]> = (0..)
            .zip(&self.slots)
            .zip(gates)
            .filter_map(|((slot, field), gate)| {
                let gate = used(gate.build())?;
                Some(Gated { slot, field: *field, gate })
            })
            .collect();
        let mut waiting_ends = Vec::with_capacity(self.waiting.len());
        let mut waiting = Vec::new();
        for rules in self.waiting {
            waiting.extend(rules);
            waiting_ends.push(waiting.len() as u32);
        }
        Plan {
            keywords: KeywordGate::new(keywords, &gated),
            gated,
            slots: self.slots.into(),
            tests: self.tests.into(),
            rules,
            program: program.into(),
            always: self.always.into(),
            regexes: self.regexes as usize,
            waiting_ends: waiting_ends.into(),
            waiting: waiting.into(),
        }
    }
}

/// What deciding a test costs, roughly in nanoseconds.
fn cost_of(predicate: &Predicate) -> u32 {
    let one = match &predicate.test {
        Test::Null | Test::Present => 1,
        Test::Patterns(patterns) => patterns
            .iter()
            .map(|pattern| match pattern.shape {
                Shape::Exact(_) | Shape::Prefix(_) | Shape::Suffix(_) => 2,
                Shape::Contains(_) => 12,
                Shape::Glob(_) => 30,
            })
            .fold(5, u32::saturating_add),
        Test::Networks(networks) => 5 + networks.len() as u32,
        Test::Compare(..) => 5,
        Test::TimePart(..) => 20,
        Test::FieldRef { .. } => 40,
        Test::Regex(_) => 150,
    };
    if predicate.subject == Subject::AnyValue { one.saturating_mul(30) } else { one }
}
