//! Prevention in the kernel, as configured: begun, kept in step with the rules, and told of.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use lavender_bpf::{OutcomeHandle, Prevention, PreventionError, PreventionOptions};
use lavender_core::{PreventionHealth, PreventionPlan};
use lavender_detect::RuleSet;
use tokio::sync::watch;

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// For how long is waited for what the kernel tells, before it is looked whether the rules have changed.
const TURN: Duration = Duration::from_millis(50);

/// How many turns there are between two looks at how it stands.
const TURNS_BETWEEN_LOOKS: u32 = 20;

/// Prevention in the kernel, as far as it is on. Cloning gives another handle on the same.
#[derive(Clone, Debug, Default)]
pub struct Prevented {
    changes: Option<Sender<Change>>,
}

/// Another plan, and where to say what became of it.
#[derive(Debug)]
struct Change {
    plan: PreventionPlan,
    done: SyncSender<Result<(), PreventionError>>,
}

impl Prevented {
    /// Has the kernel decide what these rules mark, if that is configured, and guard the agent with these files, if that is.
    /// What is done is told to the sensor from a thread of its own, and ends with it. Also how it stands, where it is on.
    ///
    /// # Errors
    ///
    /// [`Exit::Host`] when nothing can be prevented here, [`Exit::Configuration`] for a filter that cannot be.
    pub fn start(
        config: &Config,
        own_files: &[PathBuf],
        rules: &RuleSet,
        sensor: OutcomeHandle,
    ) -> Result<(Self, Option<watch::Receiver<PreventionHealth>>), Failure> {
        if !config.prevention.enabled {
            return Ok((Self::default(), None));
        }
        let options = options(config, own_files);
        let kernel = Prevention::start(&plan(rules), options).map_err(failure)?;
        let (health, standing) = watch::channel(kernel.health().map_err(failure)?);
        let (changes, asked) = std::sync::mpsc::channel();
        thread::Builder::new()
            .name("lavender-prevent".into())
            .spawn(move || {
                if let Err(error) = run(kernel, &asked, &sensor, &health) {
                    tracing::error!(%error, "nothing is prevented any more");
                }
            })
            .map_err(|error| Failure::new(Exit::Failure, error))?;
        Ok((Self { changes: Some(changes) }, Some(standing)))
    }

    /// Has the kernel go by these rules instead. What both have is prevented all the while.
    ///
    /// # Errors
    ///
    /// When the kernel does not take them; what was prevented before still is.
    pub fn apply(&self, rules: &RuleSet) -> Result<(), Failure> {
        let Some(changes) = &self.changes else { return Ok(()) };
        let ended = || Failure::new(Exit::Failure, "[prevention]: it has ended");
        let (done, is_done) = sync_channel(1);
        changes.send(Change { plan: plan(rules), done }).map_err(|_| ended())?;
        is_done.recv().map_err(|_| ended())?.map_err(failure)
    }
}

fn run(
    mut kernel: Prevention,
    changes: &Receiver<Change>,
    sensor: &OutcomeHandle,
    health: &watch::Sender<PreventionHealth>,
) -> Result<(), PreventionError> {
    while !sensor.is_closed() {
        for _ in 0..TURNS_BETWEEN_LOOKS {
            while let Ok(Change { plan, done }) = changes.try_recv() {
                // Whoever asked may have gone.
                let _ = done.send(kernel.apply(&plan));
            }
            for outcome in kernel.poll(TURN)? {
                tracing::warn!(
                    cause = %outcome.order.cause,
                    outcome = ?outcome.outcome,
                    "{} ({})", outcome.order.action, outcome.order.decided_by
                );
                if sensor.tell(outcome).is_err() {
                    return Ok(());
                }
            }
        }
        health.send_replace(kernel.health()?);
    }
    Ok(())
}

/// What of the rules the kernel can decide. The others are told of, and are rules as any other.
fn plan(rules: &RuleSet) -> PreventionPlan {
    let preventions = rules.preventions();
    for rule in &preventions.undecidable {
        tracing::warn!("{rule}: what it finds is not prevented");
    }
    preventions.plan
}

fn options(config: &Config, own_files: &[PathBuf]) -> PreventionOptions {
    let protected = config.response.protected_executables.iter();
    PreventionOptions {
        dry_run: config.prevention.dry_run,
        kill_for_deny: config.prevention.kill_for_deny,
        included_cgroups: config.sensor.include_cgroups.clone(),
        excluded_cgroups: config.sensor.exclude_cgroups.clone(),
        included_uids: config.sensor.include_uids.clone(),
        protected_executables: protected.map(|path| path.as_ref().into()).collect(),
        protect_agent: config.prevention.protect_agent,
        own_files: own_files.to_vec(),
    }
}

fn failure(error: PreventionError) -> Failure {
    let exit = match error {
        PreventionError::Missing(_) => Exit::Host,
        PreventionError::Filter(_) => Exit::Configuration,
        _ => Exit::Failure,
    };
    Failure::new(exit, format!("[prevention]: {error}"))
}
