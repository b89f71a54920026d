//! The process tree around an alert: what led to it, and what came of it.

use std::collections::{BTreeMap, HashSet};

use lavender_core::event::{EventData, Process};
use lavender_core::store::StoredEvent;
use lavender_core::{Alert, ProcessId};
use serde::Serialize;
use utoipa::ToSchema;

use super::ProcessView;
use crate::extract::Time;

/// A process in the tree around an alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProcessNode {
    /// The process, as it was last seen.
    #[serde(flatten)]
    pub process: ProcessView,
    /// The process that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether the alert is about it, or rests on an event of its own.
    pub evidence: bool,
    /// When it ended, where that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub exited_at: Option<Time>,
}

/// The process tree around an alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProcessTree {
    /// Its processes; a parent stands before its children.
    pub processes: Vec<ProcessNode>,
    /// Whether there were more events around the alert than were looked at.
    pub truncated: bool,
}

/// Draws the tree from an alert's process, its ancestors, and what was stored around it of the same tree.
pub fn tree_of(alert: &Alert, around: &[StoredEvent], truncated: bool) -> ProcessTree {
    let Some(about) = &alert.process else {
        return ProcessTree { processes: Vec::new(), truncated };
    };
    let evidence: HashSet<_> = alert.events.iter().copied().collect();
    let mut nodes: BTreeMap<ProcessId, ProcessNode> = BTreeMap::new();
    add(&mut nodes, about);
    let tree = about.tree_id();
    for stored in around {
        let Some(process) = &stored.event.process else { continue };
        if process.tree_id() != tree {
            continue;
        }
        add(&mut nodes, process);
        let Some(node) = nodes.get_mut(&process.id()) else { continue };
        node.evidence |= evidence.contains(&stored.event.id);
        if matches!(stored.event.data, EventData::Exit(_)) {
            node.exited_at = Some(Time(stored.event.observed_at));
        }
    }
    if let Some(node) = nodes.get_mut(&about.id()) {
        node.evidence = true;
        node.process = (&**about).into();
    }
    // An id begins with the boot and the start, so a parent comes before its children.
    ProcessTree { processes: nodes.into_values().collect(), truncated }
}

fn add(nodes: &mut BTreeMap<ProcessId, ProcessNode>, process: &Process) {
    for (nearest, process) in
        std::iter::once(process).chain(process.ancestors().map(|a| &**a)).enumerate()
    {
        // What an event shows of its own process is newer than what others show of it as their ancestor.
        if nearest > 0 && nodes.contains_key(&process.id()) {
            continue;
        }
        let known = nodes.remove(&process.id());
        let node = ProcessNode {
            process: process.into(),
            parent: process.parent_id.map(|parent| parent.process.to_string()),
            evidence: known.as_ref().is_some_and(|known| known.evidence),
            exited_at: known.and_then(|known| known.exited_at),
        };
        nodes.insert(process.id(), node);
    }
}
