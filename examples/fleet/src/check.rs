//! What must hold of a fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use lavender_core::event::{EventData, LossStage};
use lavender_core::store::{AlertQuery, EventQuery, TimeRange};
use lavender_core::transport::{Message, Payload, Publisher as _, Topic};
use lavender_core::{AgentId, AgentIdentity, Alert, Clock as _, ErrorKind, SystemClock, TenantId};
use lavender_transport::nats::{JetStream, JetStreamOptions, Setup};
use tokio::time::timeout;

use crate::commands::commands;
use crate::error::{FleetError, Result};
use crate::fleet::Fleet;
use crate::published::published;
use crate::site::{AGENTS, CONTROL_PLANE, TENANT};

/// How long an alert may take to be stored before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the store is asked.
const LOOK: Duration = Duration::from_millis(2);

/// What was seen.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How long each act took to be an alert in the database, in order of time.
    pub latencies: Vec<Duration>,
    /// How long each command took from being signed to its result, in order of time.
    pub commands: Vec<Duration>,
    /// How long a published rule took to be in use by the agent.
    pub published: Duration,
    /// The agent's events that are stored.
    pub stored: u64,
    /// The numbers that are not, and are counted as lost.
    pub lost: u64,
    /// What was put aside that nobody may pass on.
    pub dead_letters: u64,
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { latencies, commands, published, stored, lost, dead_letters } = self;
        write!(
            f,
            "{} acts, {} alerts in PostgreSQL: p50 {:.1} ms, p99 {:.1} ms; {} commands carried out: p50 {:.1} ms, \
             p99 {:.1} ms; a published rule in use after {:.1} ms; {stored} events stored, {lost} counted as \
             lost, none missing; {dead_letters} of poison put aside; no agent spoke for another",
            latencies.len(),
            latencies.len(),
            millis(latencies, 50),
            millis(latencies, 99),
            commands.len(),
            millis(commands, 50),
            millis(commands, 99),
            published.as_secs_f64() * 1e3
        )
    }
}

