//! What a sensor costs the programs that it watches: the same work with nothing attached, with Lavender's probes, and
//! with what else is named, in turn, in a control group and under a user id of its own.
//!
//!     cargo run --release -p lavender-bpf --example cost -- [--rounds N] [--agent FILE] [--auditd FOLDER] [--bpftrace FILE]
//!
//! `make bench-sensor` builds the agent, fetches the peers and names them all. Needs root. CPU time of the work is that
//! of the control group (user and system), the kernel's own accounting; wall time is not shown, since it is mostly that
//! of others. Every figure is the median over the rounds, in which the sensors take turns.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool that may fail loudly, and waits for programs that tell nothing"
)]

mod peers;
mod sensors;
mod work;

use std::path::PathBuf;

use sensors::{Sensor, Watched};
use work::{Group, WORK};

/// What was asked for.
struct Arguments {
    rounds: usize,
    sensors: Vec<Sensor>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Arguments {
    let mut read = Arguments {
        rounds: 5,
        sensors: vec![Sensor::Nothing, Sensor::Probes, Sensor::ProcessLife],
    };
    while let Some(word) = words.next() {
        let mut file = || PathBuf::from(words.next().unwrap());
        match word.as_str() {
            "--rounds" => read.rounds = words.next().unwrap().parse().unwrap(),
            "--agent" => read.sensors.push(Sensor::Agent(file())),
            "--auditd" => read.sensors.push(Sensor::Auditd(file())),
            "--bpftrace" => read.sensors.push(Sensor::Bpftrace(file())),
            other => panic!("{other}: not an argument of this"),
        }
    }
    read
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What one sensor showed at one kind of work, a round each.
#[derive(Default)]
struct Column {
    work_ns: Vec<f64>,
    sensor_ns: Vec<f64>,
}

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq("--work").is_some() {
        let (verb, count) = (words.next().unwrap(), words.next().unwrap());
        return work::be_worker(&verb, count.parse().unwrap());
    }
    let Arguments { rounds, sensors } = arguments(words);
    let group = Group::new();
    println!(
        "CPU ns of one, and what is added to it; then the CPU ns of the sensor itself for one\n"
    );
    let names: Vec<_> = sensors.iter().map(Sensor::name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---:|".repeat(names.len()));
    let (mut events, mut lost) = (0, 0);
    for (verb, count) in WORK {
        let mut columns: Vec<Column> = sensors.iter().map(|_| Column::default()).collect();
        for round in 0..rounds {
            for turn in 0..sensors.len() {
                let index = (round + turn) % sensors.len();
                let mut work_ns = 0.0;
                let watched = sensors[index].during(&group, || work_ns = group.run(verb, count));
                let Watched { cpu_ns, events: seen, lost: missed } = watched;
                columns[index].work_ns.push(work_ns);
                columns[index].sensor_ns.push(cpu_ns as f64 / count as f64);
                events += seen;
                lost += missed;
            }
        }
        let mut cells = Vec::new();
        let mut bare = 0.0;
        for (column, sensor) in columns.into_iter().zip(&sensors) {
            let work_ns = median(column.work_ns);
            if matches!(sensor, Sensor::Nothing) {
                bare = work_ns;
                cells.push(format!("{work_ns:.0}"));
            } else {
                let (added, own) = (work_ns - bare, median(column.sensor_ns));
                cells.push(format!("{work_ns:.0} ({added:+.0}), {own:.0}"));
            }
        }
        println!("| {verb} | {} |", cells.join(" | "));
    }
    println!("\nLavender's probes by themselves: {events} events, {lost} lost");
}
