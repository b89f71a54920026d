//! Three servers, each message on all of them: one is lost under load, and comes back.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::store::PutMode;
use lavender_core::{Result, StateStore as _};
use lavender_transport::nats::{BucketOptions, JetStream, JetStreamOptions};
use lavender_transport::{Retry, RetryOptions};

use crate::load::{Load, assert_all_come, writer};
use crate::server::{Server, available, free_port, small};

async fn start() -> (Vec<Server>, JetStreamOptions) {
    let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let listed: Vec<String> =
        routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let mut servers = Vec::new();
    for route in &routes {
        let configuration = format!(
            "cluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{}] }}",
            listed.join(", ")
        );
        servers.push(Server::start_on(free_port(), &configuration).await);
    }
    let mut options = small(JetStreamOptions::new(servers.iter().map(Server::url)));
    options.streams.replicas = 3;
    options.durables = vec![writer()];
    options.timeout = Duration::from_secs(2);
    (servers, options)
}

/// Opens it once the servers have agreed on who leads.
async fn open(options: &JetStreamOptions) -> JetStream {
    let mut last = None;
    for _ in 0..60 {
        match JetStream::open(options.clone()).await {
            Ok(transport) => return transport,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{last:?}");
}

/// Tries until there is a leader, which is elected anew when a server comes back.
async fn once_led<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..60 {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("nobody leads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_three_is_lost_and_comes_back_under_load() {
    if !available() {
        return;
    }
    let (mut servers, options) = start().await;
    let transport = open(&options).await;
    let mut bucket = BucketOptions::default();
    (bucket.replicas, bucket.bytes_max) = (3, 8 << 20);
    let state = once_led(async || transport.state(bucket.clone()).await).await;
    let version = state.put("k", "before".into(), PutMode::Create, None).await.unwrap();

    let load = Load::start(Arc::new(Retry::new(transport.clone(), RetryOptions::default())));
    // One after the other, so that two of three are always there.
    for lost in servers.iter_mut().take(2) {
        load.more(1_000).await;
        lost.kill();
        load.more(1_000).await;
        lost.restart().await;
    }
    load.more(1_000).await;
    let acknowledged = load.stop().await;
    assert!(acknowledged >= 5_000);
    assert_all_come(&transport, acknowledged).await;
    let (value, now) = once_led(async || state.get("k").await).await.unwrap();
    assert_eq!((&*value, now), (&b"before"[..], version));
}
