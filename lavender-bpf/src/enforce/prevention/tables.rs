//! What the kernel looks up: a plan as entries of its maps.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lavender_core::PreventionTest as Asked;
use lavender_core::{
    CalledTest, FileUse, PathTest, PathText, PeerTest, PreventionAction, PreventionPlan,
    PreventionText,
};
use rustix::fs::{major, minor};
use zerocopy::{Immutable, IntoBytes};

use super::guard;
use crate::support::PreventionHook as Hook;

/// `struct verdict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Verdict {
    entry: u32,
    action: u32,
}

impl Verdict {
    const fn new(entry: u32, action: PreventionAction) -> Self {
        let action = match action {
            PreventionAction::Deny => 1,
            PreventionAction::Kill => 2,
        };
        Self { entry, action }
    }

    /// Puts this in the place of a weaker one.
    fn put(self, place: &mut Self) {
        if self.action > place.action {
            *place = self;
        }
    }
}

/// `enum prevent_slot`.
#[derive(Clone, Copy, Debug)]
enum Slot {
    ExecKill,
    ExecDeny,
    Read,
    Change,
}

/// `struct node_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct NodeKey {
    parent: u32,
    reserved: u32,
    text: [u8; 64],
}

impl NodeKey {
    fn new(parent: u32, part: &PreventionText) -> Self {
        let mut text = [0; 64];
        // A text is shorter by two bytes at least.
        text.iter_mut().zip(part.as_str().bytes()).for_each(|(place, byte)| *place = byte);
        Self { parent, reserved: 0, text }
    }
}

/// `struct node`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Node {
    id: u32,
    spared: u32,
    whole: [Verdict; 4],
    below: [Verdict; 4],
}

/// `struct peer_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct PeerKey {
    generation: u32,
    what: u16,
    port: u16,
    address: [u8; 16],
}

impl PeerKey {
    fn new(generation: u32, peer: &PeerTest) -> Self {
        let (address, port) = match peer {
            PeerTest::Port(port) => (None, Some(*port)),
            PeerTest::Address(address) => (Some(*address), None),
            PeerTest::Both(address, port) => (Some(*address), Some(*port)),
        };
        let what = u16::from(address.is_some()) | u16::from(port.is_some()) << 1;
        let bytes = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let address = address.map_or([0; 16], bytes);
        Self { generation, what, port: port.unwrap_or(0), address }
    }
}

/// `struct file_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct FileKey {
    inode: u64,
    device: u32,
    reserved: u32,
}

impl FileKey {
    /// The file that has this path.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        // As the kernel numbers it: system calls split the number differently.
        let device = major(file.dev()) << 20 | minor(file.dev());
        Ok(Self { inode: file.ino(), device, reserved: 0 })
    }
}

/// What a number in a verdict stands for.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The rule's id.
    pub(super) rule: Arc<str>,
    pub(super) action: PreventionAction,
    /// The test, as it is told.
    pub(super) test: Arc<str>,
}

/// What can be done on this host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub(super) exec_kill: bool,
    pub(super) exec_deny: bool,
    pub(super) open: bool,
    pub(super) connect: bool,
    pub(super) kills_at_connect: bool,
    /// Whether a program is killed that cannot be refused.
    pub(super) kill_for_deny: bool,
}

/// A plan as the kernel has it.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Where it begins: see `generation` in prevent.h.
    pub(super) generation: u32,
    pub(super) nodes: HashMap<NodeKey, Node>,
    pub(super) peers: HashMap<PeerKey, Verdict>,
    pub(super) files: BTreeSet<FileKey>,
    pub(super) entries: HashMap<u32, Entry>,
    /// What is to be attached for it.
    pub(super) hooks: BTreeSet<Hook>,
    pub(super) asks_called: bool,
    /// Hooks that it would need and that are not there.
    pub(super) missing: BTreeSet<Hook>,
    /// How many rules it has that something can be done about.
    pub(super) rules: u64,
    /// The next number to be given.
    next: u32,
}

/// How many numbers the roots of a generation take.
const ROOTS: u32 = 3;

impl Tables {
    /// Of a plan, with numbers from `first` on.
    pub(super) fn new(plan: &PreventionPlan, means: Means, spared: &[PathBuf], first: u32) -> Self {
        let mut tables = Self { generation: first, next: first + ROOTS, ..Self::default() };
        for path in spared {
            tables.spare(path);
        }
        for rule in plan.rules() {
            let mut enforced = false;
            for test in &rule.tests {
                let entry = Entry {
                    rule: Arc::clone(&rule.id),
                    action: rule.action,
                    test: test.to_string().into(),
                };
                enforced |= tables.add(test, entry, means);
            }
            tables.rules += u64::from(enforced);
        }
        tables
    }

