//! `detect`: rules on accepted telemetry, from the broker back to it as alerts.

mod config;
mod metrics;
mod published;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use lavender_core::pipeline::{DetectionOptions, DetectionWorker};
use lavender_core::ruleset::PublishedRulesets;
use lavender_core::transport::{Subscription, Topic};
use lavender_core::{Result, StateStore, async_trait};
use lavender_detect::SigmaFleetDetector;
use lavender_transport::nats::BucketOptions;

pub use self::config::{DetectionConfig, RulesConfig};
use self::metrics::Detected;
use self::published::Following;
use self::rules::{Hangups, Rules};
use crate::cli::DetectArgs;
use crate::connect;
use crate::exit::{Exit, Failure};
use crate::health::Dependency;
use crate::worker::Worker;

/// Runs the role until it is to stop.
///
/// # Errors
///
/// When it cannot start, the broker does not permit it, or it had to stop while the broker was away.
pub async fn run(args: &DetectArgs) -> std::result::Result<(), Failure> {
    let mut worker = Worker::start(&args.worker).await?;
    let rules = Rules::new(&worker.config.rules, &args.rules);
    let detection = &worker.config.detection;
    let transport = connect::options(&worker.config.transport)?;
    let fleet = detection.fleet(transport.consumer.ack_wait)?;
    let (silence, mut bucket) = (detection.silence(), detection.bucket());
    // What is known of an agent must outlive a server as the agent's telemetry does.
    bucket.replicas = transport.streams.replicas;
    let handle = rules.open()?;
    let detector = SigmaFleetDetector::new(handle.detector(), fleet)
        .map_err(|error| Failure::new(Exit::Configuration, error))?;
    let hangups = Hangups::listen()?;
    let mut following = Following::new(rules, handle, &mut worker.registry);
    let detector = detector.with_tenants(following.tenants().clone());
    if worker.config.rules.published {
        let mut bucket = BucketOptions::rules();
        bucket.replicas = transport.streams.replicas;
        let published = PublishedRulesets::new(worker.state(bucket).await?);
        // A worker that starts again begins with what was published last.
        let stop = worker.stop.clone();
        connect::retry(Exit::Transport, &stop, async || following.follow(published.clone()).await)
            .await?;
    }

    // The bucket that all detection workers share.
    let state = worker.state(bucket).await?;
    worker.health.depend_on(State(Arc::clone(&state)));
    let durable = Subscription { topic: Topic::TelemetryAccepted, durable: "detection".into() };
    let consumer = worker.consume_by_agent(durable).await?;
    let publisher = Arc::new(worker.transport.clone());
    let mut options = DetectionOptions::default();
    options.silence = silence;
    let detection =
        DetectionWorker::new(consumer, detector, state, publisher).with_options(options);
    Detected::register(&mut worker.registry, detection.progress());
    let stop = worker.stop.clone();
    let work = async {
        tokio::select! {
            report = detection.run(stop.asked()) => report,
            never = following.run(hangups) => match never {},
        }
    };
    let report = worker.run(Exit::Transport, work).await?;
    tracing::info!(events = report.events, alerts = report.alerts, "stopped");
    Ok(())
}

/// The bucket, by a key that nothing has.
#[derive(Debug)]
struct State(Arc<dyn StateStore>);

#[async_trait]
impl Dependency for State {
    fn name(&self) -> &'static str {
        "state"
    }

    async fn check(&self) -> Result<()> {
        self.0.get("health").await.map(|_| ())
    }
}

/// A number of seconds, as configured.
const fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds as u64)
}
