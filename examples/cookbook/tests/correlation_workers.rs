//! Correlation by several workers on one store, of which any may be killed at any step: the same alerts as by brute
//! force over the whole history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

#[path = "../../../lavender-detect/tests/correlation/generate.rs"]
mod generate;
#[path = "../../../lavender-detect/tests/correlation/model.rs"]
mod model;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use generate::{Event, LATENESS, Random};
use lavender_core::store::{PutMode, Version};
use lavender_core::{
    AgentId, AlertId, BootId, Bytes, Origin, Result, Sink, StateStore, TenantId, Timestamp,
    async_trait,
};
use lavender_detect::correlate::{
    CorrelationAlert, EventStamp, StoredCorrelator, StoredCorrelatorOptions,
};
use lavender_detect::{FieldValue, FlatRecord, RuleSet};
use lavender_store::{MemoryStore, SqliteOptions, SqliteStore};

/// Lets others go on, and whoever waits be killed, before and after each operation.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// A store whose operations can be interrupted.
#[derive(Debug)]
struct Interruptible(Arc<dyn StateStore>);

#[async_trait]
impl StateStore for Interruptible {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        pause().await;
        self.0.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version> {
        pause().await;
        let version = self.0.put(key, value, mode, ttl).await;
        pause().await;
        version
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        pause().await;
        self.0.keys(prefix, after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }
}

#[derive(Debug, Default)]
struct Raised(Mutex<BTreeSet<AlertId>>);

#[async_trait]
impl Sink<CorrelationAlert> for Raised {
    async fn write(&self, alerts: &[CorrelationAlert]) -> Result<()> {
        pause().await;
        self.0.lock().unwrap().extend(alerts.iter().map(|alert| alert.id));
        pause().await;
        Ok(())
    }
}

/// What a worker is given to do.
#[derive(Clone, Debug)]
enum Job {
    Recover,
    Advance(i64),
    Detect(i64, Event),
}

type Running = Pin<Box<dyn Future<Output = (StoredCorrelator, Result<()>)>>>;

enum Worker {
    Idle(Box<StoredCorrelator>),
    Busy(Running, Job),
}

struct Simulation {
    rules: RuleSet,
    store: Arc<dyn StateStore>,
    raised: Arc<Raised>,
    random: Random,
    deliveries: VecDeque<(i64, Event)>,
    workers: Vec<Option<Worker>>,
    /// The arrival that each worker has come to, once it has come to one.
    reached: Vec<Option<i64>>,
    kills: u32,
}

/// How far one worker may be behind another; the rest of the lateness is what events come late by.
const SLACK: i64 = LATENESS / 2;

impl Simulation {
    fn driver(&self) -> StoredCorrelator {
        let (store, sink) = (Arc::clone(&self.store), Arc::clone(&self.raised));
        let options = StoredCorrelatorOptions::default();
        StoredCorrelator::new(self.rules.clone(), store, sink, options)
    }

    fn start(&self, mut driver: StoredCorrelator, job: Job) -> Worker {
        let (rules, work) = (self.rules.clone(), job.clone());
        let running = async move {
            let result = match work {
                Job::Recover => driver.recover().await,
                Job::Advance(time) => {
                    driver.advance(Timestamp::from_nanos(time));
                    driver.flush().await
                }
                Job::Detect(_, event) => {
                    let fields = event.fields.iter();
                    let fields = fields.map(|(name, value)| (*name, FieldValue::from(value)));
                    let record = FlatRecord::new(rules.fields(), fields);
                    let at = EventStamp { id: event.id, time: Timestamp::from_nanos(event.time) };
                    for rule in &event.rules {
                        let rule = rules.rule(&format!("rule_{rule}")).unwrap();
                        driver.observe(rule, at, &record);
                    }
                    driver.flush().await
                }
            };
            (driver, result)
        };
        Worker::Busy(Box::pin(running), job)
    }

    /// The arrival that nobody may go beyond, so that no worker is left too far behind.
    fn limit(&self) -> i64 {
        let busy = self.workers.iter().flatten().filter_map(|worker| match worker {
            Worker::Busy(_, Job::Detect(at, _)) => Some(*at),
            _ => None,
        });
        busy.chain(self.reached.iter().flatten().copied()).min().map_or(i64::MAX, |at| at + SLACK)
    }

