//! Commands within one process: where the agent serves its own control plane.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lavender_core::command::{
    CommandDelivery, CommandReply, CommandReport, CommandSink, CommandSource, ReportDelivery,
    ReportSource,
};
use lavender_core::transport::Ack;
use lavender_core::{AgentId, Error, ErrorKind, Result, TenantId, async_trait};
use tokio::sync::Notify;

/// Brings commands to the one agent of this process, and its reports back. Clones are the same one.
///
/// It is bounded: what does not fit is not taken. What was not answered when the process ends is gone; whoever gave a
/// command keeps it.
///
/// ```
/// use std::num::NonZeroUsize;
/// use lavender_core::command::{CommandSink, CommandSource};
/// use lavender_core::{AgentId, Bytes, TenantId};
/// use lavender_transport::MemoryCommands;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (tenant, agent) = (TenantId::new("acme")?, AgentId::new("web-1")?);
/// let commands = MemoryCommands::new(tenant.clone(), agent.clone(), NonZeroUsize::MIN);
/// commands.publish(&tenant, &agent, Bytes::from_static(b"a signed command")).await?;
/// let delivery = commands.source().next().await?.expect("it does not end");
/// assert_eq!((&delivery.signed[..], delivery.attempt), (&b"a signed command"[..], 1));
/// delivery.reply.report(Vec::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryCommands {
    tenant: TenantId,
    agent: AgentId,
    commands: Arc<Queue<Bytes>>,
    reports: Arc<Queue<CommandReport>>,
}

impl MemoryCommands {
    /// Holds at most so many commands, and so many reports.
    pub fn new(tenant: TenantId, agent: AgentId, capacity: NonZeroUsize) -> Self {
        let capacity = capacity.get();
        let (commands, reports) = (Arc::new(Queue::new(capacity)), Arc::new(Queue::new(capacity)));
        Self { tenant, agent, commands, reports }
    }

    /// The agent's end.
    pub fn source(&self) -> MemoryCommandSource {
        MemoryCommandSource(self.clone())
    }

    /// The control plane's end.
    pub fn reports(&self) -> MemoryReportSource {
        MemoryReportSource(Arc::clone(&self.reports))
    }
}

#[async_trait]
impl CommandSink for MemoryCommands {
    async fn publish(&self, tenant: &TenantId, agent: &AgentId, signed: Bytes) -> Result<()> {
        if (tenant, agent) != (&self.tenant, &self.agent) {
            let why = format!("the agent of this process is {}.{}", self.tenant, self.agent);
            return Err(Error::new(ErrorKind::NotFound, COMPONENT, why));
        }
        self.commands.add(signed)
    }
}

/// What comes for the agent. See [`MemoryCommands`].
#[derive(Debug)]
pub struct MemoryCommandSource(MemoryCommands);

#[async_trait]
impl CommandSource for MemoryCommandSource {
    async fn next(&mut self) -> Result<Option<CommandDelivery>> {
        let taken = Taken::next(&self.0.commands).await;
        let (signed, attempt) = (taken.item.clone(), taken.attempt);
        let reply = MemoryReply { taken, reports: Arc::clone(&self.0.reports) };
        Ok(Some(CommandDelivery { signed, attempt, reply: Box::new(reply) }))
    }
}

#[derive(Debug)]
struct MemoryReply {
    taken: Taken<Bytes>,
    reports: Arc<Queue<CommandReport>>,
}

#[async_trait]
impl CommandReply for MemoryReply {
    async fn report(mut self: Box<Self>, reports: Vec<CommandReport>) -> Result<()> {
        for report in reports {
            self.reports.add(report)?;
        }
        self.taken.done = true;
        Ok(())
    }
}

/// What the agent reports. See [`MemoryCommands`].
#[derive(Debug)]
pub struct MemoryReportSource(Arc<Queue<CommandReport>>);

#[async_trait]
impl ReportSource for MemoryReportSource {
    async fn next(&mut self) -> Result<Option<ReportDelivery>> {
        let taken = Taken::next(&self.0).await;
        Ok(Some(ReportDelivery { report: taken.item.clone(), ack: Box::new(MemoryAck(taken)) }))
    }
}

#[derive(Debug)]
struct MemoryAck(Taken<CommandReport>);

#[async_trait]
impl Ack for MemoryAck {
    async fn ack(mut self: Box<Self>) -> Result<()> {
        self.0.done = true;
        Ok(())
    }

    async fn nak(self: Box<Self>, delay: Duration) -> Result<()> {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(self);
        });
        Ok(())
    }
}

const COMPONENT: &str = "commands in memory";

/// Items in their order, each with how often it was taken.
#[derive(Debug)]
struct Queue<T> {
    items: Mutex<VecDeque<(T, u32)>>,
    capacity: usize,
    added: Notify,
}

impl<T> Queue<T> {
    fn new(capacity: usize) -> Self {
        Self { items: Mutex::default(), capacity, added: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(T, u32)>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, item: T) -> Result<()> {
        let mut items = self.lock();
        if items.len() >= self.capacity {
            let why = format!("{} wait already", self.capacity);
            return Err(Error::new(ErrorKind::Unavailable, COMPONENT, why));
        }
        items.push_back((item, 0));
        self.added.notify_one();
        Ok(())
    }
}

/// An item that goes back to the head of its queue unless it is done.
#[derive(Debug)]
struct Taken<T: Clone> {
    item: T,
    attempt: u32,
    queue: Arc<Queue<T>>,
    done: bool,
}

impl<T: Clone> Taken<T> {
    async fn next(queue: &Arc<Queue<T>>) -> Self {
        loop {
            let added = queue.added.notified();
            let first = queue.lock().pop_front();
            if let Some((item, taken)) = first {
                let queue = Arc::clone(queue);
                return Self { item, attempt: taken.saturating_add(1), queue, done: false };
            }
            added.await;
        }
    }
}

impl<T: Clone> Drop for Taken<T> {
    fn drop(&mut self) {
        if !self.done {
            self.queue.lock().push_front((self.item.clone(), self.attempt));
            self.queue.added.notify_one();
        }
    }
}
