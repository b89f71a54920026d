//! What things are worth.

use std::time::Duration;

use lavender_core::{RuleMeta, Severity};

/// How scores are made and when they become alerts.
///
/// ```
/// use lavender_detect::risk::{RiskOptions, RiskThreshold};
/// use lavender_core::Severity;
///
/// let mut options = RiskOptions::default();
/// options.thresholds = vec![RiskThreshold { score: 50, severity: Severity::High }];
/// assert!(options.check().is_ok());
/// options.thresholds.push(RiskThreshold { score: 50, severity: Severity::Critical });
/// assert!(options.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RiskOptions {
    /// What a match is worth where the rule doesn't say.
    pub points: RiskPoints,
    /// In what time points fade by half. 1 h unless said.
    pub half_life: Duration,
    /// For each generation below the first process of the tree. 1 unless said.
    pub depth_points: u32,
    /// The most points for depth. 10 unless said.
    pub depth_points_max: u32,
    /// For a rule that has matched on none of the days before; less for each on which it has. 10 unless said.
    pub rarity_points: u32,
    /// For each tactic that follows on another in the order of the matrix. 10 unless said.
    pub sequence_points: u32,
    /// From which scores on alerts are raised, each with another severity. 40 medium, 70 high, 100 critical unless
    /// said.
    pub thresholds: Vec<RiskThreshold>,
    /// How many rules must add to a score that raises an alert. 2 unless said.
    pub rules_min: usize,
    /// How long an alert of a threshold stands for what comes after it. 1 h unless said.
    pub episode: Duration,
    /// How much earlier than the newest match of its tree another may have been and still count. 10 s unless said,
    /// since correlations may decide some seconds after what they rest on.
    pub lateness: Duration,
    /// The most bytes of state. 16 MiB unless said.
    pub state_bytes_max: usize,
}

/// What a match is worth, by the level of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskPoints {
    /// 0 unless said.
    pub informational: u32,
    /// 10 unless said.
    pub low: u32,
    /// 25 unless said.
    pub medium: u32,
    /// 45 unless said.
    pub high: u32,
    /// 70 unless said.
    pub critical: u32,
}

/// From which score on an alert is raised, and how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskThreshold {
    /// The score.
    pub score: u32,
    /// How bad that is.
    pub severity: Severity,
}

/// What is wrong with options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RiskOptionsError {
    /// A time that must not be zero.
    #[error("`{what}` is zero: give it a time")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// A threshold that every score reaches.
    #[error("a threshold of 0 would be reached by every score: give it points")]
    ZeroThreshold,
    /// Two thresholds with one score.
    #[error("the threshold {score} stands twice: a score has one severity")]
    SameThreshold {
        /// The score.
        score: u32,
    },
}

impl Default for RiskPoints {
    fn default() -> Self {
        Self { informational: 0, low: 10, medium: 25, high: 45, critical: 70 }
    }
}

impl Default for RiskOptions {
    fn default() -> Self {
        let threshold = |score, severity| RiskThreshold { score, severity };
        Self {
            points: RiskPoints::default(),
            half_life: Duration::from_secs(3_600),
            depth_points: 1,
            depth_points_max: 10,
            rarity_points: 10,
            sequence_points: 10,
            thresholds: vec![
                threshold(40, Severity::Medium),
                threshold(70, Severity::High),
                threshold(100, Severity::Critical),
            ],
            rules_min: 2,
            episode: Duration::from_secs(3_600),
            lateness: Duration::from_secs(10),
            state_bytes_max: 16 << 20,
        }
    }
}

impl RiskOptions {
    /// Whether they can be.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with them.
    pub fn check(&self) -> Result<(), RiskOptionsError> {
        for (what, time) in [("half_life", self.half_life), ("episode", self.episode)] {
            if time.is_zero() {
                return Err(RiskOptionsError::Zero { what });
            }
        }
        for (at, threshold) in self.thresholds.iter().enumerate() {
            if threshold.score == 0 {
                return Err(RiskOptionsError::ZeroThreshold);
            }
            if self.thresholds.iter().take(at).any(|other| other.score == threshold.score) {
                return Err(RiskOptionsError::SameThreshold { score: threshold.score });
            }
        }
        Ok(())
    }

    pub(super) fn points_of(&self, rule: &RuleMeta) -> u32 {
        let points = &self.points;
        rule.risk.unwrap_or(match rule.level {
            Severity::Informational => points.informational,
            Severity::Low => points.low,
            Severity::Medium => points.medium,
            Severity::High => points.high,
            Severity::Critical => points.critical,
        })
    }

    pub(super) fn depth_of(&self, generations: usize) -> u32 {
        let generations = u32::try_from(generations).unwrap_or(u32::MAX);
        self.depth_points.saturating_mul(generations).min(self.depth_points_max)
    }
}

/// A time in ns, as sums of event times take it: never zero, and at most 140 years.
pub(super) fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).clamp(1, i64::MAX / 2)
}
