//! `[filters]`: the lists that the built-in rules go by.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// `[filters]`: the lists that the built-in rules go by. Each is the placeholder of its name
/// (`%shell_names%`) in every rule that is loaded; one that is not set is as the rules bring it along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FiltersConfig {
    /// Programs that are shells, by file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell_names: Option<Vec<PathEnd>>,
    /// Programs that may start a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_shell_launchers: Option<Vec<PathPattern>>,
    /// Files that few programs have a reason to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitive_files: Option<Vec<PathPattern>>,
    /// Programs that may read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_file_readers: Option<Vec<PathPattern>>,
    /// Ports that remote-control tools are known to listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspicious_ports: Option<Vec<NonZeroU16>>,
    /// Programs whose detections raise no alert, whatever the rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_executables: Vec<ProgramPath>,
    /// Any other placeholder: its name and its values, with `*` and `?` as wildcards.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub placeholders: BTreeMap<String, Vec<String>>,
}

impl FiltersConfig {
    /// The placeholders that are set: name and values.
    pub fn placeholders(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let ports = self.suspicious_ports.as_ref();
        let lists = [
            ("shell_names", self.shell_names.as_ref().map(|list| texts(list))),
            ("safe_shell_launchers", self.safe_shell_launchers.as_ref().map(|list| texts(list))),
            ("sensitive_files", self.sensitive_files.as_ref().map(|list| texts(list))),
            ("safe_file_readers", self.safe_file_readers.as_ref().map(|list| texts(list))),
            ("suspicious_ports", ports.map(|list| list.iter().map(u16_text).collect())),
        ];
        let further = self.placeholders.iter().map(|(name, list)| (name.as_str(), list.clone()));
        lists.into_iter().filter_map(|(name, list)| Some((name, list?))).chain(further)
    }
}

fn texts<T: AsRef<str>>(list: &[T]) -> Vec<String> {
    list.iter().map(|item| item.as_ref().to_owned()).collect()
}

fn u16_text(port: &NonZeroU16) -> String {
    port.to_string()
}

/// Declares a text that is checked when it is read.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let check: fn(String) -> Result<String, String> = $check;
                check(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

checked_text! {
    /// Absolute paths, with `*` and `?` as wildcards.
    PathPattern,
    |text| {
        if text.starts_with(['/', '*']) {
            Ok(text)
        } else {
            Err(format!("`{text}` is not an absolute path: a name alone can be taken by anybody"))
        }
    }
}

checked_text! {
    /// One absolute path.
    ProgramPath,
    |text| {
        if text.starts_with('/') && !text.contains(['*', '?']) {
            Ok(text)
        } else {
            Err(format!("`{text}` is not the absolute path of one program"))
        }
    }
}

checked_text! {
    /// An absolute path of a file or a folder.
    AbsolutePath,
    |text| {
        if text.starts_with('/') && !text.split('/').any(|part| part == ".." || part == ".") {
            Ok(text)
        } else {
            Err(format!("`{text}` is not an absolute path without `.` and `..`"))
        }
    }
}

impl AbsolutePath {
    /// A path that stands in the source, and is right.
    pub(super) fn known(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

checked_text! {
    /// The end of a path: a slash and a file name. Without a slash, one is put in front.
    PathEnd,
    |text| {
        if text.is_empty() || text.ends_with('/') {
            Err(format!("`{text}` is not a file name"))
        } else if text.contains('/') {
            Ok(text)
        } else {
            Ok(format!("/{text}"))
        }
    }
}
