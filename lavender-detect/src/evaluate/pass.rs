//! One record through one plan: gate, then confirm.

mod keywords;

use std::ops::ControlFlow;

use super::decide::decide;
use super::memo::{Kept, Recall};
use super::scratch::{Known, Scratch};
use crate::compile::{Predicates, Test};
use crate::index::{ANY_VALUE, FAIL, FieldGate, Gated, Instruction, MATCH, Plan, Posting};
use crate::record::value::TextBuffer;
use crate::record::{FieldValue, Record};
use crate::truth::Truth;

pub(super) struct Pass<'a, R: ?Sized> {
    plan: &'a Plan,
    predicates: &'a Predicates,
    scratch: &'a mut Scratch,
    record: &'a R,
    /// Whether a rule is evaluated by itself; see [`evaluate_alone`](Self::evaluate_alone).
    alone: bool,
    /// Whether keywords are looked for in a field's text together with what else is.
    together: bool,
}

impl<'a, R: Record + ?Sized> Pass<'a, R> {
    pub(super) const fn new(
        plan: &'a Plan,
        predicates: &'a Predicates,
        scratch: &'a mut Scratch,
        record: &'a R,
    ) -> Self {
        Self { plan, predicates, scratch, record, alone: false, together: false }
    }

    /// Leaves what matched, or could not be decided, in the scratch's hits.
    pub(super) fn run(&mut self) {
        self.gate_all();
        for at in 0..self.scratch.candidates.len() {
            let rule = self.scratch.candidates[at];
            if !self.scratch.admit(rule) {
                continue;
            }
            let truth = self.confirm(self.plan.rules[rule as usize].entry);
            if truth != Truth::False {
                self.scratch.hit(rule, truth);
            }
        }
    }

    /// Leaves the rules that could match in the scratch's candidates.
    #[inline]
    pub(super) fn gate_all(&mut self) {
        self.scratch.begin();
        match &self.plan.keywords {
            None => self.gate_fields(),
            Some(keywords) => self.gate_fields_and_keywords(keywords),
        }
        for rule in &self.plan.always {
            self.scratch.add_candidate(*rule);
        }
    }

    fn gate_fields(&mut self) {
        for Gated { slot, field, gate } in &self.plan.gated {
            self.gate(*slot as usize, *field, gate);
        }
    }

    /// Evaluates a rule on the record of the last run once more, by what the gate said and nothing else: as if no
    /// other rule shared its tests. Changes nothing.
    #[cold]
    pub(super) fn evaluate_alone(&mut self, rule: u32) {
        self.alone = true;
        std::hint::black_box(self.confirm(self.plan.rules[rule as usize].entry));
    }

    #[inline]
    fn gate(&mut self, slot: usize, field: crate::FieldId, gate: &FieldGate) {
        let record = self.record;
        let value = record.value(field);
        match value {
            FieldValue::Absent => {}
            FieldValue::List => {
                self.post_all(&gate.present);
                let _ = record.elements(field, &mut |value| {
                    self.gate_value(gate, &value);
                    ControlFlow::Continue(())
                });
            }
            _ if !gate.has_texts() => self.post_all(&gate.present),
            FieldValue::Text(text) => {
                self.post_all(&gate.present);
                self.search(slot, gate, text);
            }
            FieldValue::Null | FieldValue::Truncated(..) | FieldValue::Unreadable => {
                self.gate_value(gate, &value);
            }
            FieldValue::Int(number)
                if gate.search_number(number, |posting| self.post(posting)).is_ok() =>
            {
                self.post_all(&gate.present);
            }
            FieldValue::Uint(number)
                if i64::try_from(number).is_ok_and(|number| {
                    gate.search_number(number, |posting| self.post(posting)).is_ok()
                }) =>
            {
                self.post_all(&gate.present);
            }
            _ => {
                self.post_all(&gate.present);
                let mut buffer = TextBuffer::new();
                if let Some(text) = value.text(&mut buffer) {
                    self.search(slot, gate, text);
                }
            }
        }
    }

    /// Searches a text, for keywords too, unless it is known from a record before.
    #[inline]
    fn search(&mut self, slot: usize, gate: &FieldGate, text: &[u8]) {
        // A look at the ends costs less than remembering, unless keywords are looked for.
        if !gate.has_inner() && !self.together {
            return self.search_anew(slot, gate, text, |_| {});
        }
        match self.scratch.memos[slot].recall(text) {
            Recall::Known(entry) => {
                let mut number = 0;
                while let Some(posting) = self.scratch.memos[slot].posting(entry, number) {
                    self.post(posting);
                    number += 1;
                }
                if self.together && self.scratch.memos[slot].may_hold_keywords(entry) {
                    self.look_for_keywords(text);
                }
            }
            Recall::Pass => {
                self.search_anew(slot, gate, text, |_| {});
                self.look_for_keywords(text);
            }
            Recall::Vacant(entry) => {
                let mut kept = Kept::new();
                self.search_anew(slot, gate, text, |posting| kept.push(posting));
                let keywords = self.look_for_keywords(text);
                self.scratch.memos[slot].keep(entry, text, kept, keywords);
            }
        }
    }

