//! Ingest on a real broker: what is right passes once, what is wrong is put aside, what is missing is told of.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::{Envelope, names};
use lavender_core::event::{Event, EventData, LossStage};
use lavender_core::transport::{
    Consumer, Message, Payload, Publisher as _, Subscriber as _, Topic,
};
use lavender_core::{Clock as _, Result, SystemClock};
use lavender_transport::ingest::{Ingest, IngestOptions};
use lavender_transport::nats::{BucketOptions, JetStream, dead_letter};
use tokio::task::JoinHandle;

use crate::load::writer;
use crate::server::{Server, available};

fn sample(agent: &str) -> Sample {
    let mut sample = Sample::new("acme", agent, 1);
    sample.set_now(SystemClock.now());
    sample
}

fn raw(sample: &Sample, events: &[Arc<Event>]) -> Message {
    let payload = Payload::Events(events.to_vec());
    Message { source: sample.source().clone(), topic: Topic::TelemetryRaw, payload }
}

async fn ingest(transport: &JetStream, options: IngestOptions) -> JoinHandle<Result<()>> {
    let mut bucket = BucketOptions::default();
    bucket.bytes_max = 8 << 20;
    let state = transport.state(bucket).await.unwrap();
    let ingest = Ingest::new(transport.clone(), Arc::new(state), options);
    tokio::spawn(ingest.run(std::future::pending()))
}

/// What comes out, by id, with how often, until there are so many events.
async fn read(consumer: &mut dyn Consumer, count: usize) -> BTreeMap<u64, Vec<Arc<Event>>> {
    let mut events: BTreeMap<u64, Vec<Arc<Event>>> = BTreeMap::new();
    let reading = async {
        while events.values().map(Vec::len).sum::<usize>() < count {
            for delivery in consumer.next(64).await.unwrap() {
                if let Payload::Events(more) = &delivery.message.payload {
                    for event in more {
                        events.entry(event.id.sequence()).or_default().push(Arc::clone(event));
                    }
                }
                delivery.ack.ack().await.unwrap();
            }
        }
    };
    let over = tokio::time::timeout(Duration::from_secs(60), reading).await.is_err();
    assert!(!over, "only {} of {count} came", events.len());
    events
}

async fn put(server: &Server, subject: &str, headers: HeaderMap, body: bytes::Bytes) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let sent = context.publish_with_headers(subject.to_owned(), headers, body).await;
    sent.unwrap().await.unwrap();
}

fn headers(envelope: &Envelope, change: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    envelope.headers().for_each(|(name, value)| headers.insert(name, &*value));
    change.iter().for_each(|(name, value)| headers.insert(*name, *value));
    headers
}

