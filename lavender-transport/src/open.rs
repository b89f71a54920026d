//! Transports by URL.

use std::sync::Arc;

use lavender_core::transport::Transport;
use lavender_core::{Error, ErrorKind, Result};

use crate::memory::{MemoryOptions, MemoryTransport};

/// Opens a transport: `memory:`, or `nats://…` and `tls://…` (feature `nats`; see
/// [`JetStreamOptions::from_url`](crate::nats::JetStreamOptions::from_url)).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lavender_core::Result<()> {
/// let transport = lavender_transport::open("memory:").await?;
/// transport.publish(Vec::new()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) for a URL that is not known, [`Unsupported`](ErrorKind::Unsupported) for one whose
/// feature is off, and what keeps a transport from opening.
pub async fn open(url: &str) -> Result<Arc<dyn Transport>> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "memory" => Ok(Arc::new(MemoryTransport::new(MemoryOptions::default()))),
        #[cfg(feature = "nats")]
        "nats" | "tls" => {
            let options = crate::nats::JetStreamOptions::from_url(url)?;
            Ok(Arc::new(crate::nats::JetStream::open(options).await?))
        }
        #[cfg(not(feature = "nats"))]
        "nats" | "tls" => {
            let why = "this was built without the feature `nats`";
            Err(Error::new(ErrorKind::Unsupported, "transport", why))
        }
        // What stands behind it is not shown: it may hold what was meant as a secret.
        scheme => {
            let scheme: String = scheme.chars().take(40).collect();
            let why = format!("`{scheme}:` is none of memory:, nats://, tls://");
            Err(Error::new(ErrorKind::Invalid, "transport", why))
        }
    }
}
