//! Correlations that cannot fire, because of what they rest on.

use std::collections::HashSet;
use std::sync::Arc;

use super::host::{BlockReason, BlockedRule};
use crate::correlate::Correlation;
use crate::ruleset::RuleSet;

/// Adds the correlations that nothing can complete once these rules are blocked.
pub(super) fn add_blocked(rules: &RuleSet, blocked: &mut Vec<BlockedRule>) {
    let mut ids: HashSet<Arc<str>> = blocked.iter().map(|rule| Arc::clone(&rule.id)).collect();
    // Those that others rest on first.
    let mut correlations: Vec<&Correlation> = rules.correlations().iter().collect();
    correlations.sort_by_key(|correlation| correlation.level);
    for correlation in correlations {
        let members = correlation.members();
        let without: Vec<Arc<str>> =
            members.iter().filter(|id| ids.contains(*id)).map(Arc::clone).collect();
        let can_match = members
            .iter()
            .enumerate()
            .filter(|(_, id)| !ids.contains(*id))
            .fold(0, |slots, (slot, _)| slots | 1_u64 << slot);
        if correlation.plan.can_fire(can_match) {
            continue;
        }
        let meta = correlation.meta();
        ids.insert(Arc::clone(&meta.id));
        blocked.push(BlockedRule {
            id: Arc::clone(&meta.id),
            title: Arc::clone(&meta.title),
            file: Arc::clone(correlation.file()),
            line: correlation.line(),
            reasons: vec![BlockReason::Members { rules: without }],
        });
    }
}
