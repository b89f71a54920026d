//! `lavender-agent run`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{Canary, Isolator, SensorSource, host};
use lavender_core::event::AgentStart;
use lavender_core::pipeline::{Checkpoint, Overflow, Pipeline, PipelineReport};
use lavender_core::transport::Topic;
use lavender_core::{AgentIdentity, Origin, Sequencer, Transport};
use lavender_detect::RuleHandle;
use lavender_store::Store;
use lavender_transport::{MemoryOptions, MemoryTransport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::backend::{Backend, Unstored};
use crate::cli::RunArgs;
use crate::commands::Commands;
use crate::config::{self, Config, TransportUrl};
use crate::control_plane::{OwnCommands, control_plane};
use crate::exit::{Exit, Failure};
use crate::fleet::Fleet;
use crate::identity::{identity, kernel_release};
use crate::kept_rules::Kept;
use crate::plan::{Policy, RuleReload};
use crate::prevent::Prevented;
use crate::respond::PolicyResponder;
use crate::rules::{RuleSource, log_budget_notices, watch_budget};
use crate::shutdown::{FLUSH_TIMEOUT, Patience, shutdown};
use crate::stages::with_stages;
use crate::{canary, evidence, isolate, live, published, released, store};

/// Watches this host until it is told to stop.
///
/// # Errors
///
/// When it cannot start, cannot go on, or could not store everything.
pub async fn run(args: RunArgs) -> Result<(), Failure> {
    let (mut config, path) = config::load(args.config.config.as_deref())?;
    if let Some(path) = &path {
        tracing::info!("configured by {}", path.display());
    }
    config.store.url = args.store.clone().unwrap_or(config.store.url);
    if let Some(url) = &args.transport {
        // Not read by the command line's own parser, which would show what is wrong with it whole.
        config.transport.url = TransportUrl::try_from(url.clone())
            .map_err(|error| Failure::new(Exit::Usage, format!("--transport: {error}")))?;
    }
    config.sensor.include_cgroups.extend_from_slice(&args.cgroup);
    config.output.events |= args.events;
    let isolator = isolate::restore(&config);
    if let Some(listen) = args.listen {
        config.control_plane.enabled = Some(true);
        config.control_plane.listen = listen;
    } else if args.no_control_plane {
        config.control_plane.enabled = Some(false);
    }
    config.control_plane.check()?;
    let rule_source = RuleSource::new(&config, &args.rules);
    let rules = rule_source.open()?;
    live::check()?;
    let store = store::open(&config.store.url)?;
    let canary = canary::canary(&config)?;
    let policy = Policy::new(&config, (path.as_deref(), &args.rules), canary.as_ref());
    let rules = (&rule_source, &rules, policy);
    let result = watch(&args, &config, (isolator, canary), rules, &store).await;
    let closed = tokio::time::timeout(FLUSH_TIMEOUT, store.close()).await;
    if let Ok(Err(error)) = closed {
        tracing::error!(%error, "the store did not close in order");
    }
    result
}

/// After so long without an event, detectors are told the time. Events reach them within milliseconds.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// How many outcomes of commands may wait to become events; carrying out waits beyond that.
const RESPONSES_WAITING: usize = 256;

async fn watch(
    args: &RunArgs,
    config: &Config,
    (isolator, canary): (Isolator, Option<Canary>),
    (rule_source, rules, policy): (&RuleSource, &RuleHandle, Policy),
    store: &Arc<dyn Store>,
) -> Result<(), Failure> {
    let identity = identity(&config.agent)?;
    let published =
        published::resume(config, (&**store, &identity.tenant), (rule_source, rules)).await;
    let boot = host::boot_id().map_err(|error| Failure::new(Exit::Host, error))?;
    let origin = Origin::new(&identity.tenant, &identity.agent, boot);
    let last = store.last_sequence(origin).await.map_err(|e| Failure::new(Exit::Store, e))?;
    let sequencer = Sequencer::resume(origin, last.map_or(1, |last| last + 1));
    let mut fleet = Fleet::open(&config.transport, &identity, &sequencer)?;
    let first = sequencer.peek();

    let who = (identity.clone(), boot, sequencer.clone());
    let (ring, evidence_stage) = evidence::evidence(&config.evidence).unzip();
    let plan = policy.plan(&rules.rules());
    let sensor = live::open(&config.sensor, plan, (args.record.as_deref(), ring), who)?;
    let (told, responses) = mpsc::channel(RESPONSES_WAITING);
    let (prevented, prevention) =
        Prevented::start(config, policy.guarded_files(), &rules.rules(), sensor.outcome_handle())?;
    let in_use = (rule_source.clone(), rules.clone(), published);
    let reload = RuleReload::new(in_use, policy, (sensor.plan_handle(), prevented));
    let transport = Arc::new(MemoryTransport::new(MemoryOptions::default()));
    let backend = Backend::start(
        Arc::clone(&transport) as Arc<dyn Transport>,
        Arc::clone(store),
        config.output,
        Overflow::Shed,
    )
    .await
    .map_err(|error| Failure::new(Exit::Failure, error))?;
    let (publisher, topic) = match &mut fleet {
        Some(fleet) => (fleet.publisher(backend.publisher()), Topic::TelemetryRaw),
        None => (backend.publisher(), Topic::TelemetryAccepted),
    };
    let isolator = isolate::with_brokers(isolator, &config.transport).await;
    let responder = PolicyResponder::new(&config.response, isolator)?;
    let own = OwnCommands::open(config, &identity);
    let mut verifier = config.commands.verifier(&identity.tenant, &identity.agent)?;
    if let Some(own) = &own {
        verifier = own.pin(verifier)?;
    }
    let mut sources = own.iter().map(OwnCommands::source).collect::<Vec<_>>();
    if !config.commands.keys.is_empty() {
        sources.extend(fleet.as_ref().map(|fleet| fleet.commands(&identity)));
    }
    let commands = (!sources.is_empty()).then(|| {
        let (enforcer, reload) = (responder.enforcer(), reload.clone());
        Commands::new(&config.commands, &identity, verifier, enforcer, reload, told.clone())
    });
    let heartbeat = Duration::from_secs(config.agent.heartbeat_interval_secs.get().into());
    let start = announcement(&identity, rules, &sensor);
    let canary = canary.map(|canary| (canary, canary::watch(config, &sensor)));
    let who_follows = identity.clone();
    let pipeline = Pipeline::new(sensor, identity, sequencer.clone(), publisher)
        .with_telemetry_topic(topic)
        .with_agent_start(start)
        .with_heartbeat(heartbeat)
        .with_queue(config.store.queue_events.get() as usize, Overflow::Shed)
        .with_detector(rule_source.detector(rules))
        .with_checkpoint(Checkpoint::new(store.clone(), store.clone(), store.clone()))
        .with_idle_after(IDLE_AFTER)
        .with_responder(responder)
        .with_responses(responses)
        .with_ruleset(reload.health());
    let mut pipeline = with_stages(pipeline, config)?;
    if let Some(commands) = &commands {
        pipeline = pipeline.with_commands(commands.tally());
    }
    if let Some((_, watch)) = &canary {
        pipeline = pipeline.with_canary(watch.clone());
    }
    if let Some(health) = prevention {
        pipeline = pipeline.with_prevention(health);
    }
    if let Some(stage) = evidence_stage {
        pipeline = pipeline.with_alert_stage(stage);
    }

    let (shutdown, asked) = shutdown(args.duration, backend.reader_gone())?;
    let _reload = Background(reload_on_hangup(reload.clone())?);
    let follow = fleet.as_ref().filter(|_| published::follows_fleet(config)).map(|fleet| {
        let kept = Kept::new(config.rules.published_dir.as_ref(), &who_follows.tenant);
        fleet.follow_rules(&who_follows, reload.clone(), kept)
    });
    let _published = follow.map(|follow| Background(tokio::spawn(follow)));
    let act_on = |(canary, watch)| Background(tokio::spawn(canary::act_on(canary, watch)));
    let _canary = canary.map(act_on);
    let _budget = Background(tokio::spawn(watch_budget(rules.clone())));
    let retention = store::retain(Arc::clone(store), config.store.clone());
    let _retention = Background(tokio::spawn(retention));
    let shown =
        control_plane(config.clone(), Arc::clone(store), rules.clone(), reload.clone(), own);
    let _control_plane = Background(tokio::spawn(shown));
    let state_file = config.response.isolate.state_file.as_ref().into();
    let _released = Background(tokio::spawn(released::tell(state_file, told)));
    let take = |source| commands.as_ref().map(|to| Background(tokio::spawn(to.take(source))));
    let _commands: Vec<_> = sources.into_iter().filter_map(take).collect();
    let _ = writeln!(std::io::stderr(), "Lavender is watching. Ctrl+C to stop");
    let tally = backend.tally().clone();
    let mut patience = Patience::new(asked, || tally.done());
    let ended = tokio::select! {
        report = pipeline.run(shutdown) => Some(report),
        () = patience.runs_out() => None,
    };
    patience.begin();
    log_budget_notices(rules);
    transport.close();
    let unstored = backend
        .finish(patience.runs_out())
        .await
        .map_err(|error| Failure::new(Exit::Store, error))?;
    if let Some(fleet) = fleet {
        fleet.close(patience.left()).await;
    }
    let Some(ended) = ended else {
        tracing::error!("the pipeline had not ended when time was up");
        // Not all of them got as far as the transport; each has a number.
        let events = sequencer.peek() - first - tally.events_done();
        return Unstored { events, ..unstored }.check();
    };
    let report = ended.map_err(|error| Failure::new(Exit::Failure, error))?;
    let PipelineReport { events, alerts, suppressed, lost, gaps } = report;
    tracing::info!(
        events,
        alerts,
        suppressed,
        lost,
        forgotten = gaps.forgotten,
        late = gaps.late,
        undetermined = rules.undetermined(),
        "stopped"
    );
    unstored.check()
}

/// What the agent says of itself when it starts.
fn announcement(identity: &AgentIdentity, rules: &RuleHandle, sensor: &SensorSource) -> AgentStart {
    AgentStart {
        host: Arc::clone(&identity.host),
        version: env!("CARGO_PKG_VERSION").into(),
        kernel_release: kernel_release().into(),
        rules: rules.rules().len() as u64,
        kinds: live::kinds(sensor),
    }
}

/// A task that ends with the run.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Loads the rules again at every SIGHUP.
fn reload_on_hangup(rules: RuleReload) -> Result<JoinHandle<()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup =
        signal(SignalKind::hangup()).map_err(|error| Failure::new(Exit::Failure, error))?;
    Ok(tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let rules = rules.clone();
            // Reads and compiles files; the pipeline goes on meanwhile.
            let reload = tokio::task::spawn_blocking(move || rules.reload());
            if let Err(error) = reload.await {
                tracing::error!(%error, "the rules could not be loaded again, those in use stay");
            }
        }
    }))
}
