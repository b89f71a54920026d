//! Ingest: what agents send is checked before anyone else reads it.
//!
//! A worker consumes `telemetry.raw` and publishes what passes as `telemetry.accepted`, in the bytes that it came
//! in. Any number of workers share the work; what one has to know of an agent stands in a
//! [`StateStore`](lavender_core::StateStore).
//!
#![cfg_attr(feature = "nats", doc = "```no_run")]
#![cfg_attr(not(feature = "nats"), doc = "```ignore")]
//! use std::sync::Arc;
//! use lavender_transport::ingest::{Ingest, IngestOptions};
//! use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
//!
//! # async fn run(shutdown: impl Future<Output = ()>) -> lavender_core::Result<()> {
//! let transport = JetStream::open(JetStreamOptions::from_url("nats://127.0.0.1:4222")?).await?;
//! let state = Arc::new(transport.state(BucketOptions::default()).await?);
//! let ingest = Ingest::open(&transport, state, IngestOptions::default()).await?;
//! let monitor = ingest.monitor();
//! ingest.run(shutdown).await?;
//! println!("{} events", monitor.counts().events);
//! # Ok(())
//! # }
//! ```
//!
//! - **A message passes** when subject, headers and body agree and all of it can be read, within [bounds of size and
//!   time](Checks). It is stamped with [when it was received](lavender_core::envelope::Envelope::received_at).
//! - **What cannot pass is a dead letter** with its reason, and holds up nothing. Not so what the broker or the state
//!   store cannot take just now: that is tried again for as long as it takes.
//! - **Nothing is missed silently.** Numbers of an agent's sequence that do not come within a wait, and of which the agent does not say that it gave them up, become an event of kind
//!   `lost` at stage `transport`. Its id is derived from the first that is missing, so that all workers, and all
//!   redeliveries, tell of one gap once. See [`Continuity`].
//! - **An agent that floods** has so many events pass; some of what is beyond waits,
//!   the rest is lost and told of as gaps. It is looked at by its headers alone meanwhile.
//! - **Input is acknowledged** when what became of it is: published, and noted in the state. A worker that is killed
//!   anywhere in between leaves its messages to the others, and the stream knows by its id what it has already.

mod check;
mod continuity;
#[cfg(feature = "nats")]
mod counts;
#[cfg(feature = "nats")]
mod dead_letters;
mod holes;
#[cfg(feature = "nats")]
mod ledger;
#[cfg(feature = "nats")]
mod options;
#[cfg(feature = "nats")]
mod output;
#[cfg(feature = "nats")]
mod pace;
#[cfg(feature = "nats")]
mod record;
#[cfg(feature = "nats")]
mod watch;
#[cfg(feature = "nats")]
mod worker;

pub use self::check::{Checked, Checks, Refusal};
pub use self::continuity::{Continuity, Gap, Seen};
#[cfg(feature = "nats")]
pub use self::counts::IngestCounts;
#[cfg(feature = "nats")]
pub use self::options::{IngestOptions, Rate};
#[cfg(feature = "nats")]
pub use self::worker::{Ingest, IngestMonitor};
