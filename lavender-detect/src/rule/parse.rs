//! From YAML to documents. Every fault of a document is reported, not only the first.

use std::sync::Arc;

use lavender_core::{ResponseAction, RuleMeta, Severity};
use rsigma_parser::Modifier;

use super::yaml::{self, Entry, Node, Value};
use super::{
    CorrelationDocument, Detection, FilterDocument, Item, RuleDocument, Scalar, Search, condition,
    extension, novelty, prevent, response,
};
use crate::error::Fault;
use crate::logsource::LogSource;

/// One document of a file.
#[derive(Debug)]
pub(crate) enum Document {
    Rule(Box<RuleDocument>),
    Filter(FilterDocument),
    Correlation(Box<CorrelationDocument>),
}

/// Reads every document of a text. What has a fault is left out, and its faults are added to `faults`.
pub(crate) fn parse_documents(
    file: &Arc<str>,
    text: &str,
    faults: &mut Vec<Fault>,
) -> Vec<Document> {
    let (mut nodes, broken) = yaml::read(text.trim_start_matches('\u{feff}'));
    // What stands between two `---`, or after the last, may be nothing.
    nodes.retain(|node| !matches!(node.value, Value::Null));
    let mut documents = Vec::new();
    let some = !nodes.is_empty();
    for node in nodes {
        let mut context = Context { file, rule: None, faults, failed: false };
        let document = context.document(&node);
        if !context.failed {
            documents.extend(document);
        }
    }
    if let Some(fault) = broken {
        let (file, reason) = (Arc::clone(file), fault.reason);
        faults.push(Fault { file, line: fault.line, rule: None, reason });
    } else if !some {
        let (file, reason) = (Arc::clone(file), "there is no document in it".to_owned());
        faults.push(Fault { file, line: 0, rule: None, reason });
    }
    documents
}

/// More searches or conditions in one rule than this are refused: each selector of each condition looks at every
/// search. Rules are written by hand, with a handful of either.
const MAX_SEARCHES: usize = 1_024;
const MAX_CONDITIONS: usize = 64;

pub(super) struct Context<'a> {
    file: &'a Arc<str>,
    rule: Option<Arc<str>>,
    faults: &'a mut Vec<Fault>,
    pub(super) failed: bool,
}

const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];

