//! `lavender-rules coverage`.

use std::io::Write;

use lavender_detect::{BlockedRule, Coverage, HostCapabilities, blocked_rules};
use serde::Serialize;
use serde_json::Value;

use crate::cli::CoverageArgs;
use crate::exit::{Exit, Failure};
use crate::rules::{RuleSource, read, report};

/// The name of the layer, as the Navigator shows it.
const LAYER: &str = "Lavender";

#[derive(Serialize)]
struct Report {
    layer: Value,
    coverage: Coverage,
    cannot_fire: Option<Vec<BlockedRule>>,
}

/// Writes a Navigator layer; the rules that cannot fire on a host go to `problems`.
///
/// # Errors
///
/// [`Exit::Input`] when something cannot be read.
pub fn coverage(
    args: &CoverageArgs,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> Result<Exit, Failure> {
    let (loaded, faults) = RuleSource::from(&args.rules).load()?;
    report(&faults, problems)?;
    let rules = &loaded.rules;
    let coverage = Coverage::of(rules);
    let layer = coverage.navigator_layer(LAYER);
    let mut cannot_fire = None;
    if let Some(file) = &args.capabilities {
        let host = HostCapabilities::from_json(&read(file)?).map_err(|error| {
            let reason = "this is not what `lavender-agent doctor --json` prints";
            Failure::input(file.display(), format!("{reason}: {error}"))
        })?;
        cannot_fire = Some(blocked_rules(rules, &host));
    }
    if args.json {
        serde_json::to_writer(&mut *out, &Report { layer, coverage, cannot_fire })?;
    } else {
        serde_json::to_writer_pretty(&mut *out, &layer)?;
        let blocked = cannot_fire.unwrap_or_default();
        for rule in &blocked {
            let reasons: Vec<String> = rule.reasons.iter().map(ToString::to_string).collect();
            let BlockedRule { file, line, title, .. } = rule;
            writeln!(problems, "{file}:{line}: cannot fire: {} (`{title}`)", reasons.join("; "))?;
        }
        if args.capabilities.is_some() {
            let (count, all) = (blocked.len(), rules.len());
            writeln!(problems, "{count} of {all} rules cannot fire on this host")?;
        }
    }
    writeln!(out)?;
    Ok(Exit::findings(!faults.is_empty()))
}
