//! The compiled probes, and their loading.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;

use libbpf_rs::{
    Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel, set_print,
};
use zerocopy::IntoBytes;

use super::SensorError;
use super::call_exits::{self, CallExits};
use super::config::{Config, RingBytes};
use super::hooks::{Hooks, SyscallHook};
use super::plan::{KernelPlan, PlanKey};
use crate::record::{
    ArgumentsRecord, BpfRecord, ChangeRecord, ConnectRecord, CredentialsRecord, DnsRecord,
    ExecFailedRecord, ExitRecord, ForkRecord, IoUringRecord, ListenRecord, MemoryRecord,
    MountRecord, NamespaceRecord, OpenRecord, ProgramRecord, RecordHeader, SignalRecord,
    TamperRecord, TaskBody, ThrottledRecord, kind,
};
use crate::support::{Probe, ProbeReport, ProbeStatus};

/// What was generated from the compiled probes: used for its types, to hold ours against them.
#[allow(
    clippy::all,
    clippy::expect_used,
    clippy::panic,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    dead_code,
    missing_debug_implementations,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    rust_2018_idioms,
    unreachable_pub,
    unsafe_code,
    unused,
    reason = "generated"
)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/sensor.skel.rs"));
}

use self::skeleton::types;

const _: () = {
    assert!(size_of::<RecordHeader>() == size_of::<types::record_header>());
    assert!(size_of::<TaskBody>() == size_of::<types::task_body>());
    assert!(size_of::<ForkRecord>() == size_of::<types::fork_record>());
    assert!(size_of::<ProgramRecord>() == size_of::<types::program_record>());
    assert!(size_of::<ArgumentsRecord>() == size_of::<types::arguments_record>());
    assert!(size_of::<ExitRecord>() == size_of::<types::exit_record>());
    assert!(size_of::<OpenRecord>() == size_of::<types::open_record>());
    assert!(size_of::<ConnectRecord>() == size_of::<types::connect_record>());
    assert!(size_of::<IoUringRecord>() == size_of::<types::io_uring_record>());
    assert!(size_of::<DnsRecord>() == size_of::<types::dns_record>());
    assert!(size_of::<ListenRecord>() == size_of::<types::listen_record>());
    assert!(size_of::<ExecFailedRecord>() == size_of::<types::exec_failed_record>());
    assert!(size_of::<ChangeRecord>() == size_of::<types::change_record>());
    assert!(size_of::<SignalRecord>() == size_of::<types::signal_record>());
    assert!(size_of::<TamperRecord>() == size_of::<types::tamper_record>());
    assert!(size_of::<CredentialsRecord>() == size_of::<types::credentials_record>());
    assert!(size_of::<BpfRecord>() == size_of::<types::bpf_record>());
    assert!(size_of::<MountRecord>() == size_of::<types::mount_record>());
    assert!(size_of::<NamespaceRecord>() == size_of::<types::namespace_record>());
    assert!(size_of::<MemoryRecord>() == size_of::<types::memory_record>());
    assert!(size_of::<Config>() == size_of::<types::sensor_config>());
    assert!(size_of::<ThrottledRecord>() == size_of::<types::throttled_record>());
    assert!(size_of::<types::throttle_totals>() == 2 * kind::COUNT * size_of::<u64>());
    assert!(size_of::<KernelPlan>() == size_of::<types::sensor_plan>());
    assert!(size_of::<PlanKey>() == size_of::<types::plan_key>());
    assert!(size_of::<types::loss_counters>() == 2 * kind::COUNT * size_of::<u64>());
};

/// An ELF file is read as numbers of up to 8 bytes.
#[repr(C, align(8))]
pub(crate) struct Aligned<T: ?Sized>(pub(crate) T);

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bpf.o")));

pub(super) const RINGS: [&str; 3] = ["process_ring", "network_ring", "file_ring"];

/// Probes in the kernel. They are detached and unloaded when it is dropped.
#[derive(Debug)]
pub(super) struct Loaded {
    /// By the names of their programs. Before `object`: detached before it is unloaded.
    links: BTreeMap<&'static str, Link>,
    /// Where system calls are seen at their functions.
    call_exits: Option<CallExits>,
    pub(super) object: Object,
    pub(super) probes: Vec<Probe>,
    hooks: Hooks,
}

