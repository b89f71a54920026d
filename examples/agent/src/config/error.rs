//! What can be wrong with a configuration.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}{}", path.display(), origin(*from_variable))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// Whether the environment named it.
        from_variable: bool,
    },
    /// Somebody without privileges could change it.
    #[error(
        "{}: refused, because {why}: whoever can write it decides what an agent with root's privileges \
         sees and does",
        path.display()
    )]
    Untrusted {
        /// The file or folder.
        path: PathBuf,
        /// Who could change it, and how to mend it.
        why: String,
    },
    /// What it says is wrong.
    #[error("{}:{line}:{column}: {message}{}\n{excerpt}", path.display(), hint(message))]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, and what is allowed.
        message: String,
        /// The line itself, marked.
        excerpt: String,
    },
}

impl ConfigError {
    pub(crate) fn content(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = text.get(start..at).unwrap_or_default().chars().count() + 1;
        let shown = without_credentials(text.lines().nth(line - 1).unwrap_or_default());
        let number = line.to_string();
        let excerpt =
            format!("  {number} | {shown}\n  {:1$} | {2:3$}^", "", number.len(), "", column - 1);
        Self::Content {
            path: path.to_owned(),
            line,
            column,
            message: error.message().to_owned(),
            excerpt,
        }
    }
}

/// A line without what stands between `://` and `@`: what is wrong with a URL may be that a secret stands in it.
fn without_credentials(line: &str) -> Cow<'_, str> {
    let hidden = line.split_once("://").and_then(|(before, rest)| {
        let (_, after) = rest.rsplit_once('@')?;
        Some(format!("{before}://…@{after}"))
    });
    hidden.map_or(Cow::Borrowed(line), Cow::Owned)
}

const fn origin(from_variable: bool) -> &'static str {
    if from_variable { " (it is named by $LAVENDER_CONFIG)" } else { "" }
}

/// Keys of the earlier agent that have another place here.
const MOVED: [(&str, &str); 9] = [
    ("nats_url", "it is `url` under [transport] here"),
    ("telemetry_subject_prefix", "subjects are fixed: telemetry.raw.<tenant>.<agent>"),
    ("heartbeat_subject_prefix", "a heartbeat is an event, and goes where telemetry goes"),
    ("ignored_comms", "it is `ignored_executables` here: a process chooses its comm freely"),
    (
        "noisy_comms",
        "leave out what is noisy by `exclude_cgroups` under [sensor], or in the rule itself",
    ),
    ("correlator_max_events", "a correlation rule says how much it counts by itself"),
    ("correlator_max_age_secs", "a correlation rule has its own `timespan`"),
    (
        "kill_threshold",
        "it is a clause under [[response.policy]] here, by `min_score` or `min_severity`",
    ),
    ("protected_comms", "it is `protected_executables` here: a process chooses its comm freely"),
];

fn hint(message: &str) -> String {
    MOVED
        .iter()
        .find(|(key, _)| message.starts_with(&format!("unknown field `{key}`")))
        .map(|(_, place)| format!(" ({place})"))
        .unwrap_or_default()
}
