//! Isolation: a control group, or the whole host, is cut off the network but for loopback and what is allowed.

mod error;
mod isolator;
#[cfg(feature = "load")]
mod kernel;
#[cfg(not(feature = "load"))]
#[path = "no_kernel.rs"]
mod kernel;
mod note;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::error::IsolationError;
pub use self::isolator::{IsolationState, Isolator};

/// The most addresses that can stay reachable.
pub const PEERS_MAX: usize = 256;

/// What is isolated, and what it can reach all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IsolationConfig {
    /// The control group (v2), with all that is below it; `None` for the whole host: the root of the hierarchy.
    pub cgroup: Option<PathBuf>,
    /// The addresses and ports that stay reachable, over TCP and UDP; at most [`PEERS_MAX`].
    pub allow: Vec<SocketAddr>,
}

impl IsolationConfig {
    /// The whole host, with nothing but loopback.
    pub fn host() -> Self {
        Self::default()
    }

    /// A control group, with nothing but loopback.
    pub fn cgroup(path: impl Into<PathBuf>) -> Self {
        Self { cgroup: Some(path.into()), allow: Vec::new() }
    }

    /// With these addresses and ports reachable as well.
    #[must_use]
    pub fn with_allowed(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        for peer in peers {
            if !self.allow.contains(&peer) {
                self.allow.push(peer);
            }
        }
        self
    }
}

/// How many packets met isolation since it was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationCounts {
    /// Packets for sockets that reached them.
    pub in_passed: u64,
    /// Packets for sockets that were dropped.
    pub in_dropped: u64,
    /// Packets of sockets that were sent.
    pub out_passed: u64,
    /// Packets of sockets that were dropped; whoever sends one by itself is told `EPERM`.
    pub out_dropped: u64,
}

/// A control group that is cut off the network. Dropping it lifts that, unless it is [kept](Self::keep).
///
/// Two programs in the kernel look at every packet of every socket that was made in the control group or below
/// it, connections from before included. These pass, and everything else is dropped and counted:
///
/// - whatever goes over the loopback interface;
/// - TCP and UDP to and from the allowed addresses, by their port;
/// - IPv6: finding neighbours and routers, and joining groups on the link; without them no peer is found;
/// - where the whole host is isolated: DHCP and DHCPv6, as far as what clients send stays on the link. A lease is
///   renewed by broadcast once asking its server has failed; without one, the host would lose its address.
///
/// Fragments are dropped, and so is what cannot be parsed. Sockets send and receive whole packets, so no peer is
/// lost by it. The kernel itself takes in what routers say about the size of packets. Names are not looked up
/// while isolated, unless the resolver is an allowed peer or on loopback.
///
/// Not seen are packets without a socket of this kind: those that the host forwards, and frames of packet sockets
/// (`AF_PACKET`), which take `CAP_NET_RAW`. Kernels without `cgroup_skb` programs (`CONFIG_CGROUP_BPF`) or hosts
/// without v2 control groups cannot isolate; there is no other way built in, such as nftables. It takes root, or
/// `CAP_BPF`, `CAP_NET_ADMIN` and, to find what is attached, `CAP_SYS_ADMIN`.
///
/// ```no_run
/// use lavender_bpf::{Isolation, IsolationConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = IsolationConfig::cgroup("/sys/fs/cgroup/suspects").with_allowed(["10.0.0.5:4222".parse()?]);
/// let isolation = Isolation::apply(&config)?;
/// println!("{} packets were held back", isolation.counts()?.out_dropped);
/// isolation.release()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Isolation {
    path: PathBuf,
    cgroup: File,
    is_kept: bool,
}

