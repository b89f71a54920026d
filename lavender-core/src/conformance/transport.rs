//! What a [`Transport`] promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::sample::Sample;
use crate::Severity;
use crate::transport::{
    Consumer, Delivery, Message, Payload, Publisher, Subscriber, Subscription, Topic, Transport,
};

/// Makes the transports that the suite tries, and ends them.
#[async_trait]
pub trait TransportFixture: Sync {
    /// What is tried.
    type Transport: Transport;

    /// One with nothing in it, that holds this many messages for a durable and no more.
    async fn open(&self, messages: usize) -> Self::Transport;

    /// Closes it: publishing ends, and consumers come to their end.
    async fn close(&self, transport: &Self::Transport);
}

/// How long something that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it is watched that something does not come.
const WATCH: Duration = Duration::from_millis(20);

/// Checks that a transport keeps what the traits promise. Needs tokio with its timer.
///
/// # Panics
///
/// Where it does not.
pub async fn transport(fixture: &impl TransportFixture) {
    messages_come_as_they_were_in_order(fixture).await;
    each_durable_gets_all(fixture).await;
    consumers_of_one_durable_share(fixture).await;
    what_is_not_acknowledged_comes_again(fixture).await;
    a_nak_comes_again_after_its_delay(fixture).await;
    giving_up_waiting_loses_nothing(fixture).await;
    a_durable_goes_on_where_it_stood(fixture).await;
    publishing_waits_while_it_is_full(fixture).await;
    after_the_close_what_is_left_is_delivered(fixture).await;
    the_end_waits_for_what_is_out(fixture).await;
}

fn subscription(topic: Topic, durable: &str) -> Subscription {
    Subscription { topic, durable: durable.into() }
}

async fn consumer(transport: &impl Subscriber, durable: &str) -> Box<dyn Consumer> {
    transport.subscribe(subscription(Topic::TelemetryAccepted, durable)).await.unwrap()
}

/// A message of one heartbeat each.
fn messages(sample: &mut Sample, count: usize) -> Vec<Message> {
    (0..count)
        .map(|_| Message {
            source: sample.source().clone(),
            topic: Topic::TelemetryAccepted,
            payload: Payload::Events(vec![sample.heartbeat()]),
        })
        .collect()
}

async fn publish(transport: &impl Publisher, messages: &[Message]) {
    timeout(PATIENCE, transport.publish(messages.to_vec()))
        .await
        .expect("publishing waits though there is room")
        .unwrap();
}

async fn next(consumer: &mut Box<dyn Consumer>, max: usize) -> Vec<Delivery> {
    let deliveries =
        timeout(PATIENCE, consumer.next(max)).await.expect("nothing is delivered").unwrap();
    assert!(deliveries.len() <= max, "more messages than asked for");
    deliveries
}

/// Reads and acknowledges so many messages.
async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Message> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let deliveries = next(consumer, count - taken.len()).await;
        assert!(!deliveries.is_empty(), "the end came after {} of {count}", taken.len());
        for delivery in deliveries {
            taken.push(delivery.message);
            delivery.ack.ack().await.unwrap();
        }
    }
    taken
}

async fn assert_nothing_comes(consumer: &mut Box<dyn Consumer>) {
    let next = timeout(WATCH, consumer.next(10)).await;
    assert!(next.is_err(), "delivered what should not come: {next:?}");
}

async fn messages_come_as_they_were_in_order(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut events = consumer(&transport, "events").await;
    let mut alerts = transport.subscribe(subscription(Topic::Alerts, "alerts")).await.unwrap();
    let mut sample = Sample::new("transport", "a", 1);
    let mut published = messages(&mut sample, 20);
    let every_kind = sample.every_kind();
    let alert = sample.alert(&every_kind[1], "r", Severity::High);
    published.push(Message {
        source: sample.source().clone(),
        topic: Topic::TelemetryAccepted,
        payload: Payload::Events(every_kind),
    });
    let raised = Message {
        source: sample.source().clone(),
        topic: Topic::Alerts,
        payload: Payload::Alerts(vec![alert]),
    };
    publish(&transport, &published[..5]).await;
    publish(&transport, &[vec![raised.clone()], published[5..].to_vec()].concat()).await;
    assert_eq!(take(&mut events, published.len()).await, published);
    assert_eq!(take(&mut alerts, 1).await, [raised]);
    assert_nothing_comes(&mut events).await;
    assert_nothing_comes(&mut alerts).await;
}

async fn each_durable_gets_all(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let (mut one, mut two) = (consumer(&transport, "one").await, consumer(&transport, "two").await);
    let published = messages(&mut Sample::new("transport", "a", 1), 7);
    publish(&transport, &published).await;
    assert_eq!(take(&mut one, 7).await, published);
    assert_eq!(take(&mut two, 7).await, published);
}

async fn consumers_of_one_durable_share(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut one = consumer(&transport, "shared").await;
    let mut two = consumer(&transport, "shared").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 10);
    publish(&transport, &published).await;
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.extend(take(&mut one, 1).await);
        taken.extend(take(&mut two, 1).await);
    }
    assert_eq!(taken, published, "each message to one of the two");
    assert_nothing_comes(&mut one).await;
    assert_nothing_comes(&mut two).await;
}

