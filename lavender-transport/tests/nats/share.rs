//! Agents shared out among the consumers of a durable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::transport::{Consumer, Delivery, Publisher as _, Subscription, Topic};
use lavender_transport::nats::{JetStream, JetStreamOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::load::telemetry;
use crate::server::{Server, available, small};

const AGENTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn detection() -> Subscription {
    Subscription { topic: Topic::TelemetryAccepted, durable: "detection".into() }
}

/// What was handed to one that is gone comes again soon.
fn brief(server: &Server) -> JetStreamOptions {
    let mut options = small(server.options());
    options.consumer.ack_wait = Duration::from_secs(2);
    options.durables = vec![detection()];
    options
}

/// Which consumer had a message of which agent.
type Taken = (usize, String);

fn agent_of(delivery: &Delivery) -> String {
    delivery.message.source.agent.to_string()
}

/// Consumes until it is aborted, and says what it took.
async fn consume(
    options: JetStreamOptions,
    number: usize,
    taken: mpsc::UnboundedSender<Taken>,
) -> JoinHandle<()> {
    let transport = JetStream::open(options).await.unwrap();
    let mut consumer = transport.subscribe_by_agent(detection()).await.unwrap();
    tokio::spawn(async move {
        loop {
            for delivery in consumer.next(8).await.unwrap() {
                let agent = agent_of(&delivery);
                delivery.ack.ack().await.unwrap();
                taken.send((number, agent)).unwrap();
            }
        }
    })
}

/// A message of each agent.
async fn publish(transport: &JetStream, samples: &mut [Sample]) {
    let messages = samples.iter_mut().map(|sample| telemetry(sample, 1)).collect();
    transport.publish(messages).await.unwrap();
}

fn samples() -> Vec<Sample> {
    (0..AGENTS).map(|number| Sample::new("acme", &format!("web-{number}"), number as u64)).collect()
}

/// Who took which agent's message, of one round.
async fn round(
    transport: &JetStream,
    samples: &mut [Sample],
    taken: &mut mpsc::UnboundedReceiver<Taken>,
) -> BTreeMap<String, usize> {
    publish(transport, samples).await;
    let mut owners = BTreeMap::new();
    for _ in 0..AGENTS {
        let next = tokio::time::timeout(PATIENCE, taken.recv()).await;
        let (consumer, agent) = next.expect("every message is taken").unwrap();
        assert_eq!(owners.insert(agent, consumer), None, "each once");
    }
    owners
}

/// Rounds until so many that follow each other are shared out in the same way among so many consumers that all have heard
/// of each other, who say that they are there once a second.
async fn settled(
    transport: &JetStream,
    samples: &mut [Sample],
    taken: &mut mpsc::UnboundedReceiver<Taken>,
    consumers: usize,
) -> BTreeMap<String, usize> {
    let started = tokio::time::Instant::now();
    let (mut before, mut same) = (BTreeMap::new(), 0);
    while started.elapsed() < PATIENCE {
        let owners = round(transport, samples, taken).await;
        let who: BTreeSet<usize> = owners.values().copied().collect();
        same = if owners == before && who.len() == consumers { same + 1 } else { 0 };
        if same == 25 {
            return owners;
        }
        before = owners;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not shared out among {consumers}: {before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_messages_come_to_one_and_to_another_when_that_is_gone() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let options = || brief(&server);
    let transport = JetStream::open(options()).await.unwrap();
    let (sender, mut taken) = mpsc::unbounded_channel();
    let first = consume(options(), 0, sender.clone()).await;
    let second = consume(options(), 1, sender).await;
    let mut samples = samples();
    let owners = settled(&transport, &mut samples, &mut taken, 2).await;
    for _ in 0..10 {
        assert_eq!(round(&transport, &mut samples, &mut taken).await, owners);
    }
    // It says so; what was on its way to it comes again.
    second.abort();
    let _ = second.await;
    let owners = settled(&transport, &mut samples, &mut taken, 1).await;
    assert!(owners.values().all(|owner| *owner == 0));
    first.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_to_one_that_does_not_go_on_comes_again() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let options = || brief(&server);
    let transport = JetStream::open(options()).await.unwrap();
    let (sender, mut taken) = mpsc::unbounded_channel();
    let first = consume(options(), 0, sender).await;
    let mut samples = samples();

    // One that is heard, takes what is its own once, and then hangs.
    let hanging = JetStream::open(options()).await.unwrap();
    let mut hung: Box<dyn Consumer> = hanging.subscribe_by_agent(detection()).await.unwrap();
    let started = tokio::time::Instant::now();
    let held = loop {
        assert!(started.elapsed() < PATIENCE, "nothing is handed on");
        publish(&transport, &mut samples).await;
        let next = tokio::time::timeout(Duration::from_millis(500), hung.next(AGENTS)).await;
        if let Ok(held) = next {
            break held.unwrap();
        }
    };
    assert!(!held.is_empty());
    let mut last: BTreeSet<String> =
        samples.iter().map(|sample| sample.source().agent.to_string()).collect();
    publish(&transport, &mut samples).await;
    while !last.is_empty() {
        let next = tokio::time::timeout(PATIENCE, taken.recv()).await;
        let (_, agent) = next.unwrap_or_else(|_| panic!("nothing came of {last:?}")).unwrap();
        last.remove(&agent);
    }
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream("TELEMETRY_CANONICAL").await.unwrap();
    let started = tokio::time::Instant::now();
    while stream.get_info().await.unwrap().state.messages > 0 {
        assert!(started.elapsed() < PATIENCE, "some are left");
        while taken.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((held, hung));
    first.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_not_permitted_each_takes_what_comes() {
    if !available() {
        return;
    }
    let denied =
        "permissions { publish: { deny: \"worker.>\" }, subscribe: { deny: \"worker.>\" } }";
    let server = Server::start_with(&format!(
        "authorization {{ users: [ {{ user: w, password: w, {denied} }} ] }}\nno_auth_user: w"
    ))
    .await;
    let options = || small(server.options());
    let transport = JetStream::open(options()).await.unwrap();
    let (sender, mut taken) = mpsc::unbounded_channel();
    let first = consume(options(), 0, sender.clone()).await;
    let second = consume(options(), 1, sender).await;
    let mut samples = samples();
    for _ in 0..10 {
        let owners = round(&transport, &mut samples, &mut taken).await;
        assert_eq!(owners.len(), AGENTS);
    }
    first.abort();
    second.abort();
}
