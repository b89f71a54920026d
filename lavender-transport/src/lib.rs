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
//! - [`JsonLines`] is no transport but an end: a sink that writes alerts and events as lines of JSON to a
//!   file, a pipe or whatever else can be written to.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod json_lines;
mod memory;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(any(feature = "nats", feature = "spool"))]
mod publish;

pub use crate::json_lines::JsonLines;
pub use crate::memory::{MemoryOptions, MemoryTransport};
#[cfg(any(feature = "nats", feature = "spool"))]
pub use crate::publish::EnvelopePublisher;
