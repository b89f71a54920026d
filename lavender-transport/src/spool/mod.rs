//! The disk spool: what is published is on disk until the broker has it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use lavender_core::{AgentIdentity, Sequencer, SystemClock};
//! use lavender_transport::spool::{Reporter, SpoolOptions, Spooled};
//! use lavender_transport::nats::JetStreamOptions;
//!
//! # fn run(source: AgentIdentity, sequencer: Sequencer) -> lavender_core::Result<()> {
//! let reporter = Reporter { source, sequencer, clock: Arc::new(SystemClock) };
//! let broker = JetStreamOptions::from_url("nats://broker.example:4222?setup=skip")?;
//! let options = SpoolOptions::default();
//! // The broker may be down: what is published waits on disk for it.
//! let publisher = Spooled::open("/var/lib/lavender/spool", options, reporter, broker)?;
//! # Ok(())
//! # }
//! ```
//!
//! - Frames are appended to segments, with a length and a checksum; one fsync for all that is published at once.
//!   A tail that a crash has torn is cut when the spool opens.
//! - A frame is the exact bytes that are published, so that publishing it again is publishing it once.
//! - They are delivered in order, and a segment is removed when the broker has acknowledged all of it.
//! - It is bounded. When it is full, the oldest telemetry of the lowest priority is given up: files, then network,
//!   then processes. The counts take its place, as [`lost`](lavender_core::event::Loss) events. Alerts, losses and
//!   responses are never given up; when nothing else is left, publishing waits.

mod deliver;
mod frame;
mod queue;
mod segment;
mod shed;
mod spooled;

use std::sync::Arc;

use lavender_core::{AgentIdentity, Clock, Result, Sequencer, async_trait};

pub use self::spooled::Spooled;
use crate::publish::EnvelopePublisher;

/// Bounds of a spool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpoolOptions {
    /// The most bytes on disk. 512 MiB unless said.
    pub bytes_max: u64,
    /// The size of a segment, of which a quarter of the spool is the most. 8 MiB unless said.
    pub segment_bytes: u64,
    /// The largest body of one frame; what the broker takes less its headers. 900 KiB unless said.
    pub body_bytes_max: usize,
    /// The most frames that are out for delivery. 64 unless said.
    pub in_flight: usize,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            bytes_max: 512 << 20,
            segment_bytes: 8 << 20,
            body_bytes_max: 900 << 10,
            in_flight: 64,
        }
    }
}

/// Who says what was lost: the agent whose spool it is. Its sequence is shared with the pipeline.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// Whose spool it is.
    pub source: AgentIdentity,
    /// Where the ids of reports come from.
    pub sequencer: Sequencer,
    /// When they are made.
    pub clock: Arc<dyn Clock>,
}

/// How a spool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// Frames that wait for the broker.
    pub waiting: u64,
    /// Frames that the broker has acknowledged since it was opened.
    pub delivered: u64,
    /// Events that were given up since it was opened.
    pub shed: u64,
    /// Frames that were found damaged when it was opened.
    pub damaged: u64,
    /// What keeps it from delivering, or from writing.
    pub fault: Option<String>,
}

/// Connects to what the spool delivers to.
#[async_trait]
pub trait Connect: std::fmt::Debug + Send + Sync + 'static {
    /// Connects. Tried again, later each time, until it succeeds.
    ///
    /// # Errors
    ///
    /// What keeps it from connecting.
    async fn connect(&self) -> Result<Arc<dyn EnvelopePublisher>>;
}

/// One that is connected already.
#[async_trait]
impl Connect for Arc<dyn EnvelopePublisher> {
    async fn connect(&self) -> Result<Arc<dyn EnvelopePublisher>> {
        Ok(Arc::clone(self))
    }
}

#[cfg(feature = "nats")]
#[async_trait]
impl Connect for crate::nats::JetStreamOptions {
    async fn connect(&self) -> Result<Arc<dyn EnvelopePublisher>> {
        Ok(Arc::new(crate::nats::JetStream::open(self.clone()).await?))
    }
}
