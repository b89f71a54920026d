//! `allocations`: what rules take on the heap, and how often evaluating an event allocates. The allocator counts, which
//! is why this is not done where time is measured.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::error::Error;

use allocation_counter::measure;
use lavender_peers::corpus::{RuleTexts, ordinary};
use lavender_peers::engine::Engine;
use lavender_peers::lavender::{Keywords, Lavender};
use lavender_peers::observed::Observed;
use lavender_peers::rsigma::Rsigma;

fn main() -> Result<(), Box<dyn Error>> {
    let events = ordinary(4_000)?;
    let sets = match std::env::var_os("SIGMA_RULES") {
        Some(root) => RuleTexts::public(root.as_ref())?,
        None => vec![RuleTexts::generated(100), RuleTexts::generated(3_000)],
    };
    println!("| rules | engine | heap, MiB | allocations an event | of events without a match |");
    println!("|---|---|---:|---:|---:|");
    for rules in &sets {
        let mut lavender = None;
        let heap = measure(|| lavender = Lavender::new(rules, Keywords::LeftToText).ok());
        print(&rules.name, lavender.ok_or("Lavender does not load the rules")?, heap, &events);
        let mut rsigma = None;
        let heap = measure(|| rsigma = Rsigma::new(rules).ok());
        print(&rules.name, rsigma.ok_or("rsigma-eval does not load the rules")?, heap, &events);
    }
    Ok(())
}

fn print(
    rules: &str,
    mut engine: impl Engine,
    heap: allocation_counter::AllocationInfo,
    events: &[Observed],
) {
    // What an engine keeps from event to event is made once.
    events.iter().enumerate().for_each(|(number, event)| {
        engine.count(number, event);
    });
    let (mut all, mut without, mut misses) = (0, 0, 0);
    for (number, event) in events.iter().enumerate() {
        let mut found = 0;
        let made = measure(|| found = engine.count(number, event)).count_total;
        all += made;
        if found == 0 {
            misses += 1;
            without += made;
        }
    }
    println!(
        "| {rules} | {} | {:.1} | {:.2} | {:.2} |",
        engine.name(),
        heap.bytes_current as f64 / f64::from(1 << 20),
        all as f64 / events.len() as f64,
        without as f64 / f64::from(misses),
    );
}
