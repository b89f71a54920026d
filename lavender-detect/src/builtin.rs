//! The rules that come with Lavender, the values of their placeholders, and the events that they are tested on.
//!
//! ```
//! use lavender_detect::{RuleSetBuilder, builtin};
//!
//! let own = builtin::placeholders().with_values("suspicious_ports", ["4444"]);
//! let mut builder = RuleSetBuilder::new().with_placeholders(own);
//! builder.add_builtin();
//! assert!(!builder.build()?.rules.is_empty());
//! # Ok::<(), lavender_detect::RuleErrors>(())
//! ```

use crate::compile::Placeholders;

/// Every file under `rules/`, by its path there.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The name of the file of placeholders in a directory of rules.
pub(crate) const PLACEHOLDERS: &str = "placeholders.yml";

/// The rules, as pairs of file name and text.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(name, _)| !is_test(name) && *name != PLACEHOLDERS)
}

/// The events that the rules are tested on, as pairs of file name and text; see [`run_tests`](crate::run_tests).
pub fn tests() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(name, _)| is_test(name))
}

/// The placeholders of the rules with the values that ship: `shell_names`, `sensitive_files`, …
pub fn placeholders() -> Placeholders {
    let text = FILES.iter().find(|(name, _)| *name == PLACEHOLDERS).map_or("", |(_, text)| *text);
    // A test holds that the file is free of faults.
    Placeholders::from_yaml(PLACEHOLDERS, text).unwrap_or_default()
}

fn is_test(name: &str) -> bool {
    name.ends_with(".test.yml")
}
