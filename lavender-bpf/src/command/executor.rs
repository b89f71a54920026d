//! Takes commands.

use std::sync::Arc;

use lavender_core::command::{
    Command, CommandExecutor, CommandOutcome, CommandRefusal, CommandReport, CommandResult,
    Executed, Refusal, SignedCommand, Verifier,
};
use lavender_core::{AgentId, Clock, CommandTally, ResponseOutcome, TenantId};

use super::actions::{Actions, ReloadRules};
use super::journal::{CommandJournal, JournalError, NotAdmitted};
use crate::enforce::SharedEnforcer;

/// What is said of a command whose result cannot be read again.
const UNREADABLE: &str = "it was carried out before, and what came of it cannot be read any more";

/// Carries out commands on this host: what changes it by the enforcement that answers alerts, too.
///
/// What holds for responses holds for commands: protected processes and files, rates, the circuit breaker, and dry-run,
/// under which everything that acts only says so. Giving the network back is not held up by dry-run.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use lavender_bpf::{CommandJournal, Enforcer, EnforcerOptions, HostExecutor, SharedEnforcer};
/// use lavender_core::command::{
///     CommandAction, CommandExecutor, CommandOutcome, CommandReport, KeyId, Signer, Verifier,
/// };
/// use lavender_core::{AgentId, Clock, SystemClock, TenantId};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = Arc::new(SystemClock);
/// let signer = Signer::generate(KeyId::new("ops-1")?)?;
/// let (tenant, agent) = (TenantId::new("acme")?, AgentId::new("web-1")?);
/// let verifier = Verifier::new(tenant.clone(), agent.clone())
///     .with_key(signer.key().clone(), signer.public_key())?;
/// let folder = tempfile::tempdir()?;
/// let journal = CommandJournal::open(folder.path(), (&tenant, &agent), clock.now());
/// let enforcer = Enforcer::new(EnforcerOptions::default(), clock.clone());
/// let mut executor =
///     HostExecutor::new((tenant.clone(), agent.clone()), verifier, journal, SharedEnforcer::new(enforcer), clock.clone());
///
/// let minute = Duration::from_secs(60);
/// let ping = signer.order(tenant, agent, CommandAction::Ping, clock.now(), minute)?;
/// let reports = executor.take(&ping.to_bytes(), 1, &mut Vec::new());
/// let CommandReport::Result(result) = &reports[0] else { panic!("{reports:?}") };
/// assert_eq!(result.outcome, CommandOutcome::DONE);
/// // Whoever sends it again gets the same answer, and nothing is done.
/// assert_eq!(executor.take(&ping.to_bytes(), 2, &mut Vec::new()), reports);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HostExecutor {
    tenant: TenantId,
    agent: AgentId,
    verifier: Verifier,
    journal: Result<CommandJournal, JournalError>,
    actions: Actions,
    clock: Arc<dyn Clock>,
    tally: CommandTally,
}

impl HostExecutor {
    /// Takes what `verifier` admits. Without a journal it admits nothing, and reports why: what cannot be kept could be
    /// done twice.
    pub fn new(
        (tenant, agent): (TenantId, AgentId),
        verifier: Verifier,
        journal: Result<CommandJournal, JournalError>,
        enforcer: SharedEnforcer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        if let Err(error) = &journal {
            tracing::error!(%error, "no commands are taken");
        }
        let actions = Actions::new(enforcer);
        Self { tenant, agent, verifier, journal, actions, clock, tally: CommandTally::default() }
    }

    /// Reads these rules again when it is told to.
    #[must_use]
    pub fn with_rules(mut self, rules: impl ReloadRules + 'static) -> Self {
        self.actions.rules = Some(Box::new(rules));
        self
    }

    /// What became of what came: for heartbeats.
    pub fn tally(&self) -> CommandTally {
        self.tally.clone()
    }

    fn carry_out(
        &mut self,
        command: &Command,
        responses: &mut Vec<ResponseOutcome>,
    ) -> CommandResult {
        self.tally.count(|counts| counts.admitted += 1);
        let room = self.journal.as_ref().map_or(0, CommandJournal::room);
        let outcome = self.actions.carry_out(command, room, responses);
        let (action, outcome_name) = (command.action.as_str(), outcome.as_str());
        tracing::warn!(command = %command.id, key = %command.key, "{action}: {outcome_name}");
        let result = self.result(command, outcome);
        if let Ok(journal) = &mut self.journal
            && let Err(error) = journal.keep(&result)
        {
            tracing::error!(%error, "the result of {action} is not kept, and reported once");
        }
        result
    }

