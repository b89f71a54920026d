//! What `expand` puts in place of `%name%`.

use std::collections::HashMap;

/// Values for the placeholders of rules: `Administrators`, `JumpServers`, `DomainControllers`, …
///
/// A rule with a placeholder that is not here is refused: what it should match is not known.
///
/// ```
/// use lavender_detect::{Placeholders, RuleSetBuilder};
///
/// let placeholders = Placeholders::new().with_values("Administrators", ["root", "ops-*"]);
/// let mut builder = RuleSetBuilder::new().with_placeholders(placeholders);
/// builder.add_str("rule.yml", "
/// title: Administrator in the evening
/// logsource: {product: linux, category: process_creation}
/// detection:
///   selection: {User|expand: '%Administrators%'}
///   condition: selection
/// ");
/// assert!(builder.build().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placeholders {
    values: HashMap<String, Vec<String>>,
}

impl Placeholders {
    /// No placeholder has a value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a placeholder its values, without the percent signs. They may hold wildcards; any of them matches.
    #[must_use]
    pub fn with_values<V: Into<String>>(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.values.insert(name.to_owned(), values.into_iter().map(Into::into).collect());
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[String]> {
        self.values.get(name).map(Vec::as_slice)
    }
}
