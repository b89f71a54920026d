//! `lavender-rules check`.

use std::collections::BTreeMap;
use std::io::Write;

use lavender_detect::{Fault, Loaded, LogSource};
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::exit::{Exit, Failure};
use crate::rules::{RuleSource, report};

#[derive(Serialize)]
struct Report<'a> {
    files: usize,
    rules: usize,
    correlations: usize,
    filters: usize,
    logsources: Vec<Count<'a>>,
    refused: &'a [Fault],
}

/// How many rules are for a log source.
#[derive(Serialize)]
struct Count<'a> {
    #[serde(flatten)]
    logsource: &'a LogSource,
    rules: usize,
}

/// Loads rules, and says what was loaded and what was refused.
///
/// # Errors
///
/// [`Exit::Input`] when something cannot be read.
pub fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (loaded, faults) = RuleSource::from(&args.rules).load()?;
    let counts = count(&loaded);
    if args.json {
        let report = Report {
            files: loaded.files,
            rules: loaded.rules.len(),
            correlations: loaded.rules.correlations().len(),
            filters: loaded.filters,
            logsources: counts,
            refused: &faults,
        };
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        let (files, rules) = (loaded.files, loaded.rules.len());
        let correlations = loaded.rules.correlations().len();
        writeln!(out, "files         {files}\nrules         {rules}")?;
        writeln!(out, "correlations  {correlations}\nfilters       {}", loaded.filters)?;
        writeln!(out, "faults        {}", faults.len())?;
        writeln!(out)?;
        for Count { logsource, rules } in counts {
            writeln!(out, "{rules:>7}  {logsource}")?;
        }
        report(&faults, out)?;
    }
    Ok(Exit::findings(!faults.is_empty()))
}

/// The log sources, those with the most rules first.
fn count(loaded: &Loaded) -> Vec<Count<'_>> {
    let mut counts: BTreeMap<&LogSource, usize> = BTreeMap::new();
    for rule in loaded.rules.iter() {
        *counts.entry(rule.logsource()).or_default() += 1;
    }
    let mut counts: Vec<_> =
        counts.into_iter().map(|(logsource, rules)| Count { logsource, rules }).collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.rules));
    counts
}
