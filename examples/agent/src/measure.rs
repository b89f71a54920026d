//! What the probes take on this host, measured while it goes about its work.

use std::fmt::Write as _;
use std::time::Duration;

use lavender_bpf::{ProgramCost, SensorBuilder, host};
use lavender_core::{AgentId, AgentIdentity, Clock as _, Origin, Sequencer, SystemClock, TenantId};
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    seconds: f64,
    events: u64,
    lost: u64,
    throttled: u64,
    programs: Vec<ProgramCost>,
}

/// Watches everything for a time, and keeps nothing of it.
pub(crate) fn measure(time: Duration) -> Result<Measured, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Host, error.to_string());
    let boot = host::boot_id().map_err(|error| failed(&error))?;
    let agent = AgentId::new("doctor").map_err(|error| failed(&error))?;
    let identity = AgentIdentity { tenant: TenantId::default(), agent, host: String::new().into() };
    let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
    let mut sensor =
        SensorBuilder::new(identity, boot, ids).open().map_err(|error| failed(&error))?;
    // The processes that run already are no part of it.
    sensor.poll(Duration::ZERO).map_err(|error| failed(&error))?;
    let before = sensor.stats();
    let measurement = sensor.measure().map_err(|error| failed(&error))?;
    let start = SystemClock.boot_time();
    let elapsed = || SystemClock.boot_time().since(start);
    while let Some(left) = time.checked_sub(elapsed()) {
        sensor.poll(left.min(Duration::from_millis(100))).map_err(|error| failed(&error))?;
    }
    let stats = sensor.stats();
    Ok(Measured {
        seconds: elapsed().as_secs_f64(),
        events: stats.events - before.events,
        lost: stats.lost - before.lost,
        throttled: stats.throttled - before.throttled,
        programs: measurement.costs(),
    })
}

impl Measured {
    pub(crate) fn table(&self) -> String {
        let Self { seconds, events, lost, throttled, .. } = self;
        let mut text = format!(
            "\nmeasured for {seconds:.1} s: {events} events, {lost} lost, {throttled} over their limit\n"
        );
        for ProgramCost { program, runs, run_time_ns } in &self.programs {
            let each = run_time_ns.checked_div(*runs).unwrap_or_default();
            let share = *run_time_ns as f64 / (seconds * 1e9) * 100.0;
            let _ = writeln!(
                text,
                "{program:<28} {runs:>10} runs {each:>7} ns each {share:>7.3} % of a processor"
            );
        }
        text
    }
}
