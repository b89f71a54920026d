//! The compiled probes, and their loading.

use std::cell::RefCell;

use libbpf_rs::{
    Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel, set_print,
};
use zerocopy::IntoBytes;

use super::SensorError;
use super::config::{Config, RingBytes};
use crate::record::{
    ArgumentsRecord, ConnectRecord, ExitRecord, ForkRecord, OpenRecord, ProgramRecord,
    RecordHeader, TaskBody, kind,
};
use crate::support::{Probe, ProbeStatus};

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
    assert!(size_of::<Config>() == size_of::<types::sensor_config>());
    assert!(size_of::<types::loss_counters>() == 2 * kind::COUNT * size_of::<u64>());
};

/// An ELF file is read as numbers of up to 8 bytes.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bpf.o")));

pub(super) const RINGS: [&str; 3] = ["process_ring", "network_ring", "file_ring"];

/// Probes in the kernel. They are detached and unloaded when it is dropped.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Before `object`: detached before it is unloaded.
    pub(super) links: Vec<Link>,
    pub(super) object: Object,
    pub(super) probes: Vec<Probe>,
}

const fn program(probe: Probe) -> &'static str {
    match probe {
        Probe::ProcessFork => "process_fork",
        Probe::ProcessExec => "process_exec",
        Probe::ProcessExit => "process_exit",
        Probe::FileOpen | Probe::NetConnect => "syscall_exit",
        Probe::Snapshot => "snapshot",
    }
}

impl Loaded {
    /// Loads and attaches these probes: all of them, or an error.
    pub(super) fn new(
        probes: &[Probe],
        mut config: Config,
        rings: &RingBytes,
    ) -> Result<Self, libbpf_rs::Error> {
        log_to_tracing();
        WARNINGS.with_borrow_mut(Vec::clear);
        config.want(probes);
        let mut open = ObjectBuilder::default().open_memory(&OBJECT.0)?;
        configure(&mut open, probes, &config, rings)?;
        let object = open.load()?;
        let mut links = Vec::new();
        for program in object.progs_mut() {
            let wanted = probes.iter().any(|probe| program.name() == self::program(*probe));
            // The snapshot is attached each time that it is read.
            if wanted && program.name() != self::program(Probe::Snapshot) {
                links.push(program.attach()?);
            }
        }
        Ok(Self { links, object, probes: probes.to_vec() })
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
    probes: &[Probe],
    config: &Config,
    rings: &RingBytes,
) -> Result<(), libbpf_rs::Error> {
    for mut program in open.progs_mut() {
        let wanted = probes.iter().any(|probe| program.name() == self::program(*probe));
        program.set_autoload(wanted);
    }
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some(ring) = RINGS.iter().position(|ring| name == *ring) {
            map.set_max_entries(rings.0[ring])?;
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
) -> Result<(Loaded, Vec<(Probe, ProbeStatus)>), SensorError> {
    match Loaded::new(probes, *config, rings) {
        Ok(loaded) => {
            let statuses = probes.iter().map(|probe| (*probe, ProbeStatus::Available)).collect();
            return Ok((loaded, statuses));
        }
        Err(error) => {
            tracing::debug!(%error, "not all probes can be loaded together; trying each");
            rings.check()?;
        }
    }
    let statuses = try_each(probes, config);
    let usable: Vec<Probe> = statuses
        .iter()
        .filter(|(_, status)| *status == ProbeStatus::Available)
        .map(|(probe, _)| *probe)
        .collect();
    if usable.iter().all(|probe| *probe == Probe::Snapshot) {
        return Err(SensorError::no_probe(&statuses));
    }
    let loaded = Loaded::new(&usable, *config, rings)
        .map_err(|error| SensorError::Load { reason: reason(&error) })?;
    Ok((loaded, statuses))
}

/// Loads and attaches each probe by itself, for a moment.
pub(super) fn try_each(probes: &[Probe], config: &Config) -> Vec<(Probe, ProbeStatus)> {
    let rings = RingBytes::smallest();
    let try_one = |probe: &Probe| {
        let status = match Loaded::new(&[*probe], *config, &rings) {
            Ok(_) => ProbeStatus::Available,
            Err(error) => ProbeStatus::Unavailable { reason: reason(&error) },
        };
        (*probe, status)
    };
    probes.iter().map(try_one).collect()
}

/// The most warnings that are kept to explain an error.
const WARNINGS_MAX: usize = 32;

thread_local! {
    /// What libbpf had to say since the last load on this thread.
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// libbpf speaks through `tracing`, and not on stderr.
fn log_to_tracing() {
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
pub(super) fn reason(error: &libbpf_rs::Error) -> String {
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