async fn what_is_not_acknowledged_comes_again(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut consumer = consumer(&transport, "d").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 3);
    publish(&transport, &published).await;
    let mut attempts = 0;
    for _ in 0..3 {
        let mut seen = Vec::new();
        let mut held = Vec::new();
        while seen.len() < 3 {
            for delivery in next(&mut consumer, 3).await {
                attempts = attempts.max(delivery.attempt);
                seen.push(delivery.message.clone());
                held.push(delivery);
            }
        }
        assert!(published.iter().all(|message| seen.contains(message)));
        drop(held);
    }
    assert_eq!(attempts, 3, "the attempts are counted from 1");
    take(&mut consumer, 3).await;
    assert_nothing_comes(&mut consumer).await;
}

async fn a_nak_comes_again_after_its_delay(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut consumer = consumer(&transport, "d").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 2);
    publish(&transport, &published[..1]).await;
    let delay = Duration::from_millis(80);
    let delivery = next(&mut consumer, 1).await.remove(0);
    let refused_at = Instant::now();
    delivery.ack.nak(delay).await.unwrap();
    // It does not hold up what comes after it.
    publish(&transport, &published[1..]).await;
    assert_eq!(take(&mut consumer, 1).await, published[1..]);
    let again = next(&mut consumer, 1).await.remove(0);
    assert!(refused_at.elapsed() >= delay, "it came again too early");
    assert_eq!((again.attempt, &again.message), (2, &published[0]));
    again.ack.nak(Duration::ZERO).await.unwrap();
    let again = next(&mut consumer, 1).await.remove(0);
    assert_eq!(again.attempt, 3);
    again.ack.ack().await.unwrap();
    assert_nothing_comes(&mut consumer).await;
}

async fn giving_up_waiting_loses_nothing(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut consumer = consumer(&transport, "d").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 20);
    for message in &published {
        // Polled once and dropped, before and after there is something.
        let _ = timeout(Duration::ZERO, consumer.next(1)).await;
        publish(&transport, std::slice::from_ref(message)).await;
        let _ = timeout(Duration::ZERO, consumer.next(1)).await;
    }
    let mut taken = take(&mut consumer, 20).await;
    taken.sort_by_key(|message| match &message.payload {
        Payload::Events(events) => events[0].id.sequence(),
        Payload::Alerts(_) => 0,
    });
    assert_eq!(taken, published);
}

async fn a_durable_goes_on_where_it_stood(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut first = consumer(&transport, "d").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 4);
    publish(&transport, &published[..2]).await;
    assert_eq!(take(&mut first, 1).await, published[..1]);
    drop(first);
    publish(&transport, &published[2..]).await;
    let mut second = consumer(&transport, "d").await;
    assert_eq!(take(&mut second, 3).await, published[1..]);
}

async fn publishing_waits_while_it_is_full(fixture: &impl TransportFixture) {
    let transport = Arc::new(fixture.open(4).await);
    let mut consumer = consumer(&*transport, "d").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 10);
    let publisher = Arc::clone(&transport);
    let all = published.clone();
    let publishing = tokio::spawn(async move { publisher.publish(all).await });
    tokio::time::sleep(WATCH).await;
    assert!(!publishing.is_finished(), "ten messages fit where four do");
    assert_eq!(take(&mut consumer, 10).await, published);
    timeout(PATIENCE, publishing).await.expect("it waits for ever").unwrap().unwrap();
}

async fn after_the_close_what_is_left_is_delivered(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut reading = consumer(&transport, "d").await;
    let mut waiting = consumer(&transport, "waiting").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 3);
    publish(&transport, &published).await;
    take(&mut waiting, 3).await;
    let woken = tokio::spawn(async move { waiting.next(10).await });
    fixture.close(&transport).await;
    assert_eq!(take(&mut reading, 3).await, published);
    for _ in 0..2 {
        assert!(next(&mut reading, 10).await.is_empty(), "the end stays the end");
    }
    let end = timeout(PATIENCE, woken).await.expect("who waits is not told").unwrap().unwrap();
    assert!(end.is_empty());
    assert!(transport.publish(published).await.is_err(), "taken after the close");
}

async fn the_end_waits_for_what_is_out(fixture: &impl TransportFixture) {
    let transport = fixture.open(100).await;
    let mut consumer = consumer(&transport, "d").await;
    let published = messages(&mut Sample::new("transport", "a", 1), 2);
    publish(&transport, &published).await;
    let first = next(&mut consumer, 1).await.remove(0);
    let second = next(&mut consumer, 1).await.remove(0);
    fixture.close(&transport).await;
    first.ack.nak(Duration::from_millis(5)).await.unwrap();
    drop(second);
    let mut taken = take(&mut consumer, 2).await;
    taken.sort_by_key(|message| *message != published[0]);
    assert_eq!(taken, published, "not acknowledged before the close, and not there after it");
    assert!(next(&mut consumer, 10).await.is_empty());
}
