//! The backend's half: what is consumed is stored, and what is stored is acknowledged.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

use crate::alert::{AgentIdentity, Alert};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::source::Sink;
use crate::store::{AlertStore, EventStore, Inserted};
use crate::transport::{Consumer, Delivery, Message, Payload};

/// How a writer deals with a store that does not take what it is given.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// The wait after the first failure; doubled after each further one.
    pub retry_delay: Duration,
    /// The longest wait between two tries.
    pub retry_delay_max: Duration,
    /// How many failures in a row are borne before the writer gives up with the store's error. What it
    /// could not store stays with the transport.
    pub max_failures: u32,
    /// The most messages that are taken at once.
    pub messages: usize,
    /// The most agents whose messages are stored at once. A store that can joins what comes at once in one commit.
    pub agents: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            retry_delay: Duration::from_millis(50),
            retry_delay_max: Duration::from_secs(5),
            max_failures: u32::MAX,
            messages: 64,
            agents: 8,
        }
    }
}

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterReport {
    /// Stored for the first time.
    pub stored: u64,
    /// Had been stored before.
    pub duplicates: u64,
    /// Tries that failed.
    pub failures: u64,
}

/// Stores what it consumes, and acknowledges what is stored: the `telemetry-writer`
/// ([`Writer::of_events`]) and the `alert-writer` ([`Writer::of_alerts`]).
#[derive(Debug)]
pub struct Writer<T> {
    consumer: Box<dyn Consumer>,
    to: Destination<T>,
}

/// Apart from the consumer, which may not be shared between threads.
#[derive(Debug)]
struct Destination<T> {
    store: Box<dyn Storing<T>>,
    observers: Vec<Box<dyn Sink<Arc<T>>>>,
    options: WriterOptions,
}

/// What messages carry, by whose it is.
type BySource<T> = Vec<(AgentIdentity, Vec<Arc<T>>)>;

/// One kind of things, and the store that takes them.
#[async_trait]
trait Storing<T>: fmt::Debug + Send + Sync {
    /// The writer's name.
    fn name(&self) -> &'static str;

    /// What a message carries of this kind; `None` when it carries another.
    fn items<'a>(&self, message: &'a Message) -> Option<&'a [Arc<T>]>;

    async fn store(&self, source: &AgentIdentity, items: &[Arc<T>]) -> Result<Inserted>;
}

#[async_trait]
impl Storing<Event> for Arc<dyn EventStore> {
    fn name(&self) -> &'static str {
        "telemetry-writer"
    }

    fn items<'a>(&self, message: &'a Message) -> Option<&'a [Arc<Event>]> {
        match &message.payload {
            Payload::Events(events) => Some(events),
            Payload::Alerts(_) => None,
        }
    }

    async fn store(&self, source: &AgentIdentity, items: &[Arc<Event>]) -> Result<Inserted> {
        self.append(source, items).await
    }
}

#[async_trait]
impl Storing<Alert> for Arc<dyn AlertStore> {
    fn name(&self) -> &'static str {
        "alert-writer"
    }

    fn items<'a>(&self, message: &'a Message) -> Option<&'a [Arc<Alert>]> {
        match &message.payload {
            Payload::Alerts(alerts) => Some(alerts),
            Payload::Events(_) => None,
        }
    }

    async fn store(&self, _source: &AgentIdentity, items: &[Arc<Alert>]) -> Result<Inserted> {
        self.insert(items).await
    }
}

impl Writer<Event> {
    /// A writer of telemetry from a consumer to a store.
    pub fn of_events(consumer: Box<dyn Consumer>, store: Arc<dyn EventStore>) -> Self {
        Self::new(consumer, Box::new(store))
    }
}

impl Writer<Alert> {
    /// A writer of alerts from a consumer to a store.
    pub fn of_alerts(consumer: Box<dyn Consumer>, store: Arc<dyn AlertStore>) -> Self {
        Self::new(consumer, Box::new(store))
    }
}

impl<T: Send + Sync + 'static> Writer<T> {
    fn new(consumer: Box<dyn Consumer>, store: Box<dyn Storing<T>>) -> Self {
        let options = WriterOptions::default();
        Self { consumer, to: Destination { store, observers: Vec::new(), options } }
    }

    /// Shows every item once it is stored, or once the store has refused it or what came before it: a store that is down
    /// must not hide what happens. What is shown and not stored is held in memory, as much as the transport hands out.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Sink<Arc<T>>) -> Self {
        self.to.observers.push(Box::new(observer));
        self
    }

    /// How failures are dealt with.
    #[must_use]
    pub const fn with_options(mut self, options: WriterOptions) -> Self {
        self.to.options = options;
        self
    }

    /// Runs until the consumer is at its end.
    ///
    /// # Errors
    ///
    /// When the consumer cannot go on, or the store has failed
    /// [`max_failures`](WriterOptions::max_failures) times in a row.
    pub async fn run(mut self) -> Result<WriterReport> {
        let mut report = WriterReport::default();
        let mut ahead = VecDeque::new();
        loop {
            let most = self.to.options.messages.max(1);
            let shown = !ahead.is_empty();
            let deliveries: Vec<Delivery> = match shown {
                true => ahead.drain(..most.min(ahead.len())).collect(),
                false => self.consumer.next(most).await?,
            };
            if deliveries.is_empty() {
                return Ok(report);
            }
            let groups = self.to.by_source(&deliveries);
            self.store(groups, shown, &mut ahead, &mut report).await?;
            acknowledge(deliveries).await;
        }
    }

    /// Stores what was delivered. Once the store has refused any of it, what comes meanwhile is shown, and waits in `ahead`.
    async fn store(
        &mut self,
        groups: BySource<T>,
        shown: bool,
        ahead: &mut VecDeque<Delivery>,
        report: &mut WriterReport,
    ) -> Result<()> {
        let Self { consumer, to } = self;
        let refused = Notify::new();
        let mut storing = pin!(to.store_all(groups, (shown, &refused), report));
        let mut looks_ahead = false;
        loop {
            tokio::select! {
                biased;
                stored = &mut storing => return stored,
                () = refused.notified() => looks_ahead = !to.observers.is_empty(),
                more = consumer.next(to.options.messages.max(1)), if looks_ahead => {
                    let more = more?;
                    // At its end it would say so again and again.
                    looks_ahead = !more.is_empty();
                    let groups = to.by_source(&more);
                    for (_, items) in groups {
                        show(&to.observers, &items).await;
                    }
                    ahead.extend(more);
                }
            }
        }
    }
}

