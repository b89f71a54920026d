//! JetStream keeps what the traits promise.

use std::sync::Arc;

use lavender_core::conformance::sample::START;
use lavender_core::conformance::{self, TransportFixture};
use lavender_core::{ManualClock, async_trait};
use lavender_transport::nats::{BucketOptions, JetStream};
use tokio::sync::Mutex;

use crate::server::{Server, available, small};

/// A server for each transport, kept until the end.
#[derive(Default)]
struct Fixture(Mutex<Vec<Server>>);

#[async_trait]
impl TransportFixture for Fixture {
    type Transport = JetStream;

    async fn open(&self, messages: usize) -> JetStream {
        let server = Server::start().await;
        let mut options = small(server.options());
        options.streams.messages_max = Some(messages as u64);
        options.durables.clear();
        self.0.lock().await.push(server);
        JetStream::open(options).await.unwrap()
    }

    async fn close(&self, transport: &JetStream) {
        transport.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_conforms() {
    if available() {
        conformance::transport(&Fixture::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_store_conforms() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let clock = Arc::new(ManualClock::new(START));
    let mut options = BucketOptions::default();
    (options.bytes_max, options.clock) = (64 << 20, clock.clone());
    let state = transport.state(options).await.unwrap();
    conformance::state_store(&state, &clock).await;
}
