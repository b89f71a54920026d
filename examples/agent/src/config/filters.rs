//! `[filters]`: the lists that the built-in rules go by.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// `[filters]`: the lists that the built-in rules go by. Each fills the placeholder of its name
/// (`%shell_names%`) in every rule that is loaded; one that is not set is as the rules bring it along.
///
/// Names are file names of programs and match whole: `sh` does not stand for `finish`. With a slash in
/// front they are whole paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FiltersConfig {
    /// Programs that are shells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell_names: Option<Vec<String>>,
    /// Programs that may start a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_shell_launchers: Option<Vec<String>>,
    /// Files that few programs have a reason to read: absolute paths; one that ends in `/` stands for all
    /// below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitive_files: Option<Vec<String>>,
    /// Programs that may read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_file_readers: Option<Vec<String>>,
    /// Ports that remote-control tools are known to listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspicious_ports: Option<Vec<NonZeroU16>>,
    /// Programs that no built-in rule looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_executables: Option<Vec<String>>,
    /// Further placeholders, for rules of one's own: a name, and its values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub placeholders: BTreeMap<String, Vec<String>>,
}
