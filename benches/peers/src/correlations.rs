//! Correlation beside rsigma-eval's: the same rules, the same detections, one run.
//!
//! Every event matches exactly one of three rules, so that there are as many detections as events. Times are whole
//! seconds, because rsigma-eval has no finer ones. It is told to be silent for a timespan after it raised something;
//! Lavender raises one alert a group and cell of time by itself.

mod cost;
mod engines;
mod memory;
mod stream;

pub use self::cost::compare;
pub use self::engines::Kind;
pub use self::memory::{Asked, Held, compare as compare_memory, hold};
