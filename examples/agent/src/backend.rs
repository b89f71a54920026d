//! The backend's half in this process: what the pipeline publishes is stored, and shown.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::pipeline::{Overflow, Writer, WriterReport};
use lavender_core::transport::{Subscription, Topic};
use lavender_core::{Publisher, Result, Transport};
use lavender_store::Store;
use tokio::task::JoinHandle;

use crate::config::OutputConfig;
use crate::exit::{Exit, Failure};
use crate::output::{LineSink, LineWriter};
use crate::tally::Tally;

/// How long the last lines may take where the rest has already taken too long.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(200);

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

impl Unstored {
    /// An error when there is any.
    ///
    /// # Errors
    ///
    /// [`Exit::Store`].
    pub fn check(self) -> std::result::Result<(), Failure> {
        let Self { events, alerts } = self;
        if events == 0 && alerts == 0 {
            return Ok(());
        }
        let message = format!(
            "{events} events and {alerts} alerts were not stored when time was up; why is logged above"
        );
        Err(Failure::new(Exit::Store, message))
    }
}

impl Backend {
    /// Starts the writers: from `transport` to `store` and, as `output` says, to stdout.
    ///
    /// # Errors
    ///
    /// When the transport cannot be subscribed to.
    pub async fn start(
        transport: Arc<dyn Transport>,
        store: Arc<dyn Store>,
        output: OutputConfig,
        overflow: Overflow,
    ) -> Result<Self> {
        let (lines, line_writer) = LineSink::new(io::stdout(), overflow);
        let tally = Tally::default();
        let subscribe = async |topic, durable: &str| {
            let consumer = transport.subscribe(Subscription { topic, durable: durable.into() });
            consumer.await.map(|consumer| tally.consumer(consumer))
        };
        let events = subscribe(Topic::TelemetryAccepted, "telemetry-writer").await?;
        let mut events = Writer::of_events(events, Arc::<dyn Store>::clone(&store));
        if output.events {
            events = events.with_observer(lines.clone());
        }
        let alerts = subscribe(Topic::Alerts, "alert-writer").await?;
        let mut alerts = Writer::of_alerts(alerts, store);
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

    /// Waits until everything that was published is stored and shown, or until `give_up` resolves. The
    /// transport must have been closed before. Tells what is not stored.
    ///
    /// # Errors
    ///
    /// When a writer could not go on.
    pub async fn finish(self, give_up: impl Future<Output = ()> + Send) -> Result<Unstored> {
        let Self { events, alerts, tally, lines, publisher } = self;
        drop(publisher);
        let writers = [events.abort_handle(), alerts.abort_handle()];
        let mut give_up = std::pin::pin!(give_up);
        let ended = tokio::select! {
            ended = async { [events.await, alerts.await] } => Some(ended),
            () = &mut give_up => None,
        };
        writers.each_ref().iter().for_each(|writer| writer.abort());
        let in_time = ended.is_some();
        tokio::select! {
            () = lines.finish() => {}
            () = give_up, if in_time => {}
            () = tokio::time::sleep(LAST_LINES_TIMEOUT), if !in_time => {}
        }
        for report in ended.into_iter().flatten().flatten() {
            report?;
        }
        Ok(Unstored { events: tally.events_open(), alerts: tally.alerts_open() })
    }
}