    fn result(&self, command: &Command, outcome: CommandOutcome) -> CommandResult {
        CommandResult {
            command: command.id,
            tenant: self.tenant.clone(),
            agent: self.agent.clone(),
            outcome,
            finished_at: self.clock.now(),
        }
    }

    /// Answers what is a command and is not carried out, now or again.
    fn repeat_or_refuse(
        &mut self,
        command: &Command,
        attempt: u32,
        refusal: &Refusal,
    ) -> Vec<CommandReport> {
        let first = self.journal.as_ref().ok().and_then(|journal| journal.result(command.id));
        let Some((first, reported)) = first else {
            let is_known = self.journal.as_ref().is_ok_and(|journal| journal.knows(command.id));
            if is_known {
                self.tally.count(|counts| counts.repeated += 1);
                let outcome = CommandOutcome::Failed { reason: UNREADABLE.into() };
                return vec![CommandReport::Result(self.result(command, outcome))];
            }
            self.count(refusal);
            return vec![self.refused_command(command, refusal.to_string())];
        };
        self.tally.count(|counts| counts.repeated += 1);
        let mut reports = vec![CommandReport::Result(first)];
        if reported && attempt <= 1 {
            // No delivery that was not answered: somebody sent it again.
            self.count(refusal);
            reports.push(self.refusal(Some(command), refusal.to_string()));
        }
        reports
    }

    fn count(&self, refusal: &Refusal) {
        self.tally.count(|counts| refusal.count(&mut counts.refused));
    }

    fn refused_command(&self, command: &Command, reason: String) -> CommandReport {
        tracing::warn!(command = %command.id, %reason, "a command is refused");
        let outcome = CommandOutcome::Refused { reason: reason.into() };
        CommandReport::Result(self.result(command, outcome))
    }

    fn refusal(&self, claimed: Option<&Command>, reason: String) -> CommandReport {
        let claimed = claimed.map(|command| command.id);
        tracing::warn!(?claimed, %reason, "what came as a command is refused");
        CommandReport::Refusal(CommandRefusal {
            tenant: self.tenant.clone(),
            agent: self.agent.clone(),
            claimed,
            reason: reason.into(),
            refused_at: self.clock.now(),
        })
    }
}

impl CommandExecutor for HostExecutor {
    fn take(
        &mut self,
        signed: &[u8],
        attempt: u32,
        responses: &mut Vec<ResponseOutcome>,
    ) -> Vec<CommandReport> {
        let now = self.clock.now();
        let admitted = match &mut self.journal {
            Ok(journal) => journal.admit(&self.verifier, signed, now),
            // Only looks whether it is a command: of that, a result can be reported.
            Err(error) => match self.verifier.admit(signed, now, &mut Executed::new(1)) {
                Ok(_) => Err(NotAdmitted::Unkept(error.clone())),
                Err(refusal) => Err(NotAdmitted::Refused(refusal)),
            },
        };
        let claimed = SignedCommand::from_bytes(signed).ok().map(SignedCommand::into_unchecked);
        match (admitted, claimed) {
            (Ok(command), _) => {
                let result = self.carry_out(&command, responses);
                vec![CommandReport::Result(result)]
            }
            (Err(NotAdmitted::Refused(refusal)), Some(command)) if refusal.is_of_a_command() => {
                self.repeat_or_refuse(&command, attempt, &refusal)
            }
            (Err(NotAdmitted::Refused(refusal)), claimed) => {
                self.count(&refusal);
                vec![self.refusal(claimed.as_ref(), refusal.to_string())]
            }
            (Err(NotAdmitted::Unkept(error)), claimed) => {
                self.tally.count(|counts| counts.refused.unkept += 1);
                let why = error.to_string();
                vec![match claimed {
                    Some(command) => self.refused_command(&command, why),
                    None => self.refusal(None, why),
                }]
            }
        }
    }

    fn reported(&mut self, reports: &[CommandReport]) {
        let Ok(journal) = &mut self.journal else { return };
        for report in reports {
            if let CommandReport::Result(result) = report {
                journal.reported(result.command);
            }
        }
    }
}
