//! What every engine is asked to do.

use crate::observed::Observed;

/// Rules compiled by some engine.
pub trait Engine {
    /// What the table calls it.
    fn name(&self) -> &'static str;

    /// How many rules it holds.
    fn rules(&self) -> usize;

    /// Makes the engine's own form of the events, for an engine that has one.
    fn prepare(&mut self, events: &[Observed]) {
        let _ = events;
    }

    /// How many rules match the event, evaluated as fast as the engine can. `number` is its place among the
    /// [prepared](Self::prepare) ones.
    fn count(&mut self, number: usize, event: &Observed) -> usize;

    /// The ids of the rules that match the event, for comparing engines.
    fn ids(&mut self, number: usize, event: &Observed) -> Vec<String>;

    /// As [`count`](Self::count), from a line of JSON; `None` for an engine that is not measured so.
    fn count_line(&mut self, event: &Observed, line: &[u8]) -> Option<usize>;
}
