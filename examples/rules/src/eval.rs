//! `lavender-rules eval`.

use std::io::{BufRead, Write};
use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{Certainty, Detection, Evidence, RuleMeta};
use lavender_detect::{
    Evaluator, EventRecord, JsonFields, Rule, RuleHandle, RuleSet, SigmaDetector, Truth,
    UndeterminedPolicy,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::EvalArgs;
use crate::correlate::Correlate;
use crate::exit::{Exit, Failure};
use crate::input::{Input, Line, MAX_BYTES, read_line};
use crate::rules::RuleSource;
use crate::time;

/// Evaluates rules on lines of JSON, and writes a line for each detection. A line that cannot be read is named in
/// `problems`, and the rest goes on.
///
/// # Errors
///
/// [`Exit::Findings`] when rules are refused; [`Exit::Input`] when something cannot be read.
pub fn eval(
    args: &EvalArgs,
    mut events: impl BufRead,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> Result<Exit, Failure> {
    let source = RuleSource { paths: &args.rules, builtin: args.builtin, reading: &args.reading };
    let mut engine = Engine::new(source.load_whole()?, args);
    let (mut line, mut number, mut malformed) = (Vec::new(), 0_u64, 0_u64);
    loop {
        let outcome =
            read_line(&mut events, &mut line).map_err(|error| Failure::input("stdin", error))?;
        number += 1;
        let input = match outcome {
            Line::End => break,
            Line::TooLong => Err(format!("longer than {MAX_BYTES} bytes")),
            Line::Read if line.trim_ascii().is_empty() => continue,
            Line::Read => Input::parse(&line),
        };
        let input = match input {
            Ok(input) => input,
            Err(reason) => {
                malformed += 1;
                writeln!(problems, "line {number}: {reason}")?;
                continue;
            }
        };
        let event = if args.events { raw(&line) } else { None };
        for found in engine.detect(&input, number) {
            serde_json::to_writer(&mut *out, &found.line(number, event))?;
            writeln!(out)?;
            // Whoever follows a stream sees a detection at once; they are rare.
            out.flush()?;
        }
        engine.correlate.write(out)?;
    }
    engine.correlate.finish(out, problems)?;
    if malformed > 0 {
        writeln!(problems, "{malformed} of {} lines cannot be read", number - 1)?;
    }
    Ok(Exit::findings(malformed > 0))
}

/// The event as it came. It was read before, so it is JSON.
fn raw(line: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(line).ok()
}

/// A line of output.
#[derive(Serialize)]
struct DetectionLine<'a> {
    kind: &'static str,
    line: u64,
    rule: RuleLine<'a>,
    evidence: &'a [Evidence],
    /// The fields that it depends on and that were not captured in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    undetermined: Option<&'a [Arc<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
}

/// A rule, as lines of output name it.
#[derive(Debug, Serialize)]
pub(crate) struct RuleLine<'a> {
    id: &'a str,
    title: &'a str,
    level: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Arc<str>],
}

impl<'a> RuleLine<'a> {
    pub(crate) fn of(meta: &'a RuleMeta) -> Self {
        let RuleMeta { id, title, level, tags, .. } = meta;
        Self { id, title, level: level.as_str(), tags }
    }
}

/// What was found on a line.
struct Found {
    rule: Arc<RuleMeta>,
    evidence: Vec<Evidence>,
    certainty: Certainty,
}

impl Found {
    fn line<'a>(&'a self, line: u64, event: Option<&'a RawValue>) -> DetectionLine<'a> {
        DetectionLine {
            kind: "detection",
            line,
            rule: RuleLine::of(&self.rule),
            evidence: &self.evidence,
            undetermined: match &self.certainty {
                Certainty::Certain => None,
                Certainty::Undetermined { fields } => Some(fields),
            },
            event,
        }
    }
}

/// Rules, ready for events of either shape.
struct Engine {
    rules: RuleSet,
    detector: SigmaDetector,
    detections: Vec<Detection>,
    fields: JsonFields,
    evaluator: Evaluator,
    time_field: Option<String>,
    correlate: Correlate,
}

impl Engine {
    fn new(rules: RuleSet, args: &EvalArgs) -> Self {
        let handle = RuleHandle::new(rules.clone());
        Self {
            detector: SigmaDetector::new(&handle, UndeterminedPolicy::Report),
            detections: Vec::new(),
            fields: JsonFields::new(rules.fields()),
            evaluator: match &args.logsource {
                Some(logsource) => rules.evaluator(logsource),
                None => rules.unrouted_evaluator(),
            },
            time_field: args.time_field.clone(),
            correlate: Correlate::new(rules.clone()),
            rules,
        }
    }

    fn detect(&mut self, input: &Input, line: u64) -> Vec<Found> {
        match input {
            Input::Event(event) => self.event(event),
            Input::Alert => Vec::new(),
            Input::Object(object) => self.object(object, line),
        }
    }

    fn event(&mut self, event: &Arc<Event>) -> Vec<Found> {
        let correlate = &mut self.correlate;
        correlate.pass(event);
        let mut each = |rule: &Rule, record: &EventRecord<'_>| correlate.event(rule, event, record);
        self.detector.detect_each(event, &mut each, &mut self.detections);
        let found = self.detections.drain(..);
        found
            .map(|Detection { rule, evidence, certainty, .. }| Found { rule, evidence, certainty })
            .collect()
    }

    fn object(&mut self, object: &Value, line: u64) -> Vec<Found> {
        let record = self.fields.record(object);
        let at = (line, time::of(object, self.time_field.as_deref()));
        let (rules, correlate) = (&self.rules, &mut self.correlate);
        self.evaluator
            .matches(&record)
            .filter_map(|found| {
                if found.truth() == Truth::True {
                    correlate.object(found.rule(), at, &record);
                }
                if rules.is_silent(found.rule()) {
                    return None;
                }
                let explanation = rules.explain(found.rule(), &record);
                Some(Found {
                    rule: Arc::clone(found.meta()),
                    evidence: explanation.evidence(),
                    certainty: match found.truth() {
                        Truth::Undetermined => {
                            Certainty::Undetermined { fields: explanation.undetermined() }
                        }
                        _ => Certainty::Certain,
                    },
                })
            })
            .collect()
    }
}
