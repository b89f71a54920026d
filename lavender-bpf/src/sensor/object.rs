//! The compiled probes, and their loading.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Typedef;
use libbpf_rs::{
    Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel, set_print,
};
use zerocopy::IntoBytes;

use super::SensorError;
use super::config::{Config, RingBytes};
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
    pub(super) links: BTreeMap<&'static str, Link>,
    pub(super) object: Object,
    pub(super) probes: Vec<Probe>,
    hooks: Hooks,
}

/// Where the exits of system calls are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SyscallHook {
    /// The cheaper one.
    BtfTracepoint,
    /// The one whose programs are never preempted.
    Tracepoint,
}

/// By which name the kernel has the tracepoint of requests of `io_uring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IoUringHook {
    SubmitReq,
    /// Before 6.3.
    SubmitSqe,
}

impl IoUringHook {
    fn of_kernel() -> Self {
        let named = |btf: &Btf<'_>| {
            btf.type_by_name::<Typedef<'_>>("btf_trace_io_uring_submit_sqe").is_some()
        };
        if Btf::from_vmlinux().is_ok_and(|btf| named(&btf)) {
            Self::SubmitSqe
        } else {
            Self::SubmitReq
        }
    }
}

/// Which of several hooks for the same is taken.
#[derive(Clone, Copy, Debug)]
struct Hooks {
    syscall: SyscallHook,
    io_uring: IoUringHook,
}

impl Hooks {
    /// The ones to try first, and the others.
    ///
    /// From 7.0 on a program at a BTF tracepoint can be preempted, and the kernel leaves out each run that meets
    /// it on that processor meanwhile: measured, 6 % of the opens of a storm. At the older kind of tracepoint
    /// preemption is off.
    fn in_order(probes: &[Probe]) -> [Self; 2] {
        let io_uring = if probes.contains(&Probe::IoUring) {
            IoUringHook::of_kernel()
        } else {
            IoUringHook::SubmitReq
        };
        let release = rustix::system::uname();
        let major = release.release().to_str().ok().and_then(|text| text.split('.').next());
        let syscalls = match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major >= 7 => [SyscallHook::Tracepoint, SyscallHook::BtfTracepoint],
            _ => [SyscallHook::BtfTracepoint, SyscallHook::Tracepoint],
        };
        syscalls.map(|syscall| Self { syscall, io_uring })
    }

    const fn program(self, probe: Probe) -> &'static str {
        match (probe, self.syscall) {
            (Probe::ProcessFork, _) => "process_fork",
            (Probe::ProcessExec, _) => "process_exec",
            (Probe::ProcessExit, _) => "process_exit",
            (Probe::Signal, _) => "signal_generate",
            (Probe::IoUring, _) => match self.io_uring {
                IoUringHook::SubmitReq => "io_uring_submit",
                IoUringHook::SubmitSqe => "io_uring_submit_before_6_3",
            },
            (Probe::Snapshot, _) => "snapshot",
            // All that is left is read off the exits of system calls.
            (_, SyscallHook::BtfTracepoint) => "syscall_exit",
            (_, SyscallHook::Tracepoint) => "syscall_exit_classic",
        }
    }

    const fn mechanism(self, probe: Probe) -> &'static str {
        match (self.syscall, self.io_uring) {
            (_, IoUringHook::SubmitSqe) if matches!(probe, Probe::IoUring) => {
                "tp_btf/io_uring_submit_sqe"
            }
            (SyscallHook::Tracepoint, _) if probe.is_of_syscalls() => {
                "tracepoint/raw_syscalls/sys_exit"
            }
            _ => probe.mechanism(),
        }
    }
}

impl Loaded {
    /// Loads and attaches these probes: all of them, or an error.
    pub(super) fn new(
        probes: &[Probe],
        config: Config,
        rings: &RingBytes,
    ) -> Result<Self, libbpf_rs::Error> {
        log_to_tracing();
        let [first, second] = Hooks::in_order(probes);
        Self::with_hooks(probes, config, rings, first)
            .or_else(|_| Self::with_hooks(probes, config, rings, second))
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
        let programs: Vec<&str> = probes.iter().map(|probe| hooks.program(*probe)).collect();
        configure(&mut open, &programs, &config, rings)?;
        let object = open.load()?;
        let mut loaded = Self { links: BTreeMap::new(), object, probes: probes.to_vec(), hooks };
        // All of them, to know that this kernel takes them; a plan then detaches what nothing needs.
        loaded.attach(|_| true)?;
        Ok(loaded)
    }

    /// The programs of the probes for which `is_needed` holds. The snapshot is attached each time that it is read.
    fn programs(&self, is_needed: impl Fn(Probe) -> bool) -> BTreeSet<&'static str> {
        let probes = self.probes.iter().copied().filter(|probe| *probe != Probe::Snapshot);
        probes.filter(|probe| is_needed(*probe)).map(|probe| self.hooks.program(probe)).collect()
    }

    /// Attaches the probes for which `is_needed` holds, where they are not.
    pub(super) fn attach(
        &mut self,
        is_needed: impl Fn(Probe) -> bool,
    ) -> Result<(), libbpf_rs::Error> {
        for name in self.programs(is_needed) {
            let program = self.object.progs_mut().find(|program| program.name() == name);
            if let (false, Some(program)) = (self.links.contains_key(name), program) {
                self.links.insert(name, program.attach()?);
            }
        }
        Ok(())
    }

    /// Detaches the other probes.
    pub(super) fn detach(&mut self, is_needed: impl Fn(Probe) -> bool) {
        let needed = self.programs(is_needed);
        self.links.retain(|name, _| needed.contains(name));
    }

    /// Whether anything is attached to this hook, by the name of the program.
    pub(super) fn is_attached(&self, probe: Probe) -> bool {
        self.links.contains_key(self.hooks.program(probe))
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
            .ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::NotFound, format!("no map {name}")).into()
            })
            .and_then(|map| MapHandle::try_from(&map))
    }
}

fn configure(
    open: &mut OpenObject,
    programs: &[&str],
    config: &Config,
    rings: &RingBytes,
) -> Result<(), libbpf_rs::Error> {
    for mut program in open.progs_mut() {
        let wanted = programs.iter().any(|name| program.name() == *name);
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
