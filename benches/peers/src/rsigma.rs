//! rsigma-eval as its documentation says it is fastest: the event's log source given by the caller, and events that
//! are structs and not JSON.

use std::borrow::Cow;

use rsigma_eval::event::{Event, EventValue};
use rsigma_eval::{Engine as RsigmaEngine, EvalError, JsonEvent};
use rsigma_parser::LogSource;
use serde_json::Value;

use crate::corpus::RuleTexts;
use crate::engine::Engine;
use crate::observed::{Category, FIELDS, Observed, Scalar, index_of};

/// rsigma-eval's engine.
#[allow(missing_debug_implementations, reason = "the engine has none")]
pub struct Rsigma {
    engine: RsigmaEngine,
    logsources: [LogSource; 3],
}

/// Why rules were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The text is no rule.
    #[error("rsigma-parser does not read a rule: {0}")]
    Parse(String),
    /// The rule does not compile.
    #[error("rsigma-eval does not compile a rule: {0}")]
    Compile(#[from] EvalError),
}

/// The documents of these rules, as rsigma's parser reads them.
///
/// # Errors
///
/// The first document that it does not read.
pub fn parse(rules: &RuleTexts) -> Result<Vec<rsigma_parser::SigmaRule>, Refused> {
    let mut parsed = Vec::with_capacity(rules.texts.len());
    for text in &rules.texts {
        let collection = rsigma_parser::parse_sigma_yaml(text)
            .map_err(|error| Refused::Parse(error.to_string()))?;
        if let Some(error) = collection.errors.first() {
            return Err(Refused::Parse(error.clone()));
        }
        parsed.extend(collection.rules);
    }
    Ok(parsed)
}

impl Rsigma {
    /// Compiles rules.
    ///
    /// # Errors
    ///
    /// The first rule that is not accepted.
    pub fn new(rules: &RuleTexts) -> Result<Self, Refused> {
        let parsed = parse(rules)?;
        let mut engine = RsigmaEngine::new();
        if let Some((_, error)) = engine.add_rules(&parsed).into_iter().next() {
            return Err(error.into());
        }
        // Its pruning drops a rule where the two disagree; naming a service that no rule has makes that the
        // specification's: a rule for a service is not for a record without one.
        let logsources = Category::ALL.map(|category| LogSource {
            product: Some("linux".into()),
            category: Some(category.name().into()),
            service: Some("none".into()),
            ..LogSource::default()
        });
        Ok(Self { engine, logsources })
    }
}

/// An event as rsigma reads it.
struct Row<'a>(&'a Observed);

fn value(scalar: &Scalar) -> Option<EventValue<'_>> {
    match scalar {
        Scalar::Absent => None,
        Scalar::Text(text) => Some(EventValue::Str(Cow::Borrowed(text))),
        Scalar::Number(number) => Some(EventValue::Int(*number)),
        Scalar::Flag(flag) => Some(EventValue::Bool(*flag)),
    }
}

impl Row<'_> {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values.iter().filter_map(|scalar| match scalar {
            Scalar::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

impl Event for Row<'_> {
    #[inline]
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        value(&self.0.values[index_of(path)?])
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.texts().any(pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.texts().map(Cow::Borrowed).collect()
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        self.texts().for_each(visit);
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }

    fn visit_top_level_keys(&self, visit: &mut dyn FnMut(&str)) -> bool {
        for (name, scalar) in FIELDS.iter().zip(&self.0.values) {
            if *scalar != Scalar::Absent {
                visit(name);
            }
        }
        true
    }
}

impl Engine for Rsigma {
    fn name(&self) -> &'static str {
        "rsigma-eval"
    }

    fn rules(&self) -> usize {
        self.engine.rule_count()
    }

    fn count(&mut self, _: usize, event: &Observed) -> usize {
        self.engine.evaluate_pruned(&Row(event), &self.logsources[event.category as usize]).len()
    }

    fn ids(&mut self, _: usize, event: &Observed) -> Vec<String> {
        let logsource = &self.logsources[event.category as usize];
        let found = self.engine.evaluate_pruned(&Row(event), logsource);
        found.into_iter().filter_map(|one| one.header.rule_id).collect()
    }

    fn count_line(&mut self, event: &Observed, line: &[u8]) -> Option<usize> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let logsource = &self.logsources[event.category as usize];
        Some(self.engine.evaluate_pruned(&JsonEvent::borrow(&value), logsource).len())
    }
}
