//! How commands get to agents, and what agents report.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::{CommandId, CommandResult};
use crate::error::Result;
use crate::id::{AgentId, TenantId};
use crate::response::ResponseOutcome;
use crate::time::Timestamp;
use crate::transport::Ack;

/// Brings signed commands to agents: the control plane's end.
#[async_trait]
pub trait CommandSink: fmt::Debug + Send + Sync + 'static {
    /// Hands a signed command over, to be brought to that agent. Returns once the transport owns it: it is brought when
    /// the agent comes, for as long as the transport keeps it. What was handed over twice is carried out once.
    ///
    /// # Errors
    ///
    /// When nothing has taken it.
    async fn publish(&self, tenant: &TenantId, agent: &AgentId, signed: Bytes) -> Result<()>;
}

/// What comes for one agent: the agent's end.
///
/// # Contract
///
/// - What was handed to the [`CommandSink`] for this agent comes here, and nothing that is for another.
/// - It comes again until it is [answered](CommandReply::report).
/// - Dropping the future of [`next`](Self::next) loses nothing.
#[async_trait]
pub trait CommandSource: fmt::Debug + Send + 'static {
    /// Waits for a command; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the transport cannot go on.
    async fn next(&mut self) -> Result<Option<CommandDelivery>>;
}

#[async_trait]
impl CommandSource for Box<dyn CommandSource> {
    async fn next(&mut self) -> Result<Option<CommandDelivery>> {
        (**self).next().await
    }
}

/// What came for an agent. **Nobody has checked it.**
#[derive(Debug)]
pub struct CommandDelivery {
    /// A signed command, if it is one.
    pub signed: Bytes,
    /// How often this very message was delivered, from 1.
    pub attempt: u32,
    /// How to answer. Dropped without an answer, it comes again.
    pub reply: Box<dyn CommandReply>,
}

/// The answer to a delivery.
#[async_trait]
pub trait CommandReply: fmt::Debug + Send + 'static {
    /// Hands over what is to be reported, and when the transport has it, ends the delivery. Reporting again is reporting
    /// once, where it is the same delivery.
    ///
    /// # Errors
    ///
    /// When the transport did not take it; the command comes again.
    async fn report(self: Box<Self>, reports: Vec<CommandReport>) -> Result<()>;
}

/// What agents report: the control plane's end.
///
/// # Contract
///
/// - A report is of the agent that it names: the transport sees to it that none speaks for another.
/// - It comes again until it is acknowledged.
/// - Dropping the future of [`next`](Self::next) loses nothing.
#[async_trait]
pub trait ReportSource: fmt::Debug + Send + 'static {
    /// Waits for a report; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the transport cannot go on.
    async fn next(&mut self) -> Result<Option<ReportDelivery>>;
}

/// A report on its way to a control plane.
#[derive(Debug)]
pub struct ReportDelivery {
    /// What an agent reports.
    pub report: CommandReport,
    /// How to answer. Dropped without an answer, it comes again.
    pub ack: Box<dyn Ack>,
}

/// What an agent reports about what came to it.
///
/// ```
/// use lavender_core::command::{CommandRefusal, CommandReport};
/// use lavender_core::{AgentId, TenantId, Timestamp};
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let report = CommandReport::Refusal(CommandRefusal {
///     tenant: TenantId::new("acme")?,
///     agent: AgentId::new("web-1")?,
///     claimed: None,
///     reason: "not a command".into(),
///     refused_at: Timestamp::from_millis(0),
/// });
/// assert_eq!(report.agent().as_str(), "web-1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandReport {
    /// What became of a command that is the control plane's.
    Result(CommandResult),
    /// Something came that is no such command, or came another time.
    Refusal(CommandRefusal),
}

impl CommandReport {
    /// The tenant of the agent that reports.
    pub const fn tenant(&self) -> &TenantId {
        match self {
            Self::Result(result) => &result.tenant,
            Self::Refusal(refusal) => &refusal.tenant,
        }
    }

    /// The agent that reports.
    pub const fn agent(&self) -> &AgentId {
        match self {
            Self::Result(result) => &result.agent,
            Self::Refusal(refusal) => &refusal.agent,
        }
    }
}

/// What an agent refused. It is no result: whoever forges a command by the id of another must not end that one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommandRefusal {
    /// The tenant of the agent that reports.
    pub tenant: TenantId,
    /// The agent that reports.
    pub agent: AgentId,
    /// The id that it said it had, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<CommandId>,
    /// Why it was refused.
    pub reason: Arc<str>,
    /// When, by the agent's clock.
    pub refused_at: Timestamp,
}

/// Takes what comes for an agent: checks it, carries it out once, and says what to report.
///
/// # Contract
///
/// - That a command is admitted is on disk before it is carried out.
/// - A command that comes again is not carried out again; its first result is reported again.
pub trait CommandExecutor: fmt::Debug + Send + 'static {
    /// Takes what came, which may be anything. Blocks as long as carrying it out takes. What was done to this host is
    /// added to `responses`.
    fn take(
        &mut self,
        signed: &[u8],
        attempt: u32,
        responses: &mut Vec<ResponseOutcome>,
    ) -> Vec<CommandReport>;

    /// Hears that the transport has these reports.
    fn reported(&mut self, reports: &[CommandReport]);
}
