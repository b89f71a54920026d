//! `lavender-rules eval`.

use std::io::{BufRead, Write};
use std::num::NonZeroU32;
use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{AlertId, Certainty, Detection, Evidence, RuleMeta};
use lavender_detect::novelty::{NewValue, Sighting};
use lavender_detect::{
    Evaluator, JsonFields, JsonLine, Record, Rule, RuleHandle, RuleSet, SigmaDetector,
    StatsOptions, Truth, UndeterminedPolicy,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::EvalArgs;
use crate::correlate::Correlate;
use crate::exit::{Exit, Failure};
use crate::input::{Input, Line, MAX_BYTES, Reader, read_line, time};
use crate::novelty::Learned;
use crate::rules::RuleSource;

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
    let options = StatsOptions { cost_sampled_one_in: COST_SAMPLED_ONE_IN, ..Default::default() };
    let handle = RuleHandle::with_stats(source.load_whole()?, options);
    let fields = JsonFields::new(handle.rules().fields());
    let mut reader = Reader::new(&fields, args.time_field.as_deref());
    let mut engine = Engine::new(&handle, args);
    let (mut line, mut number, mut malformed) = (Vec::new(), 0_u64, 0_u64);
    loop {
        let outcome =
            read_line(&mut events, &mut line).map_err(|error| Failure::input("stdin", error))?;
        number += 1;
        let input = match outcome {
            Line::End => break,
            Line::TooLong => Err(format!("longer than {MAX_BYTES} bytes")),
            Line::Read if line.trim_ascii().is_empty() => continue,
            Line::Read => reader.read(&line).map_err(|error| error.to_string()),
        };
        match input {
            Ok(input) => {
                report(&engine.detect(&input, number), number, args.events.then_some(&line), out)?
            }
            Err(reason) => {
                malformed += 1;
                writeln!(problems, "line {number}: {reason}")?;
            }
        }
        engine.correlate.write(out)?;
    }
    engine.finish(out, problems)?;
    if malformed > 0 {
        writeln!(problems, "{malformed} of {} lines cannot be read", number - 1)?;
    }
    if let Some(file) = &args.stats {
        let text = serde_json::to_vec_pretty(&handle.rule_stats())?;
        let written = std::fs::write(file, text);
        written.map_err(|error| Failure::input(file.display(), error))?;
    }
    Ok(Exit::findings(malformed > 0))
}

/// Writes a line for each detection, with the event where it is wanted.
fn report(
    found: &[Found],
    number: u64,
    event: Option<&Vec<u8>>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    let event = event.and_then(|line| raw(line));
    for found in found {
        serde_json::to_writer(&mut *out, &found.line(number, event))?;
        writeln!(out)?;
    }
    // Whoever follows a stream sees a detection at once; they are rare.
    out.flush()?;
    Ok(())
}
/// Often enough that a recording of some hundred events says what rules take.
const COST_SAMPLED_ONE_IN: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);

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
    /// Of what is new, the alert's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<AlertId>,
    /// Of what is new, that it may have been seen before.
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<bool>,
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
#[derive(Clone)]
struct Found {
    rule: Arc<RuleMeta>,
    evidence: Vec<Evidence>,
    certainty: Certainty,
    /// Of what is new: the alert's id, and whether it may have been seen before.
    alert: Option<(AlertId, bool)>,
}

impl From<Detection> for Found {
    fn from(detection: Detection) -> Self {
        let Detection { rule, evidence, certainty, correlated, .. } = detection;
        let alert = correlated.map(|correlated| (correlated.id, correlated.incomplete));
        Self { rule, evidence, certainty, alert }
    }
}

impl Found {
    /// The same, as what is new about it.
    fn of(&self, new: &NewValue) -> Self {
        let evidence = new.evidence(self.evidence.clone());
        Self { evidence, alert: Some((new.id, new.incomplete)), ..self.clone() }
    }

    fn line<'a>(&'a self, line: u64, event: Option<&'a RawValue>) -> DetectionLine<'a> {
        DetectionLine {
            kind: "detection",
            line,
            rule: RuleLine::of(&self.rule),
            alert: self.alert.map(|(id, _)| id),
            incomplete: self.alert.map(|(_, incomplete)| incomplete),
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
    evaluator: Evaluator,
    correlate: Correlate,
    learned: Learned,
}

impl Engine {
    fn new(handle: &RuleHandle, args: &EvalArgs) -> Self {
        let rules = handle.rules();
        Self {
            detector: SigmaDetector::new(handle, UndeterminedPolicy::Report),
            detections: Vec::new(),
            evaluator: match &args.logsource {
                Some(logsource) => handle.evaluator(logsource),
                None => handle.unrouted_evaluator(),
            },
            correlate: Correlate::new(rules.clone()),
            learned: Learned::new(rules.clone(), args.no_baseline),
            rules,
        }
    }

    /// Decides what is still open; what was counted is then added up.
    fn finish(self, out: &mut dyn Write, problems: &mut dyn Write) -> Result<(), Failure> {
        self.correlate.finish(out, problems)?;
        self.learned.finish(problems)
    }

    fn detect(&mut self, input: &Input<'_>, line: u64) -> Vec<Found> {
        match input {
            Input::Event(event) => self.event(event),
            Input::Alert => Vec::new(),
            Input::Object(object) => self.object(object, line),
        }
    }

    fn event(&mut self, event: &Arc<Event>) -> Vec<Found> {
        let (correlate, learned) = (&mut self.correlate, &mut self.learned);
        correlate.pass(event);
        learned.pass(event);
        let mut judge = |rule: &Rule, record: &dyn Record| {
            let sighting = learned.event(rule, event, record);
            if sighting.passes() {
                correlate.event(rule, event, record);
            }
            sighting
        };
        self.detector.detect_judged(event, &mut judge, &mut self.detections);
        self.detections.drain(..).map(Found::from).collect()
    }

    fn object(&mut self, object: &JsonLine<'_>, line: u64) -> Vec<Found> {
        let at = (line, time(object));
        let (rules, correlate, learned) = (&self.rules, &mut self.correlate, &mut self.learned);
        learned.pass_object(at.1);
        let mut all = Vec::new();
        for found in self.evaluator.matches(object) {
            let (rule, undetermined) = (found.rule(), found.truth() != Truth::True);
            let sighting = match rule.novelty() {
                // Whether its value is new is not known either.
                Some(_) if undetermined => Sighting::Known,
                _ if undetermined => Sighting::Plain,
                _ => learned.object(rule, at, object),
            };
            if !undetermined && sighting.passes() {
                correlate.object(rule, at, object);
            }
            if rules.is_silent(rule) || matches!(sighting, Sighting::Known | Sighting::Again) {
                continue;
            }
            let explanation = rules.explain(rule, object);
            let certainty = match undetermined {
                true => Certainty::Undetermined { fields: explanation.undetermined() },
                false => Certainty::Certain,
            };
            let evidence = explanation.evidence();
            let found = Found { rule: Arc::clone(found.meta()), evidence, certainty, alert: None };
            match sighting {
                Sighting::New(values) => all.extend(values.iter().map(|new| found.of(new))),
                _ => all.push(found),
            }
        }
        all
    }
}
