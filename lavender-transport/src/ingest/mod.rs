//! Ingest: what agents send is checked, stamped and passed on. What is wrong is put aside with the reason, and
//! what never arrived is counted.
//!
//! ```no_run
//! use std::sync::Arc;
//! use lavender_transport::ingest::{Ingest, IngestOptions};
//! use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
//!
//! # async fn run() -> lavender_core::Result<()> {
//! let transport = JetStream::open(JetStreamOptions::from_url("nats://127.0.0.1:4222")?).await?;
//! let state = Arc::new(transport.state(BucketOptions::default()).await?);
//! let ingest = Ingest::new(transport, state, IngestOptions::default());
//! ingest.run(std::future::pending()).await
//! # }
//! ```
//!
//! - It reads `telemetry.raw` by the durable `ingest` and publishes `telemetry.accepted`, the body as it came. Any
//!   number may share the durable: what they know of an agent is in the state store.
//! - A message is acknowledged when what it became is acknowledged, and its numbers are in the state. While broker or
//!   state store are away, it is tried again here: attempts burn nothing.
//! - Poison is a dead letter: headers or a subject that are none, another version, a body that is too large, cannot be
//!   read, or says otherwise than headers and subject, a clock that is [too far off](IngestOptions::ahead_max).
//! - An agent that sends [more than it may](IngestOptions::events_per_second) waits; what would fill the durable for
//!   all others is a dead letter too.
//! - A number that is missing for [a while](IngestOptions::gap_wait) becomes an event of kind `lost`, stage
//!   `transport`, less what the agent itself says that its queue and spool have shed. Its id is that of the first
//!   missing number, so that it is one event however often it is published. What is missing before the first number
//!   that is ever seen of a boot is not known.

mod check;
mod continuity;
mod flood;
mod gaps;
mod options;
mod stage;

pub use self::options::{IngestCounts, IngestOptions};
pub use self::stage::Ingest;
