//! Prevention: what rules mark so, and the kernel can decide alone, is killed or refused before it takes effect.

mod config;
mod guard;
mod hooks;
mod tables;
mod told;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::{BootId, PreventionCounts, PreventionHealth, PreventionPlan, ResponseOutcome};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use zerocopy::IntoBytes as _;

use self::config::{Config, cgroups};
use self::guard::Guarded;
use self::hooks::Loaded;
use self::tables::{FileKey, Means, Tables};
use self::told::Told;
use crate::sensor::{SensorError, reason};
use crate::support::{Missing, PreventionHook, PreventionReport};

/// What is prevented where, and what never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreventionOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Kill a new program that a rule refuses, where the kernel cannot refuse it. Otherwise nothing is done about it there.
    pub kill_for_deny: bool,
    /// Only in these control groups (v2) and below them; empty: everywhere.
    pub included_cgroups: Vec<PathBuf>,
    /// Not in these control groups (v2) and below them.
    pub excluded_cgroups: Vec<PathBuf>,
    /// Only what processes with these real user ids do; empty: all.
    pub included_uids: Vec<u32>,
    /// Programs that are never acted upon, by absolute path: known by the file that has that path, and by the path.
    pub protected_executables: Vec<PathBuf>,
    /// Guard the agent itself: nobody but the process with pid 1 and the kernel may send it a signal, take hold of it, change its
    /// `own_files`, or be handed its programs, maps and links.
    pub protect_agent: bool,
    /// Files that are guarded with the agent: those that have these paths now.
    pub own_files: Vec<PathBuf>,
}

impl Default for PreventionOptions {
    /// Dry-run; everywhere.
    fn default() -> Self {
        Self {
            dry_run: true,
            kill_for_deny: false,
            included_cgroups: Vec::new(),
            excluded_cgroups: Vec::new(),
            included_uids: Vec::new(),
            protected_executables: Vec::new(),
            protect_agent: false,
            own_files: Vec::new(),
        }
    }
}

/// Why prevention cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreventionError {
    /// This host, or this process's privileges, allow none at all.
    #[error("nothing can be prevented here: {}", list(.0))]
    Missing(Vec<Missing>),
    /// A filter cannot be.
    #[error(transparent)]
    Filter(#[from] SensorError),
    /// The kernel does not do its part. What was prevented before still is.
    #[error("{what}: {reason}")]
    Kernel {
        /// What was to be done.
        what: &'static str,
        /// Why not, as the kernel or its loader says.
        reason: String,
    },
}

impl PreventionError {
    fn kernel(what: &'static str) -> impl Fn(libbpf_rs::Error) -> Self {
        move |error| Self::Kernel { what, reason: reason(&error) }
    }
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Prevention in the kernel. It ends when this is dropped.
///
/// A new program is killed before it runs any instruction, or refused with `EPERM`; an open is refused with `EACCES`, a
/// connect with `EPERM`. Refusing execs and opens takes BPF among the kernel's active security modules; killing takes
/// what the sensor takes, and so does refusing connects, at which nobody can be killed then: it is refused. A rule that the
/// host has no hook for does nothing, and [`health`](Self::health) says so.
///
/// Never acted upon are pid 1, the agent and its ancestors, threads of the kernel, and processes that run protected
/// programs, or are about to. Whatever the filters leave out is not looked at. Nothing counts how often: who is refused a
/// hundred times is refused once more.
///
/// A file that an open makes is there, empty, though the open is refused: security modules are asked after it. Files that
/// are renamed or linked to a path are not opened, and connections by sending are not connected.
///
/// With [`protect_agent`](PreventionOptions::protect_agent) the process itself is guarded, too, wherever the filters are.
///
/// What is done is told by [`poll`](Self::poll), at most 128 times in a second; the rest is counted.
///
/// ```no_run
/// use std::time::Duration;
/// use lavender_bpf::{Prevention, PreventionOptions};
/// use lavender_core::{PathTest, PreventionAction, PreventionPlan, PreventionRule, PreventionTest};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let plan = PreventionPlan::new([PreventionRule {
///     id: "no miners".into(),
///     action: PreventionAction::Kill,
///     tests: vec![PreventionTest::Program(PathTest::Name("xmrig".parse()?))],
/// }]);
/// let mut prevention = Prevention::start(&plan, PreventionOptions::default())?; // a dry run
/// for outcome in prevention.poll(Duration::from_secs(1))? {
///     println!("{outcome:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prevention {
    told: Told,
    loaded: Loaded,
    options: PreventionOptions,
    tables: Tables,
    guarded: Guarded,
    /// What was in use before: the last of what was done by it may be still to be told, and a program that was interrupted may
    /// be looking at it still. It goes with the next change.
    retired: Tables,
    /// The first number that no plan has had.
    next_number: u32,
    counts: MapHandle,
}

