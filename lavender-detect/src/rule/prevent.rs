//! `prevent` under a rule's key `lavender`: what the kernel does about what it finds, before it takes effect.

use lavender_core::PreventionAction;

use super::yaml::Node;

/// What a rule asks for, or what is wrong with it: line and reason.
pub(super) fn read(rule: &Node) -> Result<Option<PreventionAction>, (u32, String)> {
    let Some(node) = rule.get("lavender").and_then(|extension| extension.get("prevent")) else {
        return Ok(None);
    };
    let known = || PreventionAction::ALL.map(PreventionAction::as_str).join(", ");
    match node.as_text().map(str::parse) {
        Some(Ok(action)) => Ok(Some(action)),
        Some(Err(error)) => Err((node.line, format!("{error}: {}", known()))),
        None => Err((node.line, format!("`prevent` is one of {}, not {}", known(), node.kind()))),
    }
}
