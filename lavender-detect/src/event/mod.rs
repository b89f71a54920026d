//! Lavender's own events as records.

mod field;
mod view;

pub use self::field::EventField;
pub use self::view::{EventRecord, Route};
