//! Evaluation of records.

mod decide;
mod evaluator;
mod memo;
mod meter;
mod pass;
mod scratch;

pub(crate) use self::decide::{Buffers, decide};
pub use self::evaluator::{Evaluator, Match};
