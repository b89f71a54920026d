//! `lavender-rules explain`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use lavender_core::event::Event;
use lavender_detect::correlate::Correlation;
use lavender_detect::{
    AuditRecord, AuditView, EventRecord, Explanation, JsonFields, LogSource, Record, Route, Rule,
    RuleSet, Truth,
};
use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::exit::{Exit, Failure};
use crate::input::{Input, MAX_BYTES, Reader};
use crate::rules::RuleSource;

/// How a rule came out.
#[derive(Serialize)]
struct Report<'a> {
    id: &'a str,
    title: &'a str,
    logsource: &'a LogSource,
    /// Whether the rule is for such events; absent where their log source is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    applies: Option<bool>,
    /// The type of audit's record that the event was looked at as, for rules on those.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'static str>,
    truth: Truth,
    explanation: &'a Explanation,
    missing: Vec<&'a Explanation>,
}

/// Shows how a rule's condition comes out on the event, part by part, and what was missing.
///
/// # Errors
///
/// [`Exit::Findings`] when rules are refused; [`Exit::Usage`] when there is no such rule; [`Exit::Input`] when
/// the event or anything else cannot be read.
pub fn explain(args: &ExplainArgs, stdin: impl Read, out: &mut dyn Write) -> Result<Exit, Failure> {
    let rules = load(args)?;
    let meant: Vec<&Rule> = if Path::new(&args.rule).is_file() {
        rules.iter().filter(|rule| **rule.file() == *args.rule).collect()
    } else {
        rules.iter().filter(|rule| is_called(rule, &args.rule)).collect()
    };
    let correlated = correlations(&rules, &args.rule);
    let members = |rule: &&Rule| {
        let id = &rule.meta().id;
        correlated.iter().any(|correlation| correlation.members().contains(id))
    };
    let meant = if meant.is_empty() { rules.iter().filter(members).collect() } else { meant };
    if meant.is_empty() {
        let message = format!("no rule has the id or name `{}`, and it is no file", args.rule);
        return Err(Failure::new(Exit::Usage, message));
    }
    let text = read_text(stdin)?;
    let mut reader = Reader::new(&JsonFields::new(rules.fields()), None);
    let input = reader.read(&text).map_err(|error| Failure::input("stdin", error))?;
    if !args.json {
        for correlation in &correlated {
            describe(&rules, correlation, out)?;
        }
    }
    for rule in meant {
        match &input {
            Input::Event(event) => match nearest(&rules, rule, event) {
                Some(record) => {
                    let of = Of { applies: Some(true), record: Some(record.view().record_type()) };
                    show(&rules, rule, &record, of, args.json, out)?;
                }
                None => {
                    let sources: Vec<LogSource> = Route::of(event).map(Route::logsource).collect();
                    let applies = sources.iter().any(|source| rule.logsource().applies_to(source));
                    let of = Of { applies: Some(applies), record: None };
                    show(&rules, rule, &EventRecord::new(event), of, args.json, out)?;
                }
            },
            Input::Object(object) => {
                let applies = args.logsource.as_ref().map(|of| rule.logsource().applies_to(of));
                show(&rules, rule, object, Of { applies, record: None }, args.json, out)?;
            }
            Input::Alert => {
                return Err(Failure::input("stdin", "this is an alert; give the event itself"));
            }
        }
    }
    Ok(Exit::Success)
}

/// The record of audit's as which an event comes nearest to matching a rule on those; `None` for other rules, and
/// where audit writes no record of such an event.
fn nearest<'a>(rules: &'a RuleSet, rule: &Rule, event: &'a Event) -> Option<AuditRecord<'a>> {
    if !AuditView::serves(rule.logsource()) {
        return None;
    }
    let records = AuditView::of(event.kind()).map(|view| rules.audit_record(view, event));
    records.min_by_key(|record| {
        let explanation = rules.explain(rule, record);
        let distance = match explanation.truth() {
            Truth::True => 0,
            Truth::Undetermined => 1,
            Truth::False => 2,
        };
        (distance, explanation.missing().len())
    })
}

