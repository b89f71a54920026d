//! The backend's half in this process: what the pipeline publishes is stored, and shown.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::pipeline::{AlertWriter, EventWriter, Overflow, WriterReport};
use lavender_core::transport::{Subscription, Topic};
use lavender_core::{AlertStore, EventStore, Publisher, Result, Transport};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::OutputConfig;
use crate::output::{JsonLines, LineWriter};
use crate::tally::Tally;

/// The writers behind a transport, and stdout.
#[derive(Debug)]
pub struct Backend {
    publisher: Arc<dyn Publisher>,
    tally: Tally,
    events: JoinHandle<Result<WriterReport>>,
    alerts: JoinHandle<Result<WriterReport>>,
    lines: LineWriter,
}

/// What was not stored in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unstored {
    /// Events.
    pub events: u64,
    /// Alerts.
    pub alerts: u64,
}

impl Backend {
    /// Starts the writers: from `transport` to `store` and, as `output` says, to stdout.
    ///
    /// # Errors
    ///
    /// When the transport cannot be subscribed to.
    pub async fn start<S: EventStore + AlertStore>(
        transport: Arc<dyn Transport>,
        store: Arc<S>,
        output: OutputConfig,
        overflow: Overflow,
    ) -> Result<Self> {
        let (lines, line_writer) = JsonLines::new(io::stdout(), overflow);
        let tally = Tally::default();
        let subscribe = async |topic, durable: &str| {
            let consumer = transport.subscribe(Subscription { topic, durable: durable.into() });
            consumer.await.map(|consumer| tally.consumer(consumer))
        };
        let events = subscribe(Topic::TelemetryAccepted, "telemetry-writer").await?;
        let mut events = EventWriter::new(events, Arc::clone(&store) as Arc<dyn EventStore>);
        if output.events {
            events = events.with_observer(lines.clone());
        }
        let alerts = subscribe(Topic::Alerts, "alert-writer").await?;
        let mut alerts = AlertWriter::new(alerts, store as Arc<dyn AlertStore>);
        if output.alerts {
            alerts = alerts.with_observer(lines);
        }
        Ok(Self {
            publisher: tally.publisher(transport as Arc<dyn Publisher>),
            tally,
            events: tokio::spawn(events.run()),
            alerts: tokio::spawn(alerts.run()),
            lines: line_writer,
        })
    }

    /// Where the pipeline publishes.
    pub fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher)
    }

    /// Resolves once nobody reads stdout any more.
    pub fn reader_gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.lines.reader_gone()
    }

    /// What is stored by now.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Waits until everything that was published is stored and shown, until `deadline` at the most. The
    /// transport must have been closed before. Tells what is not stored.
    ///
    /// # Errors
    ///
    /// When a writer could not go on.
    pub async fn finish(self, deadline: Instant) -> Result<Unstored> {
        let Self { events, alerts, tally, lines, publisher } = self;
        drop(publisher);
        let abort = (events.abort_handle(), alerts.abort_handle());
        let both = async { (events.await, alerts.await) };
        let ended = tokio::time::timeout_at(deadline, both).await;
        abort.0.abort();
        abort.1.abort();
        let left = deadline.saturating_duration_since(Instant::now());
        lines.finish(left.max(Duration::from_millis(200))).await;
        if let Ok((events, alerts)) = ended {
            for report in [events, alerts].into_iter().flatten() {
                report?;
            }
        }
        Ok(Unstored { events: tally.events_open(), alerts: tally.alerts_open() })
    }
}