impl Prevention {
    /// Begins to prevent what a plan says. Takes about half a second, since each hook is tried by itself.
    ///
    /// # Errors
    ///
    /// When nothing can be prevented here, or the options cannot be.
    pub fn start(
        plan: &PreventionPlan,
        options: PreventionOptions,
    ) -> Result<Self, PreventionError> {
        let missing = crate::support::check();
        if !missing.is_empty() {
            return Err(PreventionError::Missing(missing));
        }
        let boot = this_boot()?;
        let config = Config::new(&options)?;
        let loaded = Loaded::new(&config, &cgroups(&options)).map_err(|reason| {
            PreventionError::Kernel { what: "the programs cannot be loaded", reason }
        })?;
        let read = PreventionError::kernel("what is prevented cannot be read");
        let told = loaded.map("acts").and_then(|map| Told::new(map, boot)).map_err(&read)?;
        let counts = loaded.map("counts").map_err(&read)?;
        let retired = Tables::default();
        let (tables, guarded) = (Tables::default(), Guarded::default());
        let next_number = FIRST_NUMBER;
        let mut prevention =
            Self { told, loaded, options, tables, guarded, retired, next_number, counts };
        prevention.apply(plan)?;
        Ok(prevention)
    }

    /// Goes by another plan. What both have is prevented all the while.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it; what was prevented before still is.
    pub fn apply(&mut self, plan: &PreventionPlan) -> Result<(), PreventionError> {
        self.remove(&self.retired, &self.tables.files);
        self.retired = Tables::default();
        let mut spared = self.options.protected_executables.clone();
        spared.extend(std::env::current_exe());
        let mut next = Tables::new(plan, self.means(), &spared, self.next_number);
        self.next_number = next.end();
        let takes = PreventionError::kernel("the kernel does not take what is to be prevented");
        if self.options.protect_agent {
            next.guard(|hook| self.loaded.has(hook));
            let guarded = Guarded::now(&self.options.own_files);
            guarded.put(&self.loaded, &self.guarded).map_err(&takes)?;
            self.guarded = guarded;
        }
        if let Err(error) = self.put(&next, &self.tables.files) {
            self.remove(&next, &self.tables.files);
            return Err(takes(error));
        }
        let attached = self.loaded.attach(|hook| next.hooks.contains(&hook));
        if let Err(reason) = attached {
            self.remove(&next, &self.tables.files);
            return Err(PreventionError::Kernel { what: "a hook cannot be attached", reason });
        }
        self.loaded.set(".data.called", next.asks_called.into()).map_err(&takes)?;
        self.loaded.set(".data.generation", next.generation).map_err(&takes)?;
        self.retired = std::mem::replace(&mut self.tables, next);
        let hooks = &self.tables.hooks;
        self.loaded.detach(|hook| hooks.contains(&hook));
        for hook in &self.tables.missing {
            tracing::warn!(reason = %self.why(*hook), "{hook} is asked for, and not there");
        }
        Ok(())
    }

    fn means(&self) -> Means {
        Means {
            exec_kill: self.loaded.has(PreventionHook::ExecKill),
            exec_deny: self.loaded.has(PreventionHook::ExecDeny),
            open: self.loaded.has(PreventionHook::Open),
            connect: self.loaded.has(PreventionHook::Connect),
            kills_at_connect: self.loaded.kills_at_connect(),
            kill_for_deny: self.options.kill_for_deny,
        }
    }

