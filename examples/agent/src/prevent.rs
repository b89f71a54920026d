//! Prevention in the kernel, as configured: begun, kept in step with the rules, and told of.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use lavender_bpf::{Prevention, PreventionError, PreventionOptions};
use lavender_core::{PreventionHealth, ResponseOutcome};
use lavender_detect::RuleSet;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// For how long is waited for what the kernel tells, while nobody can change what it goes by.
const TURN: Duration = Duration::from_millis(50);

/// How many turns there are between two looks at how it stands.
const TURNS_BETWEEN_LOOKS: u32 = 20;

/// Prevention in the kernel, as far as it is on. Cloning gives another handle on the same; the kernel goes on while there
/// is one.
#[derive(Clone, Debug, Default)]
pub struct Prevented {
    kernel: Option<Arc<Mutex<Prevention>>>,
}

impl Prevented {
    /// Has the kernel decide what these rules mark, if that is configured.
    ///
    /// # Errors
    ///
    /// [`Exit::Host`] when nothing can be prevented here, [`Exit::Configuration`] for a filter that cannot be.
    pub fn start(config: &Config, rules: &RuleSet) -> Result<Self, Failure> {
        if !config.prevention.enabled {
            return Ok(Self::default());
        }
        let prevention = Prevention::start(&plan(rules), options(config)).map_err(failure)?;
        Ok(Self { kernel: Some(Arc::new(Mutex::new(prevention))) })
    }

    /// Has the kernel go by these rules instead. What both have is prevented all the while.
    ///
    /// # Errors
    ///
    /// When the kernel does not take them; what was prevented before still is.
    pub fn apply(&self, rules: &RuleSet) -> Result<(), Failure> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let mut kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
        kernel.apply(&plan(rules)).map_err(failure)
    }

    /// Tells what is done, from a thread of its own until nobody listens, and how it stands; nothing where it is off.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn tell(
        &self,
        responses: mpsc::Sender<ResponseOutcome>,
    ) -> Result<Option<watch::Receiver<PreventionHealth>>, Failure> {
        let Some(kernel) = self.kernel.clone() else { return Ok(None) };
        let first = kernel.lock().unwrap_or_else(PoisonError::into_inner).health();
        let (health, told) = watch::channel(first.map_err(failure)?);
        thread::Builder::new()
            .name("lavender-prevent".into())
            .spawn(move || {
                if let Err(error) = run(&kernel, &responses, &health) {
                    tracing::error!(%error, "what the kernel prevents is not told any more");
                }
            })
            .map_err(|error| Failure::new(Exit::Failure, error))?;
        Ok(Some(told))
    }
}

fn run(
    kernel: &Mutex<Prevention>,
    responses: &mpsc::Sender<ResponseOutcome>,
    health: &watch::Sender<PreventionHealth>,
) -> Result<(), PreventionError> {
    loop {
        for _ in 0..TURNS_BETWEEN_LOOKS {
            let outcomes = {
                let mut kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
                kernel.poll(TURN)?
            };
            for outcome in outcomes {
                tracing::warn!(
                    cause = %outcome.order.cause,
                    outcome = ?outcome.outcome,
                    "{} ({})", outcome.order.action, outcome.order.decided_by
                );
                if responses.blocking_send(outcome).is_err() {
                    return Ok(());
                }
            }
            if responses.is_closed() {
                return Ok(());
            }
            // Whoever waits to change the rules gets its turn.
            thread::yield_now();
        }
        let now = kernel.lock().unwrap_or_else(PoisonError::into_inner).health()?;
        health.send_replace(now);
    }
}

/// What of the rules the kernel can decide. The others are told of, and are rules as any other.
fn plan(rules: &RuleSet) -> lavender_core::PreventionPlan {
    let preventions = rules.preventions();
    for rule in &preventions.undecidable {
        tracing::warn!("{rule}: what it finds is not prevented");
    }
    preventions.plan
}

fn options(config: &Config) -> PreventionOptions {
    let mut options = PreventionOptions::default();
    options.dry_run = config.prevention.dry_run;
    options.kill_for_deny = config.prevention.kill_for_deny;
    options.included_cgroups.clone_from(&config.sensor.include_cgroups);
    options.excluded_cgroups.clone_from(&config.sensor.exclude_cgroups);
    options.included_uids.clone_from(&config.sensor.include_uids);
    options.protected_executables =
        config.response.protected_executables.iter().map(|path| path.as_ref().into()).collect();
    options
}

fn failure(error: PreventionError) -> Failure {
    let exit = match error {
        PreventionError::Missing(_) => Exit::Host,
        PreventionError::Filter(_) => Exit::Configuration,
        _ => Exit::Failure,
    };
    Failure::new(exit, format!("[prevention]: {error}"))
}
