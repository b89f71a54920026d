//! Lavender finds what rsigma-eval finds; and where it does not, the peer departs from the specification (Sigma 2.1.0,
//! whose sections are named here), or that is silent.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../../../lavender-detect/tests/generator/mod.rs"]
mod generator;

use std::path::PathBuf;

use lavender_detect::{JsonFields, LogSource, RuleSetBuilder};
use lavender_peers::corpus::{RuleTexts, adversarial, hits, ordinary};
use lavender_peers::engine::Engine;
use lavender_peers::lavender::{Keywords, Lavender};
use lavender_peers::rsigma::Rsigma;
use proptest::prelude::*;
use rsigma_eval::JsonEvent;
use serde_json::{Value, json};

fn ours(rule: &str, event: &Value) -> bool {
    let mut builder = RuleSetBuilder::new();
    builder.add_str("generated", rule);
    let rules = builder.build().unwrap_or_else(|errors| panic!("{errors}\n{rule}")).rules;
    let fields = JsonFields::new(rules.fields());
    let mut evaluator = rules.evaluator(&LogSource::product("test"));
    evaluator.matches(&fields.record(event)).len() == 1
}

/// What rsigma-eval says; why not, when it does not load the rule.
fn theirs(rule: &str, event: &Value) -> Result<bool, String> {
    let parsed = rsigma_parser::parse_sigma_yaml(rule).map_err(|error| error.to_string())?;
    let mut engine = rsigma_eval::Engine::new();
    engine.add_collection(&parsed).map_err(|error| error.to_string())?;
    Ok(!engine.evaluate(&JsonEvent::borrow(event)).is_empty())
}

type Make = fn() -> Value;

/// A point on which the two differ.
struct Departure {
    section: &'static str,
    what: &'static str,
    /// Whether a field, its modifiers and its values touch the point, on this event.
    touches: fn(&Item<'_>) -> bool,
    /// A field with its modifiers, a value for it, and an event, on which it shows.
    example: (&'static str, Make, Make),
}

struct Item<'a> {
    /// Whether it names no field.
    keyword: bool,
    modifiers: Vec<&'a str>,
    values: Vec<&'a Value>,
    /// The event's value; `None` where it has none.
    found: Option<&'a Value>,
    event: &'a Value,
}

impl Item<'_> {
    fn has(&self, modifier: &str) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// Whether some value holds a wildcard that is one.
    fn has_wildcard(&self) -> bool {
        self.values.iter().any(|value| {
            let mut escaped = false;
            value.as_str().unwrap_or_default().chars().any(|character| {
                let wildcard = !escaped && matches!(character, '*' | '?');
                escaped = !escaped && character == '\\';
                wildcard
            })
        })
    }
}

const DEPARTURES: [Departure; 10] = [
    Departure {
        section: "String Wildcard",
        what: "a wildcard stands for any characters, and a line's end is one",
        touches: |item| {
            !item.has("re") && item.has_wildcard() && item.event.to_string().contains("\\n")
        },
        example: ("A", || json!("a*b"), || json!({"A": "a\nb"})),
    },
    Departure {
        section: "String Wildcard, with Modifiers: endswith, startswith",
        what: "a value with wildcards is anchored at the end that the modifier names",
        touches: |item| {
            (item.has("startswith") || item.has("endswith") || item.has("windash"))
                && item.has_wildcard()
        },
        example: ("A|endswith", || json!("?b"), || json!({"A": "xbc"})),
    },
    Departure {
        section: "Lists: keywords are searched in the whole event",
        what: "an empty keyword is in every value, and a number is a value",
        touches: |item| {
            item.keyword
                && (item.values.iter().any(|value| value.as_str() == Some(""))
                    || !only_texts(item.event))
        },
        example: ("|all", || json!(["1", "7"]), || json!({"A": 17})),
    },
    Departure {
        section: "Lists: keywords are searched in the whole event",
        what: "of keywords that are all to be there, each may be in another value (pySigma: one term each)",
        touches: |item| item.has("all") && item.keyword,
        example: ("|all", || json!(["x", "y"]), || json!({"A": "x", "B": "y"})),
    },
    Departure {
        section: "Field Existence",
        what: "a field that is null exists",
        touches: |item| item.has("exists") && item.found == Some(&Value::Null),
        example: ("A|exists", || json!(true), || json!({"A": null})),
    },
    Departure {
        section: "Modifiers, Generic: neq (as pySigma has it, and rsigma-eval from 0.26 on)",
        what: "an item that is negated holds where the field is missing",
        touches: |item| item.has("neq") && item.found.is_none(),
        example: ("A|neq", || json!("x"), || json!({"B": "y"})),
    },
    Departure {
        section: "silent",
        what: "two fields without a value of their own are not equal",
        touches: |item| {
            item.has("fieldref")
                && item.found.is_none_or(|found| found.is_null() || found.is_array())
        },
        example: ("A|fieldref", || json!("B"), || json!({"A": null, "B": null})),
    },
    Departure {
        section: "Value Modifiers: base64offset",
        what: "of a single byte one of the three forms is empty, and in every text",
        touches: |item| {
            item.has("base64offset")
                && item.values.iter().any(|value| value.as_str().is_some_and(|v| v.len() < 2))
        },
        example: ("A|base64offset|contains", || json!("x"), || json!({"A": ""})),
    },
    Departure {
        section: "Value Modifiers: minute to year",
        what: "a part of a time can be compared by lt and the like: not loaded",
        touches: |item| {
            ["minute", "hour", "day", "week", "month", "year"].iter().any(|part| item.has(part))
                && ["lt", "lte", "gt", "gte"].iter().any(|comparison| item.has(comparison))
        },
        example: ("A|hour|lt", || json!(3), || json!({"A": "2026-01-31T01:00:00Z"})),
    },
    Departure {
        section: "Modifiers, Generic: all",
        what: "`all` on a single value is not allowed: Lavender takes it for the value, and its lint says so",
        touches: |item| item.has("all") && item.values.len() == 1,
        example: ("A|contains|all", || json!("x"), || json!({"A": "xy"})),
    },
];

