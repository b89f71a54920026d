//! Publishing what is already in envelopes: what lies between an encoder, a spool and a broker.

use std::fmt;

use lavender_core::envelope::Envelope;
use lavender_core::{Result, async_trait};

/// Publishes envelopes, each known by its [id](Envelope::id): publishing one again is publishing it once.
#[async_trait]
pub trait EnvelopePublisher: fmt::Debug + Send + Sync + 'static {
    /// Hands envelopes over, in order, and says of each whether the other side has it.
    async fn publish_envelopes(&self, envelopes: &[Envelope]) -> Vec<Result<()>>;

    /// The largest body that the other side takes.
    fn body_bytes_max(&self) -> usize;
}
