//! What the runtimes write of their containers, read on a thread of its own.
//!
//! Whoever meets a container asks once, and goes on; what comes of it is taken later. Where there is no file yet, or a part
//! of one, it is looked for again after growing pauses, a few times. What waits is bounded, as is what is read of a file.
//! Nobody is asked over a socket: a runtime that does not answer costs nothing, and one that was taken over gives no orders.

mod file;
mod format;
mod place;
mod worker;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use lavender_core::Clock;
use lavender_core::event::{Container, Undescribed};

pub use self::format::ContainerFile;
use self::place::Runtime;
use self::worker::{Request, Worker};
use super::counts::Counts;
use super::{ContainerDescription, DescribeAnswer};

/// The most containers that are asked for and not told of yet.
const ASKED_MAX: usize = 1_024;

/// Where the runtimes keep what they write of their containers.
///
/// Folders are paths on the host, and are looked up below [`host_root`](Self::host_root), symbolic links in them included.
/// The defaults are those of the runtimes as they are packaged; one that was told to keep its state elsewhere is found where
/// its folder is named here. Only what root alone may write should be: who writes these files says what a container is
/// called. So the folders of Podman's containers of single users are not among the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFiles {
    /// Where the host's root is: `/`, or the folder that it is mounted at where the agent runs in a container itself.
    pub host_root: PathBuf,
    /// Docker's containers: `ID/config.v2.json` in each folder. `/var/lib/docker/containers` unless set.
    pub docker_dirs: Vec<PathBuf>,
    /// Containerd's bundles: `NAMESPACE/ID/config.json` in each folder. Those of containerd and of K3s and RKE2 unless set:
    /// `io.containerd.runtime.v2.task` in `/run/containerd` and `/run/k3s/containerd`.
    pub containerd_dirs: Vec<PathBuf>,
    /// The containers of CRI-O and Podman: `ID/userdata/config.json`, `containers.json` and `volatile-containers.json` in
    /// each folder. `overlay-containers` in `/run/containers/storage` and `/var/lib/containers/storage` unless set.
    pub storage_dirs: Vec<PathBuf>,
    /// What is larger is not read, in bytes. 4 MiB unless set.
    pub file_bytes_max: u64,
    /// For how long to wait after each time that nothing was found before it is looked for again; after the last it is given
    /// up. 100 ms, 500 ms, 2, 10 and 30 s unless set.
    pub retries: Vec<Duration>,
}

impl Default for ContainerFiles {
    fn default() -> Self {
        Self {
            host_root: "/".into(),
            docker_dirs: place::DOCKER_DIRS.map(PathBuf::from).into(),
            containerd_dirs: place::CONTAINERD_DIRS.map(PathBuf::from).into(),
            storage_dirs: place::STORAGE_DIRS.map(PathBuf::from).into(),
            file_bytes_max: 4 << 20,
            retries: [100, 500, 2_000, 10_000, 30_000].map(Duration::from_millis).into(),
        }
    }
}

/// What came of a container.
pub(crate) type Described = (Arc<str>, Result<ContainerDescription, Undescribed>);

/// The side that asks. The thread ends when this is gone.
#[derive(Debug)]
pub(crate) struct Describer {
    requests: SyncSender<Request>,
    results: Receiver<Described>,
    /// What was asked for and not taken yet.
    asked: HashSet<Arc<str>>,
    /// What has come and not been taken yet.
    arrived: Vec<Described>,
    counts: Arc<Counts<Undescribed>>,
}

impl Describer {
    /// Starts the thread.
    pub(crate) fn start(files: ContainerFiles, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (requests, asked) = sync_channel(ASKED_MAX);
        let (told, results): (Sender<Described>, _) = channel();
        thread::Builder::new()
            .name("lavender-container".into())
            .spawn(move || Worker::new(&files, &*clock, &told).run(&asked))?;
        Ok(Self {
            requests,
            results,
            asked: HashSet::new(),
            arrived: Vec::new(),
            counts: Arc::default(),
        })
    }

    #[cfg(feature = "load")]
    pub(crate) fn counts(&self) -> Arc<Counts<Undescribed>> {
        Arc::clone(&self.counts)
    }

    /// Asks for a container, unless it was asked for already.
    pub(crate) fn ask(&mut self, container: &Container) -> DescribeAnswer {
        let runtimes = Runtime::of(container);
        if runtimes.is_empty() {
            return DescribeAnswer::Off;
        }
        if self.asked.contains(&container.id) {
            return DescribeAnswer::Coming;
        }
        let request = || Request { id: Arc::clone(&container.id), runtimes };
        if self.asked.len() >= ASKED_MAX || self.requests.try_send(request()).is_err() {
            self.counts.add(Undescribed::QueueFull);
            return DescribeAnswer::QueueFull;
        }
        self.asked.insert(Arc::clone(&container.id));
        DescribeAnswer::Coming
    }

    /// Whether something has come.
    #[cfg(feature = "load")]
    pub(crate) fn has_arrived(&mut self) -> bool {
        self.arrived.extend(self.results.try_iter());
        !self.arrived.is_empty()
    }

    /// Takes what has come.
    pub(crate) fn take(&mut self) -> Vec<Described> {
        self.arrived.extend(self.results.try_iter());
        let arrived = std::mem::take(&mut self.arrived);
        for (id, description) in &arrived {
            self.asked.remove(id);
            if let Err(why) = description {
                self.counts.add(*why);
            }
        }
        arrived
    }
}
