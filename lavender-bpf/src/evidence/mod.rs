//! Evidence: what the kernel reported before an alert, as a capture.
//!
//! The most recent records stay in memory as they came ([`EvidenceRing`]). When an alert is raised they are written out
//! ([`EvidenceStage`]) with all that was known when the first of them came, so that a [`Replay`](crate::Replay) gives the
//! same events with the same ids.

mod folder;
mod met;
mod ring;
mod stage;

pub(crate) use self::met::{Met, Mets};
pub use self::ring::EvidenceRing;
pub use self::stage::{EvidenceOptions, EvidenceStage};
