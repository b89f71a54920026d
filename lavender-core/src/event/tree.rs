//! Process trees: what belongs together, whoever forked, ran another program or lost its parent since.

use std::sync::Arc;

use super::Process;
use crate::id::ProcessId;

impl Process {
    /// The id of the process's tree: that of the process that the tree begins with. A login, a container and a service
    /// each are one; two logins through one daemon are two.
    ///
    /// Whoever makes processes keeps it ([`tree`](Self::tree)), so that neither a fork, an exec, a double fork nor any
    /// depth changes it. Where it was not kept, it is the highest known ancestor that
    /// [began no tree](Self::begins_tree_after) below another.
    pub fn tree_id(&self) -> ProcessId {
        if let Some(tree) = self.tree {
            return tree;
        }
        let mut root = self;
        for ancestor in self.ancestors().map(Arc::as_ref) {
            if root.begins_tree_after(ancestor) {
                break;
            }
            if let Some(tree) = ancestor.tree {
                return tree;
            }
            root = ancestor;
        }
        root.id()
    }

    /// Whether a tree of its own begins with this process, seen from what was `before`: its parent, or itself as it
    /// was earlier.
    ///
    /// It does below init, and where it is in another login session (audit's `sessionid`) or another container: what
    /// a process cannot leave by itself. `setsid`, a double fork, an exec or a new namespace make no new tree, and
    /// neither does what is not known: a process that was found only after it had started has no control group here.
    pub fn begins_tree_after(&self, before: &Self) -> bool {
        if before.id() != self.id() && before.pid == 1 {
            return true;
        }
        if before.cgroup_id == 0 || self.cgroup_id == 0 {
            return false;
        }
        let container = |process: &Self| process.container.as_ref().map(|c| Arc::clone(&c.id));
        before.credentials.session_id != self.credentials.session_id
            || container(before) != container(self)
    }

    /// How many generations lie between the tree's first process and this one, as far as they are known.
    pub fn tree_depth(&self) -> usize {
        let tree = self.tree_id();
        if self.id() == tree {
            return 0;
        }
        let below = self
            .ancestors()
            .take_while(|ancestor| ancestor.id() != tree && ancestor.tree_id() == tree);
        below.count() + 1
    }
}
