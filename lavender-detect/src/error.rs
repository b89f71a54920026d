//! What is wrong with rules, and where.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// One fault in a rule: where it is, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// The file, or what the text was called when it was added.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 when the fault is of the file as a whole.
    pub line: u32,
    /// The rule's title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}: ", self.file)?,
        }
        f.write_str(&self.reason)?;
        match &self.rule {
            Some(rule) => write!(f, " (in `{rule}`)"),
            None => Ok(()),
        }
    }
}

/// Every fault of a set of rules. The set is refused whole: rules that silently do not run are worse than rules
/// that do not load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{}", show(.faults))]
pub struct RuleErrors {
    /// The faults, by file and line. Never empty.
    pub faults: Vec<Fault>,
}

fn show(faults: &[Fault]) -> String {
    let count = faults.len();
    let mut text = format!("{count} {} in the rules:", if count == 1 { "fault" } else { "faults" });
    for fault in faults {
        text.push_str("\n  ");
        text.push_str(&fault.to_string());
    }
    text
}
