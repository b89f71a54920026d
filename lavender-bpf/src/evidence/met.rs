//! The processes that batches have met.

use std::collections::HashSet;
use std::sync::Arc;

use lavender_core::event::Process;
use lavender_core::{ExecId, ProcessId};

/// A process that a batch has met.
#[derive(Clone, Debug)]
pub(crate) enum Met {
    /// It was there before what was seen of it.
    Seen(Arc<Process>),
    /// A record of the batch made it: it forked, or began this program.
    Made(Arc<Process>),
}

/// The processes that one batch has met, each program once, in their order.
#[derive(Debug, Default)]
pub(crate) struct Mets {
    mets: Vec<Met>,
    programs: HashSet<ExecId>,
    last: Option<ExecId>,
}

impl Mets {
    pub(crate) fn has(&self, program: ExecId) -> bool {
        self.programs.contains(&program)
    }

    pub(crate) fn note(&mut self, met: Met) {
        let (Met::Seen(process) | Met::Made(process)) = &met;
        // Most events come in runs.
        if self.last == Some(process.exec_id) {
            return;
        }
        self.last = Some(process.exec_id);
        if self.programs.insert(process.exec_id) {
            self.mets.push(met);
        }
    }

    /// Takes what was noted; its room for programs stays.
    pub(super) fn take(&mut self) -> Vec<Met> {
        self.programs.clear();
        self.last = None;
        std::mem::take(&mut self.mets)
    }
}

/// What is to be known before these batches: processes that were there before the first record of theirs, and the
/// ancestors of all.
pub(super) fn known_before<'a>(mets: impl IntoIterator<Item = &'a Met>) -> Vec<Arc<Process>> {
    let mut made: HashSet<ProcessId> = HashSet::new();
    let mut known = Vec::new();
    let mut add_ancestor_of = Vec::new();
    for met in mets {
        match met {
            Met::Made(process) => {
                made.insert(process.id());
                add_ancestor_of.push(process);
            }
            Met::Seen(process) if made.contains(&process.id()) => add_ancestor_of.push(process),
            Met::Seen(process) => known.push(Arc::clone(process)),
        }
    }
    // Last, so that a process stands there as it was when it was met itself.
    for process in add_ancestor_of {
        if let Some(parent) = process.parent.as_ref().filter(|parent| !made.contains(&parent.id()))
        {
            known.push(Arc::clone(parent));
        }
    }
    known
}
