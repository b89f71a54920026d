//! The programs in the kernel: which of them it takes, loading and attaching them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{Func, FuncProto};
use libbpf_rs::{
    Link, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder, ProgramInput, ProgramMut,
};
use zerocopy::IntoBytes as _;

use super::config::Config;
use crate::sensor::{Aligned, log_to_tracing, reason};
use crate::support::{PreventionHook as Hook, PreventionReport, ProbeStatus};

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/prevent.bpf.o")));

/// Learns who the agent is, and who its ancestors are.
const LEARN: &str = "learn_agent";

/// Where connects are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connects {
    /// Who connects can also be killed.
    Lsm,
    /// Of any kernel that has v2 control groups.
    Cgroup,
}

/// What differs between kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    connects: Connects,
    /// Whether it is the second argument that says which file's mode or owner is set, as from 6.9 on.
    setattr_second: bool,
}

impl Variant {
    /// What is tried first. That the verifier takes a program says nothing of its arguments: where the first is the map of
    /// a mount's ids, 6.12 lets it be read as if it were the file.
    fn of_kernel() -> Self {
        let arguments = |btf: &Btf<'_>| {
            let hook = btf.type_by_name::<Func<'_>>("bpf_lsm_inode_setattr")?;
            FuncProto::try_from(hook.next_type()?).ok().map(|takes| takes.len())
        };
        let arguments = Btf::from_vmlinux().ok().and_then(|btf| arguments(&btf));
        Self { connects: Connects::Lsm, setattr_second: arguments.is_some_and(|count| count > 2) }
    }
}

/// How the kernel is hooked.
#[derive(Clone, Copy, Debug)]
struct Way {
    programs: &'static [&'static str],
    mechanism: &'static str,
}

fn way(hook: Hook, connects: Connects) -> Way {
    let programs: &[&str] = match (hook, connects) {
        (Hook::ExecKill, _) => &["prevent_exec_kill"],
        (Hook::ExecDeny, _) => &["prevent_exec_deny"],
        (Hook::Open, _) => &["prevent_open"],
        (Hook::GuardSignal, _) => &["guard_signal"],
        (Hook::GuardPtrace, _) => &["guard_ptrace"],
        (Hook::GuardFiles, _) => &["guard_unlink", "guard_rename", "guard_setattr", "guard_open"],
        (Hook::GuardBpf, _) => &["guard_bpf"],
        (Hook::Connect, Connects::Lsm) => &["prevent_connect"],
        (Hook::Connect, Connects::Cgroup) => &["prevent_connect4", "prevent_connect6"],
    };
    let mechanism = match (hook, connects) {
        (Hook::Connect, Connects::Cgroup) => "cgroup/connect4+6",
        _ => hook.mechanism(),
    };
    Way { programs, mechanism }
}

/// Programs in the kernel. They are detached and unloaded when it is dropped.
#[derive(Debug)]
pub(super) struct Loaded {
    /// By the names of their programs. Before `object`: detached before it is unloaded.
    links: BTreeMap<&'static str, Vec<Link>>,
    object: Object,
    /// Where connects are looked at, if it is at control groups.
    cgroups: Vec<PathBuf>,
    variant: Variant,
    pub(super) reports: Vec<PreventionReport>,
}

impl Loaded {
    /// Loads whatever the kernel takes, and attaches nothing.
    pub(super) fn new(config: &Config, cgroups: &[PathBuf]) -> Result<Self, String> {
        let (reports, variant) = try_each(config, cgroups);
        let available = reports.iter().filter(|report| report.is_available());
        let programs: Vec<&str> = available
            .flat_map(|report| way(report.hook, variant.connects).programs)
            .copied()
            .collect();
        let mut loaded =
            Self::load(&programs, variant, config, cgroups).map_err(|error| reason(&error))?;
        loaded.reports = reports;
        loaded.learn_agent().map_err(|error| {
            format!("who the agent is cannot be told to the kernel: {}", reason(&error))
        })?;
        Ok(loaded)
    }

    fn load(
        programs: &[&str],
        variant: Variant,
        config: &Config,
        cgroups: &[PathBuf],
    ) -> Result<Self, libbpf_rs::Error> {
        log_to_tracing();
        let mut open = ObjectBuilder::default().open_memory(&OBJECT.0)?;
        for mut program in open.progs_mut() {
            let name = program.name().to_string_lossy().into_owned();
            program.set_autoload(name == LEARN || programs.contains(&&*name));
        }
        for mut map in open.maps_mut() {
            if map.name() == ".rodata.config" {
                map.set_initial_value(config.as_bytes())?;
            } else if map.name() == ".data.self" {
                map.set_initial_value(&std::process::id().to_ne_bytes())?;
            } else if map.name() == ".rodata.setattr" {
                map.set_initial_value(&u32::from(variant.setattr_second).to_ne_bytes())?;
            }
        }
        let object = open.load()?;
        Ok(Self {
            links: BTreeMap::new(),
            object,
            cgroups: cgroups.to_vec(),
            variant,
            reports: Vec::new(),
        })
    }

    pub(super) fn learn_agent(&self) -> Result<(), libbpf_rs::Error> {
        let program = self.object.progs_mut().find(|program| program.name() == LEARN);
        let program = program.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        program.test_run(ProgramInput::default()).map(|_| ())
    }

