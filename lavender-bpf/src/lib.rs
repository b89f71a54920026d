//! The sensor of [Lavender](https://github.com/lavender-edr/lavender), endpoint detection and response for
//! Linux: what processes run, open and connect to, straight from the kernel, with nothing lost in silence.
//!
//! Probes in the kernel write records into rings; the sensor (`SensorBuilder`) reads them, keeps a table of all
//! processes, and delivers events that carry their process and its ancestors whole. A
//! [capture](CaptureWriter) holds everything that the sensor learned, so that a [`Replay`] gives equal events
//! with equal ids on any OS.
//!
//! ```no_run
//! # #[cfg(all(feature = "load", target_os = "linux"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use lavender_bpf::{SensorBuilder, host};
//! use lavender_core::{AgentId, AgentIdentity, Origin, Sequencer, TenantId};
//!
//! let identity = AgentIdentity {
//!     tenant: TenantId::default(),
//!     agent: AgentId::new("web-1")?,
//!     host: "web-1".into(),
//! };
//! let boot = host::boot_id()?;
//! let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
//! let mut sensor = SensorBuilder::new(identity, boot, ids).open()?;
//! for event in sensor.poll(Duration::from_secs(1))?.events {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "load", target_os = "linux")))]
//! # fn main() {}
//! ```
//!
//! # Concepts
//!
//! - A **probe** is a BPF program that is loaded and attached by itself: a kernel without its hook loses that
//!   probe and no other. [`support`] finds out by really loading and attaching.
//! - There are three **rings**: process life, network, files. A flood of opens never evicts an exec.
//! - A **record** is what a probe writes ([`record`], [`decode`]); the [`Assembler`] makes events of them.
//! - What did not fit into a ring is counted in the kernel and comes as
//!   [`Loss`](lavender_core::event::Loss): delivered and lost add up to what happened.
//! - **Evidence** is a capture of what came before an alert: the most recent records stay in memory (`EvidenceRing`), and
//!   are written out when an alert is raised (`EvidenceStage`).
//! - A **canary** ([`Canary`]) is a harmless act that the sensor must see, whatever its filters and its plan: who watches for
//!   it knows whether the sensor sees.
//! - [`Enforcer`] does what was decided to the very process or file that an alert is about, or says why not.
//! - [`HostExecutor`] carries out signed commands, by the same enforcement.
//! - `Prevention` has the kernel kill or refuse what rules mark so, before it takes effect.
//! - [`Isolation`] cuts a control group, or the host, off the network but for loopback and allowed peers.
//!
//! # What to expect
//!
//! - A record is read within 50 ms (`SensorBuilder::with_drain_interval`), within 10 where few come; at once after a pause,
//!   or when a ring fills.
//! - System calls are seen at their exit, with their results. Files and sockets are described by the kernel's
//!   own objects where a call succeeded, and by what the caller wrote where it failed. 32-bit calls are read as
//!   such. Opens, removals and connects that are submitted through io_uring are seen when the kernel has taken them over.
//! - Arguments are whole up to 2 MiB an exec, paths up to 4,095 bytes; what is cut, missing or read later from
//!   `/proc` says so ([`Provenance`](lavender_core::Provenance)).
//! - Filters by control group and user are applied in the kernel. Of processes outside, only who they are and
//!   what they run is known, for they may be ancestors.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `load` | yes | loading probes: Linux, with clang, libelf and zlib at build time |
//!
//! Without `load` everything but loading builds on any OS. Probes are for x86-64; for arm64 they compile, and have
//! not run yet. Kernel 5.15 or newer, with BTF.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod assemble;
#[cfg(target_os = "linux")]
mod canary;
pub mod capture;
#[cfg(target_os = "linux")]
mod command;
#[cfg(target_os = "linux")]
mod content_hash;
pub mod decode;
pub mod dns;
#[cfg(target_os = "linux")]
mod durable;
#[cfg(target_os = "linux")]
mod enforce;
#[cfg(all(feature = "load", target_os = "linux"))]
mod evidence;
pub mod host;
#[cfg(target_os = "linux")]
mod lent;
mod limit;
mod path;
mod process_table;
mod protected;
pub mod record;
mod record_kind;
mod replay;
#[cfg(all(feature = "load", target_os = "linux"))]
mod sensor;
pub mod support;
mod texts;

pub use crate::assemble::Assembler;
#[cfg(target_os = "linux")]
pub use crate::canary::{Canary, CanaryAct, CanaryError};
pub use crate::capture::{CaptureError, CaptureHeader, CaptureWriter};
#[cfg(target_os = "linux")]
pub use crate::command::{CommandJournal, HostExecutor, JournalError, ReloadRules};
#[cfg(target_os = "linux")]
pub use crate::enforce::{
    BreakerOptions, Enforcer, EnforcerOptions, Isolation, IsolationConfig, IsolationCounts,
    IsolationError, IsolationState, Isolator, PEERS_MAX, Quarantine, QuarantineError,
    QuarantineManifest, SharedEnforcer,
};
#[cfg(all(feature = "load", target_os = "linux"))]
pub use crate::enforce::{Prevention, PreventionError, PreventionOptions};
#[cfg(all(feature = "load", target_os = "linux"))]
pub use crate::evidence::{EvidenceOptions, EvidenceRing, EvidenceStage};
#[cfg(target_os = "linux")]
pub use crate::host::{ContainerFiles, HashOptions};
pub use crate::protected::PROTECTED_PATHS;
pub use crate::replay::Replay;
#[cfg(all(feature = "load", target_os = "linux"))]
pub use crate::sensor::{
    CaptureState, Census, CostMeasurement, Limits, OutcomeHandle, PlanHandle, ProcessAudit,
    ProgramCost, Rates, Sensor, SensorBuilder, SensorError, SensorSource, SensorStats,
};