impl<T: Send + Sync + 'static> Destination<T> {
    /// Joins what messages of one agent carry, in their order, so that it is stored at once: those of many agents come
    /// in turns.
    fn by_source(&self, deliveries: &[Delivery]) -> BySource<T> {
        let mut groups: BySource<T> = Vec::new();
        let mut places: HashMap<&AgentIdentity, usize> = HashMap::new();
        for Delivery { message, .. } in deliveries {
            let Some(items) = self.store.items(message) else {
                tracing::warn!(subject = %message.subject(), "{}: not for me", self.store.name());
                continue;
            };
            let place = *places.entry(&message.source).or_insert_with(|| {
                groups.push((message.source.clone(), Vec::new()));
                groups.len() - 1
            });
            groups[place].1.extend_from_slice(items);
        }
        groups
    }

    /// Stores what is of several agents, of some at once. `shown`: it was before. `refused` is told when any is.
    async fn store_all(
        &self,
        groups: BySource<T>,
        (shown, refused): (bool, &Notify),
        report: &mut WriterReport,
    ) -> Result<()> {
        let store = async |(source, items): (AgentIdentity, Vec<Arc<T>>)| {
            let mut of_agent = WriterReport::default();
            let stored = self.store(&source, &items, (shown, refused), &mut of_agent).await;
            stored.map(|()| of_agent)
        };
        let at_once = self.options.agents.max(1);
        let mut stored = pin!(stream::iter(groups).map(store).buffer_unordered(at_once));
        while let Some(of_agent) = stored.next().await {
            let WriterReport { stored, duplicates, failures } = of_agent?;
            report.stored += stored;
            report.duplicates += duplicates;
            report.failures += failures;
        }
        Ok(())
    }

    async fn store(
        &self,
        source: &AgentIdentity,
        items: &[Arc<T>],
        (mut shown, refused): (bool, &Notify),
        report: &mut WriterReport,
    ) -> Result<()> {
        let mut backoff = Backoff::new(self.options);
        loop {
            let result = self.store.store(source, items).await;
            if !shown {
                show(&self.observers, items).await;
                shown = true;
            }
            match result {
                Ok(inserted) => {
                    report.stored += inserted.new;
                    report.duplicates += inserted.duplicate;
                    return Ok(());
                }
                Err(error) => {
                    refused.notify_one();
                    backoff.wait(self.store.name(), error, report).await?;
                }
            }
        }
    }
}

async fn show<T: Send + Sync + 'static>(observers: &[Box<dyn Sink<T>>], items: &[T]) {
    for observer in observers {
        if let Err(error) = observer.write(items).await {
            tracing::error!(%error, "an observer did not take what was stored");
        }
    }
}

/// All at once: the transport confirms each, and waiting for one after the other would take longer than storing.
async fn acknowledge(deliveries: Vec<Delivery>) {
    let answers = deliveries.into_iter().map(async |Delivery { message, ack, .. }| {
        if let Err(error) = ack.ack().await {
            // It comes again, and the store knows it by its id.
            let subject = message.subject();
            tracing::warn!(%error, %subject, "stored, but not acknowledged");
        }
    });
    join_all(answers).await;
}

/// Waits between tries, longer each time, and gives up after so many.
struct Backoff {
    options: WriterOptions,
    delay: Duration,
    failures: u32,
}

impl Backoff {
    const fn new(options: WriterOptions) -> Self {
        Self { options, delay: options.retry_delay, failures: 0 }
    }

    async fn wait(&mut self, writer: &str, error: Error, report: &mut WriterReport) -> Result<()> {
        self.failures += 1;
        report.failures += 1;
        if self.failures >= self.options.max_failures {
            return Err(error);
        }
        let retry_in_ms = self.delay.as_millis() as u64;
        tracing::error!(%error, retry_in_ms, "{writer}: not stored, will try again");
        tokio::time::sleep(self.delay).await;
        self.delay = (self.delay * 2).min(self.options.retry_delay_max);
        Ok(())
    }
}
