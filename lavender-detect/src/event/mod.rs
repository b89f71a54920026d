//! Lavender's own events as records.

pub(crate) mod audit;
mod audit_or_event;
mod change;
mod credentials;
mod field;
mod kernel;
mod network;
mod route;
mod tamper;
mod view;

pub use self::audit::{AuditField, AuditRecord, AuditView};
pub(crate) use self::audit_or_event::AuditOrEvent;
pub use self::field::EventField;
pub use self::route::Route;
pub use self::view::EventRecord;
pub(crate) use self::view::result;

/// What kind of value a field has. Every value but a list has a text form too, and tests on texts work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueKind {
    /// A text: bytes, mostly UTF-8.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An IP address.
    Address,
    /// A moment.
    Time,
    /// Several values: a test is true when it is true of any.
    List,
}

impl ValueKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Address => "address",
            Self::Time => "time",
            Self::List => "list",
        }
    }
}
