//! Expressions as flat programs: test, and go on from there.

use crate::compile::{Expression, PredicateId};

/// One step: decide a test, go on at one place or another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    /// The number of the test in the plan.
    pub(crate) test: u32,
    /// Where to go on when the step's statement is true, and when it is false: an instruction, [`MATCH`] or
    /// [`FAIL`].
    pub(crate) on_true: u32,
    pub(crate) on_false: u32,
    /// Whether the statement is that the test fails.
    pub(crate) negated: bool,
}

/// The rule matches.
pub(crate) const MATCH: u32 = u32::MAX;
/// The rule does not match.
pub(crate) const FAIL: u32 = u32::MAX - 1;

/// Appends the program of an expression and returns where it begins. `number` gives a predicate its number in
/// the plan, `cost` says what deciding it costs: of parts that stand in any order, the cheap come first.
pub(crate) fn emit(
    expression: &Expression,
    program: &mut Vec<Instruction>,
    number: &mut impl FnMut(PredicateId) -> u32,
    cost: &impl Fn(PredicateId) -> u32,
) -> u32 {
    Emitter { program, number, cost }.emit(expression, MATCH, FAIL)
}

struct Emitter<'a, N, C> {
    program: &'a mut Vec<Instruction>,
    number: &'a mut N,
    cost: &'a C,
}

impl<N: FnMut(PredicateId) -> u32, C: Fn(PredicateId) -> u32> Emitter<'_, N, C> {
    /// Emits backwards, so that the places to go on at are known.
    fn emit(&mut self, expression: &Expression, on_true: u32, on_false: u32) -> u32 {
        match expression {
            Expression::Constant(true) => on_true,
            Expression::Constant(false) => on_false,
            Expression::Test(id) => self.push(*id, false, on_true, on_false),
            Expression::NotTest(id) => self.push(*id, true, on_true, on_false),
            Expression::All(parts) => {
                let mut next = on_true;
                for part in self.cheap_last(parts) {
                    next = self.emit(part, next, on_false);
                }
                next
            }
            Expression::Any(parts) => {
                let mut next = on_false;
                for part in self.cheap_last(parts) {
                    next = self.emit(part, on_true, next);
                }
                next
            }
        }
    }

    fn push(&mut self, id: PredicateId, negated: bool, on_true: u32, on_false: u32) -> u32 {
        let test = (self.number)(id);
        self.program.push(Instruction { test, on_true, on_false, negated });
        (self.program.len() - 1) as u32
    }

    fn cheap_last<'e>(&self, parts: &'e [Expression]) -> Vec<&'e Expression> {
        let mut ordered: Vec<_> = parts.iter().map(|part| (self.cost_of(part), part)).collect();
        ordered.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        ordered.into_iter().map(|(_, part)| part).collect()
    }

    fn cost_of(&self, expression: &Expression) -> u32 {
        match expression {
            Expression::Constant(_) => 0,
            Expression::Test(id) | Expression::NotTest(id) => (self.cost)(*id),
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().map(|part| self.cost_of(part)).fold(0, u32::saturating_add)
            }
        }
    }
}
