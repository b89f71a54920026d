//! The commands of `lavender-rules`: thin wiring around `lavender-detect`.

pub mod check;
pub mod cli;
pub mod correlate;
pub mod coverage;
pub mod eval;
pub mod exit;
pub mod explain;
pub mod input;
pub mod lint;
pub mod novelty;
pub mod problems;
pub mod rules;
pub mod test_cases;
pub mod time;
