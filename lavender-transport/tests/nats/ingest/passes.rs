//! What is good passes as it came, once, stamped.

use std::collections::BTreeMap;

use lavender_core::envelope::Envelope;
use lavender_core::{Clock as _, SystemClock, Timestamp};
use lavender_transport::EnvelopePublisher as _;
use lavender_transport::ingest::IngestOptions;

use super::support::{Site, agent, batch, gaps, publish};
use crate::server::available;

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_send_comes_out_as_it_came() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let worker = site.worker(IngestOptions::default()).await;
    let before = SystemClock.now();
    let mut sent = Vec::new();
    for (tenant, name, seed) in [("acme", "web-1", 1), ("acme", "web-2", 2), ("rival", "web-1", 3)]
    {
        let mut sample = agent(tenant, name, seed);
        sent.extend((0..10).map(|number| batch(&mut sample, 1 + number * 10)));
    }
    let (first, rest) = sent.split_first().unwrap();
    publish(&site.transport, rest.to_vec()).await;
    // When it was received is not the agent's to say.
    let first = Envelope::encode(first, 1 << 20).unwrap().remove(0);
    let claims = first.with_received_at(Timestamp::from_millis(1));
    for result in site.transport.publish_envelopes(&[claims]).await {
        result.unwrap();
    }
    let got = reader.take(30).await;
    let after = SystemClock.now();
    let by_id: BTreeMap<_, _> = got.iter().map(|got| (got.id().to_owned(), got)).collect();
    for message in &sent {
        let sealed = Envelope::encode(message, 1 << 20).unwrap().remove(0);
        let got = by_id[sealed.id()];
        assert_eq!(got.body(), sealed.body(), "not a byte of it is changed");
        assert_eq!(
            got.subject().to_string(),
            sealed.subject().to_string().replace("raw", "accepted")
        );
        let received_at = got.received_at().unwrap();
        assert!(before <= received_at && received_at <= after);
        assert_eq!(got.decode().unwrap().payload, message.payload);
    }
    site.until_worked_off().await;
    let counts = worker.stop().await;
    assert_eq!((counts.messages, counts.events), (30, 3 * 460));
    assert_eq!((counts.dead_letters, counts.rate_limited, counts.lost), (0, 0, 0));
    assert!(gaps(&got).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_passes_once() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let mut sample = agent("acme", "web-1", 1);
    let sent: Vec<_> = (0..200).map(|_| batch(&mut sample, 5)).collect();
    publish(&site.transport, sent).await;
    // Workers that end anywhere in the middle: what they had comes again, to the next.
    let mut options = IngestOptions::default();
    options.batch_max = 4;
    for _ in 0..4 {
        let worker = site.worker(options.clone()).await;
        worker.until(|counts| counts.messages >= 8).await;
        worker.abort().await;
    }
    let worker = site.worker(options).await;
    site.until_worked_off().await;
    let got = reader.take(200).await;
    let counts = worker.stop().await;
    assert_eq!((counts.lost, counts.dead_letters), (0, 0));
    assert!(reader.rest(std::time::Duration::from_millis(500)).await.is_empty());
    let mut ids: Vec<_> = got.iter().map(Envelope::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_leaves_the_rest_to_others() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let mut sample = agent("acme", "web-1", 1);
    publish(&site.transport, (0..300).map(|_| batch(&mut sample, 5)).collect()).await;
    let mut options = IngestOptions::default();
    options.batch_max = 16;
    let first = site.worker(options.clone()).await;
    first.until(|counts| counts.messages > 0).await;
    let first = first.stop().await;
    let second = site.worker(options).await;
    site.until_worked_off().await;
    let second = second.stop().await;
    // Done with before it stopped: nothing was done twice.
    assert_eq!(first.messages + second.messages, 300);
    reader.take(300).await;
}
