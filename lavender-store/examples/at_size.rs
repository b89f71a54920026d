//! Queries at size: fills an empty store, then times each documented filter.
//!
//! One tenant of 200 agents and a month; the same alerts and events on every machine. A filter's figures are the median
//! and the 95th percentile of 40 queries at ends of time that differ. The last line has the worst of each sort, and the
//! exit status is 1 when one is over its bar: 100 ms for lists and searches, 300 ms for statistics.
//!
//! ```text
//! cargo run --release -p lavender-store --all-features --example at_size -- URL [ALERTS] [EVENTS]
//! ```
//!
//! A store that holds alerts already is measured as it is.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::EventKind;
use lavender_core::store::{AlertQuery, EventQuery, StatisticsQuery, TimeRange};
use lavender_core::{Alert, AlertId, AlertStatus, IncidentId, RuleMeta, Severity, Timestamp};
use lavender_store::Store;

type Outcome<T> = Result<T, Box<dyn Error>>;

const AGENTS: u64 = 200;
const DAY: Duration = Duration::from_secs(86_400);
const DAYS: u32 = 30;
const ROUNDS: u32 = 40;
const BATCH: u64 = 2_000;
/// Of so many agents events are appended at once.
const AT_ONCE: usize = 4;

fn main() -> Outcome<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: at_size URL [ALERTS] [EVENTS]")?;
    let alerts = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let events = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    tokio::runtime::Runtime::new()?.block_on(run(&url, alerts, events))
}

