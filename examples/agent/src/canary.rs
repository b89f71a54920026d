//! The agent's canary: every now and then it does what its sensor must see.

use std::time::Duration;

use lavender_bpf::{Canary, SensorSource};
use lavender_core::pipeline::{CanaryOptions, CanaryWatch};
use lavender_core::{Clock as _, SystemClock};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::cli::CanaryArgs;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// The agent's own command that does it.
const COMMAND: &str = "canary";

/// How often it is looked whether the act's process has ended.
const ENDED_INTERVAL: Duration = Duration::from_millis(20);

/// The canary of this configuration, where it has one: an act of this program, where the sensor's filters let it be seen.
///
/// # Errors
///
/// [`Exit::Host`] when nobody knows which program this is.
pub fn canary(config: &Config) -> Result<Option<Canary>, Failure> {
    if !config.canary.enabled {
        return Ok(None);
    }
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Host, format!("[canary]: which program this is is not known: {error}"))
    })?;
    let sensor = &config.sensor;
    let canary = Canary::new(program, [COMMAND]).with_filters(
        &sensor.include_cgroups,
        &sensor.exclude_cgroups,
        &sensor.include_uids,
    );
    Ok(Some(canary))
}

/// Watches for acts of a canary, as configured, of the kinds that this sensor delivers.
pub fn watch(config: &Config, sensor: &SensorSource) -> CanaryWatch {
    let available = sensor.probes().iter().filter(|probe| probe.is_available());
    let kinds: Vec<_> = available.filter_map(|probe| probe.kind).collect();
    let (interval, deadline) = config.canary.times();
    let kinds = Canary::KINDS.into_iter().filter(|kind| kinds.contains(kind)).collect();
    CanaryWatch::new(CanaryOptions { kinds, interval, deadline })
}

/// Does the act, again and again, until it is dropped.
pub async fn act_on(canary: Canary, watch: CanaryWatch) {
    let mut ticks = tokio::time::interval(watch.options().interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let token = Uuid::new_v4().simple().to_string();
        watch.begin(&token, SystemClock.now());
        if let Err(why) = act(&canary, &token, watch.options().deadline).await {
            tracing::warn!(why, "the canary's act was not done");
            watch.fail(&why);
        }
    }
}

async fn act(canary: &Canary, token: &str, deadline: Duration) -> Result<(), String> {
    let until = Instant::now() + deadline;
    let mut act = canary.begin(token).map_err(|error| error.to_string())?;
    while Instant::now() < until {
        match act.try_wait() {
            Ok(Some(())) => return Ok(()),
            Ok(None) => tokio::time::sleep(ENDED_INTERVAL).await,
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("its process did not end within the deadline, and was killed".to_owned())
}

/// Does it, in the process that was started for it.
///
/// # Errors
///
/// [`Exit::Usage`] or [`Exit::Failure`], with what could not be done.
pub fn perform(args: &CanaryArgs) -> Result<(), Failure> {
    Canary::perform(&args.arguments).map_err(|error| {
        let exit = match error {
            lavender_bpf::CanaryError::Arguments => Exit::Usage,
            _ => Exit::Failure,
        };
        Failure::new(exit, error)
    })
}
