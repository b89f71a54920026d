//! In place of the fleet, in a build without the feature `fleet`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::CommandSource;
use lavender_core::{AgentIdentity, Publisher, Sequencer};

use crate::config::TransportConfig;
use crate::exit::Failure;
#[cfg(feature = "live")]
use crate::kept_rules::Kept;
#[cfg(feature = "live")]
use crate::plan::RuleReload;

impl TransportConfig {
    /// Nothing can be wrong: there is `memory:` only.
    ///
    /// # Errors
    ///
    /// Never.
    pub const fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// There is none.
#[derive(Debug)]
pub struct Fleet(Infallible);

impl Fleet {
    /// None.
    ///
    /// # Errors
    ///
    /// Never.
    pub const fn open(
        _config: &TransportConfig,
        _identity: &AgentIdentity,
        _sequencer: &Sequencer,
    ) -> Result<Option<Self>, Failure> {
        Ok(None)
    }

    /// Never called.
    pub fn publisher(&mut self, _local: Arc<dyn Publisher>) -> Arc<dyn Publisher> {
        match self.0 {}
    }

    /// Never called.
    pub fn commands(&self, _identity: &AgentIdentity) -> Box<dyn CommandSource> {
        match self.0 {}
    }

    /// Never called.
    #[cfg(feature = "live")]
    pub fn follow_rules(
        &self,
        _identity: &AgentIdentity,
        _reload: RuleReload,
        _kept: Kept,
    ) -> std::future::Ready<()> {
        match self.0 {}
    }

    /// Never called.
    #[allow(clippy::unused_async, reason = "as the fleet's")]
    pub async fn close(self, _patience: Duration) {
        match self.0 {}
    }
}
