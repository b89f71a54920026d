//! What is refused before anything is published: old servers, other settings, names that are wildcards.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use lavender_core::ErrorKind;
use lavender_core::transport::{Subscriber as _, Subscription, Topic};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions, Setup};

use crate::server::{Server, available, free_port, small};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    // Says what the nats-server of Debian 12 says.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(1) {
            let mut stream = stream.unwrap();
            let info = r#"INFO {"server_id":"S","server_name":"s","version":"2.9.10","proto":1,"go":"go1.19","host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"client_id":1}"#;
            write!(stream, "{info}\r\n").unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                if line.starts_with("PING") {
                    let _ = stream.write_all(b"PONG\r\n");
                }
            }
        }
    });
    let options = JetStreamOptions::new([format!("nats://127.0.0.1:{port}")]);
    let error = JetStream::open(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("2.9.10") && error.to_string().contains("2.11"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_so() {
    let options = JetStreamOptions::new([format!("nats://127.0.0.1:{}", free_port())]);
    let error = JetStream::open(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_other_than_configured_are_refused_with_every_difference() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let options = small(server.options());
    drop(JetStream::open(options.clone()).await.unwrap());
    JetStream::open(options.clone()).await.expect("the same again is no contradiction");

    let refused = async |change: fn(&mut JetStreamOptions), words: &[&str]| {
        let mut other = options.clone();
        change(&mut other);
        let error = JetStream::open(other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    };
    refused(
        |other| {
            other.streams.telemetry_bytes_max = 1 << 20;
            other.streams.duplicate_window = Duration::from_secs(60);
        },
        &["stream TELEMETRY_RAW", "max_bytes", "1048576", "duplicate_window"],
    )
    .await;
    refused(
        |other| other.streams.replicas = 3,
        &["stream TELEMETRY_RAW", "replicas is 1 and not 3"],
    )
    .await;
    refused(
        |other| other.streams.dead_letters_age_max = Duration::from_secs(3_600),
        &["stream DLQ", "max_age"],
    )
    .await;
    refused(
        |other| other.consumer.ack_wait = Duration::from_secs(7),
        &["durable ingest of stream TELEMETRY_RAW", "ack_wait is 30s and not 7s"],
    )
    .await;
    refused(|other| other.consumer.in_flight = 5, &["max_ack_pending"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_check_makes_nothing() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let mut options = small(server.options());
    options.setup = Setup::Check;
    let error = JetStream::open(options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    server.open().await;
    let transport = JetStream::open(options).await.unwrap();
    let unknown = Subscription { topic: Topic::Alerts, durable: "unknown".into() };
    assert_eq!(transport.subscribe(unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = transport.state(BucketOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_one_token_are_refused() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    for name in ["", "a.b", "*", ">", "a b", "nul\0", "line\nbreak", &"x".repeat(65)] {
        let subscription = Subscription { topic: Topic::Alerts, durable: name.into() };
        let error = transport.subscribe(subscription).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}: {error}");
        let mut options = BucketOptions::default();
        options.name = name.into();
        let error = transport.state(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}: {error}");
    }
    let mut options = small(server.options());
    options.inbox_prefix = Some("a >".into());
    assert_eq!(JetStream::open(options).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_opens_it() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = lavender_transport::open(&server.url()).await.unwrap();
    transport.publish(Vec::new()).await.unwrap();
}

#[test]
fn urls_that_cannot_be_read_are_refused_and_show_no_secret() {
    for url in [
        "nats://user:hunter2@a:4222",
        "nats://",
        "nats://a,,b",
        "nats://a b",
        "nats://a?nkey=",
        "nats://a?setup=maybe",
        "nats://a?replicas=9",
        "nats://a?cert=/c.pem",
        "nats://a?colour=blue",
        "ftp://hunter2",
    ] {
        let error = JetStreamOptions::from_url(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
