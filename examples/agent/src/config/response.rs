//! `[response]`: what is done about an alert.

use std::num::NonZeroU32;

use lavender_core::Severity;
use serde::{Deserialize, Serialize};

use super::ProgramPath;

/// `[response]`: what is done about an alert. Nothing, unless `dry_run` is turned off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseConfig {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Kill the process of an alert this bad or worse; `none` never does.
    #[serde(with = "severity_or_none")]
    pub kill_severity: Option<Severity>,
    /// Programs that are never killed, by absolute path: who has the path is protected, not who has the
    /// name.
    pub protected_executables: Vec<ProgramPath>,
    /// How many processes are killed in a minute at the most.
    pub max_kills_per_minute: NonZeroU32,
}

impl Default for ResponseConfig {
    fn default() -> Self {
        let protected = [
            "/usr/lib/systemd/systemd",
            "/usr/lib/systemd/systemd-journald",
            "/usr/lib/systemd/systemd-logind",
            "/usr/lib/systemd/systemd-udevd",
            "/usr/sbin/init",
            "/usr/sbin/sshd",
            "/usr/bin/dbus-daemon",
            "/usr/bin/sudo",
            "/usr/bin/su",
            "/usr/bin/login",
        ];
        Self {
            dry_run: true,
            kill_severity: Some(Severity::Critical),
            protected_executables: protected
                .into_iter()
                .flat_map(|path| ProgramPath::try_from(path.to_owned()))
                .collect(),
            max_kills_per_minute: NonZeroU32::MIN.saturating_add(9),
        }
    }
}

/// A severity by its name, or `none`.
mod severity_or_none {
    use lavender_core::Severity;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        severity: &Option<Severity>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(severity.map_or("none", Severity::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Severity>, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "none" {
            return Ok(None);
        }
        name.parse().map(Some).map_err(|_| {
            let known: Vec<&str> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
            de::Error::custom(format!(
                "`{name}` is not a severity: use one of {}, or none",
                known.join(", ")
            ))
        })
    }
}