impl Context<'_> {
    pub(super) fn fault(&mut self, line: u32, reason: impl Into<String>) {
        self.failed = true;
        self.faults.push(Fault {
            file: Arc::clone(self.file),
            line,
            rule: self.rule.clone(),
            reason: reason.into(),
        });
    }

    fn document(&mut self, node: &Node) -> Option<Document> {
        if node.as_map().is_none() {
            self.fault(node.line, format!("a rule is a mapping, not {}", node.kind()));
            return None;
        }
        if let Some(action) = node.entry("action") {
            let reason = "`action` documents are not part of Sigma 2: write each rule in full";
            self.fault(action.line, reason);
            return None;
        }
        self.rule = self.text(node, "title");
        let Some(title) = self.rule.clone() else {
            self.fault(node.line, "`title` is missing");
            return None;
        };
        if let Some(correlation) = node.entry("correlation") {
            let correlation = self.correlation(title, node, correlation);
            return correlation.map(|document| Document::Correlation(Box::new(document)));
        }
        if let Some(filter) = node.entry("filter") {
            return self.filter(title, node, filter).map(Document::Filter);
        }
        self.rule_document(title, node).map(|rule| Document::Rule(Box::new(rule)))
    }

    /// A text under a key. Numbers and booleans are texts here; anything else is a fault.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<Arc<str>> {
        let value = node.get(key)?;
        let text = value.scalar_text();
        if text.is_none() && !matches!(value.value, Value::Null) {
            self.fault(value.line, format!("`{key}` must be a string, not {}", value.kind()));
        }
        text.map(Into::into)
    }

    fn texts(&mut self, node: &Node, key: &str) -> Vec<Arc<str>> {
        let Some(value) = node.get(key) else { return Vec::new() };
        let items = match &value.value {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            _ => std::slice::from_ref(value),
        };
        let mut texts = Vec::new();
        for item in items {
            match item.scalar_text() {
                Some(text) => texts.push(text.into()),
                None if matches!(item.value, Value::Null) => {}
                None => self.fault(item.line, format!("`{key}` must be a list of strings")),
            }
        }
        texts
    }

    /// What a document says of itself. `body` are the keys that an id is derived from where there is none.
    pub(super) fn meta(&mut self, title: Arc<str>, node: &Node, body: &[&str]) -> Option<RuleMeta> {
        let level = match self.text(node, "level") {
            None => Severity::default(),
            Some(level) => match level.parse() {
                Ok(level) => level,
                Err(_) => {
                    let line = node.entry("level").map_or(node.line, |entry| entry.line);
                    let reason = format!(
                        "`{level}` is not a level: informational, low, medium, high, critical"
                    );
                    self.fault(line, reason);
                    return None;
                }
            },
        };
        self.check_status(node);
        let response = self.response(node);
        let weight = self.weight(node);
        Some(RuleMeta {
            id: self.text(node, "id").unwrap_or_else(|| derived_id(&title, node, body)),
            title,
            level,
            description: self.text(node, "description"),
            tags: self.texts(node, "tags"),
            false_positives: self.texts(node, "falsepositives"),
            references: self.texts(node, "references"),
            response: response?,
            risk: weight.risk,
            unsuppressed: weight.unsuppressed,
        })
    }

    fn rule_document(&mut self, title: Arc<str>, node: &Node) -> Option<RuleDocument> {
        let meta = self.meta(title, node, &["logsource", "detection"])?;
        let logsource = self.logsource(node);
        let detection = match node.entry("detection") {
            Some(entry) => self.detection(&entry.node),
            None => {
                self.fault(node.line, "`detection` is missing");
                None
            }
        };
        let extension = node.get("lavender").map(to_json);
        let name = self.text(node, "name");
        let novelty = match novelty::read(node) {
            Ok(novelty) => novelty,
            Err(faults) => {
                faults.into_iter().for_each(|(line, reason)| self.fault(line, reason));
                None
            }
        };
        let prevents = match prevent::read(node) {
            Ok(prevents) => prevents,
            Err((line, reason)) => {
                self.fault(line, reason);
                None
            }
        };
        let (logsource, detection) = (logsource?, detection?);
        let line = node.line;
        Some(RuleDocument { meta, name, logsource, detection, novelty, prevents, extension, line })
    }

    fn response(&mut self, node: &Node) -> Option<Vec<ResponseAction>> {
        match response::read(node) {
            Ok(actions) => Some(actions),
            Err(faults) => {
                faults.into_iter().for_each(|(line, reason)| self.fault(line, reason));
                None
            }
        }
    }

    fn weight(&mut self, node: &Node) -> extension::Weight {
        match extension::weight(node) {
            Ok(weight) => weight,
            Err(faults) => {
                faults.into_iter().for_each(|(line, reason)| self.fault(line, reason));
                extension::Weight::default()
            }
        }
    }

    fn check_status(&mut self, node: &Node) {
        if let Some(status) = self.text(node, "status")
            && !STATUSES.contains(&&*status)
        {
            let line = node.entry("status").map_or(node.line, |entry| entry.line);
            self.fault(line, format!("`{status}` is not a status: {}", STATUSES.join(", ")));
        }
    }

    fn logsource(&mut self, node: &Node) -> Option<LogSource> {
        let Some(entry) = node.entry("logsource") else {
            self.fault(node.line, "`logsource` is missing");
            return None;
        };
        if entry.node.as_map().is_none() {
            self.fault(entry.line, format!("`logsource` is a mapping, not {}", entry.node.kind()));
            return None;
        }
        let mut key = |key: &str| {
            self.text(&entry.node, key).map(|text| Arc::<str>::from(text.trim().to_lowercase()))
        };
        let source = LogSource {
            category: key("category"),
            product: key("product"),
            service: key("service"),
        };
        if source == LogSource::default() {
            self.fault(entry.line, "`logsource` sets none of category, product and service");
            return None;
        }
        Some(source)
    }

    fn filter(&mut self, title: Arc<str>, node: &Node, entry: &Entry) -> Option<FilterDocument> {
        if let Some((line, reason)) = novelty::misplaced(node) {
            self.fault(line, reason);
        }
        let logsource = self.logsource(node);
        let body = &entry.node;
        if body.as_map().is_none() {
            self.fault(entry.line, format!("`filter` is a mapping, not {}", body.kind()));
            return None;
        }
        let rules = self.filter_rules(body);
        let detection = self.detection(body);
        Some(FilterDocument { title, rules, logsource: logsource?, detection: detection? })
    }

    fn filter_rules(&mut self, body: &Node) -> Option<Vec<(u32, Arc<str>)>> {
        let node = body.get("rules")?;
        let items = match &node.value {
            Value::Text(text) if text.eq_ignore_ascii_case("any") => return None,
            Value::Text(_) => std::slice::from_ref(node),
            Value::List(items) if items.is_empty() => return None,
            Value::List(items) => items.as_slice(),
            _ => {
                self.fault(node.line, "`rules` is `any` or a list of rule ids and names");
                return None;
            }
        };
        let mut rules = Vec::new();
        for item in items {
            match item.scalar_text() {
                Some(text) => rules.push((item.line, text.into())),
                None => self.fault(item.line, "`rules` must be ids and names of rules"),
            }
        }
        Some(rules)
    }

    /// Reads the searches and the condition; `rules` of a filter stands among them.
    fn detection(&mut self, node: &Node) -> Option<Detection> {
        let Some(entries) = node.as_map() else {
            self.fault(node.line, format!("`detection` is a mapping, not {}", node.kind()));
            return None;
        };
        let mut searches = Vec::new();
        for entry in entries {
            match entry.key.as_str() {
                "condition" | "rules" => {}
                "timeframe" => {
                    let reason = "`timeframe` was removed from Sigma: write a correlation";
                    self.fault(entry.line, reason);
                }
                name => {
                    if let Some(search) = self.search(&entry.node) {
                        searches.push((Arc::from(name), search));
                    }
                }
            }
        }
        if searches.len() > MAX_SEARCHES {
            self.fault(node.line, format!("more than {MAX_SEARCHES} searches"));
        }
        if self.failed {
            return None;
        }
        let Some(entry) = node.entry("condition") else {
            self.fault(node.line, "`condition` is missing");
            return None;
        };
        let texts = match &entry.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        if texts.len() > MAX_CONDITIONS {
            self.fault(entry.line, format!("more than {MAX_CONDITIONS} conditions"));
            return None;
        }
        let mut conditions = Vec::new();
        for text in texts {
            match text.as_text().map(|text| condition::parse(text, &searches)) {
                Some(Ok(condition)) => conditions.push(condition),
                Some(Err(reason)) => self.fault(text.line, reason),
                None => {
                    self.fault(text.line, format!("a condition is a string, not {}", text.kind()))
                }
            }
        }
        if conditions.is_empty() && !self.failed {
            self.fault(entry.line, "`condition` is empty");
        }
        Some(Detection { searches, conditions, line: entry.line })
    }

    fn search(&mut self, node: &Node) -> Option<Search> {
        match &node.value {
            Value::Map(entries) if entries.is_empty() => {
                self.fault(node.line, "an empty search");
                None
            }
            Value::Map(entries) => {
                let items: Vec<_> = entries.iter().filter_map(|entry| self.item(entry)).collect();
                Some(Search::All(items))
            }
            Value::List(items) if items.is_empty() => {
                self.fault(node.line, "an empty search");
                None
            }
            Value::List(items) => self.search_list(node.line, items),
            _ => self.keywords(node.line, [node]),
        }
    }

    fn search_list(&mut self, line: u32, items: &[Node]) -> Option<Search> {
        let (lists, keywords): (Vec<_>, Vec<_>) =
            items.iter().partition(|item| matches!(item.value, Value::Map(_) | Value::List(_)));
        let mut any: Vec<_> = lists.into_iter().filter_map(|item| self.search(item)).collect();
        if !keywords.is_empty() {
            any.extend(self.keywords(line, keywords));
        }
        Some(Search::Any(any))
    }

    fn keywords<'n>(
        &mut self,
        line: u32,
        nodes: impl IntoIterator<Item = &'n Node>,
    ) -> Option<Search> {
        let mut values = Vec::new();
        for node in nodes {
            match scalar(node) {
                Some(Scalar::Null) => self.fault(node.line, "null cannot be a keyword"),
                Some(value) => values.push((node.line, value)),
                None => {
                    self.fault(node.line, format!("a keyword is a string, not {}", node.kind()))
                }
            }
        }
        Some(Search::All(vec![Item { field: None, modifiers: Vec::new(), values, line }]))
    }

    fn item(&mut self, entry: &Entry) -> Option<Item> {
        let mut parts = entry.key.split('|');
        let field = parts.next().filter(|field| !field.is_empty()).map(Arc::from);
        let mut modifiers = Vec::new();
        for name in parts {
            match name.parse::<Modifier>() {
                Ok(modifier) => modifiers.push(modifier),
                Err(()) if name == "not" => {
                    self.fault(
                        entry.line,
                        "`not` is no modifier: use `neq`, or `not` in the condition",
                    );
                }
                Err(()) => self.fault(entry.line, format!("`{name}` is not a modifier")),
            }
        }
        let (nodes, in_list) = match &entry.node.value {
            Value::List(items) if items.is_empty() => {
                self.fault(entry.line, format!("`{}` has no value", entry.key));
                return None;
            }
            Value::List(items) => (items.as_slice(), true),
            _ => (std::slice::from_ref(&entry.node), false),
        };
        let mut values = Vec::new();
        for node in nodes {
            match scalar(node) {
                Some(Scalar::Null) if in_list => {
                    let reason = "null cannot stand in a list: write a search of its own for it, and \
                                  `1 of` both in the condition";
                    self.fault(node.line, reason);
                }
                Some(value) => values.push((node.line, value)),
                None => {
                    let reason =
                        format!("a value of `{}` is {}, not a scalar", entry.key, node.kind());
                    self.fault(node.line, reason);
                }
            }
        }
        Some(Item { field, modifiers, values, line: entry.line })
    }
}

fn scalar(node: &Node) -> Option<Scalar> {
    Some(match &node.value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Int(value) => Scalar::Int(*value),
        Value::Float(value) => Scalar::Float(*value),
        Value::Text(text) => Scalar::Text(text.clone()),
        Value::List(_) | Value::Map(_) => return None,
    })
}

/// An id for a rule that has none: a digest of what it says (64-bit FNV-1a, which stays what it is in every
/// version), so that it keeps it as long as it says the same.
fn derived_id(title: &str, node: &Node, body: &[&str]) -> Arc<str> {
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([0]) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(title);
    for key in body {
        add(&node.get(key).map(|node| to_json(node).to_string()).unwrap_or_default());
    }
    format!("unnamed-{digest:016x}").into()
}

/// The same as JSON, for what is passed on rather than read here.
pub(crate) fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.node))).collect()
        }
    }
}
