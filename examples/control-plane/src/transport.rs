//! The broker of a fleet, as far as a control plane needs it.

use lavender_core::ruleset::{PublishedRulesets, Ruleset};
use lavender_core::store::Publication;
use lavender_core::{Result, TenantId, async_trait};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
use std::sync::Arc;
use tokio::sync::OnceCell;

use crate::rulesets::RulesetSink;

/// Brings published rulesets to a bucket of JetStream, from which detection workers take them. It connects when there is
/// something to bring: what is published while the broker is away waits.
///
/// ```no_run
/// use lavender_control_plane::BrokerRulesets;
///
/// # fn main() -> lavender_core::Result<()> {
/// let sink = BrokerRulesets::new("nats://127.0.0.1:4222")?;
/// # let _ = sink;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BrokerRulesets {
    options: JetStreamOptions,
    bucket: OnceCell<PublishedRulesets>,
}

impl BrokerRulesets {
    /// A broker by its URL: see `JetStreamOptions::from_url`.
    ///
    /// # Errors
    ///
    /// When it is no URL of a broker, or names a file that cannot be read.
    pub fn new(url: &str) -> Result<Self> {
        let mut options = JetStreamOptions::from_url(url)?;
        // Whoever runs the workers says what their streams are like.
        options.durables.clear();
        options.setup = lavender_transport::nats::Setup::Skip;
        Ok(Self { options, bucket: OnceCell::new() })
    }

    async fn open(&self) -> Result<PublishedRulesets> {
        let transport = JetStream::open(self.options.clone()).await?;
        let mut bucket = BucketOptions::rules();
        bucket.replicas = self.options.streams.replicas;
        Ok(PublishedRulesets::new(Arc::new(transport.state(bucket).await?)))
    }
}

#[async_trait]
impl RulesetSink for BrokerRulesets {
    async fn publish(
        &self,
        tenant: &TenantId,
        publication: &Publication,
        rules: &Ruleset,
    ) -> Result<()> {
        let bucket = self.bucket.get_or_try_init(|| self.open()).await?;
        bucket.publish(tenant, publication.revision, rules).await.map(|_| ())
    }
}
