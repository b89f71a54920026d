//! The records of agents in a state store that all workers share.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::store::PutMode;
use lavender_core::transport::Subject;
use lavender_core::{
    AgentId, AgentIdentity, Bytes, Clock, Error, ErrorKind, Result, StateStore, TenantId,
};

use super::record::{AgentRecord, DecidedGap, Note};

/// What keys begin with.
const PREFIX: &str = "ingest/sequence/";

/// How many keys are looked at in one go.
const PAGE: usize = 1_000;

/// Whose telemetry.
pub(super) type Agent = (TenantId, AgentId);

/// Whose, by a subject.
pub(super) fn agent_of(subject: &Subject) -> Agent {
    (subject.tenant.clone(), subject.agent.clone())
}

/// Reads and swaps records.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) clock: Arc<dyn Clock>,
    /// How long a hole is waited for.
    pub(super) gap_wait: Duration,
    /// How long an agent that is silent is known.
    pub(super) forget_after: Duration,
}

/// What an agent's record says after it was written.
#[derive(Debug)]
pub(super) struct Standing {
    /// Whose it is.
    pub(super) source: AgentIdentity,
    /// Gaps that are decided, and to be published.
    pub(super) gaps: Vec<DecidedGap>,
    /// When there is something to do for it.
    pub(super) due: Option<lavender_core::Timestamp>,
}

impl Ledger {
    /// Writes down what came of an agent, and decides what has waited long enough.
    pub(super) async fn note(
        &self,
        agent: &Agent,
        host: Option<&str>,
        notes: &[Note],
    ) -> Result<Standing> {
        let (standing, ()) = self
            .change(agent, |record| {
                let now = self.clock.now();
                record.note(host, notes, now);
                record.settle(now, self.gap_wait);
            })
            .await?;
        Ok(standing)
    }

    /// Decides what has waited long enough.
    pub(super) async fn settle(&self, agent: &Agent) -> Result<Standing> {
        let settle = |record: &mut AgentRecord| record.settle(self.clock.now(), self.gap_wait);
        let (standing, ()) = self.change(agent, settle).await?;
        Ok(standing)
    }

    /// These gaps are published; says of which of them nobody has said so before.
    pub(super) async fn published(
        &self,
        agent: &Agent,
        gaps: &[DecidedGap],
    ) -> Result<(Standing, Vec<DecidedGap>)> {
        self.change(agent, |record| record.gaps.extract_if(.., |gap| gaps.contains(gap)).collect())
            .await
    }

    /// What an agent's record says; `None` when there is none.
    pub(super) async fn look(&self, agent: &Agent) -> Result<Option<Standing>> {
        let stored = self.state.get(&key(agent)).await?;
        stored.map(|(value, _)| Ok(self.standing(agent, read(agent, &value)?))).transpose()
    }

    /// The agents that there are records of, page by page: those behind `after`.
    pub(super) async fn agents(&self, after: Option<&str>) -> Result<(Vec<Agent>, Option<String>)> {
        let keys = self.state.keys(PREFIX, after, PAGE).await?;
        let next = keys.last().filter(|_| keys.len() == PAGE).cloned();
        Ok((keys.iter().filter_map(|key| agent(key)).collect(), next))
    }

    /// Reads, changes and swaps, until no other worker comes between.
    async fn change<R: Send>(
        &self,
        agent: &Agent,
        change: impl Fn(&mut AgentRecord) -> R + Send + Sync,
    ) -> Result<(Standing, R)> {
        let key = key(agent);
        loop {
            let (before, mode) = match self.state.get(&key).await? {
                Some((value, version)) => (Some(read(agent, &value)?), PutMode::Update(version)),
                None => (None, PutMode::Create),
            };
            let mut record =
                before.clone().unwrap_or_else(|| AgentRecord::new(agent.1.as_str().into()));
            let changed = change(&mut record);
            if before.as_ref() == Some(&record) {
                return Ok((self.standing(agent, record), changed));
            }
            let value = serde_json::to_vec(&record).map_err(|error| {
                let why = format!("`{key}` cannot be written: {error}");
                Error::new(ErrorKind::Internal, "ingest", why)
            })?;
            match self.state.put(&key, value.into(), mode, Some(self.forget_after)).await {
                Ok(_) => return Ok((self.standing(agent, record), changed)),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn standing(&self, (tenant, agent): &Agent, record: AgentRecord) -> Standing {
        Standing {
            source: record.identity(tenant, agent),
            due: record.due(self.gap_wait),
            gaps: record.gaps,
        }
    }
}

fn key((tenant, agent): &Agent) -> String {
    format!("{PREFIX}{tenant}/{agent}")
}

fn agent(key: &str) -> Option<Agent> {
    let (tenant, agent) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some((TenantId::new(tenant).ok()?, AgentId::new(agent).ok()?))
}

fn read(agent: &Agent, value: &Bytes) -> Result<AgentRecord> {
    serde_json::from_slice(value).map_err(|error| {
        let why = format!(
            "`{}` of the state store is no record of a sequence: {error}. Another version wrote it: delete it, and the sequence begins anew",
            key(agent)
        );
        Error::new(ErrorKind::Corrupt, "ingest", why)
    })
}
