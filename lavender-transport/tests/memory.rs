//! The transport within one process keeps what the traits promise, and its own bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::conformance::{self, TransportFixture};
use lavender_core::transport::{
    Message, Payload, Publisher as _, Subscriber as _, Subscription, Topic,
};
use lavender_core::{ErrorKind, async_trait};
use lavender_transport::{MemoryOptions, MemoryTransport};

struct Fixture;

fn with_messages(messages: usize) -> MemoryOptions {
    MemoryOptions { messages_max: NonZeroUsize::new(messages).unwrap(), ..MemoryOptions::default() }
}

#[async_trait]
impl TransportFixture for Fixture {
    type Transport = MemoryTransport;

    async fn open(&self, messages: usize) -> MemoryTransport {
        MemoryTransport::new(with_messages(messages))
    }

    async fn close(&self, transport: &MemoryTransport) {
        transport.close();
    }
}

#[tokio::test(start_paused = true)]
async fn it_conforms() {
    conformance::transport(&Fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_on_many_threads() {
    conformance::transport(&Fixture).await;
}

fn telemetry(sample: &mut Sample, items: usize) -> Message {
    let source = sample.source().clone();
    let payload = Payload::Events(sample.busy(items));
    Message { source, topic: Topic::TelemetryAccepted, payload }
}

fn writer() -> Subscription {
    Subscription { topic: Topic::TelemetryAccepted, durable: "telemetry-writer".into() }
}

#[tokio::test]
async fn what_nobody_subscribed_to_is_counted() {
    let transport = MemoryTransport::new(MemoryOptions::default());
    let mut sample = Sample::new("acme", "web-1", 1);
    transport.publish(vec![telemetry(&mut sample, 3), telemetry(&mut sample, 4)]).await.unwrap();
    assert_eq!(transport.undelivered(), 7);
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    transport.publish(vec![telemetry(&mut sample, 2)]).await.unwrap();
    assert_eq!(consumer.next(10).await.unwrap()[0].message.payload.len(), 2);
    assert_eq!(transport.undelivered(), 7);
}

#[tokio::test(start_paused = true)]
async fn items_are_bounded_too_and_one_large_message_passes() {
    let options =
        MemoryOptions { items_max: NonZeroUsize::new(10).unwrap(), ..MemoryOptions::default() };
    let transport = MemoryTransport::new(options);
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    transport.publish(vec![telemetry(&mut sample, 6)]).await.unwrap();
    let (publisher, large) = (transport.clone(), telemetry(&mut sample, 1_000));
    let publishing = tokio::spawn(async move { publisher.publish(vec![large]).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!publishing.is_finished(), "six of ten are taken");
    let delivery = consumer.next(10).await.unwrap().remove(0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!publishing.is_finished(), "what is delivered and not acknowledged is still held");
    delivery.ack.ack().await.unwrap();
    publishing.await.unwrap().unwrap();
    assert_eq!(consumer.next(10).await.unwrap()[0].message.payload.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn closing_releases_who_waits_to_publish() {
    let transport = MemoryTransport::new(with_messages(1));
    let _consumer = transport.subscribe(writer()).await.unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let (publisher, messages) =
        (transport.clone(), vec![telemetry(&mut sample, 1), telemetry(&mut sample, 1)]);
    let publishing = tokio::spawn(async move { publisher.publish(messages).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!publishing.is_finished());
    transport.close();
    assert_eq!(publishing.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    let mut late =
        transport.subscribe(Subscription { durable: "late".into(), ..writer() }).await.unwrap();
    assert!(late.next(1).await.unwrap().is_empty(), "a durable made after the close is at its end");
}

#[cfg(feature = "command")]
#[tokio::test(flavor = "multi_thread")]
async fn commands_within_a_process_conform_and_are_bounded() {
    use lavender_core::command::CommandSink as _;
    use lavender_core::{AgentId, Bytes, TenantId};
    use lavender_transport::MemoryCommands;

    let (tenant, agent) = (TenantId::new("acme").unwrap(), AgentId::new("web-1").unwrap());
    let two = NonZeroUsize::new(2).unwrap();
    let commands = MemoryCommands::new(tenant.clone(), agent.clone(), two);
    let (mut source, mut reports) = (commands.source(), commands.reports());
    conformance::command_delivery((&tenant, &agent), &commands, &mut source, &mut reports).await;

    let signed = Bytes::from_static(b"a signed command");
    for full in [false, false, true] {
        let taken = commands.publish(&tenant, &agent, signed.clone()).await;
        let kind = taken.err().map(|error| error.kind());
        assert_eq!(kind, full.then_some(ErrorKind::Unavailable));
    }
    let other = AgentId::new("web-2").unwrap();
    let error = commands.publish(&tenant, &other, signed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
