//! A week of load in an hour: `soak --minutes N` keeps every processor busy with acts of every kind, in a control group of
//! its own, and says every half minute what the sensor holds. Fails when memory or a map grows, when an end was missed, or
//! when the process table is not the kernel's. Needs root. A host that starts a program a second starts 600,000 a week.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program for a terminal")]

#[path = "../../tests/soaking/mod.rs"]
mod soaking;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use soaking::Soak;

/// How far memory may be beyond what it was after the first quarter: tables are as full as the load is high.
const GROWTH_MAX_PERCENT: u64 = 15;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let minutes = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--minutes", minutes] => minutes.parse::<u64>().ok(),
        _ => None,
    };
    let Some(minutes) = minutes else {
        println!("soak --minutes N");
        return ExitCode::from(2);
    };
    if !support::can_run() {
        return ExitCode::from(4);
    }
    let faults = soak(Duration::from_secs(60 * minutes));
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn soak(time: Duration) -> Vec<String> {
    let mut faults = Vec::new();
    let mut soak = Soak::start(|builder| builder);
    let start = Instant::now();
    let mut settled = None;
    let mut peak = 0;
    while start.elapsed() < time {
        soak.run(Duration::from_secs(30).min(time.saturating_sub(start.elapsed())));
        faults.extend(look(&mut soak, start));
        let resident = Soak::resident_kib();
        if start.elapsed() >= time / 4 {
            settled.get_or_insert(resident);
            peak = peak.max(resident);
        }
    }
    soak.quiet(Duration::from_secs(15));
    faults.extend(look(&mut soak, start));
    let settled = settled.unwrap_or_default();
    println!("memory: {settled} KiB after a quarter, {peak} KiB at the most since");
    if peak > settled + settled * GROWTH_MAX_PERCENT / 100 {
        faults.push(format!("memory grew from {settled} to {peak} KiB"));
    }
    let (tally, stats) = (&soak.tally, soak.sensor.stats());
    println!("{tally:?}\n{stats:?}");
    let census = soak.sensor.census().unwrap();
    if census.maps.iter().any(|(name, entries, _)| name == "throttled" && *entries > 0) {
        faults.push("entries of what is over a limit stay".into());
    }
    if tally.lost == 0 && tally.exits != tally.forks + soak.workers() {
        faults.push(format!("{} ends of {} processes", tally.exits, tally.forks + soak.workers()));
    }
    faults
}

/// One line of how it stands, and what is wrong.
fn look(soak: &mut Soak, start: Instant) -> Vec<String> {
    let audit = soak.audit();
    let census = soak.sensor.census().unwrap();
    let (held, tally) = (census.held, &soak.tally);
    let maps = census.maps.iter().map(|(name, entries, max)| format!("{name} {entries}/{max}"));
    println!(
        "{:>5.0} s: {} programs, {} events, {} lost, {} over a limit; {} KiB; {} processes known, {} live, {} by the \
         kernel; {}",
        start.elapsed().as_secs_f64(),
        tally.execs,
        tally.events,
        tally.lost,
        soak.sensor.stats().throttled,
        Soak::resident_kib(),
        held.processes,
        held.living,
        audit.processes,
        maps.collect::<Vec<_>>().join(", "),
    );
    if audit.unknown.is_empty() && audit.ended_unseen.is_empty() {
        return Vec::new();
    }
    vec![format!("the process table is not the kernel's: {audit:?}")]
}
