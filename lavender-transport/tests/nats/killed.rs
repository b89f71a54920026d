//! The broker killed with -9 under load: what was acknowledged is delivered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::transport::{Publisher as _, Subscriber as _};
use lavender_core::{BootId, Origin, Sequencer, SystemClock};
use lavender_transport::nats::{JetStream, Setup};
use lavender_transport::spool::{Reporter, SpoolOptions, Spooled};
use lavender_transport::{Retry, RetryOptions};

use crate::load::{Load, assert_all_come, read_up_to, telemetry, writer};
use crate::server::{Server, available, small};

fn reporter() -> Reporter {
    let source = Sample::new("acme", "web-1", 1).source().clone();
    let origin = Origin::new(&source.tenant, &source.agent, BootId::from_u128(99));
    Reporter { source, sequencer: Sequencer::new(origin), clock: Arc::new(SystemClock) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_delivered_though_the_broker_is_killed() {
    if !available() {
        return;
    }
    let mut server = Server::start().await;
    let mut options = small(server.options());
    options.durables = vec![writer()];
    options.timeout = Duration::from_secs(1);
    let transport = JetStream::open(options).await.unwrap();
    let load = Load::start(Arc::new(Retry::new(transport.clone(), RetryOptions::default())));
    let reading = {
        let transport = transport.clone();
        tokio::spawn(async move { read_up_to(&transport, 6_000).await })
    };
    for _ in 0..3 {
        load.more(1_500).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.restart().await;
    }
    load.more(2_500).await;
    let acknowledged = load.stop().await;
    let seen = reading.await.unwrap();
    // The consumer went on over the kills; another reads the rest.
    let first: BTreeSet<u64> = seen.into_keys().collect();
    let left = acknowledged - first.len() as u64;
    let rest = if left > 0 { read_rest(&transport, &first, acknowledged).await } else { first };
    assert!(rest.range(1..=acknowledged).count() as u64 == acknowledged, "some are gone");
}

/// Reads until all up to a number have come, with those that came before.
async fn read_rest(transport: &JetStream, before: &BTreeSet<u64>, last: u64) -> BTreeSet<u64> {
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let mut seen = before.clone();
    while (seen.range(1..=last).count() as u64) < last {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next(64)).await;
        for delivery in next.expect("nothing comes").unwrap() {
            let lavender_core::transport::Payload::Events(events) = &delivery.message.payload
            else {
                panic!()
            };
            seen.extend(events.iter().map(|event| event.id.sequence()));
            let _ = delivery.ack.ack().await;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_a_spool_begins_before_the_broker_and_outlives_it() {
    if !available() {
        return;
    }
    let mut server = Server::start().await;
    server.open().await;
    server.kill();
    let directory = tempfile::tempdir().unwrap();
    let mut to = small(server.options());
    (to.setup, to.timeout) = (Setup::Skip, Duration::from_secs(1));
    let spool =
        Arc::new(Spooled::open(directory.path(), SpoolOptions::default(), reporter(), to).unwrap());
    let load = Load::start(spool.clone());
    load.more(2_000).await;
    assert_eq!(spool.status().delivered, 0);
    server.restart().await;
    load.more(2_000).await;
    server.kill();
    load.more(2_000).await;
    server.restart().await;
    let acknowledged = load.stop().await;
    let transport = server.open().await;
    assert_all_come(&transport, acknowledged).await;
    let status = spool.close(Duration::from_secs(30)).await;
    assert_eq!((status.waiting, status.shed, status.fault), (0, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_took_and_never_answered_goes_to_another() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let mut options = small(server.options());
    options.consumer.ack_wait = Duration::from_millis(300);
    let transport = JetStream::open(options).await.unwrap();
    let mut dead = transport.subscribe(writer()).await.unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    transport.publish(vec![telemetry(&mut sample, 3)]).await.unwrap();
    let taken = dead.next(1).await.unwrap().remove(0);
    assert_eq!(taken.attempt, 1);
    // A worker that dies says nothing, not even that it drops what it had.
    std::mem::forget(taken);
    let mut other = transport.subscribe(writer()).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(90), other.next(1))
        .await
        .unwrap()
        .unwrap()
        .remove(0);
    assert_eq!((again.attempt, again.message.payload.len()), (2, 3));
    again.ack.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_again_is_publishing_once() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let message = telemetry(&mut sample, 5);
    for _ in 0..3 {
        transport.publish(vec![message.clone()]).await.unwrap();
    }
    transport.close();
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let delivery = consumer.next(10).await.unwrap();
    assert_eq!(delivery.len(), 1);
    for delivery in delivery {
        delivery.ack.ack().await.unwrap();
    }
    assert!(consumer.next(10).await.unwrap().is_empty());
}