/// What is explained on.
#[derive(Clone, Copy)]
struct Of {
    /// Whether the rule is for it, where that is known.
    applies: Option<bool>,
    /// The type of audit's record that it is.
    record: Option<&'static str>,
}

/// The correlations that are meant, and those that they rest on.
fn correlations<'a>(rules: &'a RuleSet, name: &str) -> Vec<&'a Correlation> {
    let is_meant = |correlation: &&Correlation| {
        *correlation.meta().id == *name
            || correlation.name() == Some(name)
            || **correlation.file() == *name
    };
    let mut found: Vec<&Correlation> = rules.correlations().iter().filter(is_meant).collect();
    let mut at = 0;
    while at < found.len() {
        let below = found[at].members().iter().filter_map(|id| rules.correlation(id));
        let new: Vec<_> =
            below.filter(|below| found.iter().all(|c| c.meta().id != below.meta().id)).collect();
        found.extend(new);
        at += 1;
    }
    found
}

/// What a correlation asks for, before what its rules make of the event.
fn describe(
    rules: &RuleSet,
    correlation: &Correlation,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let meta = correlation.meta();
    let seconds = correlation.timespan_ns() / 1_000_000_000;
    writeln!(
        out,
        "{} ({}), {}: {} within {seconds} s of",
        meta.title,
        meta.id,
        meta.level,
        correlation.kind()
    )?;
    for id in correlation.members() {
        let rule = rules.rule(id).map(Rule::meta);
        let title = rule.or(rules.correlation(id).map(Correlation::meta)).map(|meta| &meta.title);
        writeln!(out, "  - {} ({id})", title.map_or("?", |title| title))?;
    }
    if !correlation.group_by().is_empty() {
        let names: Vec<&str> = correlation.group_by().iter().map(|name| &**name).collect();
        writeln!(out, "by {}", names.join(", "))?;
    }
    writeln!(out)?;
    Ok(())
}

fn is_called(rule: &Rule, name: &str) -> bool {
    *rule.meta().id == *name || rule.name() == Some(name)
}

/// The rules to look among: those asked for; else the file, or those that come with Lavender.
fn load(args: &ExplainArgs) -> Result<RuleSet, Failure> {
    let is_file = Path::new(&args.rule).is_file();
    let mut paths = args.rules.clone();
    if is_file {
        paths = vec![PathBuf::from(&args.rule)];
    }
    let builtin = paths.is_empty();
    RuleSource { paths: &paths, builtin, reading: &args.reading }.load_whole()
}

fn read_text(stdin: impl Read) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    stdin.take(most).read_to_end(&mut text).map_err(|error| Failure::input("stdin", error))?;
    if text.len() > MAX_BYTES {
        return Err(Failure::input("stdin", format!("the event has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn show<R: Record>(
    rules: &RuleSet,
    rule: &Rule,
    record: &R,
    Of { applies, record: record_type }: Of,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let explanation = rules.explain(rule, record);
    let (meta, missing) = (rule.meta(), explanation.missing());
    let truth = explanation.truth();
    if json {
        let (id, title, logsource) = (&*meta.id, &*meta.title, rule.logsource());
        let explanation = &explanation;
        let report = Report {
            id,
            title,
            logsource,
            applies,
            record: record_type,
            truth,
            explanation,
            missing,
        };
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{} ({}), {}, for {}", meta.title, meta.id, meta.level, rule.logsource())?;
    if applies == Some(false) {
        writeln!(out, "not evaluated: the event is of another log source")?;
    }
    if let Some(record_type) = record_type {
        writeln!(out, "as audit's record {record_type}")?;
    }
    let words = match truth {
        Truth::True => "it matches",
        Truth::False => "it does not match",
        Truth::Undetermined => "undetermined: it depends on what was not captured",
    };
    writeln!(out, "{words}\n{explanation}")?;
    if !missing.is_empty() {
        writeln!(out, "missing:")?;
        for part in missing {
            write!(out, "  {part}")?;
        }
    }
    Ok(())
}
