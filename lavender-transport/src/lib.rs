//! Transports of [Lavender](https://github.com/lavender-edr/lavender): how events and alerts get from
//! one stage to the next.
//!
//! ```
//! use std::time::Duration;
//! use lavender_core::transport::{Publisher, Subscriber, Subscription, Topic};
//! use lavender_transport::{MemoryOptions, MemoryTransport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lavender_core::Result<()> {
//! let transport = MemoryTransport::new(MemoryOptions::default());
//! let writer = Subscription { topic: Topic::Alerts, durable: "alert-writer".into() };
//! let mut alerts = transport.subscribe(writer).await?;
//! transport.publish(Vec::new()).await?;
//! transport.close();
//! assert!(alerts.next(64).await?.is_empty()); // closed, and nothing is left
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! - [`MemoryTransport`] joins the stages of one process. What it passes on is typed and shared; nothing
//!   is serialised. It is bounded: who publishes waits while it is full.
//! - [`nats`] joins processes over JetStream (feature `nats`), and keeps state there.
//! - [`MemoryCommands`] brings commands to the agent of the same process (feature `command`); JetStream to any agent.
//! - [`ingest`] checks what agents send before others read it (feature `ingest`; its worker also needs `nats`).
//! - [`spool`] puts what is published on disk until the broker has it (feature `spool`).
//! - [`Retry`], [`RateLimited`] and [`Batched`] wrap a publisher; [`testing`] lets a transport fail (feature
//!   `testing`).
//! - [`open`] makes a transport of a URL.
//! - [`JsonLines`] is no transport but an end: a sink that writes alerts and events as lines of JSON to a
//!   file, a pipe or whatever else can be written to.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `nats` | [`nats`]: JetStream, on async-nats with rustls |
//! | `command` | [`MemoryCommands`], and with `nats` the same over JetStream |
//! | `ingest` | [`ingest`]: checks, continuity, and with `nats` the worker |
//! | `spool` | [`spool`]: the disk spool |
//! | `testing` | [`testing`]: faults by a seed |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
#[cfg(feature = "testing")]
mod faulty;
#[cfg(feature = "ingest")]
pub mod ingest;
mod json_lines;
mod memory;
#[cfg(feature = "nats")]
pub mod nats;
mod open;
#[cfg(any(feature = "nats", feature = "spool"))]
mod publish;
mod rate_limit;
mod retry;
#[cfg(feature = "spool")]
pub mod spool;

pub use crate::batch::{BatchOptions, Batched};
pub use crate::json_lines::JsonLines;
#[cfg(feature = "command")]
pub use crate::memory::{MemoryCommandSource, MemoryCommands, MemoryReportSource};
pub use crate::memory::{MemoryOptions, MemoryTransport};
pub use crate::open::open;
#[cfg(any(feature = "nats", feature = "spool"))]
pub use crate::publish::EnvelopePublisher;
pub use crate::rate_limit::{AgentLimits, RateLimited};
pub use crate::retry::{Retry, RetryOptions};

/// To test with: what fails as a seed says.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::faulty::{Faults, Faulty};
}
