//! What correlating costs on top of detecting.

use std::collections::BTreeSet;
use std::error::Error;
use std::hint::black_box;

use super::engines::{Kind, Lavender, Rsigma};
use super::stream::{Detected, PER_SECOND, Stream};
use crate::measure::{median, thread_nanos};

const GROUPS: u64 = 200;
/// How many detections a round has.
const ROUND: usize = 10_000;
/// How many different values or events in a group it takes.
const LEAST: u32 = 10;
const SPANS: [(&str, i64); 3] = [("10s", 10), ("1m", 60), ("10m", 600)];

/// Prints a table for each type and timespan; the ratios of each are given back.
///
/// # Errors
///
/// When an engine does not load the rules.
pub fn compare(rounds: usize) -> Result<Vec<String>, Box<dyn Error>> {
    println!("\n## Cost of a detection, on top of detecting it\n");
    println!("{PER_SECOND} detections a second in {GROUPS} groups; one in three by each rule.\n");
    println!(
        "| type | timespan | lavender, ns | aim | rsigma-eval, ns | rsigma-eval / lavender | alerts of lavender | \
         rsigma-eval's that differ |\n|---|---|---:|---:|---:|---:|---:|---:|"
    );
    let mut ratios = Vec::new();
    for (kind, aim) in Kind::ALL {
        let mut own = Vec::new();
        for (name, span) in SPANS {
            let cost = measure(kind, (name, span), rounds)?;
            let alike = alike(kind, (name, span))?;
            println!(
                "| {kind} | {name} | {:.0} | {aim} | {:.0} | {:.1} | {} | {} |",
                cost.lavender,
                cost.rsigma,
                cost.ratio,
                alike.both + alike.only_lavender,
                alike.differing(),
            );
            own.push(cost.lavender);
            ratios.push(format!("{kind} {name} {:.1}", cost.ratio));
        }
        let (first, last) = (own[0], own[own.len() - 1]);
        ratios.push(format!("lavender {kind} 10m/10s {:.2}", last / first));
    }
    Ok(ratios)
}

struct Cost {
    lavender: f64,
    rsigma: f64,
    /// The median of the rounds' ratios.
    ratio: f64,
}

/// In turns, round by round, each of them with the window full.
fn measure(kind: Kind, (name, span): (&str, i64), rounds: usize) -> Result<Cost, Box<dyn Error>> {
    let rules = kind.rules(name, LEAST);
    let mut lavender = Lavender::new(&rules, 1 << 30)?;
    let mut rsigma = Rsigma::new(&rules, usize::MAX, Some(span.unsigned_abs()))?;
    let mut stream = Stream::new(GROUPS)?;
    for detected in stream.by_ref().take(span as usize * PER_SECOND as usize) {
        lavender.correlate(&detected);
        rsigma.correlate(&detected);
    }
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let round: Vec<Detected> = stream.by_ref().take(ROUND).collect();
        let alone = time(&round, |detected| lavender.detect(detected));
        own.push(time(&round, |detected| lavender.correlate(detected)) - alone);
        let alone = time(&round, |detected| rsigma.detect(detected));
        theirs.push(time(&round, |detected| rsigma.correlate(detected)) - alone);
    }
    let ratios: Vec<f64> = own.iter().zip(&theirs).map(|(own, theirs)| theirs / own).collect();
    Ok(Cost { lavender: median(&own), rsigma: median(&theirs), ratio: median(&ratios) })
}

fn time(round: &[Detected], mut work: impl FnMut(&Detected) -> usize) -> f64 {
    let started = thread_nanos();
    for detected in round {
        black_box(work(black_box(detected)));
    }
    (thread_nanos() - started) as f64 / round.len() as f64
}

/// In how many groups and cells of time both raised something, or one of them.
struct Alike {
    both: usize,
    only_lavender: usize,
    only_rsigma: usize,
}

impl Alike {
    const fn differing(&self) -> usize {
        self.only_lavender + self.only_rsigma
    }
}

/// Compares what is raised, cell by cell. rsigma-eval is not made silent for that: a cell counts once for it too.
fn alike(kind: Kind, (name, span): (&str, i64)) -> Result<Alike, Box<dyn Error>> {
    // Sparse groups, so that what is asked for is not always there.
    const SPARSE: u64 = 2_500;
    let groups = SPARSE * span.unsigned_abs().isqrt() / 3;
    let rules = kind.rules(name, LEAST);
    let mut lavender = Lavender::new(&rules, 1 << 30)?;
    let mut rsigma = Rsigma::new(&rules, usize::MAX, None)?;
    let (mut own, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    for detected in Stream::new(groups.min(10_000))?.take(200_000) {
        lavender.correlate(&detected);
        own.extend(lavender.raised(span));
        rsigma.raised(&detected, span, &mut theirs);
    }
    let both = own.intersection(&theirs).count();
    Ok(Alike { both, only_lavender: own.len() - both, only_rsigma: theirs.len() - both })
}