impl Loaded {
    /// Loads and attaches these probes: all of them, or an error.
    pub(super) fn new(
        probes: &[Probe],
        config: Config,
        rings: &RingBytes,
    ) -> Result<Self, libbpf_rs::Error> {
        log_to_tracing();
        let mut result = Err(io::Error::other("no hook to try").into());
        for hooks in Hooks::in_order(probes) {
            result = Self::with_hooks(probes, config, rings, hooks);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn with_hooks(
        probes: &[Probe],
        mut config: Config,
        rings: &RingBytes,
        hooks: Hooks,
    ) -> Result<Self, libbpf_rs::Error> {
        WARNINGS.with_borrow_mut(Vec::clear);
        config.want(probes);
        let mut open = ObjectBuilder::default().open_memory(&OBJECT.0)?;
        let programs = probes.iter().filter_map(|probe| hooks.program(*probe)).collect();
        configure(&mut open, &programs, &config, rings)?;
        let call_exits = match hooks.syscall {
            SyscallHook::Functions(functions) => {
                let types = functions.types_of(probes);
                call_exits::configure(&mut open, &types)?;
                Some((functions, types))
            }
            _ => None,
        };
        let object = open.load()?;
        let call_exits = call_exits
            .map(|(functions, types)| CallExits::new(&object, functions, types.into_keys()))
            .transpose()?;
        let (links, probes) = (BTreeMap::new(), probes.to_vec());
        let mut loaded = Self { links, call_exits, object, probes, hooks };
        // All of them, to know that this kernel takes them; a plan then detaches what nothing needs.
        loaded.attach(|_| true)?;
        Ok(loaded)
    }

    /// The probes for which `is_needed` holds. The snapshot is attached each time that it is read.
    fn needed(&self, is_needed: impl Fn(Probe) -> bool) -> (Vec<Probe>, BTreeSet<&'static str>) {
        let probes = self.probes.iter().copied().filter(|probe| *probe != Probe::Snapshot);
        let (at_functions, others): (Vec<Probe>, Vec<Probe>) = probes
            .filter(|probe| is_needed(*probe))
            .partition(|it| self.hooks.is_at_functions(*it));
        (at_functions, others.into_iter().filter_map(|probe| self.hooks.program(probe)).collect())
    }

    /// Attaches the probes for which `is_needed` holds, where they are not.
    pub(super) fn attach(
        &mut self,
        is_needed: impl Fn(Probe) -> bool,
    ) -> Result<(), libbpf_rs::Error> {
        let (at_functions, programs) = self.needed(is_needed);
        if let Some(exits) = &mut self.call_exits {
            exits.attach(&at_functions)?;
        }
        for name in programs {
            let program = self.object.progs_mut().find(|program| program.name() == name);
            if let (false, Some(program)) = (self.links.contains_key(name), program) {
                self.links.insert(name, program.attach()?);
            }
        }
        Ok(())
    }

    /// Detaches the other probes.
    pub(super) fn detach(&mut self, is_needed: impl Fn(Probe) -> bool) {
        let (at_functions, programs) = self.needed(is_needed);
        if let Some(exits) = &mut self.call_exits {
            exits.detach_others(&at_functions);
        }
        self.links.retain(|name, _| programs.contains(name));
    }

    /// Detaches all probes, for good.
    pub(super) fn detach_all(&mut self) {
        self.detach(|_| false);
    }

    /// Whether all probes are detached.
    pub(super) fn is_detached(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether what a probe sees is attached.
    pub(super) fn is_attached(&self, probe: Probe) -> bool {
        match &self.call_exits {
            Some(exits) if self.hooks.is_at_functions(probe) => exits.has(probe),
            _ => self.hooks.program(probe).is_some_and(|name| self.links.contains_key(name)),
        }
    }

    /// The programs at the functions of calls.
    pub(super) fn call_exits(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.call_exits.iter().flat_map(CallExits::programs)
    }

    fn reports(&self) -> Vec<ProbeReport> {
        let row =
            |probe: &Probe| probe.report(self.hooks.mechanism(*probe), ProbeStatus::Available);
        self.probes.iter().map(row).collect()
    }

    /// The map of this name.
    pub(super) fn map(&self, name: &str) -> Result<MapHandle, libbpf_rs::Error> {
        self.object
            .maps()
            .find(|map| map.name() == name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no map {name}")).into())
            .and_then(|map| MapHandle::try_from(&map))
    }
}

fn configure(
    open: &mut OpenObject,
    programs: &BTreeSet<&str>,
    config: &Config,
    rings: &RingBytes,
) -> Result<(), libbpf_rs::Error> {
    for mut program in open.progs_mut() {
        let wanted = program.name().to_str().is_some_and(|name| programs.contains(name));
        program.set_autoload(wanted);
    }
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some(ring) = RINGS.iter().position(|ring| name == *ring) {
            map.set_max_entries(rings.0[ring])?;
        } else if name == "peers" && !config.remembers_peers()
            || matches!(&*name, "buckets" | "throttled") && !config.limits.is_on()
        {
            map.set_max_entries(1)?;
        } else if name == ".rodata.config" {
            map.set_initial_value(config.as_bytes())?;
        } else if name == ".data.self" {
            map.set_initial_value(&std::process::id().to_ne_bytes())?;
        }
    }
    Ok(())
}

/// Loads and attaches those of the probes that this kernel takes, and says why it does not take the others.
pub(super) fn load_what_loads(
    probes: &[Probe],
    config: &Config,
    rings: &RingBytes,
) -> Result<(Loaded, Vec<ProbeReport>), SensorError> {
    match Loaded::new(probes, *config, rings) {
        Ok(loaded) => {
            let reports = loaded.reports();
            return Ok((loaded, reports));
        }
        Err(error) => {
            tracing::debug!(%error, "not all probes can be loaded together; trying each");
            rings.check()?;
        }
    }
    let reports = try_each(probes, config);
    let usable = reports.iter().filter(|row| row.is_available()).map(|row| row.probe);
    let usable: Vec<Probe> = usable.collect();
    if usable.iter().all(|probe| *probe == Probe::Snapshot) {
        return Err(SensorError::no_probe(&reports));
    }
    let loaded = Loaded::new(&usable, *config, rings)
        .map_err(|error| SensorError::Load { reason: reason(&error) })?;
    Ok((loaded, reports))
}

/// Loads and attaches each probe by itself, for a moment.
pub(super) fn try_each(probes: &[Probe], config: &Config) -> Vec<ProbeReport> {
    let rings = RingBytes::smallest();
    let try_one = |probe: &Probe| match Loaded::new(&[*probe], *config, &rings) {
        Ok(loaded) => probe.report(loaded.hooks.mechanism(*probe), ProbeStatus::Available),
        Err(error) => {
            let reason = reason(&error);
            probe.report(probe.mechanism(), ProbeStatus::Unavailable { reason })
        }
    };
    probes.iter().map(try_one).collect()
}

/// The most warnings that are kept to explain an error.
const WARNINGS_MAX: usize = 32;

thread_local! {
    /// What libbpf had to say since the last load on this thread.
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// libbpf speaks through `tracing`, and not on stderr. What it said before explains nothing that comes now.
pub(crate) fn log_to_tracing() {
    WARNINGS.with_borrow_mut(Vec::clear);
    set_print(Some((PrintLevel::Info, |level, message| {
        let message = message.trim_end();
        match level {
            // A probe that cannot be loaded is reported by its row in the table; the details are for who asks.
            PrintLevel::Warn => {
                tracing::debug!(target: "lavender_bpf::libbpf", "{message}");
                WARNINGS.with_borrow_mut(|warnings| {
                    if warnings.len() < WARNINGS_MAX {
                        warnings.push(message.to_owned());
                    }
                });
            }
            PrintLevel::Info | PrintLevel::Debug => {
                tracing::trace!(target: "lavender_bpf::libbpf", "{message}");
            }
        }
    })));
}

/// An error with the line of the verifier's log, or the warning, that says most.
pub(crate) fn reason(error: &libbpf_rs::Error) -> String {
    let detail = WARNINGS.with_borrow(|warnings| {
        let log = warnings.iter().find(|warning| warning.contains("PROG LOAD LOG"));
        match log {
            Some(log) => log
                .lines()
                .take_while(|line| !line.starts_with("processed ") && !line.contains("END PROG"))
                .last()
                .map(str::to_owned),
            None => warnings.first().cloned(),
        }
    });
    match detail {
        Some(detail) => format!("{error:#} ({})", detail.trim()),
        None => format!("{error:#}"),
    }
}
