//! sigma-rust: rules one after the other. It knows no log sources, so it is asked only for those that apply.

use std::rc::Rc;

use sigma_rust::{Event, Rule, rule_from_yaml};

use crate::corpus::RuleTexts;
use crate::engine::Engine;
use crate::observed::{Category, Observed, Scalar};

/// sigma-rust's rules by category, and the events in its own form.
#[derive(Debug)]
pub struct SigmaRust {
    by_category: [Vec<Rc<Rule>>; 3],
    loaded: usize,
    events: Vec<Event>,
}

impl SigmaRust {
    /// Reads rules, and leaves out those that it does not read.
    pub fn new(rules: &RuleTexts) -> Self {
        let mut by_category = [Vec::new(), Vec::new(), Vec::new()];
        let mut loaded = 0;
        for text in &rules.texts {
            // What its reader refuses is not measured; `loaded` says so.
            let Ok(rule) = rule_from_yaml(text) else { continue };
            let rule = Rc::new(rule);
            loaded += 1;
            for category in Category::ALL {
                let source = &rule.logsource;
                let fits = |rule: &Option<String>, event: Option<&str>| {
                    rule.is_none() || rule.as_deref() == event
                };
                if fits(&source.category, Some(category.name()))
                    && fits(&source.product, Some("linux"))
                    && fits(&source.service, None)
                {
                    by_category[category as usize].push(Rc::clone(&rule));
                }
            }
        }
        Self { by_category, loaded, events: Vec::new() }
    }
}

fn own_form(observed: &Observed) -> Event {
    let mut event = Event::new();
    for (name, scalar) in crate::observed::FIELDS.iter().zip(&observed.values) {
        match scalar {
            Scalar::Absent => {}
            Scalar::Text(text) => event.insert(*name, text.as_str()),
            Scalar::Number(number) => event.insert(*name, *number),
            Scalar::Flag(flag) => event.insert(*name, *flag),
        }
    }
    event
}

impl Engine for SigmaRust {
    fn name(&self) -> &'static str {
        "sigma-rust"
    }

    fn rules(&self) -> usize {
        self.loaded
    }

    fn prepare(&mut self, events: &[Observed]) {
        self.events = events.iter().map(own_form).collect();
    }

    fn count(&mut self, number: usize, event: &Observed) -> usize {
        let rules = &self.by_category[event.category as usize];
        rules.iter().filter(|rule| rule.is_match(&self.events[number])).count()
    }

    fn ids(&mut self, number: usize, event: &Observed) -> Vec<String> {
        let rules = &self.by_category[event.category as usize];
        let found = rules.iter().filter(|rule| rule.is_match(&self.events[number]));
        found.filter_map(|rule| rule.id.clone()).collect()
    }

    fn count_line(&mut self, _: &Observed, _: &[u8]) -> Option<usize> {
        None
    }
}
