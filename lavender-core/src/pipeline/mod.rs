//! The runner: source → enrich → detect → respond → publish, and subscribe → store.
//!
//! Two halves meet at a [`Transport`](crate::Transport). [`Pipeline`] is the agent's: it reads a source,
//! looks at every event, and publishes telemetry and alerts. A [`Writer`] is the
//! backend's: it consumes, stores, and acknowledges what is stored. In the embedded default both halves run in
//! one process over a transport in memory.
//!
//! Every queue is bounded. See [`Overflow`] for what happens when one is full.

mod agent;
mod canary;
mod checkpoint;
#[cfg(feature = "command")]
mod commands;
mod detection;
mod egress;
mod judges;
mod shutdown;
mod stage;
mod told;
mod writer;

pub use self::agent::Pipeline;
pub use self::canary::{CANARY_RULE, CanaryOptions, CanaryWatch};
pub use self::checkpoint::Checkpoint;
#[cfg(feature = "command")]
pub use self::commands::{SharedExecutor, run_commands};
pub use self::detection::{DetectionOptions, DetectionProgress, DetectionReport, DetectionWorker};
pub use self::shutdown::signal;
pub use self::writer::{Writer, WriterOptions, WriterReport};
use crate::source::Gaps;

/// What happens when telemetry comes faster than it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Shed it, lowest priority first, and count what was shed: detection goes on at full speed. Files
    /// may fill half of the queue, network three quarters. For live sources.
    Shed,
    /// Wait, and let the source wait. For sources that can: replays and tests.
    Wait,
}

/// What a pipeline did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineReport {
    /// Events that the source delivered.
    pub events: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Alerts that only repeated others, and are counted with them.
    pub suppressed: u64,
    /// Events lost before or in the pipeline, at all stages together.
    pub lost: u64,
    /// What detectors and stages could not take into account.
    pub gaps: Gaps,
}