    fn idle_step(&mut self, number: usize, driver: StoredCorrelator) -> Worker {
        let Some((arrival, _)) = self.deliveries.front() else {
            return Worker::Idle(Box::new(driver));
        };
        let arrival = *arrival;
        if arrival <= self.limit()
            && let Some((_, event)) = self.deliveries.pop_front()
        {
            return self.start(driver, Job::Detect(arrival, event));
        }
        // What heartbeats tell it.
        let time = arrival.min(self.limit());
        if self.reached[number].is_some_and(|reached| reached < time) {
            return self.start(driver, Job::Advance(time));
        }
        Worker::Idle(Box::new(driver))
    }

    fn busy_step(&mut self, number: usize, mut running: Running, job: Job) -> Worker {
        if self.random.one_in(40) {
            self.kills += 1;
            drop(running);
            if let Job::Detect(arrival, event) = job {
                // It may have left something behind already.
                self.reached[number] = self.reached[number].or(Some(arrival));
                self.deliveries.push_front((arrival, event));
            }
            return self.start(self.driver(), Job::Recover);
        }
        match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Worker::Busy(running, job),
            Poll::Ready((driver, result)) => {
                result.unwrap();
                match job {
                    Job::Recover => {}
                    Job::Advance(arrival) | Job::Detect(arrival, _) => {
                        self.reached[number] = self.reached[number].max(Some(arrival));
                    }
                }
                Worker::Idle(Box::new(driver))
            }
        }
    }

    fn run(mut self) -> (BTreeSet<AlertId>, u32) {
        loop {
            let number = self.random.below(self.workers.len() as u64) as usize;
            let worker = match self.workers[number].take().unwrap() {
                Worker::Idle(driver) => self.idle_step(number, *driver),
                Worker::Busy(running, job) => self.busy_step(number, running, job),
            };
            self.workers[number] = Some(worker);
            let idle = |worker: &Option<Worker>| matches!(worker, Some(Worker::Idle(_)));
            if self.deliveries.is_empty() && self.workers.iter().all(idle) {
                break;
            }
        }
        // All workers are gone; another one finds what they left.
        let mut last = self.driver();
        finish(async move {
            last.recover().await.unwrap();
            last.finish().await.unwrap();
            assert_eq!(last.counters().unreadable, 0);
        });
        let raised = self.raised.0.lock().unwrap().clone();
        (raised, self.kills)
    }
}

fn finish(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        std::thread::yield_now();
    }
}

