//! `risk` and `suppress` under a rule's key `lavender`.

use super::yaml::{Node, Value};

/// The most points that a rule may be worth.
const RISK_MAX: i64 = 1_000;

/// What a rule says of its part in scores and alerts.
#[derive(Debug, Default)]
pub(super) struct Weight {
    pub(super) risk: Option<u32>,
    pub(super) unsuppressed: bool,
}

/// What stands there, and every fault: line and reason.
pub(super) fn weight(rule: &Node) -> Result<Weight, Vec<(u32, String)>> {
    let Some(extension) = rule.get("lavender") else { return Ok(Weight::default()) };
    let mut faults = Vec::new();
    let risk = extension.get("risk").and_then(|node| match node.value {
        Value::Int(points) if (0..=RISK_MAX).contains(&points) => u32::try_from(points).ok(),
        _ => {
            faults.push((node.line, format!("`risk` is a number from 0 to {RISK_MAX}")));
            None
        }
    });
    let suppress = extension.get("suppress").map(|node| match node.value {
        Value::Bool(suppress) => suppress,
        _ => {
            faults.push((node.line, "`suppress` is true or false".to_owned()));
            true
        }
    });
    let weight = Weight { risk, unsuppressed: suppress == Some(false) };
    if faults.is_empty() { Ok(weight) } else { Err(faults) }
}
