//! Which events leave the kernel: what the rules in use need, and what the configuration asks for beside it.

use std::sync::{Arc, Mutex, PoisonError};

use lavender_bpf::PlanHandle;
use lavender_core::SensorPlan;
use lavender_core::ruleset::Ruleset;
use lavender_detect::{RuleHandle, RuleSet};

use crate::config::Telemetry;
use crate::exit::{Exit, Failure};
use crate::published::Published;
use crate::rules::RuleSource;

/// The sensor's plan for these rules.
pub fn plan(telemetry: &Telemetry, rules: &RuleSet) -> SensorPlan {
    if telemetry.is_all() { SensorPlan::everything() } else { telemetry.with(rules.sensor_plan()) }
}

/// Puts other rules in use, and has the sensor go by what they need. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub struct RuleReload {
    source: RuleSource,
    rules: RuleHandle,
    telemetry: Telemetry,
    sensor: PlanHandle,
    /// The published rules in use. Held by whoever puts rules in use: two at once could leave the plan of one with the
    /// rules of the other.
    published: Arc<Mutex<Option<Published>>>,
}

impl RuleReload {
    /// Of these rules, of which some may be published ones, and this sensor.
    pub fn new(
        (source, rules, published): (RuleSource, RuleHandle, Option<Published>),
        telemetry: Telemetry,
        sensor: PlanHandle,
    ) -> Self {
        Self { source, rules, telemetry, sensor, published: Arc::new(Mutex::new(published)) }
    }

    /// Loads the rules again and puts them in the place of those in use; how many there are. What they need is let
    /// through before they are in use, and what nothing needs any more is left out after that, so that neither the rules
    /// before nor those after miss an event. When anything is wrong those in use stay, and what is wrong is logged.
    ///
    /// Reads and compiles files, and waits for the sensor.
    ///
    /// # Errors
    ///
    /// Those of [`RuleSource::load`]; [`Exit::Failure`] when the sensor does not take the plan.
    pub fn reload(&self) -> Result<usize, Failure> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = published.as_ref().map(|published| &published.rules);
        let count = self.exchange(rules).inspect_err(|error| {
            tracing::error!(%error, "the rules are not taken, those in use stay");
        })?;
        tracing::info!(rules = count, "the rules are loaded again");
        Ok(count)
    }

    /// Puts a published ruleset in use beside the rules of the host's own files, in the same way. One with a revision
    /// that is not higher than that in use changes nothing.
    ///
    /// Reads and compiles files, and waits for the sensor.
    ///
    /// # Errors
    ///
    /// Those of [`reload`](Self::reload); the rules in use stay then.
    pub fn publish(&self, new: Published) -> Result<(), Failure> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.as_ref().is_some_and(|last| last.revision >= new.revision) {
            return Ok(());
        }
        let count = self.exchange(Some(&new.rules))?;
        let (revision, digest) = (new.revision, new.rules.digest());
        *published = Some(new);
        tracing::info!(revision, %digest, rules = count, "published rules are in use");
        Ok(())
    }

    fn exchange(&self, published: Option<&Ruleset>) -> Result<usize, Failure> {
        let rules = self.source.load_with(published)?;
        let count = rules.len();
        if self.telemetry.is_all() {
            self.rules.swap(rules);
            return Ok(count);
        }
        let next = plan(&self.telemetry, &rules);
        let mut both = plan(&self.telemetry, &self.rules.rules());
        both.merge(&next);
        self.apply(both)?;
        self.rules.swap(rules);
        if let Err(error) = self.apply(next) {
            tracing::warn!(%error, "more leaves the kernel than the rules need");
        }
        Ok(count)
    }

    fn apply(&self, plan: SensorPlan) -> Result<(), Failure> {
        self.sensor.apply(plan).map_err(|error| Failure::new(Exit::Failure, error))
    }
}