    /// Whether a hook can be used.
    pub(super) fn has(&self, hook: Hook) -> bool {
        self.reports.iter().any(|report| report.hook == hook && report.is_available())
    }

    /// Whether a process can be killed as it connects.
    pub(super) const fn kills_at_connect(&self) -> bool {
        matches!(self.variant.connects, Connects::Lsm)
    }

    /// Attaches the hooks for which `is_needed` holds, where they are not.
    pub(super) fn attach(&mut self, is_needed: impl Fn(Hook) -> bool) -> Result<(), String> {
        for hook in Hook::ALL.into_iter().filter(|hook| is_needed(*hook)) {
            self.attach_one(hook)?;
        }
        Ok(())
    }

    fn attach_one(&mut self, hook: Hook) -> Result<(), String> {
        let Way { programs, mechanism } = way(hook, self.variant.connects);
        for name in programs {
            if self.links.contains_key(name) {
                continue;
            }
            let program = self.object.progs_mut().find(|program| program.name() == *name);
            let program = program.ok_or_else(|| format!("there is no program {name}"))?;
            let links = if mechanism.starts_with("cgroup/") {
                attach_to_cgroups(&program, &self.cgroups)?
            } else {
                vec![program.attach().map_err(|error| reason(&error))?]
            };
            self.links.insert(name, links);
        }
        Ok(())
    }

    /// Detaches the other hooks.
    pub(super) fn detach(&mut self, is_needed: impl Fn(Hook) -> bool) {
        let needed = Hook::ALL.into_iter().filter(|hook| is_needed(*hook));
        let needed: Vec<&str> =
            needed.flat_map(|hook| way(hook, self.variant.connects).programs).copied().collect();
        self.links.retain(|name, _| needed.contains(name));
    }

    /// The map of this name.
    pub(super) fn map(&self, name: &str) -> Result<MapHandle, libbpf_rs::Error> {
        let map = self.object.maps().find(|map| map.name() == name);
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no map {name}"));
        MapHandle::try_from(&map.ok_or_else(missing)?)
    }

    /// Sets the one value of a map of globals.
    pub(super) fn set(&self, name: &str, value: u32) -> Result<(), libbpf_rs::Error> {
        self.map(name)?.update(&0_u32.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY)
    }

    /// How many calls of the agent the kernel has asked an LSM program about.
    fn asked(&self) -> Result<u64, libbpf_rs::Error> {
        let value = self.map(".data.asked")?.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)?;
        Ok(value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_ne_bytes))
    }
}

fn attach_to_cgroups(program: &ProgramMut<'_>, cgroups: &[PathBuf]) -> Result<Vec<Link>, String> {
    let attach = |path: &PathBuf| {
        let folder = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        program.attach_cgroup(folder.as_raw_fd()).map_err(|error| reason(&error))
    };
    if cgroups.is_empty() {
        return Err("no v2 control groups are mounted".to_owned());
    }
    cgroups.iter().map(attach).collect()
}

/// What can be used on this host, each hook loaded and attached by itself for a moment.
pub(super) fn try_each(config: &Config, cgroups: &[PathBuf]) -> (Vec<PreventionReport>, Variant) {
    let mut variant = Variant::of_kernel();
    let lsm = is_lsm_asked(config, variant);
    let attempt = |hook: Hook, variant: Variant| {
        let mechanism = way(hook, variant.connects).mechanism;
        let tried = match &lsm {
            Err(why) if mechanism.starts_with("lsm/") => Err(why.clone()),
            _ => try_one(hook, variant, config, cgroups),
        };
        let status = match tried {
            Ok(()) => ProbeStatus::Available,
            Err(reason) => ProbeStatus::Unavailable { reason },
        };
        PreventionReport { hook, mechanism: mechanism.into(), status }
    };
    let report = |hook| {
        let first = attempt(hook, variant);
        if hook != Hook::Connect || first.is_available() {
            return first;
        }
        variant.connects = Connects::Cgroup;
        attempt(hook, variant)
    };
    let reports = Hook::ALL.into_iter().map(report).collect();
    (reports, variant)
}

fn try_one(
    hook: Hook,
    variant: Variant,
    config: &Config,
    cgroups: &[PathBuf],
) -> Result<(), String> {
    let programs = way(hook, variant.connects).programs;
    let mut loaded =
        Loaded::load(programs, variant, config, cgroups).map_err(|error| reason(&error))?;
    loaded.attach_one(hook)
}

/// Whether the kernel asks LSM programs at all. It may take and attach them, and never ask them where BPF is none of the
/// security modules that it was booted with.
fn is_lsm_asked(config: &Config, variant: Variant) -> Result<(), String> {
    let programs = way(Hook::Open, variant.connects).programs;
    let mut loaded =
        Loaded::load(programs, variant, config, &[]).map_err(|error| reason(&error))?;
    loaded.learn_agent().map_err(|error| reason(&error))?;
    loaded.attach_one(Hook::Open)?;
    File::open(Path::new("/proc/self/stat")).map_err(|error| error.to_string())?;
    match loaded.asked() {
        Ok(0) => Err("BPF is none of this kernel's active security modules: boot with `bpf` in \
                      `lsm=` (CONFIG_LSM)"
            .to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(reason(&error)),
    }
}
