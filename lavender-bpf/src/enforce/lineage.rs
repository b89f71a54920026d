//! Who made whom, as the events told: what `/proc` forgets when a parent ends before its children.

use std::collections::{HashMap, HashSet, VecDeque};

use lavender_core::ProcessId;
use lavender_core::event::{Event, EventData};

use super::held;

/// How many processes are remembered. Those that have ended and left nobody are forgotten at once, so this is a
/// bound on what lives, and on the ancestors of what lives; some 10 MB.
const MAX: usize = 65_536;

/// How far up a line is followed. Real ones are ten to twenty long.
const MAX_DEPTH: usize = 1_024;

/// The descent of every process that the events told of. Bounded: the oldest are forgotten first.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    nodes: HashMap<ProcessId, Node>,
    /// The latest process with a pid.
    by_pid: HashMap<u32, ProcessId>,
    /// In the order of their first appearance; may hold processes that are forgotten.
    order: VecDeque<ProcessId>,
}

#[derive(Debug, Default)]
struct Node {
    parent: Option<ProcessId>,
    children: HashSet<ProcessId>,
    /// Whether it needs to be remembered for itself, and not only as an ancestor.
    lives: bool,
}

/// A process that a process made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    pub(super) parent: ProcessId,
    pub(super) child: ProcessId,
}

impl Lineage {
    /// Takes note of what an event says about descent. The birth, where it tells of one that was not known.
    pub(super) fn observe(&mut self, event: &Event) -> Option<Birth> {
        let process = event.process.as_ref()?;
        match &event.data {
            EventData::Fork(_) | EventData::Exec(_) => {
                let birth = Birth { parent: process.parent_id?.process, child: process.id() };
                self.record(birth).then_some(birth)
            }
            EventData::Exit(_) => {
                self.end(process.id());
                None
            }
            _ => None,
        }
    }

    /// Everything that processes started and that has not ended, as far as the events told, without what
    /// `skip` holds for and what that started.
    pub(super) fn descendants(
        &self,
        roots: impl IntoIterator<Item = ProcessId>,
        skip: impl Fn(ProcessId) -> bool,
    ) -> Vec<ProcessId> {
        let mut found = Vec::new();
        let mut next: Vec<ProcessId> = roots.into_iter().collect();
        let mut seen: HashSet<ProcessId> = HashSet::new();
        while let Some(parent) = next.pop() {
            let Some(node) = self.nodes.get(&parent) else { continue };
            for child in &node.children {
                if skip(*child) || !seen.insert(*child) {
                    continue;
                }
                next.push(*child);
                if self.nodes.get(child).is_some_and(|node| node.lives) {
                    found.push(*child);
                }
            }
        }
        found
    }

    /// A process and who made it, and so on, as far as is known.
    pub(super) fn line(&self, from: ProcessId) -> impl Iterator<Item = ProcessId> {
        std::iter::successors(Some(from), |id| self.nodes.get(id)?.parent).take(MAX_DEPTH)
    }

    /// The whole identity of a process of which only pid and start in ticks are known.
    pub(super) fn exact(&self, key: (u32, u64)) -> Option<ProcessId> {
        self.by_pid.get(&key.0).copied().filter(|id| held::key(*id) == key)
    }

    fn record(&mut self, Birth { parent, child }: Birth) -> bool {
        let known = self.nodes.get(&child).is_some_and(|node| node.parent.is_some());
        if known || parent == child {
            return false;
        }
        self.node(parent).children.insert(child);
        let node = self.node(child);
        node.parent = Some(parent);
        node.lives = true;
        self.shrink();
        true
    }

    fn node(&mut self, id: ProcessId) -> &mut Node {
        let Self { nodes, by_pid, order } = self;
        nodes.entry(id).or_insert_with(|| {
            order.push_back(id);
            by_pid.insert(id.tgid(), id);
            Node::default()
        })
    }

    fn end(&mut self, id: ProcessId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lives = false;
        }
        self.forget_childless(id);
    }

    /// Forgets a process that has ended and left no children, and then its ancestors likewise.
    fn forget_childless(&mut self, id: ProcessId) {
        let mut next = Some(id);
        while let Some(id) = next {
            match self.nodes.get(&id) {
                Some(node) if !node.lives && node.children.is_empty() => {}
                _ => return,
            }
            next = self.forget(id);
        }
    }

    /// Forgets a process. Its parent, if that is remembered.
    fn forget(&mut self, id: ProcessId) -> Option<ProcessId> {
        let node = self.nodes.remove(&id)?;
        if self.by_pid.get(&id.tgid()) == Some(&id) {
            self.by_pid.remove(&id.tgid());
        }
        for child in node.children {
            if let Some(child) = self.nodes.get_mut(&child) {
                child.parent = None;
            }
        }
        let parent = node.parent?;
        self.nodes.get_mut(&parent)?.children.remove(&id);
        Some(parent)
    }

    fn shrink(&mut self) {
        while self.nodes.len() > MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(parent) = self.forget(oldest) {
                self.forget_childless(parent);
            }
        }
        if self.order.len() > 2 * MAX {
            let Self { nodes, order, .. } = self;
            order.retain(|id| nodes.contains_key(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavender_core::BootId;

    fn id(number: u32) -> ProcessId {
        ProcessId::new(BootId::from_u128(1), u64::from(number), number)
    }

    fn born(lineage: &mut Lineage, parent: u32, child: u32) -> bool {
        lineage.record(Birth { parent: id(parent), child: id(child) })
    }

    fn descendants(lineage: &Lineage, root: u32) -> Vec<u32> {
        let mut found: Vec<u32> =
            lineage.descendants([id(root)], |_| false).iter().map(|id| id.tgid()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn those_whose_parents_have_ended_are_still_found() {
        let mut lineage = Lineage::default();
        for (parent, child) in [(1, 2), (2, 3), (3, 4), (1, 5)] {
            assert!(born(&mut lineage, parent, child));
        }
        lineage.end(id(3));
        lineage.end(id(2));
        assert_eq!(descendants(&lineage, 2), [4]);
        assert_eq!(descendants(&lineage, 1), [4, 5]);
        assert!(!born(&mut lineage, 1, 4), "it has a parent already");
        let skipped = lineage.descendants([id(1), id(2)], |process| process == id(3));
        assert_eq!(skipped, [id(5)], "nor what it made");
    }

    #[test]
    fn what_has_ended_and_left_nobody_is_forgotten() {
        let mut lineage = Lineage::default();
        for child in 2..1_000 {
            born(&mut lineage, child - 1, child);
        }
        for ended in (2..1_000).rev() {
            lineage.end(id(ended));
        }
        assert!(lineage.nodes.is_empty() && lineage.by_pid.is_empty(), "{lineage:?}");
    }

    #[test]
    fn it_is_bounded_when_ends_are_never_heard_of() {
        let mut lineage = Lineage::default();
        for child in 2..3 * MAX as u32 {
            born(&mut lineage, 1, child);
        }
        assert!(lineage.nodes.len() <= MAX);
        assert!(lineage.order.len() <= 2 * MAX);
    }
}
