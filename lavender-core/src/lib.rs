//! The vocabulary of [Lavender](https://github.com/lavender-edr/lavender), endpoint detection and
//! response for Linux.
//!
//! Everything that the other crates agree on is here: events and the processes behind them, rules'
//! findings and alerts, ids that can be derived again anywhere, the wire codec, and the traits at every
//! seam. It knows no kernel, no database, no broker; those are in its siblings, which know this crate
//! and not each other.
//!
//! ```
//! use std::sync::Arc;
//! use lavender_core::event::{Event, EventData};
//! use lavender_core::{AgentId, AgentIdentity, BootId, BootTime, Origin, Sequencer, TenantId, Timestamp, codec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = AgentIdentity {
//!     tenant: TenantId::new("acme")?,
//!     agent: AgentId::new("web-1")?,
//!     host: "web-1.acme.example".into(),
//! };
//! let ids = Sequencer::new(Origin::new(&source.tenant, &source.agent, BootId::from_u128(7)));
//! let event = Arc::new(Event {
//!     id: ids.next(),
//!     observed_at: Timestamp::from_millis(1_700_000_000_000),
//!     boot_time: BootTime::from_nanos(5),
//!     tid: 0,
//!     process: None,
//!     data: EventData::Heartbeat(Box::default()),
//! });
//! let wire = codec::encode_batch(&source, &[Arc::clone(&event)])?;
//! assert_eq!(codec::decode_batch(&wire)?, (source, vec![event]));
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! - An [`Event`](event::Event) is one observation; its [`Process`](event::Process) is shared by all its
//!   events and leads to its ancestors.
//! - A [`Source`] delivers [batches](event::EventBatch) of events *and of losses*: what was not seen is
//!   data too.
//! - A [`SensorPlan`] says which events rules and policies need, so that a sensor may leave out the others.
//! - A [`Detector`] turns an event into [`Detection`]s; an [`Alert`] is a detection that is stored and
//!   worked on.
//! - A [`Transport`] carries both to stores ([`EventStore`], [`AlertStore`]).
//! - A [`Pipeline`](pipeline::Pipeline) joins them, with bounded queues (feature `runtime`).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `json` | yes | [`codec`]: the wire format |
//! | `envelope` | | [`envelope`]: messages as headers and a body, for brokers and spools |
//! | `command` | | [`command`]: signed orders to agents, and how an agent checks them |
//! | `ruleset` | | [`ruleset`]: rule files as one thing, by their digest, and where published ones lie |
//! | `runtime` | | [`pipeline`]: the runner, on tokio |
//! | `conformance` | | [`conformance`]: suites that implementations of the traits must pass; not API-stable |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod alert;
#[cfg(feature = "json")]
pub mod codec;
#[cfg(feature = "command")]
pub mod command;
mod command_id;
mod command_tally;
#[cfg(any(feature = "envelope", feature = "runtime"))]
mod compressed;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "envelope")]
pub mod envelope;
mod error;
pub mod event;
mod fleet;
mod id;
#[cfg(feature = "runtime")]
pub mod pipeline;
mod prevention;
mod response;
mod risk;
mod rule;
pub mod ruleset;
mod sensor_plan;
mod source;
pub mod store;
mod text;
mod time;
pub mod transport;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use crate::alert::{AgentIdentity, Alert, AlertStatus};
pub use crate::command_id::CommandId;
pub use crate::command_tally::{CommandCounts, CommandTally, CommandsRefused};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::fleet::{AgentDetection, FleetDetector};
pub use crate::id::{
    AgentId, AlertId, BootDigest, BootId, EventId, ExecId, IdError, IncidentId, Origin, ProcessId,
    Sequencer, TenantId,
};
pub use crate::prevention::{
    CalledTest, FileUse, PathTest, PathText, PeerTest, PreventionAction, PreventionCounts,
    PreventionHealth, PreventionPlan, PreventionRule, PreventionTest, PreventionText, TextFault,
};
pub use crate::response::{
    FileIdentity, FileTarget, Outcome, Responder, ResponseAction, ResponseCause, ResponseOrder,
    ResponseOutcome, ResponseTarget,
};
pub use crate::risk::{RISK_RULE, Repeats, Risk, RiskContribution, RiskSequence};
pub use crate::rule::{
    Certainty, Correlated, Detection, Evidence, RuleMeta, Severity, UnknownName,
};
pub use crate::sensor_plan::{Case, Cases, EventKey, KeyText, Selection, SensorPlan};
pub use crate::source::{AlertStage, Detector, Enricher, Gaps, Sink, Source, Stateful};
pub use crate::store::{AlertStore, EventStore, StateStore};
pub use crate::text::{ByteString, Captured, Provenance};
pub use crate::time::{BootTime, Clock, ManualClock, SystemClock, Timestamp};
pub use crate::transport::{Publisher, Subscriber, Transport};