    /// Has the agent itself guarded, as far as the hooks are there.
    pub(super) fn guard(&mut self, has: impl Fn(Hook) -> bool) {
        for (number, hook, entry) in guard::entries() {
            if has(hook) {
                self.hooks.insert(hook);
                self.entries.insert(number, entry);
            } else {
                self.missing.insert(hook);
            }
        }
    }

    /// The first number that is not given yet.
    pub(super) const fn end(&self) -> u32 {
        self.next
    }

    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn spare(&mut self, path: &Path) {
        self.files.extend(FileKey::of(path));
        let resolved = fs::canonicalize(path);
        for path in [Some(path.to_owned()), resolved.ok()].into_iter().flatten() {
            let text = path.to_str().and_then(|path| path.parse::<PathText>().ok());
            match text.map(|path| self.place(&path)) {
                Some(Some(node)) => node.spared = 1,
                _ => tracing::warn!(
                    "{}: it is known to prevention by its file only, and not by its path",
                    path.display()
                ),
            }
        }
    }

    /// Whether something can be done about it here.
    fn add(&mut self, test: &Asked, mut entry: Entry, means: Means) -> bool {
        use PreventionAction::{Deny, Kill};
        let (hook, is_there) = match (test, entry.action) {
            (Asked::Program(_) | Asked::Called(_), Kill) => (Hook::ExecKill, means.exec_kill),
            (Asked::Program(_) | Asked::Called(_), Deny) => (Hook::ExecDeny, means.exec_deny),
            (Asked::Open(..), _) => (Hook::Open, means.open),
            (Asked::Connect(_), _) => (Hook::Connect, means.connect),
        };
        let instead = hook == Hook::ExecDeny && means.kill_for_deny && means.exec_kill;
        let hook = match is_there {
            true => hook,
            false if instead => Hook::ExecKill,
            false => {
                self.missing.insert(hook);
                return false;
            }
        };
        match hook {
            Hook::ExecKill => entry.action = Kill,
            Hook::Connect if !means.kills_at_connect => entry.action = Deny,
            _ => {}
        }
        let number = self.number();
        let verdict = Verdict::new(number, entry.action);
        let exec = if hook == Hook::ExecKill { Slot::ExecKill } else { Slot::ExecDeny };
        match test {
            Asked::Program(path) => self.add_path(path, exec, verdict),
            Asked::Called(called) => self.add_called(called, exec, verdict),
            Asked::Open(FileUse::Read, path) => self.add_path(path, Slot::Read, verdict),
            Asked::Open(FileUse::Change, path) => self.add_path(path, Slot::Change, verdict),
            Asked::Connect(peer) => {
                let key = PeerKey::new(self.generation, peer);
                verdict.put(self.peers.entry(key).or_default());
            }
        }
        self.hooks.insert(hook);
        self.entries.insert(number, entry);
        true
    }

    fn add_path(&mut self, test: &PathTest, slot: Slot, verdict: Verdict) {
        match test {
            PathTest::Whole(path) => {
                if let Some(node) = self.place(path) {
                    verdict.put(&mut node.whole[slot as usize]);
                }
            }
            PathTest::Below(path) => {
                if let Some(node) = self.place(path) {
                    verdict.put(&mut node.below[slot as usize]);
                }
            }
            PathTest::Name(name) => {
                let node = self.node(NodeKey::new(self.generation + 1, name));
                verdict.put(&mut node.whole[slot as usize]);
            }
        }
    }

    fn add_called(&mut self, test: &CalledTest, slot: Slot, verdict: Verdict) {
        self.asks_called = true;
        let root = self.generation + 2;
        match test {
            CalledTest::Whole(text) => {
                verdict.put(&mut self.node(NodeKey::new(root, text)).whole[slot as usize]);
            }
            CalledTest::Name(name) => {
                verdict.put(&mut self.node(NodeKey::new(root, name)).below[slot as usize]);
            }
        }
    }

    /// The node of a path, made where there is none, with those above it.
    fn place(&mut self, path: &PathText) -> Option<&mut Node> {
        let mut key = None;
        let mut parent = self.generation;
        for part in path.parts() {
            let next = NodeKey::new(parent, part);
            parent = self.node(next).id;
            key = Some(next);
        }
        self.nodes.get_mut(&key?)
    }

    fn node(&mut self, key: NodeKey) -> &mut Node {
        let next = &mut self.next;
        self.nodes.entry(key).or_insert_with(|| {
            let id = *next;
            *next += 1;
            Node { id, ..Node::default() }
        })
    }
}
