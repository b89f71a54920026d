//! The commands of a tenant: who gave which, and what became of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{AuditAction, AuditEntry, Cursor, Page};
use crate::command::{
    Command, CommandId, CommandOutcome, CommandRefusal, CommandResult, SignedCommand,
};
use crate::error::Result;
use crate::id::{AgentId, TenantId};
use crate::time::Timestamp;

/// How far a command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandStatus {
    /// Nothing is heard of it, and it is in its time.
    Pending,
    /// It was carried out.
    Done,
    /// It would have been: the agent answers nothing in earnest.
    DryRun,
    /// The agent did not admit it, or may not do that.
    Refused,
    /// The agent tried.
    Failed,
    /// Nothing was heard of it in its time.
    Expired,
}

impl CommandStatus {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::DryRun => "dry_run",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command as the one who gave it keeps it: the signed bytes, who asked for it and why, and what the agent reported.
///
/// ```
/// use std::time::Duration;
/// use lavender_core::command::{CommandAction, KeyId, Signer};
/// use lavender_core::store::{CommandStatus, IssuedCommand};
/// use lavender_core::{AgentId, TenantId, Timestamp};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = Signer::generate(KeyId::new("ops-1")?)?;
/// let (tenant, agent) = (TenantId::new("acme")?, AgentId::new("web-1")?);
/// let minute = Duration::from_secs(60);
/// let signed = signer.order(tenant, agent, CommandAction::Ping, Timestamp::from_millis(0), minute)?;
/// let issued = IssuedCommand::new(signed, "ana", None);
/// assert_eq!(issued.status(Timestamp::from_millis(59_999)), CommandStatus::Pending);
/// assert_eq!(issued.status(Timestamp::from_millis(60_000)), CommandStatus::Expired);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCommand {
    signed: SignedCommand,
    /// Who asked for it.
    pub actor: Arc<str>,
    /// Why, where a reason was given.
    pub reason: Option<Arc<str>>,
    /// What the agent reported first: how it ended, and when by the agent's clock.
    pub result: Option<(CommandOutcome, Timestamp)>,
}

impl IssuedCommand {
    /// A command that was signed, of which nothing is heard yet. It is whoever signed it that vouches for it: the
    /// signature is not checked here.
    pub fn new(
        signed: SignedCommand,
        actor: impl Into<Arc<str>>,
        reason: Option<Arc<str>>,
    ) -> Self {
        Self { signed, actor: actor.into(), reason, result: None }
    }

    /// What the agent is told to do.
    pub const fn command(&self) -> &Command {
        self.signed.command()
    }

    /// What is sent to the agent.
    pub const fn signed(&self) -> &SignedCommand {
        &self.signed
    }

    /// How far it has come at this moment. What is reported late counts all the same.
    pub fn status(&self, now: Timestamp) -> CommandStatus {
        match &self.result {
            Some((CommandOutcome::Done { .. }, _)) => CommandStatus::Done,
            Some((CommandOutcome::DryRun, _)) => CommandStatus::DryRun,
            Some((CommandOutcome::Refused { .. }, _)) => CommandStatus::Refused,
            Some((CommandOutcome::Failed { .. }, _)) => CommandStatus::Failed,
            None if now < self.command().expires_at => CommandStatus::Pending,
            None => CommandStatus::Expired,
        }
    }
}

impl AuditEntry {
    /// The line for a command that is given.
    pub fn of_command(issued: &IssuedCommand) -> Self {
        let command = issued.command();
        Self {
            at: command.issued_at,
            actor: Arc::clone(&issued.actor),
            action: AuditAction::CommandIssue,
            target: command.id.to_string().into(),
            change: format!("{} for {}", command.action.as_str(), command.agent).into(),
            reason: issued.reason.clone(),
        }
    }

    /// The line for what an agent reports of a command.
    pub fn of_command_result(result: &CommandResult, at: Timestamp) -> Self {
        let reason = match &result.outcome {
            CommandOutcome::Refused { reason } | CommandOutcome::Failed { reason } => Some(reason),
            CommandOutcome::Done { .. } | CommandOutcome::DryRun => None,
        };
        Self {
            at,
            actor: format!("agent {}", result.agent).into(),
            action: AuditAction::CommandResult,
            target: result.command.to_string().into(),
            change: format!("pending to {}", result.outcome.as_str()).into(),
            reason: reason.cloned(),
        }
    }
}

impl AuditEntry {
    /// The line for what an agent refused.
    pub fn of_command_refusal(refusal: &CommandRefusal, at: Timestamp) -> Self {
        let target = refusal.claimed.map_or_else(|| "none".to_owned(), |id| id.to_string());
        Self {
            at,
            actor: format!("agent {}", refusal.agent).into(),
            action: AuditAction::CommandRefuse,
            target: target.into(),
            change: "refused".into(),
            reason: Some(Arc::clone(&refusal.reason)),
        }
    }
}

/// Which commands to read.
#[derive(Clone, Debug)]
pub struct CommandQuery {
    /// Of this agent.
    pub agent: AgentId,
    /// The most commands on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl CommandQuery {
    /// The commands to an agent, a hundred to the page.
    pub const fn new(agent: AgentId) -> Self {
        Self { agent, limit: 100, after: None }
    }
}

/// Which commands to read that are to be brought to agents.
#[derive(Clone, Debug)]
pub struct PendingQuery {
    /// The most commands on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl Default for PendingQuery {
    /// All of them, a thousand to the page.
    fn default() -> Self {
        Self { limit: 1_000, after: None }
    }
}

/// Keeps commands.
///
/// # Contract
///
/// - Every method sees and changes what is of one tenant.
/// - What is changed is durable, and audited in one step with the change.
/// - The first result of a command stands, and comes from the agent that it was given to.
#[async_trait]
pub trait CommandStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a command, without a result: that is [recorded](Self::record_result).
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) when there is one by its id.
    async fn issue(&self, command: &IssuedCommand) -> Result<()>;

    /// One command.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn command(&self, tenant: &TenantId, id: CommandId) -> Result<Option<IssuedCommand>>;

    /// Reads the commands to an agent, newest first (by `issued_at`, then by id).
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn commands(
        &self,
        tenant: &TenantId,
        query: &CommandQuery,
    ) -> Result<Page<IssuedCommand>>;

    /// Keeps what an agent reported, `at` which moment it came, and says whether it was the first result. A later one
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) for a command that was not given to that agent of that tenant.
    async fn record_result(&self, result: &CommandResult, at: Timestamp) -> Result<bool>;

    /// Reads commands, of whichever tenant, of which nothing is heard and that are in their time at `now`: those that
    /// expire first, first (by `expires_at`, then by id). For who brings them to agents.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn pending_commands(
        &self,
        now: Timestamp,
        query: &PendingQuery,
    ) -> Result<Page<IssuedCommand>>;

    /// Audits what an agent refused, `at` which moment it was told. It changes no command.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    async fn record_refusal(&self, refusal: &CommandRefusal, at: Timestamp) -> Result<()>;
}
