//! `alert-writer`: alerts, from the broker into the store.

use std::sync::Arc;

use lavender_core::pipeline::Writer;
use lavender_core::transport::{Subscription, Topic};

use crate::cli::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::worker::Worker;

/// Runs the role until it is to stop.
///
/// # Errors
///
/// When it cannot start, or had to stop while the store was away.
pub async fn run(args: &StoreArgs) -> Result<(), Failure> {
    let (mut worker, store) = Worker::start_with_store(args).await?;
    let durable = Subscription { topic: Topic::Alerts, durable: "alert-writer".into() };
    let consumer = worker.consume(durable).await?;
    let writer = Writer::of_alerts(consumer, Arc::clone(&store) as _);
    let report = worker.run(Exit::Store, writer.run()).await?;
    tracing::info!(stored = report.stored, duplicates = report.duplicates, "stopped");
    store.close().await.map_err(|error| Failure::new(Exit::Store, error))
}
