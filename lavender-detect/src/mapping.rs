//! Field names of rules that stand for fields of other names.

use std::sync::Arc;

use crate::error::Fault;
use crate::rule::read_yaml;

/// Which fields of the records the fields of rules stand for; see
/// [`RuleSetBuilder::with_field_mapping`](crate::RuleSetBuilder::with_field_mapping).
///
/// ```
/// use lavender_detect::FieldMapping;
///
/// let mapping = FieldMapping::from_yaml("ecs.yml", "
/// Image: process.executable
/// CommandLine: process.command_line
/// ").unwrap();
/// assert!(mapping.into_iter().any(|(rule, record)| rule == "Image" && record == "process.executable"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldMapping {
    pairs: Vec<(String, String)>,
}

impl FieldMapping {
    /// Reads a mapping of the rules' names to the records', which are names or paths with dots. `name` is what
    /// faults call the text.
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
        let mut mapping = Self::default();
        let (documents, broken) = read_yaml(text);
        if let Some(broken) = broken {
            fault(broken.line, broken.reason);
        }
        for document in &documents {
            let Some(entries) = document.as_map() else {
                fault(document.line, "a field mapping is a mapping of names to names".to_owned());
                continue;
            };
            for entry in entries {
                match entry.node.as_text() {
                    Some(field) => mapping.pairs.push((entry.key.clone(), field.to_owned())),
                    None => fault(
                        entry.line,
                        format!(
                            "`{}` maps to the name of one field, not {}",
                            entry.key,
                            entry.node.kind()
                        ),
                    ),
                }
            }
        }
        if faults.is_empty() { Ok(mapping) } else { Err(faults) }
    }
}

impl IntoIterator for FieldMapping {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    /// Pairs of the rule's name and the record's.
    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter()
    }
}