fn only_texts(event: &Value) -> bool {
    match event {
        Value::Array(items) => items.iter().all(only_texts),
        Value::Object(fields) => fields.values().all(only_texts),
        value => value.is_string(),
    }
}

fn lookup<'a>(event: &'a Value, field: &str) -> Option<&'a Value> {
    event.get(field).or_else(|| field.split('.').try_fold(event, |value, step| value.get(step)))
}

/// The sections that a rule's items touch, on this event.
fn departures(search: &Value, event: &Value) -> Vec<&'static str> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    match search {
        Value::Array(parts) => parts.iter().flat_map(|part| departures(part, event)).collect(),
        Value::Object(items) => items
            .iter()
            .flat_map(|(key, value)| {
                let mut parts = key.split('|');
                let field = parts.next().unwrap_or_default();
                let values = list(value);
                let item = Item {
                    keyword: field.is_empty(),
                    modifiers: parts.collect(),
                    values: values.iter().collect(),
                    found: lookup(event, field),
                    event,
                };
                let touched = DEPARTURES.iter().filter(|departure| (departure.touches)(&item));
                touched.map(|departure| departure.section).collect::<Vec<_>>()
            })
            .collect(),
        keyword => {
            let item = Item {
                keyword: true,
                modifiers: Vec::new(),
                values: vec![keyword],
                found: None,
                event,
            };
            let touched = DEPARTURES.iter().filter(|departure| (departure.touches)(&item));
            touched.map(|departure| departure.section).collect()
        }
    }
}

fn with_title(mut rule: Value) -> String {
    rule["title"] = "generated".into();
    rule["id"] = "generated".into();
    rule.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_rules_find_the_same(rule in generator::rule(), event in generator::event()) {
        let searches = rule["detection"].as_object().unwrap();
        let searches = searches.iter().filter(|(name, _)| *name != "condition");
        let touched: Vec<_> = searches.flat_map(|(_, search)| departures(search, &event)).collect();
        let text = with_title(rule);
        // What touches a departure still has to load and be evaluated.
        let found = ours(&text, &event);
        if touched.is_empty() {
            prop_assert_eq!(theirs(&text, &event), Ok(found), "rule {}\nevent {}", text, event);
        }
    }
}

#[test]
fn every_departure_is_still_one() {
    for Departure { section, what, example: (key, value, event), touches: _ } in &DEPARTURES {
        let rule = with_title(json!({
            "logsource": {"product": "test"},
            "detection": {"selection": {*key: value()}, "condition": "selection"},
        }));
        let (own, their) = (ours(&rule, &event()), theirs(&rule, &event()));
        assert_ne!(Ok(own), their, "{section}: {what}");
        println!(
            "{section}: {what}; {key}: {} on {}: {own}, rsigma-eval {their:?}",
            value(),
            event()
        );
    }
}

#[test]
fn the_public_rules_find_the_same() {
    let Some(root) = std::env::var_os("SIGMA_RULES").map(PathBuf::from) else {
        println!("skipped: SIGMA_RULES does not name a copy of the public Sigma rules");
        return;
    };
    let events = ordinary(20_000).unwrap();
    for rules in RuleTexts::public(&root).unwrap() {
        let mut lavender = Lavender::new(&rules, Keywords::Everywhere).unwrap();
        let mut rsigma = Rsigma::new(&rules).unwrap();
        // Keywords that are all to be there: see the departures.
        let departs: Vec<&str> = rules
            .texts
            .iter()
            .filter(|text| text.contains("'|all'"))
            .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("id: ")))
            .map(str::trim)
            .collect();
        let (mut matches, mut departures) = (0, 0);
        for events in [&events, &hits(&events), &adversarial(&events, &rules)] {
            for (number, event) in events.iter().enumerate() {
                let mut own = lavender.ids(number, event);
                let mut their = rsigma.ids(number, event);
                matches += own.len();
                departures += own.len().abs_diff(their.len());
                own.retain(|id| their.contains(id) || !departs.contains(&id.as_str()));
                own.sort_unstable();
                their.sort_unstable();
                assert_eq!(own, their, "{}: {}", rules.name, event.to_json());
            }
        }
        println!("{}: {matches} matches, {departures} by keywords in several values", rules.name);
        assert!(matches > 0);
    }
}
