//! The state of one group of one correlation, and the step from one state to the next.

use super::plan::{Engine, Plan};
use super::sequence::Sequence;
use super::settled::{Fire, Held, Settled};
use super::window::{Scratch, Window};

/// What one group of one correlation has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// What is before it is final.
    pub(crate) watermark: i64,
    pub(crate) engine: EngineState,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EngineState {
    Window(Window),
    Sequence(Box<Sequence>),
    Settled(Box<Settled>),
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The element is in, or was before.
    Taken,
    /// It is, and others had to make room.
    Overflowed,
    /// It came after everything around it had become final.
    Late,
}

impl State {
    pub(crate) fn new(plan: &Plan) -> Self {
        let engine = match &plan.engine {
            Engine::Window(_) => EngineState::Window(Window::default()),
            Engine::Sequence(steps) => EngineState::Sequence(Box::new(Sequence::new(*steps))),
            Engine::Settled(settling) => EngineState::Settled(Box::new(Settled::new(settling))),
        };
        Self { watermark: i64::MIN, engine }
    }

    /// The step: moves to the watermark, or to the element if that is earlier, and takes the element in. What it finds goes to `fire`.
    ///
    /// It depends on nothing but its arguments. An element that is there already changes nothing, and elements that
    /// the watermark has not passed lead to the same state and the same firings in any order.
    pub(crate) fn step(
        &mut self,
        plan: &Plan,
        held: Held,
        watermark: i64,
        scratch: &mut Scratch,
        fire: &mut Fire<'_>,
    ) -> Outcome {
        if held.element.time < self.watermark {
            return Outcome::Late;
        }
        let span = plan.span;
        // What this makes final comes before the element, and need not be moved to make room for it.
        let complete = self.settle(plan, watermark.min(held.element.time), scratch, fire);
        let mut at_once = |firing| fire(firing, None);
        let fits = match (&mut self.engine, &plan.engine) {
            (EngineState::Window(window), Engine::Window(test)) => {
                let watermark = self.watermark;
                window.insert((test, span), watermark, held.element, scratch, &mut at_once);
                true
            }
            (EngineState::Sequence(sequence), Engine::Sequence(_)) => {
                sequence.insert(span, held.element, &mut at_once)
            }
            (EngineState::Settled(settled), Engine::Settled(plan)) => {
                settled.insert((plan, span), held, scratch, fire)
            }
            // State is made for its plan, and decoding checks that it still is.
            _ => true,
        };
        if fits && complete { Outcome::Taken } else { Outcome::Overflowed }
    }

    /// Moves to the watermark alone. `false` when something had to be forgotten that was still needed.
    pub(crate) fn settle(
        &mut self,
        plan: &Plan,
        watermark: i64,
        scratch: &mut Scratch,
        fire: &mut Fire<'_>,
    ) -> bool {
        if watermark <= self.watermark {
            return true;
        }
        self.watermark = watermark;
        match (&mut self.engine, &plan.engine) {
            (EngineState::Window(window), _) => window.settle(watermark, plan.span),
            (EngineState::Sequence(sequence), _) => sequence.settle(watermark, plan.span),
            (EngineState::Settled(settled), Engine::Settled(settling)) => {
                return settled.settle((settling, plan.span), watermark, scratch, fire);
            }
            _ => {}
        }
        true
    }

    /// The watermark from which on there is something to decide, or nothing to keep.
    pub(crate) fn due(&self, plan: &Plan) -> i64 {
        match &self.engine {
            EngineState::Window(window) => window.due(plan.span),
            EngineState::Sequence(sequence) => sequence.due(plan.span),
            EngineState::Settled(settled) => settled.due(plan.span),
        }
    }

    /// Whether a state without anything in it would do as well from now on.
    pub(crate) fn is_over(&self, plan: &Plan) -> bool {
        match &self.engine {
            EngineState::Window(window) => window.log.is_empty() && window.fired.cells().is_empty(),
            EngineState::Sequence(sequence) => {
                sequence.log.is_empty()
                    && sequence.fired.is_empty()
                    && sequence.due(plan.span) <= self.watermark
            }
            EngineState::Settled(settled) => settled.is_over(self.watermark, plan.span),
        }
    }

    /// What it takes on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.engine {
            EngineState::Window(window) => window.heap_bytes(),
            EngineState::Sequence(sequence) => sequence.heap_bytes(),
            EngineState::Settled(settled) => settled.heap_bytes(),
        }
    }
}
