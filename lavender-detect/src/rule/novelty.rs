//! `novelty` under a rule's key `lavender`: of which values only the first sight counts.

use std::sync::Arc;

use super::correlation::{Named, read_timespan};
use super::yaml::{Entry, Node, Value};

/// What is written under `novelty`.
#[derive(Debug)]
pub(crate) struct NoveltyDocument {
    pub(crate) fields: Vec<Named>,
    pub(crate) per: Vec<Named>,
    pub(crate) baseline_ns: i64,
    pub(crate) forget_ns: Option<i64>,
    pub(crate) bytes_max: Option<usize>,
}

const KEYS: [&str; 5] = ["fields", "per", "baseline", "forget", "bytes_max"];
/// More fields than this make no value that anybody could say is new.
const FIELDS_MAX: usize = 8;
const MINUTE_NS: i64 = 60_000_000_000;
const TEN_YEARS_NS: i64 = 3_653 * 86_400_000_000_000;
/// Less has no room for anything but itself, more makes parts of the saved state that are slow to write.
const BYTES: std::ops::RangeInclusive<i64> = 65_536..=67_108_864;

type Faults = Vec<(u32, String)>;

/// The novelty that a rule asks for, or every fault: line and reason.
pub(super) fn read(rule: &Node) -> Result<Option<NoveltyDocument>, Faults> {
    let Some(entry) = entry_of(rule) else { return Ok(None) };
    let mut faults = Vec::new();
    let document = read_body(entry, &mut faults);
    if faults.is_empty() { Ok(document) } else { Err(faults) }
}

/// Where a document that is no rule on single events has the key all the same.
pub(super) fn misplaced(document: &Node) -> Option<(u32, String)> {
    let reason = "`novelty` is for rules on single events: let this one rest on a rule that has it";
    entry_of(document).map(|entry| (entry.line, reason.to_owned()))
}

fn entry_of(document: &Node) -> Option<&Entry> {
    document.get("lavender")?.entry("novelty")
}

fn read_body(entry: &Entry, faults: &mut Faults) -> Option<NoveltyDocument> {
    let Some(entries) = entry.node.as_map() else {
        let kind = entry.node.kind();
        faults.push((entry.line, format!("`novelty` is a mapping with `fields`, not {kind}")));
        return None;
    };
    for other in entries.iter().filter(|entry| !KEYS.contains(&&*entry.key)) {
        let reason = format!("`{}` is no key of `novelty`: {}", other.key, KEYS.join(", "));
        faults.push((other.line, reason));
    }
    let body = &entry.node;
    let before = faults.len();
    let fields = names(body, "fields", faults);
    if fields.is_empty() && faults.len() == before {
        faults.push((entry.line, "`fields`, of which a value is new, is missing".to_owned()));
    }
    let per = names(body, "per", faults);
    for (at, (line, name)) in fields.iter().chain(&per).enumerate() {
        if fields.iter().chain(&per).take(at).any(|(_, other)| other == name) {
            faults.push((*line, format!("`{name}` stands twice in `fields` and `per`")));
        }
    }
    let baseline = timespan(body, "baseline", faults);
    let forget = timespan(body, "forget", faults);
    if let Some((line, forget)) = forget {
        if !(MINUTE_NS..=TEN_YEARS_NS).contains(&forget) {
            faults.push((line, "`forget` is between a minute and ten years".to_owned()));
        }
        if baseline.is_some_and(|(_, baseline)| baseline > forget) {
            let reason = "`forget` is shorter than `baseline`: what is learned first would be forgotten \
                          before it counts";
            faults.push((line, reason.to_owned()));
        }
    }
    Some(NoveltyDocument {
        fields,
        per,
        baseline_ns: baseline.map_or(0, |(_, ns)| ns),
        forget_ns: forget.map(|(_, ns)| ns),
        bytes_max: bytes_max(body, faults),
    })
}

/// A field or a list of fields.
fn names(body: &Node, key: &str, faults: &mut Faults) -> Vec<Named> {
    let Some(node) = body.get(key) else { return Vec::new() };
    let nodes = node.as_list().unwrap_or(std::slice::from_ref(node));
    if nodes.len() > FIELDS_MAX {
        faults.push((node.line, format!("`{key}` names more than {FIELDS_MAX} fields")));
    }
    let mut names: Vec<Named> = Vec::new();
    for node in nodes {
        match node.as_text() {
            Some(name) if name.contains('|') => {
                faults
                    .push((node.line, format!("`{name}`: a field stands here without modifiers")));
            }
            Some(name) => names.push((node.line, Arc::from(name))),
            None => {
                let reason = format!("`{key}` is a field or a list of fields, not {}", node.kind());
                faults.push((node.line, reason));
            }
        }
    }
    names
}

fn timespan(body: &Node, key: &str, faults: &mut Faults) -> Option<(u32, i64)> {
    let node = body.get(key)?;
    let text = node.scalar_text().unwrap_or_default();
    match read_timespan(text.trim()) {
        Ok(ns) => Some((node.line, ns)),
        Err(reason) => {
            faults.push((node.line, format!("`{key}`: `{text}` is not a timespan: {reason}")));
            None
        }
    }
}

fn bytes_max(body: &Node, faults: &mut Faults) -> Option<usize> {
    let node = body.get("bytes_max")?;
    match node.value {
        Value::Int(bytes) if BYTES.contains(&bytes) => usize::try_from(bytes).ok(),
        _ => {
            let (least, most) = BYTES.into_inner();
            faults.push((node.line, format!("`bytes_max` is a number from {least} to {most}")));
            None
        }
    }
}