async fn reasons(server: &Server, count: u64) -> Vec<String> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut stream = async_nats::jetstream::new(client).get_stream("DLQ").await.unwrap();
    for _ in 0..1_000 {
        if stream.info().await.unwrap().state.messages >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut reasons = Vec::new();
    for sequence in 1..=count {
        let letter = stream.get_raw_message(sequence).await.expect("a dead letter is missing");
        reasons.push(letter.headers.get(dead_letter::REASON).unwrap().to_string());
    }
    reasons.sort();
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_passes_and_poison_is_put_aside() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let mut out = transport.subscribe(writer()).await.unwrap();
    let mut one = sample("web-1");
    let events = one.busy(40);
    let sealed = Envelope::encode(&raw(&one, &events[..20]), 1 << 20).unwrap().remove(0);
    let subject = "telemetry.raw.acme.web-1";
    let other = "telemetry.raw.acme.web-2";
    let body = sealed.body().clone();
    put(&server, subject, HeaderMap::new(), "{}".into()).await;
    let damaged = [(names::MESSAGE_ID, "1"), (names::ENCODING, "identity")];
    put(&server, subject, headers(&sealed, &damaged), "{".into()).await;
    let version = [(names::MESSAGE_ID, "2"), (names::SCHEMA, "9")];
    put(&server, subject, headers(&sealed, &version), body.clone()).await;
    let claimed = [(names::MESSAGE_ID, "3"), (names::AGENT, "web-2")];
    put(&server, other, headers(&sealed, &claimed), body.clone()).await;
    let boot = [(names::MESSAGE_ID, "4"), (names::BOOT, "0000000000000000001")];
    put(&server, subject, headers(&sealed, &boot), body.clone()).await;
    let name = [(names::MESSAGE_ID, "6")];
    put(&server, "telemetry.raw.acme.we\u{fc}", headers(&sealed, &name), body.clone()).await;
    // By the id of a message of another, that one would be taken for known.
    let id = [(names::MESSAGE_ID, "acme/web-2/1")];
    put(&server, subject, headers(&sealed, &id), body.clone()).await;
    let large = [(names::MESSAGE_ID, "5"), (names::ENCODING, "identity")];
    put(&server, subject, headers(&sealed, &large), vec![b' '; 300_000].into()).await;
    let mut late = sample("web-3");
    late.set_now(SystemClock.now().saturating_add(Duration::from_secs(7_200)));
    let future = late.busy(1);
    transport.publish(vec![raw(&late, &future), raw(&one, &events[..20])]).await.unwrap();
    transport.publish(vec![raw(&one, &events[20..])]).await.unwrap();

    let mut options = IngestOptions::default();
    options.body_bytes_max = 200_000;
    let running = ingest(&transport, options).await;
    let came = read(&mut *out, 40).await;
    assert!(came.values().all(|copies| copies.len() == 1));
    let found: Vec<_> = came.into_values().map(|mut copies| copies.remove(0)).collect();
    assert_eq!(found, events);
    let reasons = reasons(&server, 9).await.join("\n");
    for reason in [
        "Lav-Schema: it is missing",
        "line 1",
        "wire version 9",
        "the agent of the headers is web-2, and that of the body web-1",
        "the boot of the headers",
        "is not a subject",
        "the body has 300000 bytes",
        "the clock is too far off",
        "the message id `acme/web-2/1`",
    ] {
        assert!(reasons.contains(reason), "{reason} is not among\n{reasons}");
    }
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_tell_of_a_gap_once() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let second = server.open().await;
    let mut out = transport.subscribe(writer()).await.unwrap();
    let mut options = IngestOptions::default();
    options.gap_wait = Duration::from_secs(2);
    let running = [ingest(&transport, options.clone()).await, ingest(&second, options).await];
    let mut one = sample("web-1");
    let events = one.busy(100);
    // 40 to 49 never come; 60 to 69 come late.
    for part in [&events[..40], &events[50..60], &events[70..], &events[60..70]] {
        for few in part.chunks(5) {
            transport.publish(vec![raw(&one, few)]).await.unwrap();
        }
    }
    let came = read(&mut *out, 91).await;
    let told: Vec<_> = came
        .values()
        .flatten()
        .filter_map(|event| match &event.data {
            EventData::Lost(loss) if loss.stage == LossStage::Transport => {
                Some((event.id, loss.count))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [(events[40].id, 10)]);
    let more = tokio::time::timeout(Duration::from_secs(4), out.next(1)).await;
    assert!(more.is_err(), "{more:?}");
    running.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_floods_holds_up_nobody() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let mut out = transport.subscribe(writer()).await.unwrap();
    let (mut flood, mut quiet) = (sample("web-1"), sample("web-2"));
    let (many, few) = (flood.busy(3_000), quiet.busy(10));
    let messages: Vec<_> = many.chunks(1).map(|one| raw(&flood, one)).collect();
    transport.publish(messages).await.unwrap();
    transport.publish(vec![raw(&quiet, &few)]).await.unwrap();
    let mut options = IngestOptions::default();
    options.events_per_second = NonZeroU32::MIN;
    options.burst = NonZeroU32::new(20).unwrap();
    let running = ingest(&transport, options).await;
    let mut of_quiet = 0;
    let waiting = async {
        while of_quiet < 10 {
            for delivery in out.next(64).await.unwrap() {
                if delivery.message.source == *quiet.source() {
                    of_quiet += delivery.message.payload.len();
                }
                delivery.ack.ack().await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it is held up");
    let reasons = reasons(&server, 2_000).await;
    assert!(reasons.iter().all(|reason| reason.contains("more than it may")));
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_loses_nothing() {
    if !available() {
        return;
    }
    let mut server = Server::start().await;
    let transport = server.open().await;
    let mut out = transport.subscribe(writer()).await.unwrap();
    let mut one = sample("web-1");
    let events = one.busy(2_000);
    for few in events.chunks(10) {
        transport.publish(vec![raw(&one, few)]).await.unwrap();
    }
    let running = ingest(&transport, IngestOptions::default()).await;
    let mut came = read(&mut *out, 100).await;
    server.restart().await;
    while came.len() < 2_000 {
        for (sequence, copies) in read(&mut *out, 1).await {
            came.entry(sequence).or_default().extend(copies);
        }
    }
    let found: Vec<_> = came.into_values().map(|copies| Arc::clone(&copies[0])).collect();
    assert_eq!(found, events);
    running.abort();
}
