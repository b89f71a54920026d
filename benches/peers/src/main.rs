//! `lavender-peers`: times rule engines in turns and prints tables; the last line is the ratios.
#![allow(clippy::print_stdout, reason = "a program that prints tables")]

mod table;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lavender_peers::corpus::{RuleTexts, adversarial, hits, ordinary};
use lavender_peers::correlations::{self, Asked, Held, Kind};
use lavender_peers::engine::Engine;
use lavender_peers::lavender::{Keywords, Lavender};
use lavender_peers::observed::Observed;
use lavender_peers::rsigma::Rsigma;

use crate::table::{Options, Table};

/// Times rule engines on the same rules and events, in turns, by processor time.
#[derive(Parser)]
#[command(name = "lavender-peers")]
struct Cli {
    /// A copy of the public Sigma rules (the folder that holds `rules/`). Without it, only generated rules run.
    #[arg(long, env = "SIGMA_RULES")]
    rules: Option<PathBuf>,
    /// How many events.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// How often each engine has its turn.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    #[command(subcommand)]
    only: Option<Only>,
}

#[derive(Subcommand)]
enum Only {
    /// Evaluates every event with one engine: for counting instructions from outside.
    Once {
        /// `lavender` or `rsigma-eval`.
        engine: String,
        /// The rules: `endpoint`, `linux`, `all`.
        set: String,
        /// How often.
        #[arg(long, default_value_t = 1)]
        times: usize,
    },
    /// Correlation beside rsigma-eval's: cost, alerts and memory.
    Correlations {
        #[command(flatten)]
        asked: Asked,
        /// Memory is left out.
        #[arg(long)]
        cost_only: bool,
    },
    /// Holds the state of correlations and says what it takes: `correlations` starts it, once for each engine.
    Hold {
        held: Held,
        kind: Kind,
        #[command(flatten)]
        asked: Asked,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    match cli.only {
        Some(Only::Correlations { asked, cost_only }) => {
            let mut ratios = correlations::compare(cli.rounds)?;
            if !cost_only {
                ratios.extend(correlations::compare_memory(asked)?);
            }
            println!("\nrsigma-eval / lavender: {}", ratios.join("; "));
            return Ok(());
        }
        Some(Only::Hold { held, kind, asked }) => return correlations::hold(held, kind, asked),
        _ => {}
    }
    let events = ordinary(cli.events)?;
    let public = cli.rules.as_deref().map(RuleTexts::public).transpose()?;
    match &cli.only {
        Some(Only::Once { engine, set, times }) => {
            once(engine, set, *times, &public.unwrap_or_default(), &events)
        }
        _ => compare(&cli, public, &events),
    }
}

fn compare(
    cli: &Cli,
    public: Option<Vec<RuleTexts>>,
    events: &[Observed],
) -> Result<(), Box<dyn Error>> {
    let mut table = Table::new(cli.rounds);
    for count in [1, 10, 100, 1_000, 3_000] {
        let slow_too = count <= 100;
        let options = Options { sigma_rust: slow_too, ..Options::default() };
        table.add(&RuleTexts::generated(count), "ordinary", events, options)?;
    }
    let sets = public.unwrap_or_default();
    for rules in &sets {
        let sigma_rust = rules.name.starts_with("endpoint");
        let options = Options { sigma_rust, json: true };
        table.add(rules, "ordinary", events, options)?;
    }
    let fallback = RuleTexts::generated(1_000);
    let rules = sets.first().unwrap_or(&fallback);
    table.add(rules, "hits", &hits(events), Options::default())?;
    table.add(rules, "adversarial", &adversarial(events, rules), Options::default())?;
    table.print_ratios();
    Ok(())
}

fn once(
    engine: &str,
    set: &str,
    times: usize,
    sets: &[RuleTexts],
    events: &[Observed],
) -> Result<(), Box<dyn Error>> {
    let rules = sets.iter().find(|rules| rules.name.starts_with(set));
    let rules = rules.ok_or("no such set of rules; are the public rules given?")?;
    let mut engine: Box<dyn Engine> = match engine {
        "lavender" => Box::new(Lavender::new(rules, Keywords::LeftToText)?),
        "everywhere" => Box::new(Lavender::new(rules, Keywords::Everywhere)?),
        "rsigma-eval" => Box::new(Rsigma::new(rules)?),
        _ => return Err("no such engine".into()),
    };
    let matches: usize = (0..times).map(|_| evaluate_all(&mut *engine, events)).sum();
    println!("{matches} matches");
    Ok(())
}

/// A function of its own, so that a profiler can be told to look at nothing else.
#[inline(never)]
fn evaluate_all(engine: &mut dyn Engine, events: &[Observed]) -> usize {
    events.iter().enumerate().map(|(number, event)| engine.count(number, event)).sum()
}
