//! `[risk]`: how much gathers against a process tree, and when that is an alert.

use std::num::NonZeroU32;
use std::time::Duration;

use lavender_core::Severity;
use lavender_detect::risk::{RiskOptions, RiskPoints, RiskThreshold};
use serde::{Deserialize, Serialize};

/// `[risk]`: how much gathers against a process tree, and when that is an alert.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskConfig {
    /// Keep scores, and tell them on alerts.
    pub enabled: bool,
    /// In how many seconds points fade by half.
    pub half_life_secs: NonZeroU32,
    /// For how many seconds the alert of a threshold stands for what comes after it.
    pub episode_secs: NonZeroU32,
    /// How many rules must add to a score that raises an alert.
    pub rules_min: NonZeroU32,
    /// What each generation below the first process of a tree adds.
    pub depth_points: u32,
    /// The most that depth adds.
    pub depth_points_max: u32,
    /// What a rule adds that is rare on this host.
    pub rarity_points: u32,
    /// What each tactic adds that follows on another.
    pub sequence_points: u32,
    /// The most bytes of state.
    pub state_bytes_max: NonZeroU32,
    /// `[risk.points]`: what a match is worth where its rule doesn't say.
    pub points: PointsConfig,
    /// From which scores on alerts are raised, and how bad each is.
    pub thresholds: Thresholds,
}

/// `[risk.points]`: what a match is worth where its rule doesn't say, by the rule's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PointsConfig {
    /// Of level informational.
    pub informational: u32,
    /// Of level low.
    pub low: u32,
    /// Of level medium.
    pub medium: u32,
    /// Of level high.
    pub high: u32,
    /// Of level critical.
    pub critical: u32,
}

/// Thresholds: above 0, and each score once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Vec<ThresholdConfig>", into = "Vec<ThresholdConfig>")]
pub struct Thresholds(Vec<RiskThreshold>);

/// A threshold as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdConfig {
    /// The score.
    pub score: u32,
    /// How bad that is.
    pub severity: Severity,
}

impl TryFrom<Vec<ThresholdConfig>> for Thresholds {
    type Error = String;

    fn try_from(written: Vec<ThresholdConfig>) -> Result<Self, String> {
        let threshold = |ThresholdConfig { score, severity }| RiskThreshold { score, severity };
        let thresholds: Vec<_> = written.into_iter().map(threshold).collect();
        let mut options = RiskOptions::default();
        options.thresholds = thresholds.clone();
        options.check().map_err(|error| error.to_string())?;
        Ok(Self(thresholds))
    }
}

impl From<Thresholds> for Vec<ThresholdConfig> {
    fn from(thresholds: Thresholds) -> Self {
        let written = |RiskThreshold { score, severity }| ThresholdConfig { score, severity };
        thresholds.0.into_iter().map(written).collect()
    }
}

impl Default for PointsConfig {
    fn default() -> Self {
        let RiskPoints { informational, low, medium, high, critical } = RiskPoints::default();
        Self { informational, low, medium, high, critical }
    }
}

impl Default for RiskConfig {
    fn default() -> Self {
        let options = RiskOptions::default();
        let number = |number: u64| {
            u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
        };
        Self {
            enabled: true,
            half_life_secs: number(options.half_life.as_secs()),
            episode_secs: number(options.episode.as_secs()),
            rules_min: number(options.rules_min as u64),
            depth_points: options.depth_points,
            depth_points_max: options.depth_points_max,
            rarity_points: options.rarity_points,
            sequence_points: options.sequence_points,
            state_bytes_max: number(options.state_bytes_max as u64),
            points: PointsConfig::default(),
            thresholds: Thresholds(options.thresholds),
        }
    }
}

impl RiskConfig {
    /// The same as the stage takes it.
    pub fn to_options(&self) -> RiskOptions {
        let PointsConfig { informational, low, medium, high, critical } = self.points;
        let mut options = RiskOptions::default();
        options.points = RiskPoints { informational, low, medium, high, critical };
        options.half_life = Duration::from_secs(self.half_life_secs.get().into());
        options.episode = Duration::from_secs(self.episode_secs.get().into());
        options.rules_min = self.rules_min.get() as usize;
        options.depth_points = self.depth_points;
        options.depth_points_max = self.depth_points_max;
        options.rarity_points = self.rarity_points;
        options.sequence_points = self.sequence_points;
        options.state_bytes_max = self.state_bytes_max.get() as usize;
        options.thresholds.clone_from(&self.thresholds.0);
        options
    }
}
