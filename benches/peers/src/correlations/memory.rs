//! What state takes in memory: each engine in a process of its own.

use std::error::Error;
use std::process::Command;

use clap::{Args, ValueEnum};

use super::engines::{Kind, Lavender, Rsigma};
use super::stream::Stream;
use crate::measure::thread_nanos;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Held {
    /// The detections alone: what the program takes without state.
    Nothing,
    /// Lavender, with the bound that it comes with.
    LavenderBounded,
    /// Lavender, with room for all.
    Lavender,
    /// rsigma-eval, with the bound of groups that it comes with.
    RsigmaBounded,
    /// rsigma-eval, with room for all.
    Rsigma,
    /// The same, and it can name the events, as Lavender can: by their ids, ten of them.
    RsigmaNaming,
}

impl Held {
    const ALL: [Self; 5] = [
        Self::LavenderBounded,
        Self::Lavender,
        Self::RsigmaBounded,
        Self::Rsigma,
        Self::RsigmaNaming,
    ];

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// How much is held.
#[derive(Clone, Copy, Debug, Args)]
pub struct Asked {
    /// How many detections.
    #[arg(long, default_value_t = 10_000_000)]
    pub detections: usize,
    /// In how many groups.
    #[arg(long, default_value_t = 1_000_000)]
    pub groups: u64,
}

/// What one process reports.
#[derive(Clone, Copy, Debug)]
struct Report {
    /// What is resident at the end, and at most, in bytes.
    resident: f64,
    peak: f64,
    groups: f64,
    nanos: f64,
}

/// Holds state in this process, and prints what it takes: `resident peak groups nanoseconds bytes-accounted`.
///
/// # Errors
///
/// When the engine does not load the rules, or went beyond its bound.
pub fn hold(held: Held, kind: Kind, asked: Asked) -> Result<(), Box<dyn Error>> {
    // More than a group has, so that everything is kept and nothing is raised.
    let rules = kind.rules("1d", 1_000);
    let stream = Stream::new(asked.groups)?.take(asked.detections);
    let bound = lavender_detect::correlate::CorrelatorOptions::default().state_bytes_max;
    let started = thread_nanos();
    let (groups, accounted) = match held {
        Held::Nothing => (stream.count(), 0),
        Held::LavenderBounded | Held::Lavender => {
            let bytes_max = if held == Held::Lavender { usize::MAX } else { bound };
            let mut lavender = Lavender::new(&rules, bytes_max)?;
            let mut most = 0;
            for detected in stream {
                lavender.correlate(&detected);
                most = most.max(lavender.correlator.state_bytes());
            }
            if most > bytes_max {
                return Err(format!("{most} bytes of state, of {bytes_max} allowed").into());
            }
            print(started, lavender.correlator.groups(), most)?;
            return Ok(());
        }
        Held::RsigmaBounded | Held::Rsigma | Held::RsigmaNaming => {
            let mut rsigma = match held {
                Held::RsigmaBounded => Rsigma::new(&rules, 100_000, None)?,
                Held::Rsigma => Rsigma::new(&rules, usize::MAX, None)?,
                _ => Rsigma::naming(&rules, usize::MAX)?,
            };
            for detected in stream {
                rsigma.correlate(&detected);
            }
            print(started, rsigma.engine.state_count(), 0)?;
            return Ok(());
        }
    };
    print(started, groups, accounted)
}

fn print(started: u64, groups: usize, accounted: usize) -> Result<(), Box<dyn Error>> {
    let nanos = thread_nanos() - started;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    let (resident, peak) = (of("VmRSS").unwrap_or_default(), of("VmHWM").unwrap_or_default());
    println!("{resident} {peak} {groups} {nanos} {accounted}");
    Ok(())
}

fn run(held: Held, kind: Kind, asked: Asked) -> Result<(Report, f64), Box<dyn Error>> {
    let kind = kind.to_possible_value().ok_or("no such type")?;
    let output = Command::new(std::env::current_exe()?)
        .args(["hold", &held.name(), kind.get_name()])
        .args(["--detections", &asked.detections.to_string()])
        .args(["--groups", &asked.groups.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> =
        text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [resident, peak, groups, nanos, accounted] = numbers[..] else {
        return Err("a process reported something else".into());
    };
    Ok((Report { resident, peak, groups, nanos }, accounted))
}

/// Prints what each engine takes for each type; the ratios are given back.
///
/// # Errors
///
/// When a process failed.
pub fn compare(asked: Asked) -> Result<Vec<String>, Box<dyn Error>> {
    const MIB: f64 = 1_048_576.0;
    let Asked { detections, groups } = asked;
    println!("\n## Memory: {detections} detections in {groups} groups\n");
    println!("Each in a process of its own; resident less what a process without state has.\n");
    println!(
        "| type | engine | groups at the end | resident, MiB | at most, MiB | accounted at most, MiB | bytes a group | \
         ns a detection, all in all |\n|---|---|---:|---:|---:|---:|---:|---:|"
    );
    let mut ratios = Vec::new();
    for (kind, _) in Kind::ALL {
        let (without, _) = run(Held::Nothing, kind, asked)?;
        let mut unbounded = Vec::new();
        for held in Held::ALL {
            let (report, accounted) = run(held, kind, asked)?;
            let bytes = (report.resident - without.resident) / report.groups;
            println!(
                "| {kind} | {} | {} | {:.0} | {:.0} | {:.1} | {bytes:.0} | {:.0} |",
                held.name(),
                report.groups,
                (report.resident - without.resident) / MIB,
                (report.peak - without.peak) / MIB,
                accounted / MIB,
                (report.nanos - without.nanos) / detections as f64,
            );
            if matches!(held, Held::Lavender | Held::Rsigma | Held::RsigmaNaming) {
                unbounded.push(bytes);
            }
        }
        if let [own, theirs, naming] = unbounded[..] {
            ratios.push(format!(
                "{kind} bytes a group {:.2}, naming events {:.2}",
                theirs / own,
                naming / own
            ));
        }
    }
    Ok(ratios)
}
