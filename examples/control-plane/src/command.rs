//! Orders to agents: who signs them, and how they get there.

use std::sync::Arc;

use lavender_core::command::{CommandAction, CommandSink, Signer};
use lavender_core::store::Role;

/// What a control plane gives commands with. Without a signer it gives none; without a sink they are kept, and stay
/// pending until they expire. What a sink did not take is handed over again until then.
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