    fn put(&self, tables: &Tables, there: &BTreeSet<FileKey>) -> Result<(), libbpf_rs::Error> {
        let nodes = self.loaded.map("nodes")?;
        for (key, node) in &tables.nodes {
            nodes.update(key.as_bytes(), node.as_bytes(), MapFlags::ANY)?;
        }
        let peers = self.loaded.map("peer_verdicts")?;
        for (key, verdict) in &tables.peers {
            peers.update(key.as_bytes(), verdict.as_bytes(), MapFlags::ANY)?;
        }
        let files = self.loaded.map("spared_files")?;
        for key in tables.files.difference(there) {
            files.update(key.as_bytes(), &[1], MapFlags::ANY)?;
        }
        Ok(())
    }

    /// Takes out what is not in use any more. What stays is found by nobody, and files that are `kept` are spared still.
    fn remove(&self, tables: &Tables, kept: &BTreeSet<FileKey>) {
        let remove = || -> Result<(), libbpf_rs::Error> {
            let nodes = self.loaded.map("nodes")?;
            for key in tables.nodes.keys() {
                nodes.delete(key.as_bytes())?;
            }
            let peers = self.loaded.map("peer_verdicts")?;
            for key in tables.peers.keys() {
                peers.delete(key.as_bytes())?;
            }
            let files = self.loaded.map("spared_files")?;
            for key in tables.files.difference(kept) {
                files.delete(key.as_bytes())?;
            }
            Ok(())
        };
        if let Err(error) = remove() {
            tracing::debug!(%error, "of what was to be prevented, not all was there");
        }
    }

    /// Waits until something is prevented, at most for `timeout`, and tells what was done.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<ResponseOutcome>, PreventionError> {
        let (current, retired) = (&self.tables.entries, &self.retired.entries);
        let entry = |number: u32| current.get(&number).or_else(|| retired.get(&number));
        self.told
            .poll(timeout, entry)
            .map_err(PreventionError::kernel("what is prevented cannot be read"))
    }

    /// Each hook, and whether it can be used here.
    pub fn hooks(&self) -> &[PreventionReport] {
        &self.loaded.reports
    }

    /// What was done since it began.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn counts(&self) -> Result<PreventionCounts, PreventionError> {
        let values = self
            .counts
            .lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(PreventionError::kernel("what was prevented cannot be counted"))?
            .unwrap_or_default();
        let sum = |place: usize| -> u64 {
            let number = |value: &Vec<u8>| value.as_chunks::<8>().0.get(place).copied();
            values.iter().filter_map(number).map(u64::from_ne_bytes).sum()
        };
        Ok(PreventionCounts { acts: sum(0), untold: sum(1), spared: sum(2), missed: sum(3) })
    }

    /// How it stands.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn health(&self) -> Result<PreventionHealth, PreventionError> {
        let missing = self.tables.missing.iter();
        let unavailable = missing.map(|hook| (hook.as_str().into(), self.why(*hook)));
        Ok(PreventionHealth {
            dry_run: self.options.dry_run,
            rules: self.tables.rules,
            unavailable: unavailable.collect(),
            counts: self.counts()?,
        })
    }

    fn why(&self, hook: PreventionHook) -> Arc<str> {
        let report = self.loaded.reports.iter().find(|report| report.hook == hook);
        report.and_then(PreventionReport::reason).unwrap_or("it is not there").into()
    }
}

/// Numbers below are those of what guards the agent.
const FIRST_NUMBER: u32 = 16;

fn this_boot() -> Result<BootId, PreventionError> {
    crate::host::boot_id().map_err(|error| PreventionError::Kernel {
        what: "which boot this is cannot be read",
        reason: error.to_string(),
    })
}

/// Each hook loaded and attached by itself, for a moment.
pub(crate) fn try_hooks() -> Vec<PreventionReport> {
    hooks::try_each(&Config::default(), &cgroups(&PreventionOptions::default())).0
}
