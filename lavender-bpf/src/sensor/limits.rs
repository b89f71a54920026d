//! How much of a kind of acts one process, and one control group, may have told in full.

use std::thread;
use std::time::Duration;

use zerocopy::{Immutable, IntoBytes};

/// How many acts a second are told one by one. What is over is counted, and told as one
/// [`Lost`](lavender_core::event::EventData::Lost) event a second for each process and kind.
///
/// Forks, execs, exits, changes of credentials, and what is done to the agent have no limit. 0 stands for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Opens, removals, renames, links, changes of mode, requests of `io_uring`.
    pub files_per_s: u32,
    /// Connects, binds, listens, accepts, messages to new peers, messages to and from name servers.
    pub network_per_s: u32,
    /// All else: failed execs, signals, `ptrace`, writes to other processes, files in memory, modules.
    pub acts_per_s: u32,
}

impl Rates {
    const fn intervals(self) -> [u64; 3] {
        [
            interval_ns(self.files_per_s),
            interval_ns(self.network_per_s),
            interval_ns(self.acts_per_s),
        ]
    }
}

const fn interval_ns(per_s: u32) -> u64 {
    match per_s {
        0 => 0,
        per_s => 1_000_000_000 / per_s as u64,
    }
}

/// The limits of the sensor: see [`Rates`].
///
/// ```
/// use std::time::Duration;
///
/// use lavender_bpf::{Limits, Rates};
///
/// let quiet = Rates { files_per_s: 1_000, ..Limits::default().process };
/// let limits = Limits { process: quiet, burst: Duration::from_secs(5), ..Limits::default() };
/// assert_eq!(limits.process.files_per_s, 1_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of each process.
    pub process: Rates,
    /// Of each control group (v2), for the processes that are in it itself, together.
    pub cgroup: Rates,
    /// How long the rate may be kept up at once by who did nothing before: the size of the bucket. Zero turns all limits
    /// off.
    pub burst: Duration,
}

impl Limits {
    /// No limits.
    pub const OFF: Self = Self {
        process: Rates { files_per_s: 0, network_per_s: 0, acts_per_s: 0 },
        cgroup: Rates { files_per_s: 0, network_per_s: 0, acts_per_s: 0 },
        burst: Duration::ZERO,
    };

    /// `struct throttle_config`.
    pub(super) fn config(&self) -> ThrottleConfig {
        ThrottleConfig {
            burst_ns: u64::try_from(self.burst.as_nanos()).unwrap_or(u64::MAX / 2),
            process: self.process.intervals(),
            cgroup: self.cgroup.intervals(),
        }
    }
}

impl Default for Limits {
    /// 20,000 acts on files, 10,000 on the network and 2,000 others a second for a process, those times the number of
    /// processors for a control group, and ten seconds of it at once. Measured on two processors: unpacking packages made
    /// 5,200 acts on files a second in one process, copying a tree 4,700, searching one 4,100, compiling 200 in one and
    /// 1,200 in all.
    fn default() -> Self {
        let process = Rates { files_per_s: 20_000, network_per_s: 10_000, acts_per_s: 2_000 };
        let processors = thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let times = |rate: u32| rate.saturating_mul(processors);
        let cgroup = Rates {
            files_per_s: times(process.files_per_s),
            network_per_s: times(process.network_per_s),
            acts_per_s: times(process.acts_per_s),
        };
        Self { process, cgroup, burst: Duration::from_secs(10) }
    }
}

/// `struct throttle_config`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ThrottleConfig {
    burst_ns: u64,
    process: [u64; 3],
    cgroup: [u64; 3],
}

impl ThrottleConfig {
    /// Whether there is any limit.
    pub(super) const fn is_on(&self) -> bool {
        self.burst_ns != 0
    }
}
