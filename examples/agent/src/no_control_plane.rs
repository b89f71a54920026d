//! In place of the control plane, in a build without the feature `control-plane`.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use lavender_core::AgentIdentity;
use lavender_core::command::{CommandSource, Verifier};
use lavender_detect::RuleHandle;
use lavender_store::Store;

use crate::config::Config;
use crate::exit::Failure;
use crate::plan::RuleReload;

/// There are none.
#[derive(Clone, Debug)]
pub struct OwnCommands(Infallible);

impl OwnCommands {
    /// None.
    pub const fn open(_config: &Config, _identity: &AgentIdentity) -> Option<Self> {
        None
    }

    /// Never called.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn pin(&self, _verifier: Verifier) -> Result<Verifier, Failure> {
        match self.0 {}
    }

    /// Never called.
    pub fn source(&self) -> Box<dyn CommandSource> {
        match self.0 {}
    }
}

/// There is none.
pub fn control_plane(
    _config: Config,
    _store: Arc<dyn Store>,
    _rules: RuleHandle,
    _reload: RuleReload,
    _own: Option<OwnCommands>,
) -> impl Future<Output = ()> + Send {
    ready(())
}