    /// Searches a text, and folds it into its slot when that takes more than a look at its ends.
    #[inline]
    fn search_anew(
        &mut self,
        slot: usize,
        gate: &FieldGate,
        text: &[u8],
        mut tell: impl FnMut(Posting),
    ) {
        let mut post = |pass: &mut Self, posting: Posting| {
            tell(posting);
            pass.post(posting);
        };
        let ends = gate.search_ends(text, |posting| post(self, posting));
        if ends.is_ok() && !gate.has_inner() {
            return;
        }
        let (start, end) = self.scratch.fold(slot, text);
        let folded = std::mem::take(&mut self.scratch.folded);
        match ends {
            Ok(()) => gate.search_inner(&folded[start..end], |posting| post(self, posting)),
            Err(_) => gate.search(&folded[start..end], |posting| post(self, posting)),
        }
        self.scratch.folded = folded;
    }

    /// One of several values, or one that is not known in full.
    #[inline(never)]
    fn gate_value(&mut self, gate: &FieldGate, value: &FieldValue<'_>) {
        self.post_all(&gate.present);
        if value.is_incomplete() {
            for test in &gate.all {
                self.post(Posting::possible(*test));
            }
            return;
        }
        let mut buffer = TextBuffer::new();
        let Some(text) = value.text(&mut buffer) else { return };
        let mut folded = std::mem::take(&mut self.scratch.folded);
        let start = folded.len();
        crate::matcher::fold::fold_into(text, &mut folded);
        gate.search(&folded[start..], |posting| self.post(posting));
        folded.truncate(start);
        self.scratch.folded = folded;
    }

    fn post_all(&mut self, postings: &[Posting]) {
        for posting in postings {
            self.post(*posting);
        }
    }

    #[inline]
    fn post(&mut self, posting: Posting) {
        let test = posting.test();
        let known = match (self.scratch.known(test), posting.is_certain()) {
            (Known::Nothing, false) => Known::Possible,
            (Known::Nothing | Known::Possible, true) => Known::Decided(Truth::True),
            _ => return,
        };
        let first = self.scratch.known(test) == Known::Nothing;
        self.scratch.set(test, known);
        if first {
            for rule in self.plan.waiting_on(test) {
                self.scratch.add_candidate(*rule);
            }
        }
    }

    /// Runs a rule's program. What could not be decided counts as false at first; if the rule then does not match
    /// but would if it counted as true, the rule is undetermined.
    fn confirm(&mut self, entry: u32) -> Truth {
        let (matched, open) = self.execute(entry, false);
        if matched {
            return Truth::True;
        }
        if open && self.execute(entry, true).0 {
            return Truth::Undetermined;
        }
        Truth::False
    }

    /// Whether the program ends in a match, and whether anything on its way could not be decided.
    fn execute(&mut self, entry: u32, undetermined_as: bool) -> (bool, bool) {
        let (mut at, mut open) = (entry, false);
        while at < FAIL {
            let Instruction { test, on_true, on_false, negated } = self.plan.program[at as usize];
            let holds = match self.test(test as usize) {
                Truth::True => !negated,
                Truth::False => negated,
                Truth::Undetermined => {
                    open = true;
                    undetermined_as
                }
            };
            at = if holds { on_true } else { on_false };
        }
        (at == MATCH, open)
    }

    #[inline]
    fn test(&mut self, number: usize) -> Truth {
        let test = &self.plan.tests[number];
        let known = match self.alone {
            false => self.scratch.known(number),
            true => self.scratch.known_by_gate(number),
        };
        match known {
            Known::Decided(truth) => return truth,
            // The gate looked, and saw nothing.
            Known::Nothing if test.gated => return Truth::False,
            Known::Nothing | Known::Possible => {}
        }
        let truth = match self.folded_patterns(number) {
            Some(truth) => truth,
            None => {
                let regex = self.scratch.regexes.get_mut(test.regex as usize);
                let mut none = None;
                decide(
                    test.predicate,
                    self.predicates,
                    self.record,
                    regex.unwrap_or(&mut none),
                    &mut self.scratch.buffers,
                )
            }
        };
        if !self.alone {
            self.scratch.confirm(number, truth);
        }
        truth
    }

    /// Decides patterns on the text that the slot holds, or that can be put there.
    #[inline]
    fn folded_patterns(&mut self, number: usize) -> Option<Truth> {
        let test = &self.plan.tests[number];
        if !test.folded {
            return None;
        }
        let Test::Patterns(patterns) = &self.predicates.get(test.predicate).test else {
            return None;
        };
        if test.slot == ANY_VALUE {
            // Of a test that nothing waits on, values are not kept.
            if !test.gated {
                return None;
            }
            let Scratch { values, values_whole, folded, .. } = &*self.scratch;
            let fits = |(start, end): &(usize, usize)| {
                let text = &folded[*start..*end];
                patterns.iter().any(|pattern| pattern.matches(text))
            };
            return values_whole.then(|| values.iter().any(fits).into());
        }
        let slot = test.slot as usize;
        if self.scratch.text(slot).is_none() {
            let FieldValue::Text(text) = self.record.value(self.plan.slots[slot]) else {
                return None;
            };
            self.scratch.fold(slot, text);
        }
        let text = self.scratch.text(slot)?;
        Some(patterns.iter().any(|pattern| pattern.matches(text)).into())
    }
}
