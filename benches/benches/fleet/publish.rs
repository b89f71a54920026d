//! Publishing beside what async-nats alone publishes of the same bytes.

use async_nats::HeaderMap;
use async_nats::jetstream::{self, message::PublishMessage};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lavender_core::envelope::Envelope;
use lavender_core::transport::{Publisher as _, Topic};
use lavender_transport::EnvelopePublisher as _;

use super::Effort;
use super::broker::Broker;
use super::corpus::{BATCH, Corpus, sealed};
use super::cost::{cost_of, middle};

/// As many as the transport has in flight.
const WINDOW: usize = 256;

/// What the client alone does: the same headers, bodies and window.
async fn bare(context: &jetstream::Context, envelopes: &[Envelope]) {
    let mut acks = FuturesUnordered::new();
    for envelope in envelopes {
        if acks.len() == WINDOW {
            let ack: Option<Result<_, jetstream::context::PublishError>> = acks.next().await;
            ack.unwrap().unwrap();
        }
        let mut headers = HeaderMap::new();
        for (name, value) in envelope.headers() {
            headers.insert(name, &*value);
        }
        let message = PublishMessage::build().payload(envelope.body().clone()).headers(headers);
        let ack = context.send_publish(envelope.subject().to_string(), message).await.unwrap();
        acks.push(ack.into_future());
    }
    while let Some(ack) = acks.next().await {
        ack.unwrap();
    }
}

pub async fn ratios(effort: Effort) -> Vec<String> {
    let broker = Broker::start();
    let transport = broker.open(&["ingest"]).await;
    let client = async_nats::connect(&broker.url).await.unwrap();
    let context =
        jetstream::context::ContextBuilder::new().max_ack_inflight(4 * WINDOW).build(client);
    let stream = context.get_stream("TELEMETRY_RAW").await.unwrap();
    let mut corpus = Corpus::new(50);
    let mut ratios = Vec::new();
    for batch in [16, BATCH] {
        let (mut alone, mut ours, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let each = effort.messages_each * if batch < BATCH { 4 } else { 1 };
        for _ in 0..effort.rounds {
            let mut fresh = || corpus.messages(batch, each, Topic::TelemetryRaw);
            let envelopes = sealed(&fresh());
            alone.push(cost_of(&[broker.pid()], bare(&context, &envelopes)).await);
            stream.purge().await.unwrap();
            let envelopes = sealed(&fresh());
            let publish = async {
                let results = transport.publish_envelopes(&envelopes).await;
                results.into_iter().for_each(|result| result.unwrap());
            };
            ours.push(cost_of(&[broker.pid()], publish).await);
            stream.purge().await.unwrap();
            let unsealed = fresh();
            let publish = async { transport.publish(unsealed).await.unwrap() };
            whole.push(cost_of(&[broker.pid()], publish).await);
            stream.purge().await.unwrap();
        }
        let events = 50 * each * batch;
        let (alone, ours, whole) = (middle(&alone), middle(&ours), middle(&whole));
        println!("publish, batches of {batch}, async-nats alone: {}", alone.per_event(events));
        println!("publish, batches of {batch}, sealed before:    {}", ours.per_event(events));
        println!("publish, batches of {batch}, encoded as well:  {}", whole.per_event(events));
        let ratio = ours.rate(events) / alone.rate(events);
        ratios.push(format!("publish/async-nats alone, batches of {batch}: {ratio:.2}"));
    }
    ratios
}
