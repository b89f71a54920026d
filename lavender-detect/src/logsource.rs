//! Which kind of records a rule is for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

/// Sigma's log source: of a rule, what it is written for; of a record, where it comes from.
///
/// A rule applies to a record when each of the keys that the rule sets is the same in the record.
///
/// ```
/// use lavender_detect::LogSource;
///
/// let rule: LogSource = "category=process_creation".parse()?;
/// assert!(rule.applies_to(&LogSource::linux("process_creation")));
/// assert!(!rule.applies_to(&LogSource::linux("file_event")));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct LogSource {
    /// What is recorded: `process_creation`, `file_event`, `network_connection`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Arc<str>>,
    /// What it is recorded of: `linux`, `windows`, `aws`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Arc<str>>,
    /// Which part of the product: `auditd`, `sshd`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Arc<str>>,
}

impl LogSource {
    /// Linux, and a category.
    pub fn linux(category: &str) -> Self {
        Self { category: Some(category.into()), ..Self::product("linux") }
    }

    /// A product, whatever the category and service.
    pub fn product(product: &str) -> Self {
        Self { product: Some(product.into()), ..Self::default() }
    }

    /// The same with a service.
    #[must_use]
    pub fn with_service(self, service: &str) -> Self {
        Self { service: Some(service.into()), ..self }
    }

    /// Whether a rule for this log source applies to records of that one.
    pub fn applies_to(&self, record: &Self) -> bool {
        let fits = |rule: &Option<Arc<str>>, record: &Option<Arc<str>>| {
            rule.is_none() || rule.as_deref() == record.as_deref()
        };
        fits(&self.category, &record.category)
            && fits(&self.product, &record.product)
            && fits(&self.service, &record.service)
    }
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys =
            [("product", &self.product), ("category", &self.category), ("service", &self.service)];
        let mut separator = "";
        for (key, value) in keys {
            if let Some(value) = value {
                write!(f, "{separator}{key}={value}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl FromStr for LogSource {
    type Err = String;

    /// Reads `product=linux,category=process_creation`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut source = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("`{part}` is not of the form key=value"));
            };
            let slot = match key.trim() {
                "category" => &mut source.category,
                "product" => &mut source.product,
                "service" => &mut source.service,
                other => {
                    return Err(format!("`{other}` is none of category, product and service"));
                }
            };
            *slot = Some(value.trim().to_lowercase().into());
        }
        Ok(source)
    }
}
