//! Stores that fail or are damaged, transports that refuse, states that are too large, rules that are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lavender_core::event::Event;
use lavender_core::pipeline::{DetectionOptions, DetectionReport, DetectionWorker};
use lavender_core::store::{PutMode, Version};
use lavender_core::transport::{Message, Payload, Publisher, Subscriber as _, Subscription, Topic};
use lavender_core::{Bytes, Error, ErrorKind, Result, StateStore, async_trait};
use lavender_detect::{RuleHandle, RuleSet, SigmaFleetDetector};
use lavender_store::MemoryStore;
use lavender_transport::{MemoryOptions, MemoryTransport};

use super::fleet::{self, Random};
use super::single::Published;

/// A store of which every third operation fails.
#[derive(Debug, Default)]
struct Failing(MemoryStore, AtomicU32);

impl Failing {
    fn fail(&self) -> Result<()> {
        match self.1.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => Ok(()),
            _ => Err(Error::new(ErrorKind::Unavailable, "store", "it is down")),
        }
    }
}

#[async_trait]
impl StateStore for Failing {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.fail()?;
        self.0.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version> {
        let version = self.0.put(key, value, mode, ttl).await?;
        // Of some, nobody knows whether they were done.
        self.fail().map(|()| version)
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.0.keys(prefix, after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }
}

/// May not publish alerts.
#[derive(Debug)]
struct Denied;

#[async_trait]
impl Publisher for Denied {
    async fn publish(&self, _: Vec<Message>) -> Result<()> {
        Err(Error::new(ErrorKind::Denied, "transport", "alerts may not be published"))
    }
}

const KEY: &str = "detection/acme/web-1";

fn detection() -> Subscription {
    Subscription { topic: Topic::TelemetryAccepted, durable: "detection".into() }
}

/// What is not an end, but the end of what is looked at: time for a worker to be done.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

async fn transport_with(messages: &[Vec<Arc<Event>>]) -> MemoryTransport {
    let transport = MemoryTransport::new(MemoryOptions::default());
    drop(transport.subscribe(detection()).await.unwrap());
    for events in messages {
        let payload = Payload::Events(events.clone());
        let (source, topic) = (fleet::identity(1), Topic::TelemetryAccepted);
        transport.publish(vec![Message { source, topic, payload }]).await.unwrap();
    }
    transport
}

async fn worker(
    transport: &MemoryTransport,
    handle: &RuleHandle,
    store: Arc<dyn StateStore>,
    publisher: Arc<dyn Publisher>,
    options: DetectionOptions,
) -> DetectionWorker {
    let consumer = transport.subscribe(detection()).await.unwrap();
    let detector = SigmaFleetDetector::new(handle.detector(), fleet::options()).unwrap();
    DetectionWorker::new(consumer, detector, store, publisher).with_options(options)
}

fn options() -> DetectionOptions {
    let mut options = DetectionOptions::default();
    options.messages = 1;
    options
}

/// What a worker does with these messages on a store.
async fn done(
    messages: &[Vec<Arc<Event>>],
    store: Arc<dyn StateStore>,
    options: DetectionOptions,
) -> (Arc<Published>, DetectionReport) {
    let transport = transport_with(messages).await;
    transport.close();
    let (handle, published) = (RuleHandle::new(fleet::rules()), Arc::new(Published::default()));
    let worker = worker(&transport, &handle, store, Arc::clone(&published) as _, options).await;
    let report = worker.run(std::future::pending::<()>()).await.unwrap();
    (published, report)
}

fn batches() -> Vec<Vec<Arc<Event>>> {
    let events = fleet::events(&mut Random(9), &fleet::identity(1), 120);
    events.chunks(10).map(<[_]>::to_vec).collect()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_changes_no_alert() {
    let (expected, report) = done(&batches(), Arc::new(MemoryStore::new()), options()).await;
    assert_eq!((report.messages, report.failures), (13, 0));
    assert!(!expected.0.lock().unwrap().is_empty());
    let (found, report) = done(&batches(), Arc::<Failing>::default(), options()).await;
    assert_eq!(report.messages, 13);
    assert!(report.failures > 10, "{report:?}");
    assert_eq!(*found.0.lock().unwrap(), *expected.0.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_state_is_begun_anew_and_counted() {
    let store = Arc::new(MemoryStore::new());
    let of_before = [&b"LVD1"[..], &i64::MAX.to_le_bytes()].concat();
    let cut = [&b"LVD2"[..], &[0; 8], &[0xff; 4]].concat();
    for damage in [&b"LVD2"[..], b"nothing", &of_before, &cut] {
        let damaged = Bytes::copy_from_slice(damage);
        store.put(KEY, damaged, PutMode::Overwrite, None).await.unwrap();
        let (found, report) = done(&batches(), Arc::clone(&store) as _, options()).await;
        assert_eq!((report.messages, report.unreadable), (13, 1));
        assert!(!found.0.lock().unwrap().is_empty());
    }
    // Parts that are none, in a value that is one: without a word on how they stand there, of nothing that there is, and
    // no frame of zstd.
    for packed in [&b""[..], b"\0text", b"\x01text"] {
        let length = (packed.len() as u32).to_le_bytes();
        let head = [&b"LVD2"[..], &i64::MAX.to_le_bytes(), &[3, 0, 0, 0], b"0/x"].concat();
        let value = [&head, &length[..], packed].concat();
        store.put(KEY, value.into(), PutMode::Overwrite, None).await.unwrap();
        let (_, report) = done(&batches(), Arc::clone(&store) as _, options()).await;
        assert_eq!((report.messages, report.unreadable), (13, 1), "{packed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_state_has_no_room_for_is_forgotten_and_counted() {
    let store = Arc::new(MemoryStore::new());
    let mut narrow = options();
    narrow.state_bytes_max = 2_048;
    let (_, report) = done(&batches(), Arc::clone(&store) as _, narrow).await;
    assert_eq!(report.messages, 13, "it goes on all the same");
    assert!(report.forgotten > 0, "{report:?}");
    let (value, _) = store.get(KEY).await.unwrap().unwrap();
    assert!(value.len() <= 2_048, "{}", value.len());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_worker_and_leaves_the_message_to_another() {
    let events = fleet::events(&mut Random(9), &fleet::identity(1), 40);
    let transport = transport_with(&[events]).await;
    transport.close();
    let (handle, store) = (RuleHandle::new(fleet::rules()), Arc::new(MemoryStore::new()));
    let refused = worker(&transport, &handle, Arc::clone(&store) as _, Arc::new(Denied), options());
    let error = refused.await.run(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(store.get(KEY).await.unwrap(), None, "no state without its alerts");
    let published = Arc::new(Published::default());
    let other = worker(&transport, &handle, store, Arc::clone(&published) as _, options()).await;
    assert_eq!(other.run(std::future::pending::<()>()).await.unwrap().messages, 1);
    assert!(!published.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn rules_are_replaced_while_it_runs() {
    let exec = |id: &str| {
        let text = format!(
            "title: {id}\nid: {id}\nlogsource: {{category: process_creation, product: linux}}\n\
             detection: {{s: {{Image|exists: true}}, condition: s}}\n\
             lavender: {{suppress: false}}\n"
        );
        RuleSet::from_yaml(&text).unwrap()
    };
    let batches = batches();
    let transport = transport_with(&batches[..1]).await;
    let (handle, published) = (RuleHandle::new(exec("before")), Arc::new(Published::default()));
    let store = Arc::new(MemoryStore::new());
    let running = worker(&transport, &handle, store, Arc::clone(&published) as _, options()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(running.run(stopped));
    a_while().await;
    handle.swap(exec("after"));
    let payload = Payload::Events(batches[1].clone());
    let (source, topic) = (fleet::identity(1), Topic::TelemetryAccepted);
    transport.publish(vec![Message { source, topic, payload }]).await.unwrap();
    a_while().await;
    stop.send(()).unwrap();
    let report = running.await.unwrap().unwrap();
    assert_eq!(report.messages, 2);
    let alerts = published.0.lock().unwrap().clone();
    let of = |rule: &str| alerts.values().filter(|(of, _)| of == rule).count();
    let execs = |batch: &[Arc<Event>]| batch.iter().filter(|event| event.process.is_some()).count();
    assert_eq!((of("before"), of("after")), (execs(&batches[0]), execs(&batches[1])));
}
