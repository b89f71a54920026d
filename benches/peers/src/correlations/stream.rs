//! Detections as a busy host makes them, without end and the same for everyone.

use std::borrow::Cow;

use lavender_core::{AgentId, BootId, IdError, Origin, TenantId, Timestamp};
use lavender_detect::correlate::EventStamp;
use lavender_detect::{FieldId, FieldValue, Record, RuleSet};
use rsigma_eval::event::{Event, EventValue};
use serde_json::{Value, json};

/// The rules, of which each event matches one.
pub const RULES: [&str; 3] = ["a", "b", "c"];
/// When it begins: at the beginning of a day.
const EPOCH_SECS: i64 = 1_699_920_000;
/// How many detections there are a second.
pub const PER_SECOND: u64 = 1_000;
/// How many different values there are.
const VALUES: u64 = 500;

/// What both engines see.
#[derive(Clone, Debug)]
pub struct Detected {
    /// When, in whole seconds.
    pub secs: i64,
    /// Lavender's name for it.
    pub stamp: EventStamp,
    rule: &'static str,
    group: String,
    value: String,
}

/// Makes detections, in groups at random.
#[derive(Clone, Debug)]
pub struct Stream {
    random: fastrand::Rng,
    origin: Origin,
    groups: u64,
    made: u64,
}

impl Stream {
    /// A stream in so many groups.
    ///
    /// # Errors
    ///
    /// Never: its names are sound.
    pub fn new(groups: u64) -> Result<Self, IdError> {
        let (tenant, agent) = (TenantId::new("bench")?, AgentId::new("host")?);
        let origin = Origin::new(&tenant, &agent, BootId::from_u128(7));
        Ok(Self {
            random: fastrand::Rng::with_seed(lavender_benches::SEED),
            origin,
            groups,
            made: 0,
        })
    }
}

impl Iterator for Stream {
    type Item = Detected;

    fn next(&mut self) -> Option<Detected> {
        // Every group comes up as often as every other.
        let group = match self.groups > 10_000 {
            true => self.made % self.groups,
            false => self.random.u64(..self.groups),
        };
        let secs = EPOCH_SECS + (self.made / PER_SECOND).cast_signed();
        self.made += 1;
        Some(Detected {
            secs,
            stamp: EventStamp {
                id: self.origin.event(self.made),
                time: Timestamp::from_millis(secs * 1_000),
            },
            rule: RULES[self.random.usize(..RULES.len())],
            group: format!("{{{group:08x}-0000-8000-8000-000000000007}}"),
            value: format!("/usr/bin/program-{}", self.random.u64(..VALUES)),
        })
    }
}

/// A detection as Lavender reads it.
#[derive(Debug)]
pub struct Fields<'a> {
    pub detected: &'a Detected,
    pub columns: Columns,
}

/// By which numbers Lavender's rules know the fields.
#[derive(Clone, Copy, Debug)]
pub struct Columns([Option<FieldId>; 3]);

impl Columns {
    /// Those of a set of rules.
    pub fn of(rules: &RuleSet) -> Self {
        Self(["rule", "group", "value"].map(|name| rules.fields().id(name)))
    }
}

impl Record for Fields<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        let Columns([rule, group, value]) = self.columns;
        match Some(field) {
            id if id == rule => FieldValue::from(self.detected.rule),
            id if id == group => FieldValue::from(&self.detected.group),
            id if id == value => FieldValue::from(&self.detected.value),
            _ => FieldValue::Absent,
        }
    }
}

impl Detected {
    fn texts(&self) -> [&str; 3] {
        [self.rule, &self.group, &self.value]
    }
}

impl Event for Detected {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let text = match path {
            "rule" => self.rule,
            "group" => &self.group,
            "value" => &self.value,
            _ => return None,
        };
        Some(EventValue::Str(Cow::Borrowed(text)))
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.texts().into_iter().any(pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.texts().into_iter().map(Cow::Borrowed).collect()
    }

    fn to_json(&self) -> Value {
        let [rule, group, value] = self.texts();
        json!({"id": self.stamp.id.to_string(), "rule": rule, "group": group, "value": value})
    }
}
