//! What a sensor costs the programs that it watches: the same work with nothing attached, with Lavender's probes, and
//! with what else is named, in turn, in a control group and under a user id of its own.
//!
//!     cargo run --release -p lavender-bpf --example cost -- [--rounds N] [--only WORK] [--programs] [--agent FILE]
//!         [--auditd FOLDER] [--bpftrace FILE]
//!
//! `make bench-sensor` builds the agent, fetches the peers and names them all. `--programs` tells instead how often each of
//! the probes' programs runs for one of the work, and how long, as the kernel counts it. Needs root. CPU time of the work is that
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

use peers::Calls;
use sensors::{Sensor, Watched};
use work::{Group, WORK};

/// What was asked for.
struct Arguments {
    rounds: usize,
    only: Option<String>,
    programs: bool,
    sensors: Vec<Sensor>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Arguments {
    let mut read = Arguments {
        rounds: 5,
        only: None,
        programs: false,
        sensors: vec![Sensor::Nothing, Sensor::Probes, Sensor::ProcessLife],
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "--rounds" => read.rounds = value().parse().unwrap(),
            "--only" => read.only = Some(value()),
            "--programs" => read.programs = true,
            "--agent" => read.sensors.push(Sensor::Agent(value().into())),
            "--auditd" => read.sensors.push(Sensor::Auditd(value().into())),
            "--bpftrace" => {
                let program = PathBuf::from(value());
                let each = [Calls::Single, Calls::Every];
                read.sensors.extend(each.map(|calls| Sensor::Bpftrace(program.clone(), calls)));
            }
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
    store_ns: Vec<f64>,
}

impl Column {
    fn push(&mut self, work_ns: f64, count: u64, watched: &Watched) {
        self.work_ns.push(work_ns);
        self.sensor_ns.push(watched.cpu_ns as f64 / count as f64);
        self.store_ns.extend(watched.store_ns.map(|ns| ns as f64 / count as f64));
    }

    /// As a cell of the table.
    fn tell(self, bare: f64) -> String {
        let (work_ns, own) = (median(self.work_ns), median(self.sensor_ns));
        let told = format!("{work_ns:.0} ({:+.0}), {own:.0}", work_ns - bare);
        if self.store_ns.is_empty() {
            return told;
        }
        format!("{told}, of which {:.0} storing", median(self.store_ns))
    }
}

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq("--work").is_some() {
        let (verb, count) = (words.next().unwrap(), words.next().unwrap());
        return work::be_worker(&verb, count.parse().unwrap());
    }
    let Arguments { rounds, only, programs, sensors } = arguments(words);
    let group = Group::new();
    let work = WORK.iter().filter(|(verb, _)| only.as_deref().is_none_or(|only| only == *verb));
    if programs {
        return work.for_each(|(verb, count)| tell_programs(&group, verb, *count));
    }
    println!(
        "CPU ns of one, and what is added to it; then the CPU ns of the sensor itself for one\n"
    );
    let names: Vec<_> = sensors.iter().map(Sensor::name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---:|".repeat(names.len()));
    let mut seen = vec![(0, 0); sensors.len()];
    let mut own_ns = vec![0; sensors.len()];
    for &(verb, count) in work {
        let mut columns: Vec<Column> = sensors.iter().map(|_| Column::default()).collect();
        for round in 0..rounds {
            for turn in 0..sensors.len() {
                let index = (round + turn) % sensors.len();
                let mut work_ns = 0.0;
                let watched = sensors[index].during(&group, || work_ns = group.run(verb, count));
                columns[index].push(work_ns, count, &watched);
                seen[index].0 += watched.events;
                seen[index].1 += watched.lost;
                own_ns[index] += watched.cpu_ns;
            }
        }
        let bare = median(columns[0].work_ns.clone());
        let mut columns = columns.into_iter();
        let nothing = columns.next().map(|_| format!("{bare:.0}"));
        let cells: Vec<_> = nothing.into_iter().chain(columns.map(|it| it.tell(bare))).collect();
        println!("| {verb} | {} |", cells.join(" | "));
    }
    println!();
    let counted = sensors.iter().zip(seen).zip(own_ns).filter(|((_, seen), _)| seen.0 > 0);
    for ((sensor, (events, lost)), own_ns) in counted {
        let each = own_ns / events;
        println!("{}: {events} events, {lost} lost; {each} ns of its own for one", sensor.name());
    }
}

/// What of the work's time each program takes. Counting it costs some 20 ns a run, which is in the figures.
fn tell_programs(group: &Group, verb: &str, count: u64) {
    let watched = sensors::measured(group, || _ = group.run(verb, count));
    println!("\n| {verb} | runs for one | ns a run | ns for one |\n|---|---:|---:|---:|");
    for cost in watched.programs.iter().filter(|cost| cost.runs * 100 >= count) {
        let (runs, ns) = (cost.runs as f64, cost.run_time_ns as f64);
        let each = count as f64;
        println!("| {} | {:.2} | {:.0} | {:.0} |", cost.program, runs / each, ns / runs, ns / each);
    }
    println!("\n{} events, {} lost", watched.events, watched.lost);
}
