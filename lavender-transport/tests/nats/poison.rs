//! Poison is put aside with its reason, and holds up nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use lavender_core::ErrorKind;
use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::{Envelope, names};
use lavender_core::transport::{Publisher as _, Subscriber as _, Subscription, Topic};
use lavender_transport::nats::{JetStream, dead_letter};

use crate::load::{telemetry, writer};
use crate::server::{Server, available, small};

/// The dead letters of an agent, once there are so many: reason and subject by original subject's order.
pub(crate) async fn dead_letters(server: &Server, count: u64) -> Vec<(String, HeaderMap, Vec<u8>)> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let mut stream = context.get_stream("DLQ").await.unwrap();
    for _ in 0..1_000 {
        if stream.info().await.unwrap().state.messages >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut letters = Vec::new();
    for sequence in 1..=count {
        let letter = stream.get_raw_message(sequence).await.expect("a dead letter is missing");
        letters.push((letter.subject.to_string(), letter.headers, letter.payload.to_vec()));
    }
    letters
}

pub(crate) fn headers_of(envelope: &Envelope, change: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in envelope.headers() {
        headers.insert(name, &*value);
    }
    for (name, value) in change {
        headers.insert(*name, *value);
    }
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_put_aside_and_the_rest_goes_on() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let mut sample = Sample::new("acme", "web-1", 1);
    let message = telemetry(&mut sample, 20);
    let sealed = Envelope::encode(&message, 1 << 20).unwrap().remove(0);
    let good_body = sealed.body().clone();
    let poison: Vec<(&str, HeaderMap, bytes::Bytes)> = vec![
        ("acme.web-1", HeaderMap::new(), "no headers at all".into()),
        ("acme.web-1", headers_of(&sealed, &[(names::MESSAGE_ID, "1")]), "not zstd".into()),
        (
            "acme.web-1",
            headers_of(&sealed, &[(names::MESSAGE_ID, "2"), (names::ENCODING, "identity")]),
            "{".into(),
        ),
        (
            "acme.web-1",
            headers_of(&sealed, &[(names::MESSAGE_ID, "3"), (names::SCHEMA, "99")]),
            good_body.clone(),
        ),
        // Says that it is another.
        ("acme.web-2", headers_of(&sealed, &[(names::MESSAGE_ID, "4")]), good_body.clone()),
        (
            "acme.web-2",
            headers_of(&sealed, &[(names::MESSAGE_ID, "5"), (names::AGENT, "web-2")]),
            good_body.clone(),
        ),
        // Names that are no names, as far as a broker lets them through.
        ("a\u{fc}.web", headers_of(&sealed, &[(names::MESSAGE_ID, "6")]), good_body.clone()),
    ];
    let reasons = [
        "Lav-Schema: it is missing",
        "zstd",
        "line 1",
        "wire version 99",
        "the agent of the headers is web-1, and that of the body web-2",
        "the agent of the headers is web-2, and that of the body web-1",
        "is not a subject",
    ];
    let count = poison.len() as u64;
    for (whose, headers, body) in poison.clone() {
        let subject = format!("telemetry.accepted.{whose}");
        context.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
    }
    transport.publish(vec![message.clone()]).await.unwrap();

    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let got = tokio::time::timeout(Duration::from_secs(90), consumer.next(100)).await.unwrap();
    let got = got.unwrap();
    assert_eq!(got.len(), 1);
    for delivery in got {
        assert_eq!(delivery.message, message);
        delivery.ack.ack().await.unwrap();
    }
    let letters = dead_letters(&server, count).await;
    let by_subject: BTreeMap<String, usize> =
        letters.iter().fold(BTreeMap::new(), |mut map, (subject, ..)| {
            *map.entry(subject.clone()).or_default() += 1;
            map
        });
    assert_eq!(by_subject["dlq.telemetry-writer.acme.web-1"], 4);
    assert_eq!(by_subject["dlq.telemetry-writer.acme.web-2"], 2);
    for (reason, (_, _, body)) in reasons.iter().zip(&poison) {
        let letter = letters.iter().find(|(_, headers, kept)| {
            let said = headers.get(dead_letter::REASON).unwrap().as_str();
            said.contains(reason) && *kept == body.to_vec()
        });
        let (_, headers, _) = letter.unwrap_or_else(|| {
            let said: Vec<_> = letters.iter().map(|(_, h, _)| h.get(dead_letter::REASON)).collect();
            panic!("no dead letter says `{reason}`: {said:?}")
        });
        assert_eq!(headers.get(dead_letter::STAGE).unwrap().as_str(), "telemetry-writer");
        assert_eq!(headers.get(dead_letter::ATTEMPTS).unwrap().as_str(), "1");
    }
    // Answered: it does not come again.
    transport.close();
    let end = tokio::time::timeout(Duration::from_secs(90), consumer.next(100)).await.unwrap();
    assert!(end.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_done_with_is_put_aside_after_so_many_tries() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let mut options = small(server.options());
    options.consumer.attempts = 3;
    let transport = JetStream::open(options).await.unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    let (bad, good) = (telemetry(&mut sample, 2), telemetry(&mut sample, 3));
    transport.publish(vec![bad.clone(), good.clone()]).await.unwrap();
    let mut consumer = transport.subscribe(writer()).await.unwrap();
    let mut attempts = Vec::new();
    let mut done = false;
    while attempts.len() < 3 || !done {
        let next = tokio::time::timeout(Duration::from_secs(90), consumer.next(10)).await.unwrap();
        for delivery in next.unwrap() {
            if delivery.message == good {
                delivery.ack.ack().await.unwrap();
                done = true;
            } else {
                attempts.push(delivery.attempt);
                // Dropped: it comes again by itself, later each time.
            }
        }
    }
    assert_eq!(attempts, [1, 2, 3]);
    transport.close();
    let end = tokio::time::timeout(Duration::from_secs(90), consumer.next(10)).await.unwrap();
    assert!(end.unwrap().is_empty(), "it is not delivered a fourth time");
    let letters = dead_letters(&server, 1).await;
    let (subject, headers, body) = &letters[0];
    assert_eq!(subject, "dlq.telemetry-writer.acme.web-1");
    assert!(headers.get(dead_letter::REASON).unwrap().as_str().contains("3 times"));
    // What it was can be read from the letter as from the message.
    let original = headers.get(dead_letter::SUBJECT).unwrap().as_str();
    let header = |name: &'static str| match name {
        names::MESSAGE_ID => headers.get(dead_letter::MESSAGE_ID).map(|value| value.as_str()),
        name => headers.get(name).map(|value| value.as_str()),
    };
    let again = Envelope::read(original, header, body.clone().into()).unwrap();
    assert_eq!(again.decode().unwrap(), bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_passes_on_unopened_can_reject() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let mut sample = Sample::new("acme", "web-1", 1);
    let mut message = telemetry(&mut sample, 4);
    message.topic = Topic::TelemetryRaw;
    transport.publish(vec![message]).await.unwrap();
    let ingest = Subscription { topic: Topic::TelemetryRaw, durable: "ingest".into() };
    let mut consumer = transport.subscribe_envelopes(ingest).await.unwrap();
    let delivery = consumer.next(1).await.unwrap().remove(0);
    assert_eq!(delivery.subject(), "telemetry.raw.acme.web-1");
    assert_eq!(delivery.envelope().unwrap().count(), 4);
    delivery.reject("the clock is a day ahead\r\nNats-Rollup: all").await.unwrap();
    let letters = dead_letters(&server, 1).await;
    assert_eq!(letters[0].0, "dlq.ingest.acme.web-1");
    let reason = letters[0].1.get(dead_letter::REASON).unwrap().as_str();
    assert_eq!(reason, "the clock is a day ahead  Nats-Rollup: all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_takes_is_refused_and_not_tried_again() {
    if !available() {
        return;
    }
    let server = Server::start_with("max_payload: 8192").await;
    let transport = server.open().await;
    let mut sample = Sample::new("acme", "web-1", 1);
    // Many events are split until they fit.
    transport.publish(vec![telemetry(&mut sample, 2_000)]).await.unwrap();
    let shell = sample.process();
    let long: String = (0..2_000).map(|_| format!("{:x}", sample.random())).collect();
    let mut message = telemetry(&mut sample, 0);
    message.payload =
        lavender_core::transport::Payload::Events(vec![sample.file_open(&shell, &long)]);
    let error = transport.publish(vec![message]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
