//! What is fixed before probes are loaded: filters, wanted calls, sizes of rings.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lavender_core::event::Priority;
use libbpf_rs::{MapHandle, MapType};
use zerocopy::{Immutable, IntoBytes};

use super::SensorError;
use super::limits::ThrottleConfig;
use super::object::RINGS;
use crate::support::Probe;

/// `CGROUPS_MAX`.
pub(crate) const CGROUPS_MAX: usize = 16;
/// The largest ring. The kernel would take twice that, and maps it twice; a reader that falls so far behind does
/// not catch up.
const RING_MAX_BYTES: u32 = 1 << 30;
/// `UIDS_MAX`.
pub(crate) const UIDS_MAX: usize = 16;

/// `sensor_config.network`.
const NETWORK: [(Probe, u32); 5] = [
    (Probe::NetBind, 0x1),
    (Probe::NetListen, 0x2),
    (Probe::NetAccept, 0x4),
    (Probe::NetSend, 0x8),
    (Probe::DnsQuery, 0x10),
];

/// `struct cgroup_filter`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct CgroupFilter {
    id: u64,
    level: u32,
    reserved: u32,
}

/// `struct sensor_config`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Config {
    wake_bytes: [u32; 3],
    opens: u32,
    connects: u32,
    changes: u32,
    network: u32,
    failed_execs: u32,
    include_count: u32,
    exclude_count: u32,
    uid_count: u32,
    tampering: u32,
    credentials: u32,
    bpf: u32,
    mounts: u32,
    namespaces: u32,
    memory: u32,
    reserved: u32,
    include: [CgroupFilter; CGROUPS_MAX],
    exclude: [CgroupFilter; CGROUPS_MAX],
    uids: [u32; UIDS_MAX],
    pub(super) limits: ThrottleConfig,
}

impl Config {
    pub(super) fn new(
        include: &[PathBuf],
        exclude: &[PathBuf],
        uids: &[u32],
        rings: &RingBytes,
    ) -> Result<Self, SensorError> {
        let mut config = Self { wake_bytes: rings.0.map(wake_bytes), ..Self::default() };
        config.include_count = fill_cgroups(&mut config.include, include)?;
        config.exclude_count = fill_cgroups(&mut config.exclude, exclude)?;
        config.uid_count = fill_uids(&mut config.uids, uids)?;
        Ok(config)
    }

    /// No filter, and these limits.
    pub(super) fn with_limits(limits: ThrottleConfig) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Whether the peers that messages are sent to are to be remembered.
    pub(super) const fn remembers_peers(&self) -> bool {
        self.network & 0x8 != 0
    }

    /// Turns on what these probes need. Which calls are watched is for the plan to say.
    pub(super) fn want(&mut self, probes: &[Probe]) {
        let has = |probe| probes.contains(&probe);
        self.opens = has(Probe::FileOpen).into();
        self.connects = has(Probe::NetConnect).into();
        let network = NETWORK.iter().filter(|(probe, _)| has(*probe));
        self.network = network.fold(0, |bits, (_, bit)| bits | bit);
        self.failed_execs = has(Probe::ExecFailed).into();
        let changes = [Probe::FileDelete, Probe::FileRename, Probe::FileLink, Probe::FileMode];
        self.changes = changes.into_iter().any(has).into();
        let tampering =
            [Probe::Ptrace, Probe::ProcessVmWrite, Probe::MemfdCreate, Probe::ModuleLoad];
        self.credentials = has(Probe::CredChange).into();
        self.bpf = has(Probe::Bpf).into();
        self.mounts = has(Probe::Mount).into();
        self.namespaces = has(Probe::NsChange).into();
        self.memory = has(Probe::MemoryProtect).into();
        self.tampering = tampering.into_iter().any(has).into();
    }
}

/// Unread bytes at which the reader is woken before its time: an eighth of the ring, between the size of the
/// largest record and what the reader empties in about a millisecond.
const fn wake_bytes(ring_bytes: u32) -> u32 {
    let eighth = ring_bytes / 8;
    if eighth > 512 << 10 { 512 << 10 } else { eighth }
}