/// The latency that so many percent are within.
fn millis(latencies: &[Duration], percent: usize) -> f64 {
    let last = latencies.len().saturating_sub(1);
    let place = (latencies.len() * percent / 100).min(last);
    latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

/// Acts so many times, then looks at everything else.
///
/// # Errors
///
/// When something does not hold.
pub async fn check(fleet: &mut Fleet, acts: usize) -> Result<Checked> {
    let mut latencies = Vec::with_capacity(acts);
    for number in 0..acts {
        latencies.push(act(fleet, &format!("act-{number}")).await?);
        fleet.look()?;
    }
    latencies.sort_unstable();
    let commands = commands(fleet, acts).await?;
    let published = published(fleet).await?;
    nobody_speaks_for_another(fleet).await?;
    let dead_letters = poison_is_put_aside(fleet).await?;
    fleet.stop_agent().await?;
    let (stored, lost) = everything_is_accounted_for(fleet).await?;
    Ok(Checked { latencies, commands, published, stored, lost, dead_letters })
}

/// One act, and how long it took to be an alert.
async fn act(fleet: &Fleet, mark: &str) -> Result<Duration> {
    let began = SystemClock.boot_time();
    let stored = async {
        loop {
            if alerts(fleet).await?.iter().any(|alert| is_about(alert, mark)) {
                return Ok::<_, FleetError>(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let act = fleet.cgroup.decode_and_run(mark);
    let late = |_| FleetError::Late(format!("the alert of {mark}"), PATIENCE.as_secs());
    let (act, stored) = tokio::join!(act, timeout(PATIENCE, stored));
    act?;
    stored.map_err(late)??;
    Ok(SystemClock.boot_time().since(began))
}

fn is_about(alert: &Alert, mark: &str) -> bool {
    let process = alert.process.as_ref();
    process.is_some_and(|process| {
        let line = String::from_utf8_lossy(process.arguments.value.command_line()).into_owned();
        line.contains(&format!("{mark};"))
    })
}

/// The newest alerts of the fleet's tenant.
async fn alerts(fleet: &Fleet) -> Result<Vec<std::sync::Arc<Alert>>> {
    let query = AlertQuery {
        tenant: TenantId::new(TENANT).ok(),
        limit: 20,
        ..AlertQuery::new(TimeRange::ALL)
    };
    Ok(fleet.store.alerts(&query).await?.items)
}

/// An agent with a user of its own cannot publish as its neighbour, nor the control plane as an agent, and the fault is told
/// at once.
async fn nobody_speaks_for_another(fleet: &Fleet) -> Result<()> {
    let [own, other] = AGENTS;
    let mut options = JetStreamOptions::from_url(&fleet.site.url(fleet.broker.port, own))?;
    options.inbox_prefix = Some(format!("_INBOX.{TENANT}.{own}"));
    let plane = fleet.site.control_plane_url(fleet.broker.port);
    for (who, mut options) in [(own, options), (CONTROL_PLANE, JetStreamOptions::from_url(&plane)?)]
    {
        options.setup = Setup::Skip;
        speaks_for_nobody(fleet, (who, options), other).await?;
    }
    Ok(())
}

async fn speaks_for_nobody(
    fleet: &Fleet,
    (who, options): (&str, JetStreamOptions),
    other: &str,
) -> Result<()> {
    let user = JetStream::open(options).await?;
    let invalid = |error: lavender_core::IdError| FleetError::Broken(error.to_string());
    let source = AgentIdentity {
        tenant: TenantId::new(TENANT).map_err(invalid)?,
        agent: AgentId::new(other).map_err(invalid)?,
        host: "neighbour".into(),
    };
    let page =
        fleet.store.events(&EventQuery { limit: 1, ..EventQuery::new(TimeRange::ALL) }).await?;
    let events = page.items.into_iter().map(|stored| stored.event).collect();
    let message = Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(events) };
    match user.publish(vec![message]).await {
        Err(error) if error.kind() == ErrorKind::Denied => Ok(()),
        Err(error) => {
            Err(FleetError::Broken(format!("{who} as {other} failed otherwise: {error}")))
        }
        Ok(()) => Err(FleetError::Broken(format!("{who} could speak for {other}"))),
    }
}

/// What is no message, comes with its neighbour's name inside, or has no headers, is put aside.
async fn poison_is_put_aside(fleet: &Fleet) -> Result<u64> {
    let broken = |error: &dyn std::fmt::Display| FleetError::Broken(error.to_string());
    let seed = std::fs::read_to_string(fleet.site.file("worker.nk"));
    let seed = seed.map_err(FleetError::io("the workers' seed"))?;
    let client = async_nats::ConnectOptions::with_nkey(seed.trim().to_owned())
        .require_tls(true)
        .add_root_certificates(fleet.site.file("ca.pem"))
        .add_client_certificate(fleet.site.file("client.pem"), fleet.site.file("client.key"))
        .connect(format!("nats://127.0.0.1:{}", fleet.broker.port))
        .await
        .map_err(|error| broken(&error))?;
    let context = jetstream::new(client);
    let letters = async || {
        let stream = context.get_stream("DLQ").await.map_err(|error| broken(&error))?;
        Ok::<_, FleetError>(stream.cached_info().state.messages)
    };
    let before = letters().await?;
    let subject = format!("telemetry.raw.{TENANT}.{}", AGENTS[1]);
    let poison: [&'static [u8]; 4] = [b"", b"{", b"\x28\xb5\x2f\xfd\x00", b"{\"v\":99}\n"];
    for body in poison {
        let sent = context.publish(subject.clone(), body.into()).await;
        sent.map_err(|error| broken(&error))?.await.map_err(|error| broken(&error))?;
    }
    let all = async {
        while letters().await? < before + poison.len() as u64 {
            tokio::time::sleep(LOOK * 10).await;
        }
        Ok::<_, FleetError>(())
    };
    let late = |_| FleetError::Late("what poison must become".into(), PATIENCE.as_secs());
    timeout(PATIENCE, all).await.map_err(late)??;
    Ok(letters().await? - before)
}

/// Whether what was lost there had numbers of the agent's sequence already.
pub(crate) const fn takes_numbers(stage: LossStage) -> bool {
    matches!(stage, LossStage::Queue | LossStage::Spool | LossStage::Transport | LossStage::Store)
}

/// Every number that the agent gave out is stored, or is counted as lost.
async fn everything_is_accounted_for(fleet: &Fleet) -> Result<(u64, u64)> {
    let agent = AgentId::new(AGENTS[0]).ok();
    let complete = async {
        loop {
            let (mut numbers, mut lost) = (BTreeMap::new(), 0);
            let mut query = EventQuery {
                agent: agent.clone(),
                limit: EventQuery::MAX_LIMIT,
                ..EventQuery::new(TimeRange::ALL)
            };
            let mut stopped = false;
            loop {
                let page = fleet.store.events(&query).await?;
                for stored in &page.items {
                    *numbers.entry(stored.event.id.sequence()).or_insert(0_u64) += 1;
                    match &stored.event.data {
                        EventData::Lost(loss) if takes_numbers(loss.stage) => lost += loss.count,
                        EventData::AgentStop(_) => stopped = true,
                        _ => {}
                    }
                }
                let Some(next) = page.next else { break };
                query.after = Some(next);
            }
            if let Some(number) =
                numbers.iter().find_map(|(number, count)| (*count > 1).then_some(number))
            {
                return Err(FleetError::Broken(format!("event {number} is stored more than once")));
            }
            let last = numbers.keys().next_back().copied().unwrap_or(0);
            let stored = numbers.len() as u64;
            if stopped && stored + lost >= last {
                return Ok((stored, lost));
            }
            tokio::time::sleep(LOOK * 50).await;
        }
    };
    let late =
        |_| FleetError::Late("every event up to the agent's last".into(), PATIENCE.as_secs());
    timeout(PATIENCE, complete).await.map_err(late)?
}
