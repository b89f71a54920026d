//! What is published is delivered: in order, with the broker away, half there, or not yet there.

use std::time::Duration;

use lavender_core::event::EventKind;
use lavender_core::transport::{Message, Payload, Publisher as _, Topic};
use lavender_core::{ErrorKind, Severity};
use lavender_transport::spool::{SpoolOptions, Spooled};

use crate::broker::{Broker, Mood, drained, open, reporter, sample, segments, small, telemetry};

#[tokio::test]
async fn it_is_delivered_in_order_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Takes);
    let spool = open(directory.path(), small(1 << 20, 8_192), &broker);
    let mut sample = sample();
    for _ in 0..60 {
        let events = sample.busy(10);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    }
    drained(&spool).await;
    assert_eq!(broker.sequences(), (1..=600).collect::<Vec<_>>());
    let status = spool.close(Duration::from_secs(5)).await;
    assert_eq!((status.waiting, status.shed, status.damaged, status.fault), (0, 0, 0, None));
    assert_eq!(status.delivered, 60);
    assert_eq!(segments(directory.path()).len(), 1, "segments that are done with are removed");
}

#[tokio::test]
async fn it_starts_with_the_broker_down_and_goes_on_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Away);
    let spool = open(directory.path(), small(1 << 20, 8_192), &broker);
    let mut sample = sample();
    for _ in 0..40 {
        let events = sample.busy(10);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let status = spool.status();
    assert_eq!((status.waiting, status.delivered), (40, 0));
    assert!(status.fault.unwrap().contains("it is down"));
    broker.set(Mood::Takes);
    assert_eq!(drained(&spool).await.fault, None);
    assert_eq!(broker.sequences(), (1..=400).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_another_process_left_is_delivered_first() {
    let directory = tempfile::tempdir().unwrap();
    let away = Broker::new(Mood::Away);
    let mut sample = sample();
    let spool = open(directory.path(), small(1 << 20, 8_192), &away);
    for _ in 0..20 {
        let events = sample.busy(10);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    }
    assert_eq!(spool.close(Duration::ZERO).await.waiting, 20);
    drop(spool);
    let broker = Broker::new(Mood::Takes);
    let spool = open(directory.path(), small(1 << 20, 8_192), &broker);
    assert_eq!(spool.last_sequence(sample.origin()), Some(200));
    let events = sample.busy(10);
    spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    drained(&spool).await;
    assert_eq!(broker.sequences(), (1..=210).collect::<Vec<_>>());
    spool.close(Duration::from_secs(5)).await;
    drop(spool);
    // Delivered and removed, and its numbers are known all the same.
    let again = open(directory.path(), small(1 << 20, 8_192), &broker);
    assert_eq!(again.last_sequence(sample.origin()), Some(210));
    assert_eq!(again.status().waiting, 0, "what was delivered is not delivered again");
}

#[tokio::test]
async fn a_broker_that_takes_half_gets_all() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::TakesHalf);
    let spool = open(directory.path(), SpoolOptions::default(), &broker);
    let mut sample = sample();
    let messages = (0..8).map(|_| {
        let events = sample.busy(3);
        telemetry(&sample, events)
    });
    spool.publish(messages.collect()).await.unwrap();
    drained(&spool).await;
    let mut sequences = broker.sequences();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=24).collect::<Vec<_>>());
    assert!(broker.calls() >= 8, "each call gets one further: {}", broker.calls());
}

#[tokio::test]
async fn what_the_broker_will_never_take_holds_up_nothing_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Refuses);
    let spool = open(directory.path(), SpoolOptions::default(), &broker);
    let mut sample = sample();
    let messages: Vec<_> = (0..3)
        .map(|_| {
            let events = sample.busy(5);
            telemetry(&sample, events)
        })
        .collect();
    spool.publish(messages).await.unwrap();
    // The third is refused, goes to the front, and is refused no more there; so refuse it there as well.
    let status = drained(&spool).await;
    let lost: u64 = broker.lost().iter().map(|(_, count)| count).sum();
    assert_eq!(broker.sequences().len() as u64 + lost, 15, "delivered or counted");
    assert_eq!(status.shed, lost);
    assert_eq!(lost, 5);
}

#[tokio::test]
async fn alerts_and_events_of_every_kind_come_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Takes);
    let spool = open(directory.path(), SpoolOptions::default(), &broker);
    let mut sample = sample();
    let events = sample.busy(4);
    let alert = sample.alert(&events[0], "r", Severity::High);
    let raised = Message {
        source: sample.source().clone(),
        topic: Topic::Alerts,
        payload: Payload::Alerts(vec![alert.clone()]),
    };
    spool.publish(vec![telemetry(&sample, events), raised]).await.unwrap();
    drained(&spool).await;
    assert_eq!(broker.alerts(), [alert.id]);
    assert_eq!(broker.sequences(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn one_event_that_no_broker_takes_is_counted_and_the_others_pass() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Takes);
    let mut options = SpoolOptions::default();
    options.body_bytes_max = 4_000;
    let spool = open(directory.path(), options, &broker);
    let mut sample = sample();
    let shell = sample.process();
    // Bytes that do not compress.
    let long: String = (0..2_000).map(|_| format!("{:x}", sample.random())).collect();
    let events = vec![
        sample.file_open(&shell, "/etc/hosts"),
        sample.file_open(&shell, &long),
        sample.file_open(&shell, "/etc/passwd"),
    ];
    spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    drained(&spool).await;
    assert_eq!(broker.sequences(), [1, 3]);
    assert_eq!(broker.lost(), [(EventKind::FileOpen, 1)]);
}

#[tokio::test]
async fn two_processes_do_not_share_a_spool() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Takes);
    let first = open(directory.path(), SpoolOptions::default(), &broker);
    let options = SpoolOptions::default();
    let second = Spooled::open(directory.path(), options, reporter(&sample()), broker.clone());
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict);
    first.close(Duration::ZERO).await;
    let error = first.publish(vec![telemetry(&sample(), sample().busy(1))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
