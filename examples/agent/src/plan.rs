//! Which events leave the kernel: what the rules in use need, and what the configuration asks for beside it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lavender_bpf::{Canary, PlanHandle};
use lavender_core::SensorPlan;
use lavender_core::event::RulesetHealth;
use lavender_core::ruleset::Ruleset;
use lavender_detect::{RuleHandle, RuleSet};
use tokio::sync::watch;

use crate::config::{Config, Telemetry};
use crate::exit::{Exit, Failure};
use crate::own_files::own_files;
use crate::prevent::Prevented;
use crate::published::Published;
use crate::rules::RuleSource;

/// What leaves the kernel whatever the rules are: what the configuration asks for, what may be done against the agent, and
/// its canary.
#[derive(Clone, Debug)]
pub struct Policy {
    telemetry: Telemetry,
    against_agent: SensorPlan,
    canary: Option<SensorPlan>,
    guarded_files: Vec<PathBuf>,
}

impl Policy {
    /// As configured, by this file and by folders of rules from the command line, and with this canary.
    pub fn new(
        config: &Config,
        (file, more_dirs): (Option<&Path>, &[PathBuf]),
        canary: Option<&Canary>,
    ) -> Self {
        let own = own_files(config, file, more_dirs);
        Self {
            guarded_files: guarded_files(config, &own),
            telemetry: config.sensor.telemetry.clone(),
            against_agent: SensorPlan::against_agent(own),
            canary: canary.map(Canary::plan),
        }
    }

    /// The sensor's plan for these rules.
    pub fn plan(&self, rules: &RuleSet) -> SensorPlan {
        let mut plan = self.telemetry.with(rules.sensor_plan());
        plan.merge(&self.against_agent);
        if let Some(canary) = &self.canary {
            plan.merge(canary);
        }
        plan
    }

    /// The agent's files that no other process has to change.
    pub fn guarded_files(&self) -> &[PathBuf] {
        &self.guarded_files
    }

    /// What shows the agent's canary.
    pub const fn canary(&self) -> Option<&SensorPlan> {
        self.canary.as_ref()
    }

    /// What may be done against the agent.
    pub const fn against_agent(&self) -> &SensorPlan {
        &self.against_agent
    }
}

/// Of the agent's own files, those that are there: not what comes and goes with the store, nor what `release` takes away.
fn guarded_files(config: &Config, own: &[Vec<u8>]) -> Vec<PathBuf> {
    let state: &str = config.response.isolate.state_file.as_ref();
    let passing = |path: &[u8]| {
        let ends = [&b"-wal"[..], b"-shm", b"-journal"];
        path == state.as_bytes() || ends.iter().any(|end| path.ends_with(end))
    };
    let lasting = own.iter().filter(|path| !passing(path));
    let paths = lasting.map(|path| PathBuf::from(OsString::from_vec(path.clone())));
    paths.filter(|path| path.is_file()).collect()
}

/// How much of a fault is told.
const FAULT_CHARS: usize = 300;

/// Puts other rules in use, and has the sensor go by what they need. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub struct RuleReload {
    source: RuleSource,
    rules: RuleHandle,
    policy: Policy,
    sensor: PlanHandle,
    prevented: Prevented,
    /// The published rules in use. Held by whoever puts rules in use: two at once could leave the plan of one with the
    /// rules of the other.
    published: Arc<Mutex<Option<Published>>>,
    health: watch::Sender<RulesetHealth>,
}

impl RuleReload {
    /// Of these rules, of which some may be published ones, this sensor, and what the kernel prevents.
    pub fn new(
        (source, rules, published): (RuleSource, RuleHandle, Option<Published>),
        policy: Policy,
        (sensor, prevented): (PlanHandle, Prevented),
    ) -> Self {
        let in_use = published.as_ref().map(Published::in_use);
        let (health, _) = watch::channel(RulesetHealth { in_use, fault: None });
        let published = Arc::new(Mutex::new(published));
        Self { source, rules, policy, sensor, prevented, published, health }
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
        let count = self.exchange(Some(&new.rules)).inspect_err(|error| {
            let (revision, digest) = (new.revision, new.rules.digest());
            tracing::error!(revision, %digest, %error, "published rules are not taken, those in use stay");
            self.tell(Some(&format!("revision {revision}: {error}")));
        })?;
        let (revision, digest) = (new.revision, new.rules.digest());
        self.health.send_replace(RulesetHealth { in_use: Some(new.in_use()), fault: None });
        *published = Some(new);
        tracing::info!(revision, %digest, rules = count, "published rules are in use");
        Ok(())
    }

    /// Has heartbeats tell why what was published is not in use; `None`: it is.
    pub fn tell(&self, fault: Option<&str>) {
        let fault = fault.map(|why| why.chars().take(FAULT_CHARS).collect::<String>().into());
        self.health.send_modify(|health| health.fault = fault);
    }

    /// The revision of the published rules in use.
    pub fn revision(&self) -> Option<u64> {
        self.health.borrow().in_use.map(|in_use| in_use.revision)
    }

    /// Which published rules are in use.
    pub fn health(&self) -> watch::Receiver<RulesetHealth> {
        self.health.subscribe()
    }

    fn exchange(&self, published: Option<&Ruleset>) -> Result<usize, Failure> {
        let rules = self.source.load_with(published)?;
        let count = rules.len();
        let next = self.policy.plan(&rules);
        let mut both = self.policy.plan(&self.rules.rules());
        both.merge(&next);
        self.apply(both)?;
        self.prevented.apply(&rules)?;
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
