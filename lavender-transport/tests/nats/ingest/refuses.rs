//! What is no good is a dead letter with its reason, and the rest flows.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::{Envelope, names};
use lavender_core::transport::Payload;
use lavender_transport::ingest::{IngestOptions, Rate};
use lavender_transport::nats::dead_letter;

use super::support::{Site, agent, batch, publish};
use crate::poison::{dead_letters, headers_of};
use crate::server::available;

/// One that is good but for the headers that are changed.
fn changed(number: usize, change: &[(&str, &str)]) -> (HeaderMap, Bytes) {
    let mut sample = agent("acme", "web-1", 1_000 + number as u64);
    let sealed = Envelope::encode(&batch(&mut sample, 20), 1 << 20).unwrap().remove(0);
    (headers_of(&sealed, change), sealed.body().clone())
}

/// One whose body is this, and whose headers say that it is good.
fn with_body(number: usize, encoding: &str, body: impl Into<Bytes>) -> (HeaderMap, Bytes) {
    (changed(number, &[(names::ENCODING, encoding)]).0, body.into())
}

/// The body of a good one, as lines, with something else in the place of something.
fn edited(number: usize, from: &str, to: &str) -> (HeaderMap, Bytes) {
    let mut sample = agent("acme", "web-1", 1_000 + number as u64);
    let sealed = Envelope::encode(&batch(&mut sample, 20), 1 << 20).unwrap().remove(0);
    let plain = String::from_utf8(sealed.plain_body().unwrap().to_vec()).unwrap();
    assert!(plain.contains(from), "{from}");
    let headers = headers_of(&sealed, &[(names::ENCODING, "identity")]);
    (headers, plain.replacen(from, to, 1).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_poison_is_put_aside_and_the_rest_flows() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let mut options = IngestOptions::default();
    options.checks.body_bytes_max = 64 << 10;
    options.checks.plain_bytes_max = 1 << 20;
    let worker = site.worker(options).await;
    let mut other = agent("acme", "web-2", 99);
    let (foreign_headers, foreign_body) = {
        let sealed = Envelope::encode(&batch(&mut other, 5), 1 << 20).unwrap().remove(0);
        // Says to be web-1 wherever a header can.
        (headers_of(&sealed, &[(names::AGENT, "web-1")]), sealed.body().clone())
    };
    let mut early = agent("acme", "web-1", 77);
    early.set_now(early.now().saturating_add(Duration::from_secs(86_400)));
    let early = Envelope::encode(&batch(&mut early, 5), 1 << 20).unwrap().remove(0);
    let old = {
        // The clock of samples stands in 2023.
        let mut sample = Sample::new("acme", "web-1", 78);
        Envelope::encode(&batch(&mut sample, 5), 1 << 20).unwrap().remove(0)
    };
    let bomb = zstd::bulk::compress(&vec![b'\n'; 40 << 20], 19).unwrap();
    let poison: Vec<(&str, (HeaderMap, Bytes), &str)> = vec![
        ("acme.web-1", (HeaderMap::new(), "no headers".into()), "Lav-Schema: it is missing"),
        ("acme.web-1", changed(1, &[(names::SCHEMA, "99")]), "wire version 99"),
        ("acme.web-1", edited(2, "\"lavender\":1", "\"lavender\":7"), "wire version 7"),
        ("acme.web-1", with_body(3, "identity", "{\"lavender\":1,"), "line 1"),
        ("acme.web-1", edited(4, "\"data\":{", "\"data\":{{"), "line "),
        ("acme.web-1", with_body(5, "zstd", "not zstd"), "decompressed"),
        ("acme.web-1", with_body(6, "zstd", bomb), "bytes when decompressed; 1048576 are allowed"),
        (
            "acme.web-1",
            with_body(7, "identity", vec![b'x'; 65_537]),
            "65537 bytes; 65536 are allowed",
        ),
        // Speaks for another: the subject, the headers, and the body.
        ("acme.web-2", changed(8, &[]), "the agent of the headers is web-1"),
        ("rival.web-1", changed(9, &[]), "the tenant of the headers is acme"),
        ("acme.web-1", (foreign_headers, foreign_body), "that of the body web-2"),
        (
            "acme.web-1",
            edited(10, "\"agent\":\"web-1\"", "\"agent\":\"web-2\""),
            "that of the body web-2",
        ),
        // Counts and numbers that are not those of the body.
        ("acme.web-1", changed(11, &[(names::COUNT, "1")]), "the count of the headers is 1"),
        ("acme.web-1", changed(12, &[(names::SEQ_FIRST, "2")]), "the first sequence number"),
        ("acme.web-1", changed(13, &[(names::SEQ_LAST, "21")]), "the last sequence number"),
        (
            "acme.web-1",
            changed(14, &[(names::BOOT, "0000000000000000000")]),
            "the boot of the headers",
        ),
        // Names that could be taken for more than a name.
        ("acme.w\u{fc}b", changed(15, &[]), "is not a subject"),
        ("acme.*", changed(16, &[(names::AGENT, "*")]), "is not a subject"),
        ("acme.>", changed(17, &[(names::AGENT, ">")]), "is not a subject"),
        (
            "acme.web-1",
            changed(18, &[(names::AGENT, "web 1")]),
            "the agent of the headers is web 1",
        ),
        ("acme.web-1", edited(19, "\"agent\":\"web-1\"", "\"agent\":\"we b\""), "not a valid name"),
        ("acme.web-1", edited(20, "\"agent\":\"web-1\"", "\"agent\":\"*\""), "not a valid name"),
        (
            "acme.web-1",
            edited(21, "\"tenant\":\"acme\"", "\"tenant\":\"acme.>\""),
            "not a valid name",
        ),
        (
            "acme.web-1",
            edited(22, "\"agent\":\"web-1\"", "\"agent\":\"w\\u0000b\""),
            "not a valid name",
        ),
        // Clocks.
        ("acme.web-1", (headers_of(&early, &[]), early.body().clone()), "clock is wrong"),
        ("acme.web-1", (headers_of(&old, &[]), old.body().clone()), "older than what is taken"),
        // Under an id that another's message may have.
        ("acme.web-1", changed(24, &[]), "message id `poison/"),
        // Of ingest, and nobody else's to say.
        ("acme.web-1", changed(23, &[(names::RECEIVED_AT, "soon")]), "Lav-Received-At"),
    ];
    let client = async_nats::connect(site.server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let mut good = agent("acme", "web-1", 1);
    let (mut stored, mut refused) = (0, Vec::new());
    for (number, (whose, (mut headers, body), reason)) in poison.into_iter().enumerate() {
        headers.insert(names::MESSAGE_ID, format!("poison/{number}").as_str());
        let sent = context.publish_with_headers(format!("telemetry.raw.{whose}"), headers, body);
        match sent.await.unwrap().await {
            Ok(_) => {
                stored += 1;
                refused.push((whose, reason));
            }
            // A server that lets no such subject in is as good.
            Err(error) => assert!(whose.ends_with(['*', '>']), "{whose}: {error}"),
        }
        publish(&site.transport, vec![batch(&mut good, 3)]).await;
    }
    assert!(stored >= 25);
    let flowed = reader.take(28).await;
    assert!(flowed.iter().all(|envelope| envelope.count() == 3));
    let letters = dead_letters(&site.server, stored).await;
    for (whose, reason) in refused {
        let found = letters.iter().any(|(_, headers, _)| {
            let header = |name| headers.get(name).map_or("", |value| value.as_str());
            header(dead_letter::REASON).contains(reason)
                && header(dead_letter::SUBJECT) == format!("telemetry.raw.{whose}")
                && header(dead_letter::STAGE) == "ingest"
                && header(dead_letter::ATTEMPTS) == "1"
        });
        let said: Vec<_> = letters.iter().map(|(_, h, _)| h.get(dead_letter::REASON)).collect();
        assert!(found, "no dead letter of {whose} says `{reason}`: {said:#?}");
    }
    for (subject, ..) in &letters {
        assert!(
            [
                "dlq.ingest.acme.web-1",
                "dlq.ingest.acme.web-2",
                "dlq.ingest.rival.web-1",
                "dlq.ingest.unknown.unknown"
            ]
            .contains(&&**subject),
            "{subject}"
        );
    }
    site.until_worked_off().await;
    let counts = worker.stop().await;
    assert_eq!((counts.dead_letters, counts.messages), (stored, 28));
    assert!(reader.rest(Duration::from_millis(300)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_nothing_but_poison_does_not_fill_the_dead_letters() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let mut options = IngestOptions::default();
    options.dead_letters_per_agent = Rate::new(1, 10);
    let worker = site.worker(options).await;
    let client = async_nats::connect(site.server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    for number in 0..200 {
        let (mut headers, body) = changed(number, &[(names::SCHEMA, "2")]);
        headers.insert(names::MESSAGE_ID, format!("poison/{number}").as_str());
        let sent = context.publish_with_headers("telemetry.raw.acme.web-1", headers, body);
        sent.await.unwrap().await.unwrap();
    }
    let message = batch(&mut agent("acme", "web-2", 1), 3);
    publish(&site.transport, vec![message.clone()]).await;
    let Payload::Events(events) = reader.take(1).await[0].decode().unwrap().payload else {
        panic!()
    };
    assert_eq!(Payload::Events(events), message.payload);
    site.until_worked_off().await;
    let counts = worker.stop().await;
    assert_eq!(counts.dead_letters + counts.dead_letters_discarded, 200);
    assert!((10..100).contains(&counts.dead_letters), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_stream_does_not_take_is_put_aside_and_the_rest_flows() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let client = async_nats::connect(site.server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let mut stream = context.get_stream("TELEMETRY_CANONICAL").await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.max_message_size = 4_000;
    context.update_stream(config).await.unwrap();
    let worker = site.worker(IngestOptions::default()).await;
    let mut sample = agent("acme", "web-1", 1);
    let sent = [3, 500, 3].map(|events| batch(&mut sample, events));
    publish(&site.transport, sent.into()).await;
    assert_eq!(reader.take(2).await.len(), 2);
    let letters = dead_letters(&site.server, 1).await;
    let reason = letters[0].1.get(dead_letter::REASON).unwrap().as_str();
    assert!(reason.contains("message size exceeds maximum"), "{reason}");
    site.until_worked_off().await;
    let counts = worker.stop().await;
    assert_eq!((counts.messages, counts.dead_letters, counts.publish_retries), (2, 1, 0));
}
