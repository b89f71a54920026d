//! The rules that come with Lavender.

/// Every file under `rules/`, by its path there: rules, and the events that they are tested on.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The name of the file of placeholders in a directory of rules.
pub(crate) const PLACEHOLDERS: &str = "placeholders.yml";

/// The rules that come with Lavender, as pairs of file name and text.
///
/// ```
/// use lavender_detect::RuleSetBuilder;
///
/// let mut builder = RuleSetBuilder::new();
/// builder.add_built_in();
/// assert!(builder.build().is_ok());
/// ```
pub fn built_in_rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(name, _)| !is_test(name) && *name != PLACEHOLDERS)
}

/// The events that the built-in rules are tested on, as pairs of file name and text; see
/// [`run_tests`](crate::run_tests).
pub fn built_in_tests() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(name, _)| is_test(name))
}

/// The values of the placeholders in the built-in rules, as YAML.
pub(crate) fn placeholders() -> &'static str {
    FILES.iter().find(|(name, _)| *name == PLACEHOLDERS).map_or("", |(_, text)| *text)
}

fn is_test(name: &str) -> bool {
    name.ends_with(".test.yml")
}
