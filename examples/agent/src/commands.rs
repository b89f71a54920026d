//! Commands of a control plane: from where they come to who carries them out.

use std::sync::{Arc, Mutex};

use lavender_bpf::{CommandJournal, HostExecutor, ReloadRules, SharedEnforcer};
use lavender_core::command::{CommandOutput, CommandSource, Verifier};
use lavender_core::pipeline::run_commands;
use lavender_core::{AgentIdentity, Clock as _, CommandTally, ResponseOutcome, SystemClock};
use tokio::sync::mpsc;

use crate::config::CommandsConfig;
use crate::plan::RuleReload;

/// Carries out commands on this host.
#[derive(Debug)]
pub struct Commands {
    executor: Arc<Mutex<HostExecutor>>,
    responses: mpsc::Sender<ResponseOutcome>,
    tally: CommandTally,
}

impl Commands {
    /// Takes what `verifier` admits. What is done becomes an outcome in `responses`.
    pub fn new(
        config: &CommandsConfig,
        identity: &AgentIdentity,
        verifier: Verifier,
        enforcer: SharedEnforcer,
        reload: RuleReload,
        responses: mpsc::Sender<ResponseOutcome>,
    ) -> Self {
        let AgentIdentity { tenant, agent, .. } = identity;
        let clock = Arc::new(SystemClock);
        let folder: &str = config.state_dir.as_ref();
        let journal = CommandJournal::open(folder, (tenant, agent), clock.now());
        let whose = (tenant.clone(), agent.clone());
        let executor =
            HostExecutor::new(whose, verifier, journal, enforcer, clock).with_rules(Reload(reload));
        let tally = executor.tally();
        Self { executor: Arc::new(Mutex::new(executor)), responses, tally }
    }

    /// What became of what came: for heartbeats.
    pub fn tally(&self) -> CommandTally {
        self.tally.clone()
    }

    /// Takes what comes, until the source ends or the future is dropped.
    pub fn take<S: CommandSource>(
        &self,
        source: S,
    ) -> impl Future<Output = ()> + Send + 'static + use<S> {
        let (executor, responses) = (Arc::clone(&self.executor), self.responses.clone());
        async move {
            if let Err(error) = run_commands(source, executor, responses).await {
                tracing::error!(%error, "no more commands are taken");
            }
        }
    }
}

/// The agent's rules.
#[derive(Debug)]
struct Reload(RuleReload);

impl ReloadRules for Reload {
    fn reload(&mut self) -> Result<CommandOutput, Arc<str>> {
        let rules = self.0.reload().map_err(|error| error.to_string())?;
        Ok(CommandOutput::Rules { rules: rules as u64 })
    }
}
