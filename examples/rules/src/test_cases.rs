//! `lavender-rules test`.

use std::io::Write;

use lavender_detect::{RuleTest, run_tests};
use serde::Serialize;

use crate::cli::TestArgs;
use crate::exit::{Exit, Failure};
use crate::rules::{RuleSource, borrowed, report};

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: Summary,
    rules: &'a [RuleTest],
}

#[derive(Default, Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    /// Rules that lack events that they must match, or events that they must not.
    untested: usize,
    cases: usize,
}

impl Summary {
    fn of(results: &[RuleTest]) -> Self {
        let mut summary = Self::default();
        for result in results {
            summary.cases += result.positive + result.negative;
            if result.passed() {
                summary.passed += 1;
            } else if result.failures.is_empty() {
                summary.untested += 1;
            } else {
                summary.failed += 1;
            }
        }
        summary
    }
}

/// Holds each rule against its cases. What does not load goes to `problems`.
///
/// # Errors
///
/// [`Exit::Input`] when something cannot be read; [`Exit::Findings`] when a test file has faults, or when there
/// is no case at all.
pub fn test(
    args: &TestArgs,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> Result<Exit, Failure> {
    let source = RuleSource::from(&args.rules);
    let (loaded, faults) = source.load()?;
    report(&faults, problems)?;
    let tests = source.tests()?;
    let results = run_tests(&loaded.rules, borrowed(&tests)).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Findings, format!("in the test files:\n{}", lines.join("\n")))
    })?;
    let summary = Summary::of(&results);
    if summary.cases == 0 {
        let message = "there are no cases: a rule in `name.yml` has them in `name.test.yml`";
        return Err(Failure::new(Exit::Findings, message));
    }
    let failed = summary.failed > 0;
    if args.json {
        serde_json::to_writer(&mut *out, &Report { summary, rules: &results })?;
        writeln!(out)?;
    } else {
        show(&summary, &results, out)?;
    }
    Ok(Exit::findings(failed || !faults.is_empty()))
}

fn show(summary: &Summary, results: &[RuleTest], out: &mut dyn Write) -> Result<(), Failure> {
    for result in results {
        for failure in &result.failures {
            let came = match failure.expected {
                true => "must match, and does not",
                false => "must not match, and does",
            };
            let (file, line) = (&failure.file, failure.line);
            writeln!(out, "{file}:{line}: {came}: {} (in `{}`)", failure.name, result.title)?;
            for part in failure.explanation.lines() {
                writeln!(out, "    {part}")?;
            }
        }
    }
    let Summary { passed, failed, untested, cases } = summary;
    writeln!(out, "{cases} cases: {passed} rules passed, {failed} failed, {untested} untested")?;
    Ok(())
}
