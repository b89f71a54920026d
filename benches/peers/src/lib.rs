//! Lavender's rule engine beside others: the same rules, the same events, one run. `make bench-peers` shows it.

pub mod corpus;
#[allow(clippy::print_stdout, reason = "it prints tables")]
pub mod correlations;
pub mod engine;
pub mod floor;
pub mod lavender;
pub mod measure;
pub mod observed;
pub mod rsigma;
pub mod sigma_rust;
