//! What `expand` puts in place of `%name%`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Fault;
use crate::rule::read_yaml;

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

    /// Reads a mapping of names and lists of values. `name` is what faults call the text.
    ///
    /// # Errors
    ///
    /// Every fault in it.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let file: Arc<str> = name.into();
        let mut faults = Vec::new();
        let mut fault = |line: u32, reason: String| {
            faults.push(Fault { file: Arc::clone(&file), line, rule: None, reason });
        };
        let mut placeholders = Self::new();
        let (documents, broken) = read_yaml(text);
        if let Some(broken) = broken {
            fault(broken.line, broken.reason);
        }
        for document in &documents {
            let Some(entries) = document.as_map() else {
                fault(document.line, "placeholders are a mapping of names and values".to_owned());
                continue;
            };
            for entry in entries {
                let nodes = entry.node.as_list().unwrap_or(std::slice::from_ref(&entry.node));
                let values: Option<Vec<_>> =
                    nodes.iter().map(|node| node.scalar_text().map(Into::into)).collect();
                match values {
                    Some(values) => drop(placeholders.values.insert(entry.key.clone(), values)),
                    None => fault(entry.line, format!("`{}` is a list of strings", entry.key)),
                }
            }
        }
        if faults.is_empty() { Ok(placeholders) } else { Err(faults) }
    }

    /// Takes over the values of `other` for names that have none here.
    pub(crate) fn merge(&mut self, other: Self) {
        for (name, values) in other.values {
            self.values.entry(name).or_insert(values);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[String]> {
        self.values.get(name).map(Vec::as_slice)
    }
}
