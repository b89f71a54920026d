//! The agent itself: which of its files nobody may touch, and what of it nobody is handed in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lavender_core::PreventionAction;
use libbpf_rs::{MapCore as _, MapFlags};
use zerocopy::{Immutable, IntoBytes};

use super::hooks::Loaded;
use super::tables::{Entry, FileKey};
use crate::support::PreventionHook as Hook;

/// The rule that guards the agent, as it is told.
const RULE: &str = "lavender-agent-protection";

/// `struct object_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
struct ObjectKey {
    command: u32,
    id: u32,
}

/// The command that hands out what a descriptor is of, by how `/proc` names its number.
const COMMANDS: [(&str, u32); 3] = [("prog_id:", 13), ("map_id:", 14), ("link_id:", 30)];

/// What the kernel is told to guard.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    files: BTreeSet<FileKey>,
    objects: BTreeSet<ObjectKey>,
}

impl Guarded {
    /// As it is now: these files, and all that this process has of BPF.
    pub(super) fn now(files: &[PathBuf]) -> Self {
        let key = |path: &PathBuf| match FileKey::of(path) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(%error, "{}: it is not guarded", path.display());
                None
            }
        };
        Self { files: files.iter().filter_map(key).collect(), objects: own_objects() }
    }

    /// Has the kernel guard this in the place of what it guarded before.
    pub(super) fn put(&self, loaded: &Loaded, before: &Self) -> Result<(), libbpf_rs::Error> {
        let files = loaded.map("guarded_files")?;
        for key in self.files.difference(&before.files) {
            files.update(key.as_bytes(), &[1], MapFlags::ANY)?;
        }
        for key in before.files.difference(&self.files) {
            files.delete(key.as_bytes())?;
        }
        let objects = loaded.map("guarded_objects")?;
        for key in self.objects.difference(&before.objects) {
            objects.update(key.as_bytes(), &[1], MapFlags::ANY)?;
        }
        for key in before.objects.difference(&self.objects) {
            objects.delete(key.as_bytes())?;
        }
        Ok(())
    }
}

fn own_objects() -> BTreeSet<ObjectKey> {
    let descriptors = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    descriptors.flat_map(|descriptor| objects_of(&descriptor.path())).collect()
}

fn objects_of(descriptor: &Path) -> Vec<ObjectKey> {
    // One that is closed meanwhile has none.
    let text = fs::read_to_string(descriptor).unwrap_or_default();
    let object = |line: &str| {
        COMMANDS.iter().find_map(|(name, command)| {
            let id = line.strip_prefix(name)?.trim().parse().ok()?;
            Some(ObjectKey { command: *command, id })
        })
    };
    text.lines().filter_map(object).collect()
}

/// The numbers of its entries, `enum prevent_hook`, and what they stand for.
pub(super) fn entries() -> impl Iterator<Item = (u32, Hook, Entry)> {
    let told = [
        (4, Hook::GuardSignal, "signal to the agent"),
        (5, Hook::GuardPtrace, "hold on the agent"),
        (6, Hook::GuardFiles, "change of the agent's files"),
        (7, Hook::GuardBpf, "the agent's objects in the kernel"),
    ];
    told.into_iter().map(|(number, hook, test)| {
        let action = PreventionAction::Deny;
        (number, hook, Entry { rule: RULE.into(), action, test: test.into() })
    })
}
