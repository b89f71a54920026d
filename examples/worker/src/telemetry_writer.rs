//! `telemetry-writer`: telemetry that was accepted, from the broker into the store.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::pipeline::Writer;
use lavender_core::transport::{Subscription, Topic};
use lavender_core::{Clock as _, SystemClock};
use lavender_store::Store;

use crate::cli::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::worker::Worker;

/// How often days that are over are forgotten.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

/// Runs the role until it is to stop.
///
/// # Errors
///
/// When it cannot start, or had to stop while the store was away.
pub async fn run(args: &StoreArgs) -> Result<(), Failure> {
    let (mut worker, store) = Worker::start_with_store(args).await?;
    let durable =
        Subscription { topic: Topic::TelemetryAccepted, durable: "telemetry-writer".into() };
    let consumer = worker.consume(durable).await?;
    let writer = Writer::of_events(consumer, Arc::clone(&store) as _);
    let days = worker.config.store.retention_days;
    let work = async {
        tokio::select! {
            report = writer.run() => report,
            never = retain(&store, days) => match never {},
        }
    };
    let report = worker.run(Exit::Store, work).await?;
    tracing::info!(stored = report.stored, duplicates = report.duplicates, "stopped");
    store.close().await.map_err(|error| Failure::new(Exit::Store, error))
}

/// Forgets days that are over, at once and from then on every hour.
async fn retain(store: &Arc<dyn Store>, days: Option<NonZeroU32>) -> std::convert::Infallible {
    let Some(days) = days else { return std::future::pending().await };
    let mut interval = tokio::time::interval(RETENTION_INTERVAL);
    loop {
        interval.tick().await;
        match store.retain(SystemClock.now().saturating_sub(DAY * days.get())).await {
            Ok(0) => {}
            Ok(days) => tracing::info!(days, "forgot the events of days that are over"),
            Err(error) => tracing::error!(%error, "could not forget old events, will try again"),
        }
    }
}
