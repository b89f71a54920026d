//! What commands do.

use std::fmt;
use std::sync::Arc;

use lavender_core::command::{Command, CommandAction, CommandOutcome, CommandOutput};
use lavender_core::{
    Outcome, ResponseAction, ResponseCause, ResponseOrder, ResponseOutcome, ResponseTarget,
};

use super::inspect;
use crate::enforce::SharedEnforcer;

/// Reads the rules again, when a command says so.
pub trait ReloadRules: fmt::Debug + Send {
    /// Reads them, and tells what is in use then. Blocks as long as that takes.
    ///
    /// # Errors
    ///
    /// What is wrong with them. Those that were in use stay.
    fn reload(&mut self) -> Result<CommandOutput, Arc<str>>;
}

/// Who carries out what.
#[derive(Debug)]
pub(super) struct Actions {
    enforcer: SharedEnforcer,
    pub(super) rules: Option<Box<dyn ReloadRules>>,
}

impl Actions {
    pub(super) const fn new(enforcer: SharedEnforcer) -> Self {
        Self { enforcer, rules: None }
    }

    /// Does it. What it gives may be `room` bytes long.
    pub(super) fn carry_out(
        &mut self,
        command: &Command,
        room: u64,
        responses: &mut Vec<ResponseOutcome>,
    ) -> CommandOutcome {
        let mut enforce = |action, target| {
            let order = ResponseOrder {
                cause: ResponseCause::Command(command.id),
                action,
                target,
                decided_by: format!("key {}", command.key).into(),
            };
            let before = responses.len();
            self.enforcer.enforce(order, responses);
            outcome_of(action, responses.get(before..).unwrap_or_default())
        };
        let looked = match &command.action {
            CommandAction::Ping => return CommandOutcome::DONE,
            CommandAction::Kill { process } => {
                return enforce(ResponseAction::Kill, ResponseTarget::Process(*process));
            }
            CommandAction::KillTree { process } => {
                return enforce(ResponseAction::KillTree, ResponseTarget::Process(*process));
            }
            CommandAction::Isolate => {
                return enforce(ResponseAction::Isolate, ResponseTarget::Host);
            }
            CommandAction::Release => {
                return enforce(ResponseAction::Release, ResponseTarget::Host);
            }
            CommandAction::Quarantine { file } => {
                return enforce(ResponseAction::Quarantine, ResponseTarget::File(file.clone()));
            }
            CommandAction::Restore { entry } => {
                let entry = ResponseTarget::QuarantineEntry(Arc::clone(entry));
                return enforce(ResponseAction::Restore, entry);
            }
            CommandAction::ListProcesses => inspect::processes(room),
            CommandAction::HashFile { path } => inspect::digest(path),
            CommandAction::CollectFile { path, max_bytes } => {
                inspect::collect(path, *max_bytes, room)
            }
            CommandAction::ReloadRules => match &mut self.rules {
                Some(rules) => rules.reload(),
                None => Err("this agent has no rules that can be read again".into()),
            },
            other => Err(format!("{} is not known here: update the agent", other.as_str()).into()),
        };
        looked.map_or_else(|reason| CommandOutcome::Failed { reason }, CommandOutcome::done)
    }
}

/// What the outcomes of a response are as that of a command.
fn outcome_of(action: ResponseAction, outcomes: &[ResponseOutcome]) -> CommandOutcome {
    if action == ResponseAction::KillTree && outcomes.len() > 1 {
        return outcome_of_tree(outcomes);
    }
    let Some(answer) = outcomes.first() else {
        return CommandOutcome::Failed { reason: "nothing was done".into() };
    };
    let refused = |reason: Arc<str>| CommandOutcome::Refused { reason };
    let failed = |reason: &str| CommandOutcome::Failed { reason: reason.into() };
    match &answer.outcome {
        Outcome::Done => match (action, &answer.quarantine_entry) {
            (ResponseAction::Quarantine, Some(entry)) => {
                CommandOutcome::done(CommandOutput::Quarantined { entry: Arc::clone(entry) })
            }
            (ResponseAction::KillTree, _) => {
                CommandOutcome::done(CommandOutput::Tree { killed: 1, spared: 0 })
            }
            _ => CommandOutcome::DONE,
        },
        Outcome::DryRun => CommandOutcome::DryRun,
        Outcome::NotAllowed => refused("policy does not allow it".into()),
        Outcome::Protected { by } => refused(format!("it is protected: {by}").into()),
        // It has its network, which is what was wanted.
        Outcome::Gone if action == ResponseAction::Release => CommandOutcome::DONE,
        Outcome::Gone => failed("it is gone, or its pid or path is another's now"),
        Outcome::RateLimited => refused("too much was done in the last minute".into()),
        Outcome::CircuitOpen { closes_in_secs } => refused(
            format!("so much was asked for that nothing is done for {closes_in_secs} s").into(),
        ),
        Outcome::Unsupported { reason } | Outcome::Failed { reason } => failed(reason),
        other => failed(&format!("{other:?}")),
    }
}

/// The whole tree in one: dry-run if it was, else how many of it were killed and how many are left.
fn outcome_of_tree(outcomes: &[ResponseOutcome]) -> CommandOutcome {
    let count = |wanted: fn(&Outcome) -> bool| {
        outcomes.iter().filter(|answer| wanted(&answer.outcome)).count() as u64
    };
    if count(|outcome| matches!(outcome, Outcome::DryRun)) > 0 {
        return CommandOutcome::DryRun;
    }
    let killed = count(|outcome| matches!(outcome, Outcome::Done | Outcome::Gone));
    let spared = count(|outcome| matches!(outcome, Outcome::Protected { .. }));
    let all = outcomes.len() as u64;
    if killed + spared < all {
        let left = all - killed - spared;
        let reason = format!("of {all} processes {left} could not be killed");
        return CommandOutcome::Failed { reason: reason.into() };
    }
    CommandOutcome::done(CommandOutput::Tree { killed, spared })
}
