//! The state store away, the broker away: everything waits, and goes on where it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lavender_core::store::{PutMode, Version};
use lavender_core::transport::Publisher as _;
use lavender_core::{Bytes, Error, ErrorKind, Result, StateStore, async_trait};
use lavender_transport::ingest::IngestOptions;
use lavender_transport::nats::JetStreamState;
use lavender_transport::{Retry, RetryOptions};

use super::support::{Site, agent, batch, gaps, publish};
use crate::server::available;

/// A store that can be cut off.
#[derive(Debug)]
struct Interruptible {
    inner: JetStreamState,
    away: Arc<AtomicBool>,
}

impl Interruptible {
    fn check(&self) -> Result<()> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Unavailable, "state", "it is away")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl StateStore for Interruptible {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version> {
        self.check()?;
        self.inner.put(key, value, mode, ttl).await
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.check()?;
        self.inner.keys(prefix, after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.check()?;
        self.inner.delete(key).await
    }
}

fn options() -> IngestOptions {
    let mut options = IngestOptions::default();
    options.gap_wait = Duration::from_secs(4);
    options.batch_max = 4;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_state_is_away_nothing_is_acknowledged_and_nothing_is_poison() {
    if !available() {
        return;
    }
    // Long enough that a busy machine says in time that it is still at work.
    let ack_wait = Duration::from_secs(3);
    let site = Site::start_with(|options| options.consumer.ack_wait = ack_wait).await;
    let mut reader = site.reader().await;
    let away = Arc::new(AtomicBool::new(false));
    let state = Interruptible { inner: site.state().await, away: Arc::clone(&away) };
    let worker = site.worker_on(Arc::new(state), options()).await;
    let mut sample = agent("acme", "web-1", 1);
    let message = batch(&mut sample, 5);
    publish(&site.transport, vec![message]).await;
    site.until_worked_off().await;
    away.store(true, Ordering::Relaxed);
    // The second of three is not sent.
    let mut more: Vec<_> = (0..3).map(|_| batch(&mut sample, 5)).collect();
    more.remove(1);
    publish(&site.transport, more).await;
    worker.until(|counts| counts.state_retries >= 6).await;
    // By then a message that nobody spoke of would have come again.
    tokio::time::sleep(ack_wait + ack_wait / 2).await;
    assert_eq!(site.waiting().await, 2);
    let during = worker.counts();
    assert_eq!(during.dead_letters, 0);
    assert_eq!(during.deliveries, 3, "what is worked on does not come again");
    away.store(false, Ordering::Relaxed);
    site.until_worked_off().await;
    let mut got = reader.take_at_least(4).await;
    got.extend(reader.rest(Duration::from_secs(1)).await);
    assert_eq!(got.len(), 4);
    assert_eq!(gaps(&got), BTreeMap::from([(("web-1".to_owned(), 11, 5), 1)]));
    let counts = worker.stop().await;
    assert_eq!((counts.messages, counts.gaps, counts.lost), (3, 1, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_while_the_state_is_away() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let away = Arc::new(AtomicBool::new(true));
    let state = Interruptible { inner: site.state().await, away: Arc::clone(&away) };
    let worker = site.worker_on(Arc::new(state), options()).await;
    publish(&site.transport, vec![batch(&mut agent("acme", "web-1", 1), 5)]).await;
    worker.until(|counts| counts.messages == 1 && counts.state_retries >= 2).await;
    worker.stop().await;
    assert_eq!(site.waiting().await, 1, "it was not done with");
    let worker = site.worker(options()).await;
    site.until_worked_off().await;
    assert_eq!(worker.stop().await.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_loses_nothing_and_makes_no_gap() {
    if !available() {
        return;
    }
    let mut site = Site::start_with(|options| {
        options.consumer.ack_wait = Duration::from_secs(3);
        options.timeout = Duration::from_secs(1);
    })
    .await;
    let mut reader = site.reader().await;
    let workers = [site.worker(options()).await, site.worker(options()).await];
    let publisher = Retry::new(site.transport.clone(), RetryOptions::default());
    let sending = tokio::spawn(async move {
        let mut sample = agent("acme", "web-1", 1);
        for _ in 0..300 {
            publisher.publish(vec![batch(&mut sample, 5)]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        site.server.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        site.server.restart().await;
    }
    sending.await.unwrap();
    site.until_worked_off().await;
    let mut got = reader.rest(Duration::from_secs(6)).await;
    got.sort_by_key(|envelope| envelope.id().to_owned());
    got.dedup_by_key(|envelope| envelope.id().to_owned());
    assert_eq!(gaps(&got), BTreeMap::new());
    assert_eq!(got.len(), 300);
    for worker in workers {
        assert_eq!(worker.stop().await.dead_letters, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_takes_what_is_accepted_it_stays_with_the_agents() {
    if !available() {
        return;
    }
    let site = Site::start_with(|options| options.streams.messages_max = Some(20)).await;
    let worker = site.worker(options()).await;
    let mut sample = agent("acme", "web-1", 1);
    publish(&site.transport, (0..20).map(|_| batch(&mut sample, 5)).collect()).await;
    site.until_worked_off().await;
    publish(&site.transport, (0..20).map(|_| batch(&mut sample, 5)).collect()).await;
    worker.until(|counts| counts.publish_retries >= 3).await;
    assert_eq!(site.waiting().await, 20);
    let mut reader = site.reader().await;
    let got = reader.take(40).await;
    assert_eq!(gaps(&got), BTreeMap::new());
    site.until_worked_off().await;
    let counts = worker.stop().await;
    assert_eq!((counts.messages, counts.dead_letters), (40, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_said_by_its_key() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let state = site.state().await;
    let key = "ingest/sequence/acme/web-1";
    state.put(key, Bytes::from_static(b"{"), PutMode::Create, None).await.unwrap();
    let worker = site.worker(options()).await;
    publish(&site.transport, vec![batch(&mut agent("acme", "web-1", 1), 5)]).await;
    let error = worker.failure().await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(key), "{error}");
}