fn simulate(seed: u64, workers: usize, store: Arc<dyn StateStore>) -> u32 {
    let mut random = Random(seed);
    let specs = generate::specs(&mut random);
    let events = generate::events(&mut random);
    let text = generate::yaml(&specs);
    let rules = RuleSet::from_yaml(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let expected = model::alerts(&specs, &events);
    let deliveries = generate::arrivals(&mut random, &events, LATENESS - SLACK);
    let mut simulation = Simulation {
        rules,
        store: Arc::new(Interruptible(store)),
        raised: Arc::default(),
        random,
        deliveries: deliveries.into(),
        workers: Vec::new(),
        reached: vec![None; workers],
        kills: 0,
    };
    simulation.workers =
        (0..workers).map(|_| Some(Worker::Idle(Box::new(simulation.driver())))).collect();
    let (raised, kills) = simulation.run();
    assert_eq!(raised, expected, "seed {seed}, {workers} workers\n{text}");
    kills
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("LAVENDER_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("LAVENDER_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}

#[test]
fn workers_that_are_killed_at_any_step_raise_the_same_alerts() {
    let mut kills = 0;
    for seed in seeds(150) {
        for workers in [1, 2, 4] {
            kills += simulate(seed, workers, Arc::new(MemoryStore::new()));
        }
    }
    assert!(kills > 0, "some are killed");
}

#[test]
fn it_is_the_same_on_sqlite() {
    for seed in seeds(6) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
        simulate(seed, 2, Arc::new(store));
    }
}

/// Whatever a store gives back, nothing panics, and what cannot be read is counted.
#[test]
fn damaged_state_is_begun_anew_and_counted() {
    let mut unreadable = 0;
    for seed in seeds(300) {
        let mut random = Random(seed);
        let specs = generate::specs(&mut random);
        let events = generate::events(&mut random);
        let rules = RuleSet::from_yaml(&generate::yaml(&specs)).unwrap();
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
        let options = StoredCorrelatorOptions::default();
        let sink = Arc::new(Raised::default());
        let mut worker = StoredCorrelator::new(rules.clone(), Arc::clone(&store), sink, options);
        finish(async {
            for event in &events {
                for key in store.keys("", None, 1_000).await.unwrap() {
                    if random.one_in(3) {
                        let (bytes, _) = store.get(&key).await.unwrap().unwrap();
                        let damaged = damage(&mut random, &bytes);
                        store.put(&key, damaged, PutMode::Overwrite, None).await.unwrap();
                    }
                }
                let fields = event.fields.iter();
                let fields = fields.map(|(name, value)| (*name, FieldValue::from(value)));
                let record = FlatRecord::new(rules.fields(), fields);
                let at = EventStamp { id: event.id, time: Timestamp::from_nanos(event.time) };
                for rule in &event.rules {
                    let rule = rules.rule(&format!("rule_{rule}")).unwrap();
                    worker.observe(rule, at, &record);
                }
                worker.flush().await.unwrap();
            }
            worker.recover().await.unwrap();
            worker.finish().await.unwrap();
        });
        unreadable += worker.counters().unreadable;
    }
    assert!(unreadable > 0, "some state could not be read");
}

fn damage(random: &mut Random, bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    match random.below(4) {
        0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        1 => bytes.push(random.below(256) as u8),
        _ => {
            // Behind the digest of the correlation, where it is not refused at once.
            for _ in 0..=random.below(3) {
                if bytes.len() > 17 {
                    let at = 17 + random.below(bytes.len() as u64 - 17) as usize;
                    bytes[at] = random.below(256) as u8;
                }
            }
        }
    }
    bytes.into()
}

/// Keeps alerts whole.
#[derive(Debug, Default)]
struct Whole(Mutex<Vec<CorrelationAlert>>);

#[async_trait]
impl Sink<CorrelationAlert> for Whole {
    async fn write(&self, items: &[CorrelationAlert]) -> Result<()> {
        self.0.lock().unwrap().extend_from_slice(items);
        Ok(())
    }
}

#[test]
fn a_loss_marks_the_alerts_of_each_worker_that_was_told_of_it() {
    let rules = RuleSet::from_yaml(
        "title: A\nid: a\nlogsource: {product: test}\ndetection: {s: {x: 1}, condition: s}\n---\n\
         title: C\nid: c\ncorrelation: {type: event_count, rules: [a], timespan: 10s, condition: {gte: 2}}\n",
    )
    .unwrap();
    let id = |sequence| {
        let (tenant, agent) = (TenantId::default(), AgentId::new("web-1").unwrap());
        Origin::new(&tenant, &agent, BootId::from_u128(7)).event(sequence)
    };
    for told_both in [true, false] {
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
        let raised = Arc::new(Whole::default());
        let mut workers = [(); 2].map(|()| {
            let (store, options) = (Arc::clone(&store), StoredCorrelatorOptions::default());
            StoredCorrelator::new(rules.clone(), store, raised.clone(), options)
        });
        let (from, to) = (Timestamp::from_millis(20_500), Timestamp::from_millis(20_600));
        for worker in workers.iter_mut().take(if told_both { 2 } else { 1 }) {
            worker.lost(id(9), from, to);
        }
        // The first takes the first detection, and the second decides.
        for (worker, sequence) in workers.iter_mut().zip([1_u64, 2]) {
            let record = FlatRecord::new(rules.fields(), []);
            let time = Timestamp::from_millis(20_000 + 500 * sequence.cast_signed());
            let at = EventStamp { id: id(sequence), time };
            worker.observe(rules.rule("a").unwrap(), at, &record);
            finish(async { worker.flush().await.unwrap() });
        }
        let raised = raised.0.lock().unwrap();
        assert_eq!(raised.len(), 1);
        assert_eq!(raised[0].incomplete, told_both);
    }
}
