//! `lavender-rules lint`.

use std::collections::BTreeMap;
use std::io::Write;

use lavender_detect::{Finding, Smell};
use serde::Serialize;

use crate::cli::LintArgs;
use crate::exit::{Exit, Failure};
use crate::rules::{RuleSource, borrowed, report};

#[derive(Serialize)]
struct Report<'a> {
    rules: usize,
    findings: &'a [Finding],
    counts: BTreeMap<Smell, usize>,
}

/// Finds what loads and yet smells. What does not load goes to `problems`.
///
/// # Errors
///
/// [`Exit::Input`] when something cannot be read.
pub fn lint(
    args: &LintArgs,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> Result<Exit, Failure> {
    let source = RuleSource::from(&args.rules);
    let (loaded, faults) = source.load()?;
    report(&faults, problems)?;
    let (texts, tests) = (source.texts(&loaded.rules)?, source.tests()?);
    let findings = lavender_detect::lint(&loaded.rules, borrowed(&texts), borrowed(&tests));
    let mut counts = BTreeMap::new();
    for finding in &findings {
        *counts.entry(finding.smell).or_default() += 1;
    }
    let rules = loaded.rules.len() + loaded.rules.correlations().len();
    if args.json {
        serde_json::to_writer(&mut *out, &Report { rules, findings: &findings, counts })?;
        writeln!(out)?;
    } else {
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
        writeln!(out, "{} findings in {rules} rules", findings.len())?;
        for (smell, count) in counts {
            writeln!(out, "{count:>7}  {smell}")?;
        }
    }
    Ok(Exit::findings(!faults.is_empty() || args.deny && !findings.is_empty()))
}