pub(crate) fn fill_uids(places: &mut [u32; UIDS_MAX], uids: &[u32]) -> Result<u32, SensorError> {
    let places = places.get_mut(..uids.len()).ok_or(SensorError::TooMany {
        what: "user ids",
        given: uids.len(),
        max: UIDS_MAX,
    })?;
    places.copy_from_slice(uids);
    Ok(uids.len() as u32)
}

pub(crate) fn fill_cgroups(
    places: &mut [CgroupFilter; CGROUPS_MAX],
    folders: &[PathBuf],
) -> Result<u32, SensorError> {
    if folders.len() > CGROUPS_MAX {
        return Err(SensorError::TooMany {
            what: "control groups",
            given: folders.len(),
            max: CGROUPS_MAX,
        });
    }
    for (place, folder) in places.iter_mut().zip(folders) {
        *place = cgroup(folder)?;
    }
    Ok(folders.len() as u32)
}

/// A control group by its folder. Its id is the folder's inode number; its level is how far it is below the
/// mount, which is the root of the hierarchy unless the agent lives in a control group namespace.
fn cgroup(folder: &Path) -> Result<CgroupFilter, SensorError> {
    let refuse = |reason: String| SensorError::Cgroup { folder: folder.to_owned(), reason };
    let mount = crate::host::cgroup_mount()
        .ok_or_else(|| refuse("no v2 hierarchy (cgroup2) is mounted".into()))?;
    let real = fs::canonicalize(folder).map_err(|error| refuse(error.to_string()))?;
    let below = real.strip_prefix(&mount).map_err(|_| {
        refuse(format!("it is not below {mount}, where the v2 hierarchy is mounted"))
    })?;
    let metadata = fs::metadata(&real).map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_dir() {
        return Err(refuse("it is not a folder".into()));
    }
    let level = below.components().count() as u32;
    Ok(CgroupFilter { id: metadata.ino(), level, reserved: 0 })
}

/// The sizes of the rings, in the order of [`RINGS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RingBytes(pub(super) [u32; 3]);

impl Default for RingBytes {
    /// 8 MiB for process life, 2 MiB for network, 8 MiB for files. One producer can write some
    /// 100 MB a second (500,000 opens of 200 bytes); the reader is woken once an eighth, or 512 KiB, is unread.
    fn default() -> Self {
        Self([8 << 20, 2 << 20, 8 << 20])
    }
}

impl RingBytes {
    /// As small as rings get: to try probes out.
    pub(super) const fn smallest() -> Self {
        Self([4096; 3])
    }

    pub(super) const fn set(&mut self, ring: Priority, bytes: u32) {
        self.0[match ring {
            Priority::Process => 0,
            Priority::Network => 1,
            Priority::File => 2,
        }] = bytes;
    }

    /// Whether they are sizes that a ring can have.
    pub(super) fn validate(&self) -> Result<(), SensorError> {
        let page = rustix::param::page_size() as u32;
        for (ring, bytes) in RINGS.iter().zip(self.0) {
            if !bytes.is_power_of_two() || bytes < page || bytes > RING_MAX_BYTES {
                let reason = format!("it must be a power of two from {page} to {RING_MAX_BYTES}");
                return Err(SensorError::Ring { ring, bytes, reason });
            }
        }
        Ok(())
    }

    /// Makes each ring by itself, to find the one that the kernel refuses.
    pub(super) fn check(&self) -> Result<(), SensorError> {
        for (ring, bytes) in RINGS.iter().zip(self.0) {
            let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
                sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
                ..Default::default()
            };
            MapHandle::create(MapType::RingBuf, Some(ring), 0, 0, bytes, &options).map_err(
                |error| SensorError::Ring {
                    ring,
                    bytes,
                    reason: format!("the kernel refuses it ({error}); choose a smaller one"),
                },
            )?;
        }
        Ok(())
    }
}
