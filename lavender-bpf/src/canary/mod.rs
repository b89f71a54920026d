//! A canary: a harmless act in a process of its own, which shows whether the sensor sees.

mod act;
mod error;
mod perform;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lavender_core::event::EventKind;
use lavender_core::{Cases, EventKey, SensorPlan};

pub use self::act::CanaryAct;
pub use self::error::CanaryError;
use self::perform::PORT;

/// A harmless act that a sensor must see: a program is run, which opens its own file for reading and connects a UDP socket to
/// a port of the loopback, by which nothing is sent. So there is one event of each ring.
///
/// It is done where the sensor's filters let it be seen ([`with_filters`](Self::with_filters)), and the sensor's plan must
/// have [`plan`](Self::plan) in it. The program that does it is that of the embedder, called with arguments that it hands to
/// [`perform`](Self::perform).
///
/// ```
/// use lavender_bpf::Canary;
/// use lavender_core::event::EventKind;
///
/// let canary = Canary::new("/usr/bin/lavender-agent", ["canary"]);
/// assert!(canary.plan().wants(EventKind::NetConnect));
/// ```
#[derive(Clone, Debug)]
pub struct Canary {
    program: PathBuf,
    arguments: Vec<OsString>,
    place: Place,
}

/// Where the act is seen.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Below this control group.
    cgroup: Option<PathBuf>,
    /// By this user.
    uid: Option<u32>,
}

impl Canary {
    /// The kinds of events of an act: one for process life, one for files, one for the network.
    pub const KINDS: [EventKind; 3] = [EventKind::Exec, EventKind::FileOpen, EventKind::NetConnect];

    /// An act of this program, which hands all its arguments behind these to [`perform`](Self::perform).
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, place: Place::default() }
    }

    /// Does it where a sensor with these filters sees it: below the first control group that is included, or at the root
    /// where some are only excluded, and by the first user that is included, unless this process is one of them. While it
    /// lasts there is a control group of its own then.
    #[must_use]
    pub fn with_filters(
        mut self,
        included_cgroups: &[PathBuf],
        excluded_cgroups: &[PathBuf],
        included_uids: &[u32],
    ) -> Self {
        self.place.cgroup = match (included_cgroups.first(), excluded_cgroups.is_empty()) {
            (Some(included), _) => Some(included.clone()),
            (None, false) => crate::host::cgroup_mount().map(PathBuf::from),
            (None, true) => None,
        };
        let own = rustix::process::getuid().as_raw();
        let other = (!included_uids.contains(&own)).then(|| included_uids.first().copied());
        self.place.uid = other.flatten();
        self
    }

    /// What a plan must let through for an act to be seen.
    pub fn plan(&self) -> SensorPlan {
        let mut plan = SensorPlan::default();
        let read = Cases::of(|case| case.succeeded && case.reads && !case.changes);
        let path = self.program.as_os_str().as_bytes();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        match EventKey::file_name(name).or_else(|| EventKey::folder(path)) {
            Some(key) => plan.select(EventKind::FileOpen, read, [key]),
            None => plan.select_cases(EventKind::FileOpen, read),
        }
        plan.select(EventKind::NetConnect, Cases::ALL, [EventKey::DestinationPort(PORT)]);
        plan
    }

    /// The program that does it.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Begins an act, by a token that nobody can guess: it is the last argument of the process that does it.
    ///
    /// # Errors
    ///
    /// When the program cannot be started, or its control group cannot be made.
    pub fn begin(&self, token: &str) -> Result<CanaryAct, CanaryError> {
        CanaryAct::begin(self, token)
    }

    /// Does the act: for the program that the canary starts, with the arguments that came behind its own. Where it has to be
    /// done elsewhere it becomes the same program again, there, and does not return.
    ///
    /// # Errors
    ///
    /// When the arguments are none of a canary, or something cannot be done.
    pub fn perform(arguments: &[OsString]) -> Result<(), CanaryError> {
        perform::perform(arguments)
    }
}
