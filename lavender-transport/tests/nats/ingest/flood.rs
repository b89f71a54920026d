//! An agent that floods takes nothing from the others, and what of it is lost is told.

use std::time::Duration;

use lavender_core::transport::Payload;
use lavender_transport::ingest::{IngestOptions, Rate};

use super::support::{Site, agent, batch, gaps, publish};
use crate::server::available;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_limited_and_others_are_not() {
    if !available() {
        return;
    }
    // Less is out at once than the flood would take.
    let site = Site::start_with(|options| options.consumer.in_flight = 64).await;
    let mut reader = site.reader().await;
    let mut options = IngestOptions::default();
    options.events_per_agent = Some(Rate::new(200, 1_000));
    (options.waiting_per_agent, options.waiting_max) = (8, 16);
    options.gap_wait = Duration::from_secs(4);
    let worker = site.worker(options).await;
    let mut flood = agent("acme", "web-1", 1);
    let mut others: Vec<_> = (2..6).map(|n| agent("acme", &format!("web-{n}"), n)).collect();
    let (mut flooded, mut sent) = (0, 0);
    for _ in 0..40 {
        let burst: Vec<_> = (0..10).map(|_| batch(&mut flood, 50)).collect();
        flooded += 500;
        publish(&site.transport, burst).await;
        for other in &mut others {
            publish(&site.transport, vec![batch(other, 5)]).await;
            sent += 5;
        }
    }
    // One that is within its limit, so that the end of what is missing is seen.
    site.until_worked_off().await;
    let mut passed_of_flood = 0;
    let mut passed_of_others = 0;
    let mut missing = 0;
    // Each number of the flood passes or is told of.
    while passed_of_flood + missing < flooded || passed_of_others < sent {
        let got = reader.next().await;
        missing += gaps(&got).keys().map(|(_, _, count)| count).sum::<u64>();
        for message in got.iter().map(|envelope| envelope.decode().unwrap()) {
            let Payload::Events(events) = &message.payload else { panic!() };
            let told = events.iter().filter(|event| event.process.is_none()).count();
            let events = (events.len() - told) as u64;
            match message.source.agent.as_str() {
                "web-1" => passed_of_flood += events,
                _ => passed_of_others += events,
            }
        }
    }
    assert_eq!((passed_of_flood + missing, passed_of_others), (flooded, sent));
    let counts = worker.stop().await;
    assert!(passed_of_flood >= 1_000, "its burst passes: {passed_of_flood}");
    assert!(passed_of_flood < flooded / 2, "{passed_of_flood} of {flooded}");
    assert!(counts.rate_limited > 0 && counts.rate_refused > 0, "{counts:?}");
    assert_eq!((counts.lost, counts.dead_letters), (missing, 0));
}
