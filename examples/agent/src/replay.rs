//! `lavender-agent replay`.

use std::path::Path;
use std::sync::Arc;

use lavender_bpf::{CaptureError, CaptureHeader, Replay};
use lavender_core::pipeline::{Overflow, Pipeline, PipelineReport};
use lavender_core::{ErrorKind, Origin, Sequencer, Transport};
use lavender_detect::RuleHandle;
use lavender_store::Store;
use lavender_transport::{MemoryOptions, MemoryTransport};

use crate::backend::Backend;
use crate::cli::ReplayArgs;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::rules::{RuleSource, log_budget_notices};
use crate::shutdown::{FLUSH_TIMEOUT, Patience, shutdown};
use crate::stages::with_stages;
use crate::store;

/// A small capture of harmless stand-ins of attacks; see `captures/`.
const DEMO: &[u8] = include_bytes!("../captures/demo.lavcap");

/// Runs everything behind the kernel from a capture.
///
/// # Errors
///
/// When the configuration, the rules or the capture are wrong, or not everything could be stored.
pub async fn replay(args: ReplayArgs) -> Result<(), Failure> {
    let (mut config, _) = config::load(args.config.config.as_deref())?;
    config.output.events |= args.events;
    let rule_source = RuleSource::new(&config, &args.rules);
    let rules = rule_source.open()?;
    let capture = open(args.file.as_deref()).map_err(|e| Failure::new(Exit::Capture, e))?;
    // What is replayed is stored only where it is told to: it is not of now, and may not be of this host.
    let store = store::open(args.store.as_deref().unwrap_or("memory:"))?;
    let result = play(capture, &config, &rule_source, &rules, &store).await;
    if let Ok(Err(error)) = tokio::time::timeout(FLUSH_TIMEOUT, store.close()).await {
        tracing::error!(%error, "the store did not close in order");
    }
    result
}

fn open(file: Option<&Path>) -> Result<Replay, CaptureError> {
    match file {
        Some(file) => Replay::open(file),
        None => Replay::from_reader("that the agent brings along", DEMO),
    }
}

async fn play(
    capture: Replay,
    config: &Config,
    rule_source: &RuleSource,
    rules: &RuleHandle,
    store: &Arc<dyn Store>,
) -> Result<(), Failure> {
    let header = capture.header().clone();
    let transport = Arc::new(MemoryTransport::new(MemoryOptions::default()));
    let backend = Backend::start(
        Arc::clone(&transport) as Arc<dyn Transport>,
        Arc::clone(store),
        config.output,
        Overflow::Wait,
    )
    .await
    .map_err(|error| Failure::new(Exit::Failure, error))?;
    let (shutdown, asked) = shutdown(None, backend.reader_gone())?;
    let sequencer = own_sequencer(&header);
    let pipeline = Pipeline::new(capture, header.identity, sequencer, backend.publisher())
        .with_queue(config.store.queue_events.get() as usize, Overflow::Wait)
        .with_detector(rule_source.detector(rules));
    let pipeline = with_stages(pipeline, config)?;
    let tally = backend.tally().clone();
    let mut patience = Patience::new(asked, || tally.done());
    let ended = tokio::select! {
        report = pipeline.run(shutdown) => Some(report),
        () = patience.runs_out() => None,
    };
    log_budget_notices(rules);
    transport.close();
    let unstored = backend
        .finish(patience.runs_out())
        .await
        .map_err(|error| Failure::new(Exit::Store, error))?;
    match ended {
        Some(Ok(report)) => {
            let PipelineReport { events, alerts, suppressed, lost, gaps } = report;
            let undetermined = rules.undetermined();
            tracing::info!(
                events,
                alerts,
                suppressed,
                lost,
                forgotten = gaps.forgotten,
                late = gaps.late,
                undetermined,
                "replayed"
            );
        }
        Some(Err(error)) => {
            let damaged = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid);
            return Err(Failure::new(if damaged { Exit::Capture } else { Exit::Failure }, error));
        }
        None => {}
    }
    unstored.check()
}

/// Numbers for what the replay itself has to say: losses. Neither those of the run that was captured, nor
/// those of the replay of another capture, and the same every time.
fn own_sequencer(header: &CaptureHeader) -> Sequencer {
    let origin = Origin::new(&header.identity.tenant, &header.identity.agent, header.boot);
    let created_us = header.created_at.as_nanos().unsigned_abs() / 1_000;
    Sequencer::resume(origin, (1 << 46) | (created_us & ((1 << 46) - 1)))
}
