//! `ingest`: what agents send, checked, stamped and passed on.

use std::sync::Arc;

use lavender_transport::ingest::{Ingest, IngestMonitor, IngestOptions, Rate};
use lavender_transport::nats::BucketOptions;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;

use crate::cli::WorkerArgs;
use crate::config::IngestConfig;
use crate::connect;
use crate::exit::{Exit, Failure};
use crate::health::Broker;
use crate::worker::Worker;

/// Runs the role until it is to stop.
///
/// # Errors
///
/// When it cannot start, or had to stop while the broker was away.
pub async fn run(args: &WorkerArgs) -> Result<(), Failure> {
    let mut worker = Worker::start(args).await?;
    let mut bucket = BucketOptions::default();
    bucket.name = "lavender-ingest".into();
    bucket.replicas = connect::options(&worker.config.transport)?.streams.replicas;
    bucket.bytes_max = worker.config.ingest.state_bytes_max;
    let state = worker.state(bucket).await?;
    let options = options(&worker.config.ingest);
    let ingest = connect::retry(Exit::Transport, &worker.stop, || {
        Ingest::open(&worker.transport, Arc::clone(&state), options.clone())
    });
    let ingest = ingest.await?;
    let monitor = ingest.monitor();
    worker.registry.register_collector(Box::new(Counts(monitor.clone())));
    let subscription = Ingest::subscription();
    worker.health.depend_on(Broker { transport: worker.transport.clone(), subscription });
    let stop = worker.stop.clone();
    let work = ingest.run(async move { stop.asked().await });
    worker.run(Exit::Transport, work).await?;
    tracing::info!(counts = ?monitor.counts(), "stopped");
    Ok(())
}

fn options(config: &IngestConfig) -> IngestOptions {
    let mut options = IngestOptions::default();
    options.checks.body_bytes_max = config.body_bytes_max;
    options.checks.ahead_max = std::time::Duration::from_secs(config.ahead_max_secs);
    options.checks.age_max = std::time::Duration::from_secs(config.age_max_secs);
    options.events_per_agent =
        Some(Rate { per_second: config.events_per_second, burst: config.burst });
    options.gap_wait = std::time::Duration::from_secs(config.gap_wait_secs);
    options
}

/// `lavender_ingest_…_total`.
#[derive(Debug)]
struct Counts(IngestMonitor);

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, count) in self.0.counts().each() {
            let counter = ConstCounter::new(count);
            let name = format!("lavender_ingest_{name}");
            let help = "What ingest has passed on, put aside, held back, reported";
            let metric = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}
