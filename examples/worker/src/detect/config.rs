//! `[rules]` and `[detection]`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use lavender_detect::FleetOptions;
use lavender_transport::nats::BucketOptions;
use serde::Deserialize;

use super::seconds;
use crate::exit::{Exit, Failure};

/// `[rules]`: what detection workers look for. The same for all of them: whoever has other rules begins the states anew
/// that others left. SIGHUP loads them again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Whether the rules that come with Lavender are among them.
    pub builtin: bool,
    /// Folders with more.
    pub dirs: Vec<PathBuf>,
    /// Whether rules that a tenant has published are added to them for its agents. They are looked for in a bucket of
    /// the broker, which sets 64 MiB aside for it.
    pub published: bool,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { builtin: true, dirs: Vec::new(), published: true }
    }
}

/// `[detection]`: how events of many agents are looked at. The same for all workers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionConfig {
    /// How late events may come and still count as if they had come in order. Longer than the broker waits for an
    /// acknowledgement (`ack_wait_secs` under `[transport]`): what a killed worker had comes again after that.
    pub lateness_secs: NonZeroU32,
    /// For how long an agent says nothing before what waits for time to pass is decided by the clock.
    pub silence_secs: NonZeroU32,
    /// For how long what repeats an alert is counted with it; 0 holds nothing back.
    pub suppress_secs: u32,
    /// Whether scores of process trees are kept.
    pub risk: bool,
    /// The most bytes that the states of all agents take in the broker, which sets them aside: at most 768 KiB for an
    /// agent, and for most a few. Workers wait while it is full.
    pub state_bytes_max: u64,
}

impl Default for DetectionConfig {
    fn default() -> Self {
        let secs = |secs: u32| NonZeroU32::MIN.saturating_add(secs - 1);
        Self {
            lateness_secs: secs(60),
            silence_secs: secs(120),
            suppress_secs: 300,
            risk: true,
            state_bytes_max: 256 << 20,
        }
    }
}

impl DetectionConfig {
    /// What the detector is told.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] when what a killed worker had would come too late to count.
    pub(super) fn fleet(&self, ack_wait: Duration) -> Result<FleetOptions, Failure> {
        let lateness = seconds(self.lateness_secs.get());
        if lateness <= ack_wait {
            let least = ack_wait.as_secs() + 1;
            let why = format!(
                "[detection] lateness_secs: {} is too short; what a killed worker had comes again after {} s, \
                 so at least {least}",
                self.lateness_secs,
                ack_wait.as_secs(),
            );
            return Err(Failure::new(Exit::Configuration, why));
        }
        let mut options = FleetOptions::new(lateness);
        if !self.risk {
            options.risk = None;
        }
        match self.suppress_secs {
            0 => options.suppression = None,
            secs => {
                if let Some(suppression) = &mut options.suppression {
                    suppression.window = seconds(secs);
                }
            }
        }
        Ok(options)
    }

    pub(super) const fn silence(&self) -> Duration {
        seconds(self.silence_secs.get())
    }

    pub(super) fn bucket(&self) -> BucketOptions {
        let mut options = BucketOptions::default();
        options.bytes_max = self.state_bytes_max;
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_worker_had_must_not_come_too_late() {
        let config = DetectionConfig::default();
        let options = config.fleet(Duration::from_secs(30)).unwrap();
        assert_eq!(options.correlation.lateness, Duration::from_secs(60));
        let failure = config.fleet(Duration::from_secs(60)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        assert!(failure.to_string().contains("at least 61"), "{failure}");
    }

    #[test]
    fn what_is_off_is_off() {
        let config =
            DetectionConfig { suppress_secs: 0, risk: false, ..DetectionConfig::default() };
        let options = config.fleet(Duration::from_secs(30)).unwrap();
        assert_eq!((options.risk, options.suppression), (None, None));
    }
}
