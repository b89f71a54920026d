//! `response` under a rule's key `lavender`: what it asks to be done about what it finds.

use lavender_core::ResponseAction;

use super::yaml::{Node, Value};

/// The actions that a rule asks for, or every fault: line and reason.
pub(super) fn read(rule: &Node) -> Result<Vec<ResponseAction>, Vec<(u32, String)>> {
    let Some(extension) = rule.get("lavender") else { return Ok(Vec::new()) };
    if extension.as_map().is_none() && !matches!(extension.value, Value::Null) {
        let reason = format!("`lavender` is a mapping, not {}", extension.kind());
        return Err(vec![(extension.line, reason)]);
    }
    let Some(response) = extension.get("response") else { return Ok(Vec::new()) };
    let nodes = response.as_list().unwrap_or(std::slice::from_ref(response));
    let mut actions = Vec::new();
    let mut faults = Vec::new();
    if nodes.is_empty() {
        faults.push((response.line, "`response` names no action: leave it out".to_owned()));
    }
    for node in nodes {
        match node.as_text().map(str::parse) {
            Some(Ok(action)) if !actions.contains(&action) => actions.push(action),
            Some(Ok(action)) => faults.push((node.line, format!("`{action}` stands twice"))),
            Some(Err(error)) => faults.push((node.line, format!("{error}: {}", known()))),
            None => {
                let reason = format!("a response is one of {}, not {}", known(), node.kind());
                faults.push((node.line, reason));
            }
        }
    }
    if faults.is_empty() { Ok(actions) } else { Err(faults) }
}

fn known() -> String {
    ResponseAction::ALL.map(ResponseAction::as_str).join(", ")
}
