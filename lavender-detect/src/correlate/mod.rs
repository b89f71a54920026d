//! Correlation.

mod alert;
mod closing;
mod compile;
mod condition;
mod correlation;
mod correlator;
mod element;
mod encode;
mod missing;
mod observe;
mod plan;
mod row;
mod sequence;
mod settled;
mod state;
mod stored;
mod window;

pub use self::alert::{CorrelationAlert, EventStamp};
pub(crate) use self::compile::compile;
pub use self::correlation::Correlation;
pub(crate) use self::correlation::Correlations;
pub use self::correlator::{CorrelationCounters, Correlator, CorrelatorOptions};
pub use self::stored::{StoredCorrelator, StoredCorrelatorOptions};
pub use crate::rule::CorrelationKind;
