//! `lavender-agent record`.

use std::io::Write as _;

use lavender_bpf::{CaptureState, host};
use lavender_core::{Clock as _, Origin, SensorPlan, Sequencer, Source as _, SystemClock};

use crate::cli::RecordArgs;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::identity::identity;
use crate::live;
use crate::shutdown::shutdown;

/// Writes what the kernel reports to a file until it is told to stop.
///
/// # Errors
///
/// When this host cannot be watched, or the file cannot be written.
pub async fn record(args: RecordArgs) -> Result<(), Failure> {
    let (mut config, _) = config::load(args.config.config.as_deref())?;
    config.sensor.include_cgroups.extend_from_slice(&args.cgroup);
    live::check()?;
    let identity = identity(&config.agent)?;
    let boot = host::boot_id().map_err(|error| Failure::new(Exit::Host, error))?;
    let origin = Origin::new(&identity.tenant, &identity.agent, boot);
    let sequencer = Sequencer::resume(origin, first_sequence());
    let mut plan = SensorPlan::everything();
    // Whoever replays it may have rules that ask for them.
    plan.await_hashes();
    let mut sensor =
        live::open(&config.sensor, plan, (Some(&args.file), None), (identity, boot, sequencer))?;
    let (shutdown, _) = shutdown(args.duration, std::future::pending())?;
    let _ = writeln!(std::io::stderr(), "Lavender is recording. Ctrl+C to stop");
    let mut shutdown = std::pin::pin!(shutdown);
    let (mut events, mut lost, mut stopping) = (0, 0, false);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown, if !stopping => {
                stopping = true;
                sensor.stop();
            }
            batch = sensor.next_batch() => {
                match batch.map_err(|error| Failure::new(Exit::Failure, error))? {
                    Some(batch) => {
                        events += batch.events.len();
                        lost += batch.lost.iter().map(|loss| loss.count).sum::<u64>();
                    }
                    None => break,
                }
            }
        }
    }
    if sensor.stats().capture == CaptureState::Failed {
        let message =
            format!("{}: not all could be written; why is logged above", args.file.display());
        return Err(Failure::new(Exit::Store, message));
    }
    tracing::info!(events, lost, "recorded to {}", args.file.display());
    Ok(())
}

/// Where a recording's numbers begin: in the upper half of the 48 bits, by the microsecond of the boot, so that
/// they are neither those of a run, which counts from 1, nor those of another recording. What is replayed
/// may then be stored beside both.
fn first_sequence() -> u64 {
    (1 << 47) | (SystemClock.boot_time().as_nanos() / 1_000)
}
