//! The backend's half: what is consumed is stored, and what is stored is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use crate::alert::{AgentIdentity, Alert};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::source::Sink;
use crate::store::{AlertStore, EventStore};
use crate::transport::{Consumer, Delivery, Payload};

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
    /// The most messages that are stored at once.
    pub messages: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            retry_delay: Duration::from_millis(50),
            retry_delay_max: Duration::from_secs(5),
            max_failures: u32::MAX,
            messages: 64,
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

/// Stores the events that it consumes, and acknowledges what is stored.
#[derive(Debug)]
pub struct EventWriter {
    consumer: Box<dyn Consumer>,
    to: EventTarget,
}

/// Apart from the consumer, which may not be shared between threads.
#[derive(Debug)]
struct EventTarget {
    store: Arc<dyn EventStore>,
    observers: Vec<Box<dyn Sink<Arc<Event>>>>,
    options: WriterOptions,
}

impl EventWriter {
    /// A writer from a consumer to a store.
    pub fn new(consumer: Box<dyn Consumer>, store: Arc<dyn EventStore>) -> Self {
        let options = WriterOptions::default();
        Self { consumer, to: EventTarget { store, observers: Vec::new(), options } }
    }

    /// Shows every event once it is stored, or once the store has refused it for the first time: a store
    /// that is down must not hide what happens.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Sink<Arc<Event>>) -> Self {
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
        loop {
            let deliveries = self.consumer.next(self.to.options.messages).await?;
            if deliveries.is_empty() {
                return Ok(report);
            }
            for (source, events) in by_source(&deliveries) {
                self.to.store(&source, &events, &mut report).await?;
            }
            acknowledge(deliveries).await;
        }
    }
}

impl EventTarget {
    async fn store(
        &self,
        source: &AgentIdentity,
        events: &[Arc<Event>],
        report: &mut WriterReport,
    ) -> Result<()> {
        let mut backoff = Backoff::new(self.options);
        let mut shown = false;
        loop {
            let result = self.store.append(source, events).await;
            if !shown {
                show(&self.observers, events).await;
                shown = true;
            }
            match result {
                Ok(inserted) => {
                    report.stored += inserted.new;
                    report.duplicates += inserted.duplicate;
                    return Ok(());
                }
                Err(error) => backoff.wait("telemetry-writer", error, report).await?,
            }
        }
    }
}

/// Joins the events of neighbouring messages of one agent, so that they are stored at once.
fn by_source(deliveries: &[Delivery]) -> Vec<(AgentIdentity, Vec<Arc<Event>>)> {
    let mut groups: Vec<(AgentIdentity, Vec<Arc<Event>>)> = Vec::new();
    for delivery in deliveries {
        let Payload::Events(events) = &delivery.message.payload else {
            tracing::warn!(subject = %delivery.message.subject(), "not telemetry: passed over");
            continue;
        };
        match groups.last_mut() {
            Some((source, group)) if *source == delivery.message.source => {
                group.extend_from_slice(events);
            }
            _ => groups.push((delivery.message.source.clone(), events.clone())),
        }
    }
    groups
}

/// Stores the alerts that it consumes, and acknowledges what is stored.
#[derive(Debug)]
pub struct AlertWriter {
    consumer: Box<dyn Consumer>,
    to: AlertTarget,
}

/// Apart from the consumer, which may not be shared between threads.
#[derive(Debug)]
struct AlertTarget {
    store: Arc<dyn AlertStore>,
    observers: Vec<Box<dyn Sink<Arc<Alert>>>>,
    options: WriterOptions,
}

impl AlertWriter {
    /// A writer from a consumer to a store.
    pub fn new(consumer: Box<dyn Consumer>, store: Arc<dyn AlertStore>) -> Self {
        let options = WriterOptions::default();
        Self { consumer, to: AlertTarget { store, observers: Vec::new(), options } }
    }

    /// Shows every alert once it is stored, or once the store has refused it for the first time: a store
    /// that is down must not hide an attack.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Sink<Arc<Alert>>) -> Self {
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
        loop {
            let deliveries = self.consumer.next(self.to.options.messages).await?;
            if deliveries.is_empty() {
                return Ok(report);
            }
            let mut alerts = Vec::new();
            for delivery in &deliveries {
                match &delivery.message.payload {
                    Payload::Alerts(more) => alerts.extend_from_slice(more),
                    Payload::Events(_) => {
                        tracing::warn!(subject = %delivery.message.subject(), "not alerts: passed over");
                    }
                }
            }
            self.to.store(&alerts, &mut report).await?;
            acknowledge(deliveries).await;
        }
    }
}

impl AlertTarget {
    async fn store(&self, alerts: &[Arc<Alert>], report: &mut WriterReport) -> Result<()> {
        let mut backoff = Backoff::new(self.options);
        let mut shown = false;
        loop {
            let result = self.store.insert(alerts).await;
            if !shown {
                show(&self.observers, alerts).await;
                shown = true;
            }
            match result {
                Ok(inserted) => {
                    report.stored += inserted.new;
                    report.duplicates += inserted.duplicate;
                    return Ok(());
                }
                Err(error) => backoff.wait("alert-writer", error, report).await?,
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

async fn acknowledge(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        let subject = delivery.message.subject();
        if let Err(error) = delivery.ack.ack().await {
            // It comes again, and the store knows it by its id.
            tracing::warn!(%error, %subject, "stored, but not acknowledged");
        }
    }
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
