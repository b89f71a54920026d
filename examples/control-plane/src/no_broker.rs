//! In place of the broker, in a build without the feature `nats`.

use std::convert::Infallible;

use lavender_core::command::CommandSink;
use lavender_core::ruleset::Ruleset;
use lavender_core::store::Publication;
use lavender_core::{AgentId, Bytes, Error, ErrorKind, Result, TenantId, async_trait};

use crate::plane::ControlPlane;
use crate::rulesets::RulesetSink;

/// There is none.
#[derive(Clone, Debug)]
pub struct Broker(Infallible);

impl Broker {
    /// None.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new(_url: &str) -> Result<Self> {
        let why = "this control plane was built without the feature `nats`";
        Err(Error::new(ErrorKind::Unsupported, "broker", why))
    }

    /// Never called.
    pub const fn is_connected(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    #[allow(clippy::unused_async, reason = "as the broker's")]
    pub async fn take_reports(&self, _plane: ControlPlane) {
        match self.0 {}
    }
}

#[async_trait]
impl CommandSink for Broker {
    async fn publish(&self, _tenant: &TenantId, _agent: &AgentId, _signed: Bytes) -> Result<()> {
        match self.0 {}
    }
}

#[async_trait]
impl RulesetSink for Broker {
    async fn publish(&self, _: &TenantId, _: &Publication, _: &Ruleset) -> Result<()> {
        match self.0 {}
    }
}