async fn run(url: &str, alerts: u64, events: u64) -> Outcome<ExitCode> {
    let store = lavender_store::open(url)?;
    let mut samples: Vec<_> =
        (0..AGENTS).map(|agent| Sample::new("acme", &format!("web-{agent}"), agent + 1)).collect();
    let found = store.alerts(&AlertQuery { limit: 1, ..AlertQuery::new(TimeRange::ALL) }).await?;
    if found.items.is_empty() {
        fill_alerts(&*store, &mut samples, alerts).await?;
        fill_events(&*store, &mut samples, events).await?;
    }
    let list = time_alerts(&*store, &samples[0]).await?;
    let search = time_events(&*store, &mut samples[0]).await?;
    let statistics = time_statistics(&*store, &samples[0]).await?;
    store.close().await?;
    let [a, b, c] = [list, search, statistics].map(milliseconds);
    println!("worst p95: list {a:.1} ms, search {b:.1} ms, statistics {c:.1} ms");
    let bar = Duration::from_millis(100);
    let met = list < bar && search < bar && statistics < 3 * bar;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first of the weighted values that a number falls on.
fn pick<T: Copy>(number: u64, of: u64, weighted: &[(u64, T)], last: T) -> T {
    let mut left = number % of;
    for (weight, value) in weighted {
        if left < *weight {
            return *value;
        }
        left -= weight;
    }
    last
}

/// What is rare is one in 20,000: fewer than a page in a million, so that a look for it goes through all there is.
async fn fill_alerts(store: &dyn Store, samples: &mut [Sample], count: u64) -> Outcome<()> {
    let began = Instant::now();
    let step = DAYS * DAY / u32::try_from(count.max(1))?;
    let mut at = START;
    let mut random = Sample::new("acme", "random", 7);
    let rules: Vec<_> = (0..300_u64)
        .map(|rule| {
            (format!("rule-{rule}"), Arc::from(format!("attack.t{:04}.001", 1_000 + rule % 40)))
        })
        .collect();
    let templates: Vec<_> = samples
        .iter_mut()
        .map(|sample| {
            let process = sample.process();
            let event = sample.exec(&process);
            sample.alert(&event, "rule-0", Severity::Low)
        })
        .collect();
    for first in (0..count).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..count.min(first + BATCH))
            .map(|number| {
                at = at.saturating_add(step);
                // The smaller of several: the first agents and rules have the most.
                let agent = (random.random() % AGENTS).min(random.random() % AGENTS) as usize;
                let rule = (0..3).fold(300, |least, _| (random.random() % 300).min(least)) as usize;
                let severity =
                    [(1, Severity::Critical), (400, Severity::High), (4_000, Severity::Medium)];
                let severity = pick(random.random(), 20_000, &severity, Severity::Low);
                let status = [(1, AlertStatus::Acknowledged), (4_000, AlertStatus::Open)];
                let status = pick(random.random(), 20_000, &status, AlertStatus::Resolved);
                let template = &templates[agent];
                let event = samples[agent].origin().event(1_000_000_000 + number);
                let (id, tag) = &rules[rule];
                let meta = RuleMeta {
                    id: id.as_str().into(),
                    level: severity,
                    tags: vec![Arc::clone(tag)],
                    ..(*template.rule).clone()
                };
                Arc::new(Alert {
                    id: AlertId::new(id, &[event]),
                    rule: Arc::new(meta),
                    severity,
                    status,
                    observed_at: at,
                    created_at: at,
                    events: vec![event],
                    incident: template
                        .process
                        .as_ref()
                        .map(|process| IncidentId::of_tree(process.id())),
                    ..(**template).clone()
                })
            })
            .collect();
        store.insert(&batch).await?;
    }
    println!("{count} alerts in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn fill_events(store: &dyn Store, samples: &mut [Sample], count: u64) -> Outcome<()> {
    let began = Instant::now();
    let each = count / (u64::from(DAYS) * AGENTS);
    let each = usize::try_from(each)?;
    for day in 0..DAYS {
        for (first, some) in (0..).step_by(AT_ONCE).zip(samples.chunks_mut(AT_ONCE)) {
            let append = async |(number, sample): (usize, &mut Sample)| {
                sample.set_now(START.saturating_add(DAY * day));
                let mut events = sample.busy(each);
                // Rare: one agent in fifty.
                events.extend((number % 50 == 0).then(|| sample.heartbeat()));
                store.append(sample.source(), &events).await
            };
            let appended = (first..).zip(some.iter_mut()).map(append);
            futures_util::future::try_join_all(appended).await?;
        }
    }
    let stored = each as u64 * AGENTS * u64::from(DAYS);
    println!("{stored} events in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Ends of time from the last moment back over ten days.
fn ends() -> impl Iterator<Item = Timestamp> {
    let last = START.saturating_add(DAY * DAYS);
    (0..ROUNDS).map(move |round| last.saturating_sub(DAY / 4 * round))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints a filter's figures; returns its 95th percentile.
fn report(name: &str, mut times: Vec<Duration>, found: usize) -> Duration {
    times.sort();
    let (p50, p95) = (times[times.len() / 2], times[(times.len() * 95).div_ceil(100) - 1]);
    let (median, tail) = (milliseconds(p50), milliseconds(p95));
    println!("{name:<44} p50 {median:>8.2} ms  p95 {tail:>8.2} ms  {found:>4} on the page");
    p95
}

async fn time_alerts(store: &dyn Store, sample: &Sample) -> Outcome<Duration> {
    let tenant = &sample.source().tenant;
    let base = AlertQuery::new(TimeRange::ALL);
    let agent = Some(sample.source().agent.clone());
    let rule: Option<Arc<str>> = Some("rule-0".into());
    let technique: Option<Arc<str>> = Some("T1000".into());
    let critical = Some(Severity::Critical);
    let rare = Some(AlertStatus::Acknowledged);
    let first = AlertQuery { limit: 1, agent: agent.clone(), ..base.clone() };
    let incident = store.alerts(&first).await?.items.first().and_then(|alert| alert.incident);
    let filters = [
        ("alerts", base.clone()),
        ("alerts: status", AlertQuery { status: Some(AlertStatus::Open), ..base.clone() }),
        ("alerts: status, rare", AlertQuery { status: rare, ..base.clone() }),
        (
            "alerts: min_severity low",
            AlertQuery { min_severity: Some(Severity::Low), ..base.clone() },
        ),
        (
            "alerts: min_severity high",
            AlertQuery { min_severity: Some(Severity::High), ..base.clone() },
        ),
        ("alerts: min_severity critical", AlertQuery { min_severity: critical, ..base.clone() }),
        (
            "alerts: min_severity critical, status",
            AlertQuery { min_severity: critical, status: Some(AlertStatus::Open), ..base.clone() },
        ),
        ("alerts: agent", AlertQuery { agent: agent.clone(), ..base.clone() }),
        (
            "alerts: agent, status rare",
            AlertQuery { agent: agent.clone(), status: rare, ..base.clone() },
        ),
        (
            "alerts: agent, min_severity critical",
            AlertQuery { agent: agent.clone(), min_severity: critical, ..base.clone() },
        ),
        ("alerts: agent, rule", AlertQuery { agent, rule: rule.clone(), ..base.clone() }),
        ("alerts: rule", AlertQuery { rule: rule.clone(), ..base.clone() }),
        ("alerts: rule, status rare", AlertQuery { rule, status: rare, ..base.clone() }),
        ("alerts: technique", AlertQuery { technique: technique.clone(), ..base.clone() }),
        (
            "alerts: technique, status rare",
            AlertQuery { technique: technique.clone(), status: rare, ..base.clone() },
        ),
        (
            "alerts: technique, min_severity critical",
            AlertQuery { technique, min_severity: critical, ..base.clone() },
        ),
        ("alerts: incident", AlertQuery { incident, ..base }),
    ];
    let mut worst = Duration::ZERO;
    for (name, mut query) in filters {
        let (mut times, mut found) = (Vec::new(), 0);
        for to in ends() {
            query.time.to = to;
            let began = Instant::now();
            found = store.triage(tenant, &query).await?.items.len().max(found);
            times.push(began.elapsed());
        }
        worst = worst.max(report(name, times, found));
    }
    Ok(worst)
}

async fn time_events(store: &dyn Store, sample: &mut Sample) -> Outcome<Duration> {
    let mut base = EventQuery::new(TimeRange::ALL);
    base.tenant = Some(sample.source().tenant.clone());
    let agent = Some(sample.source().agent.clone());
    let one = EventQuery { agent: agent.clone(), limit: 1, ..base.clone() };
    let first = store.events(&one).await?;
    let process = first.items.first().and_then(|stored| Some(stored.event.process.as_ref()?.id()));
    let response_to = Some(AlertId::new("none", &[sample.origin().event(1)]));
    let filters = [
        ("events", base.clone()),
        ("events: agent", EventQuery { agent: agent.clone(), ..base.clone() }),
        ("events: kind", EventQuery { kind: Some(EventKind::NetConnect), ..base.clone() }),
        ("events: kind, rare", EventQuery { kind: Some(EventKind::Heartbeat), ..base.clone() }),
        ("events: agent, kind", EventQuery { agent, kind: Some(EventKind::Exec), ..base.clone() }),
        ("events: process", EventQuery { process, ..base.clone() }),
        ("events: response_to", EventQuery { response_to, ..base }),
    ];
    let mut worst = Duration::ZERO;
    for (name, mut query) in filters {
        let (mut times, mut found) = (Vec::new(), 0);
        for to in ends() {
            // A search is bounded in time: by a day.
            query.time = TimeRange { from: to.saturating_sub(DAY), to };
            let began = Instant::now();
            found = store.events(&query).await?.items.len().max(found);
            times.push(began.elapsed());
        }
        worst = worst.max(report(name, times, found));
    }
    Ok(worst)
}

async fn time_statistics(store: &dyn Store, sample: &Sample) -> Outcome<Duration> {
    let hour = Duration::from_secs(3_600);
    let spans = [("hour", hour, hour / 60), ("day", DAY, hour), ("month", DAYS * DAY, DAY)];
    let mut worst = Duration::ZERO;
    for (name, span, bucket) in spans {
        let mut times = Vec::new();
        for to in ends() {
            let query =
                StatisticsQuery::new(TimeRange { from: to.saturating_sub(span), to }, bucket);
            let began = Instant::now();
            store.statistics(&sample.source().tenant, &query).await?;
            times.push(began.elapsed());
        }
        worst = worst.max(report(&format!("statistics: {name}"), times, 0));
    }
    Ok(worst)
}
