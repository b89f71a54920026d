//! Orders to agents: who signs them, and how they get there.

use std::fmt;
use std::sync::Arc;

use lavender_core::command::{CommandAction, Signer};
use lavender_core::store::Role;
use lavender_core::{AgentId, Bytes, Result, TenantId, async_trait};

/// Brings signed commands to agents.
#[async_trait]
pub trait CommandSink: fmt::Debug + Send + Sync + 'static {
    /// Hands a signed command over, to be brought to that agent. What was handed over twice is carried out once.
    ///
    /// # Errors
    ///
    /// When nothing has taken it.
    async fn publish(&self, tenant: &TenantId, agent: &AgentId, signed: Bytes) -> Result<()>;
}

/// What a control plane gives commands with. Without a signer it gives none; without a sink they are kept, and stay
/// pending until they expire.
#[derive(Clone, Debug, Default)]
pub struct Commanding {
    /// Who signs.
    pub signer: Option<Arc<Signer>>,
    /// Who brings them to agents.
    pub sink: Option<Arc<dyn CommandSink>>,
}

/// Who may give a command: what only looks is for analysts, what changes a host or takes a file from it for admins.
pub(crate) const fn needed_role(action: &CommandAction) -> Role {
    match action {
        CommandAction::Ping | CommandAction::ListProcesses | CommandAction::HashFile { .. } => {
            Role::Analyst
        }
        _ => Role::Admin,
    }
}