impl Isolation {
    /// Isolates. What was isolated there before stays so until this holds, and then goes by this configuration.
    ///
    /// Takes some milliseconds: the programs are loaded anew.
    ///
    /// # Errors
    ///
    /// [`IsolationError::Unavailable`] where kernel, privileges or build do not allow it; when the control group
    /// is none, or does not take the programs. Nothing has changed then.
    pub fn apply(config: &IsolationConfig) -> Result<Self, IsolationError> {
        if config.allow.len() > PEERS_MAX {
            return Err(IsolationError::TooManyPeers { count: config.allow.len() });
        }
        let mut isolation = Self::open(config.cgroup.as_deref())?;
        let before = isolation.ask(kernel::attached)?;
        let programs = kernel::load(&config.allow, config.cgroup.is_none())
            .map_err(|reason| IsolationError::Unavailable { reason })?;
        isolation.change("attach isolation", |cgroup| kernel::attach(cgroup, &programs))?;
        isolation.change("detach what isolated it before", |cgroup| {
            kernel::detach(cgroup, &before).map(|_| ())
        })?;
        isolation.is_kept = false;
        Ok(isolation)
    }

    /// The isolation that a control group (`None`: the whole host) is under, whoever applied it.
    ///
    /// # Errors
    ///
    /// When the control group cannot be asked.
    pub fn find(cgroup: Option<&Path>) -> Result<Option<Self>, IsolationError> {
        let isolation = Self::open(cgroup)?;
        let attached = isolation.ask(kernel::attached)?;
        Ok(kernel::is_complete(&attached).then_some(isolation))
    }

    /// How many packets met it since it was applied.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell, or somebody else has lifted it.
    pub fn counts(&self) -> Result<IsolationCounts, IsolationError> {
        self.ask(|cgroup| kernel::counts(&kernel::attached(cgroup)?))
    }

    /// Leaves it in force, also when this process has ended: until it is [found](Self::find) and released, the
    /// control group is removed, or the host boots.
    pub fn keep(mut self) {
        self.is_kept = true;
    }

    /// Lifts it. Connections from before go on.
    ///
    /// # Errors
    ///
    /// When the kernel does not detach the programs.
    pub fn release(mut self) -> Result<(), IsolationError> {
        self.is_kept = true;
        self.lift().map(|_| ())
    }

    /// Detaches everything of ours that there is, and whether that was anything.
    fn lift(&self) -> Result<bool, IsolationError> {
        let attached = self.ask(kernel::attached)?;
        self.change("lift isolation", |cgroup| kernel::detach(cgroup, &attached))
    }

    /// Whether something can be isolated here: loads the programs, and asks the root control group what is attached
    /// to it. Attaches nothing.
    ///
    /// # Errors
    ///
    /// [`IsolationError::Unavailable`] with what is missing.
    pub fn check() -> Result<(), IsolationError> {
        let unavailable = |reason: String| IsolationError::Unavailable { reason };
        let programs = kernel::load(&[], true).map_err(unavailable)?;
        kernel::can_find(&programs)
            .map_err(|error| unavailable(format!("programs cannot be found again: {error}")))?;
        let root = Self::open(None)?;
        root.ask(kernel::attached).map(|_| ()).map_err(|error| unavailable(error.to_string()))
    }

    /// A control group that is left as it is.
    fn open(cgroup: Option<&Path>) -> Result<Self, IsolationError> {
        let path = match cgroup {
            Some(path) => path.to_owned(),
            None => crate::host::cgroup_mount().map(PathBuf::from).ok_or_else(|| {
                IsolationError::Unavailable { reason: "no v2 control groups are mounted".into() }
            })?,
        };
        match File::open(&path) {
            Ok(cgroup) => Ok(Self { path, cgroup, is_kept: true }),
            Err(source) => Err(IsolationError::Cgroup { path, source }),
        }
    }

    fn ask<T>(&self, ask: impl FnOnce(&File) -> io::Result<T>) -> Result<T, IsolationError> {
        ask(&self.cgroup)
            .map_err(|source| IsolationError::Cgroup { path: self.path.clone(), source })
    }

    fn change<T>(
        &self,
        what: &'static str,
        change: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, IsolationError> {
        change(&self.cgroup).map_err(|source| IsolationError::Attach {
            what,
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for Isolation {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = self.lift() {
            tracing::error!(%error, "isolation could not be lifted");
        }
    }
}
