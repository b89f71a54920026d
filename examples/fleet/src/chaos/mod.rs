//! Chaos: the whole way of events, with every process and server killed in turn, and what must hold of it then.

pub mod expected;
pub mod order;
pub mod own;
pub mod part;
pub mod queues;
pub mod simulate;
mod site;
pub mod stream;
pub mod verify;

use std::time::Duration;

use lavender_core::store::TimeRange;
use lavender_core::{BootTime, Clock as _, SystemClock, Timestamp};

use self::order::Order;
use self::queues::Queues;
pub use self::simulate::Simulate;
use self::site::ChaosSite;
use self::stream::{Random, Streams};
use crate::error::{FleetError, Result};
use crate::fleet::Programs;

/// How much longer before now than the last heartbeat is late the streams begin.
const BEGAN: Duration = Duration::from_secs(7_200);
/// The mean time from one kill to the next, beside what it takes to come back.
const PERIOD: Duration = Duration::from_millis(1_500);
/// The longest that a part is away, beside what it takes to come back.
const AWAY_MS: u64 = 1_500;
/// How long what only waits for time may take: a worker that never touched an agent's state finds that it is due when it
/// looks through all states, every 30 s.
const DECIDED: Duration = Duration::from_secs(60);
/// How often it is looked meanwhile.
const DECIDED_LOOKS: u32 = 12;
/// How long all is well before the broker goes away.
const BEFORE_OUTAGE: Duration = Duration::from_secs(2);
/// How long nothing may be done with before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is to be done.
#[derive(Clone, Debug, clap::Args)]
pub struct ChaosOptions {
    /// How many events there are of all agents together.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// How many agents.
    #[arg(long, default_value_t = 10)]
    agents: usize,
    /// How many processes and servers are killed. Each is killed in turn, so that none is spared when there are as many
    /// as parts.
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// What decides events, order and times of the kills; one of the clock when it is not said.
    #[arg(long)]
    seed: Option<u64>,
    /// The broker is three servers, each message on all of them.
    #[arg(long)]
    cluster: bool,
    /// For so many seconds of the run, the broker is away.
    #[arg(long, value_name = "SECONDS", default_missing_value = "60", num_args = 0..=1)]
    outage: Option<u64>,
    /// The most bytes of an agent's spool.
    #[arg(long, default_value_t = 512 << 20)]
    spool_bytes: u64,
}

/// Runs it, shows each kill, and says the figures; `say` shows a line.
///
/// # Errors
///
/// When something does not hold, or a part does not come back.
pub async fn chaos(
    programs: &Programs,
    options: &ChaosOptions,
    say: impl Fn(String) -> Result<()>,
) -> Result<String> {
    let ChaosOptions { events, agents, kills, cluster, outage, spool_bytes, .. } = *options;
    if agents == 0 || events < agents as u64 {
        return Err(FleetError::Missing("chaos needs an agent, and an event of each".into()));
    }
    let now = SystemClock.now();
    let seed = options.seed.unwrap_or(now.as_nanos() as u64 % 1_000_000);
    say(format!("seed {seed}"))?;
    let begin = Timestamp::from_millis(now.saturating_sub(BEGAN).as_millis());
    let streams = Streams { seed, begin, events: events / agents as u64 };
    // Events go on happening for as long as something is killed.
    let lasts = (PERIOD + Duration::from_millis(AWAY_MS / 2 + 500)) * kills as u32
        + Duration::from_secs(outage.unwrap_or(0));
    let rate = (streams.events / lasts.as_secs().max(1)).max(1);
    let began = SystemClock.boot_time();
    let mut site = ChaosSite::start(programs, &streams, agents, cluster, rate, spool_bytes).await?;
    let queues = Queues::open(&site.site, &site.ports).await?;
    say("  kill      at  part                away  back after".into())?;
    let (mut away, mut order) = (None, None);
    if let Some(seconds) = outage {
        order = Some(Order::watch(&queues).await?);
        tokio::time::sleep(BEFORE_OUTAGE).await;
        for part in site.parts.iter_mut().filter(|part| part.name().starts_with("nats-server")) {
            part.kill().await?;
        }
        let from = SystemClock.now();
        say(format!("     -  {:>5.1}s  the broker        {seconds:>5}s", since(began)))?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        away = Some(TimeRange { from, to: SystemClock.now() });
        // Servers of a cluster become ready together.
        for part in site.parts.iter_mut().filter(|part| part.name().starts_with("nats-server")) {
            part.restart().await?;
        }
    }
    let mut random = Random(seed);
    let mut turn = Vec::new();
    for kill in 1..=kills {
        tokio::time::sleep(PERIOD / 2 + Duration::from_millis(random.below(1_500))).await;
        if turn.is_empty() {
            turn = (0..site.parts.len()).collect();
        }
        let next = turn.swap_remove(random.below(turn.len() as u64) as usize);
        let away = Duration::from_millis(random.below(AWAY_MS));
        let part = &mut site.parts[next];
        let at = since(began);
        part.kill().await?;
        tokio::time::sleep(away).await;
        let restarted = SystemClock.boot_time();
        part.restart().await?;
        let (name, away) = (part.name().to_owned(), away.as_secs_f64());
        say(format!("{kill:>6}  {at:>5.1}s  {name:<18} {away:>4.1}s  {:>6.1}s", since(restarted)))?;
        site.look()?;
    }
    let shed = site.finish(&queues, PATIENCE).await?;
    let drained = since(began);
    let dead_letters = queues.dead_letters().await?;
    let store = lavender_store::open(&site.store_url)?;
    let mut totals = verify::totals(&store, &streams, agents, away).await?;
    let mut looks = 0;
    while totals.missing_alerts > 0 && totals.lost == 0 && looks < DECIDED_LOOKS {
        looks += 1;
        tokio::time::sleep(DECIDED / DECIDED_LOOKS).await;
        totals = verify::totals(&store, &streams, agents, away).await?;
    }
    store.close().await?;
    let mut faults = totals.faults();
    if dead_letters > 0 {
        faults.push(format!("{dead_letters} messages are dead letters"));
    }
    if shed != totals.lost {
        faults.push(format!("{shed} events were shed, {} are counted as lost", totals.lost));
    }
    let outage = order.map(|order| order.seen());
    faults.extend(outage.iter().flat_map(|seen| seen.faults(&totals)));
    if !faults.is_empty() {
        let logs = site.keep();
        return Err(FleetError::Broken(format!(
            "{} (seed {seed}; {totals:?}; logs are kept in {})",
            faults.join("; "),
            logs.display()
        )));
    }
    site.stop().await?;
    Ok(format!(
        "seed {seed}, {kills} kills, {agents} agents: {} events produced = {} stored + {} counted as lost, none twice; \
         {} alerts, those of a single process{}{}; {drained:.0} s",
        totals.produced,
        totals.stored,
        totals.lost,
        totals.alerts,
        if totals.lost == 0 { ", none missing, none twice" } else { " less what was given up" },
        outage.map_or(String::new(), |seen| seen.told(&totals)),
    ))
}

fn since(began: BootTime) -> f64 {
    SystemClock.boot_time().since(began).as_secs_f64()
}
