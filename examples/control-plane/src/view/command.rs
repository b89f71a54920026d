//! Commands as the API shows them.

use lavender_core::Timestamp;
use lavender_core::command::{CommandAction, CommandOutcome, CommandOutput};
use lavender_core::store::IssuedCommand;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Time;

/// A command, and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CommandView {
    /// Its id.
    pub id: String,
    /// The agent that it is for.
    pub agent: String,
    /// What the agent is told to do: `action`, and what that needs to know.
    #[schema(value_type = Object)]
    pub command: CommandAction,
    /// `pending`, `done`, `dry_run`, `refused`, `failed` or `expired`.
    pub status: &'static str,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was signed.
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Time,
    /// From when on it is not carried out any more.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
    /// The signing key.
    pub key: String,
    /// When it ended, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Time>,
    /// Why it was refused, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The kind of what it gave, where it gave something: `tree`, `quarantined`, `processes`, `digest`, `file` or `rules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_kind: Option<&'static str>,
    /// What it gave: `kind`, and what belongs to that. In lists it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<CommandOutput>,
}

impl CommandView {
    /// A command as it is at this moment.
    pub fn of(issued: &IssuedCommand, now: Timestamp) -> Self {
        let command = issued.command();
        let failure = match &issued.result {
            Some((CommandOutcome::Refused { reason } | CommandOutcome::Failed { reason }, _)) => {
                Some(reason.to_string())
            }
            _ => None,
        };
        Self {
            id: command.id.to_string(),
            agent: command.agent.to_string(),
            command: command.action.clone(),
            status: issued.status(now).as_str(),
            actor: issued.actor.to_string(),
            reason: issued.reason.as_ref().map(ToString::to_string),
            issued_at: Time(command.issued_at),
            expires_at: Time(command.expires_at),
            key: command.key.to_string(),
            finished_at: issued.result.as_ref().map(|(_, at)| Time(*at)),
            failure,
            output_kind: given(issued).map(CommandOutput::as_str),
            output: None,
        }
    }

    /// The same with what it gave.
    #[must_use]
    pub fn with_output(mut self, issued: &IssuedCommand) -> Self {
        self.output = given(issued).cloned();
        self
    }
}

/// What a command gave, where it did.
const fn given(issued: &IssuedCommand) -> Option<&CommandOutput> {
    match &issued.result {
        Some((CommandOutcome::Done { output }, _)) => output.as_ref(),
        _ => None,
    }
}
