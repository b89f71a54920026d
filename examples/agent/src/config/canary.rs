//! `[canary]`: the agent's own act, which its sensor must see.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[canary]`: every now and then the agent does something harmless that its sensor must see. When it does not, that is an
/// alert.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Given")]
pub struct CanaryConfig {
    /// Whether it does.
    pub enabled: bool,
    /// How often, in seconds.
    pub interval_secs: NonZeroU32,
    /// How many seconds after it began it must have been seen; at most half of the interval.
    pub deadline_secs: NonZeroU32,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        const fn seconds(number: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(number - 1)
        }
        Self { enabled: true, interval_secs: seconds(60), deadline_secs: seconds(10) }
    }
}

impl CanaryConfig {
    /// How often, and by when it must have been seen.
    pub fn times(&self) -> (Duration, Duration) {
        let seconds = |secs: NonZeroU32| Duration::from_secs(secs.get().into());
        (seconds(self.interval_secs), seconds(self.deadline_secs))
    }
}

/// What is given, before it is known to go together.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    enabled: bool,
    interval_secs: NonZeroU32,
    deadline_secs: NonZeroU32,
}

impl Default for Given {
    fn default() -> Self {
        let CanaryConfig { enabled, interval_secs, deadline_secs } = CanaryConfig::default();
        Self { enabled, interval_secs, deadline_secs }
    }
}

impl TryFrom<Given> for CanaryConfig {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let Given { enabled, interval_secs, deadline_secs } = given;
        if deadline_secs.get() > interval_secs.get() / 2 {
            return Err(format!(
                "deadline_secs of {deadline_secs} is more than half of interval_secs, which is {interval_secs}"
            ));
        }
        Ok(Self { enabled, interval_secs, deadline_secs })
    }
}
