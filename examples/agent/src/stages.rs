//! What alerts pass before they are answered and published.

use lavender_core::pipeline::Pipeline;
use lavender_detect::SuppressionStage;
use lavender_detect::risk::RiskStage;

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// A pipeline whose alerts pass what is configured: first scores, then what holds back repeats.
///
/// # Errors
///
/// [`Exit::Configuration`] when the options cannot be.
pub fn with_stages(mut pipeline: Pipeline, config: &Config) -> Result<Pipeline, Failure> {
    if config.risk.enabled {
        let risk = RiskStage::new(config.risk.to_options())
            .map_err(|error| Failure::new(Exit::Configuration, error))?;
        pipeline = pipeline.with_alert_stage(risk);
    }
    Ok(pipeline.with_alert_stage(SuppressionStage::new(config.alerts.to_options())))
}
