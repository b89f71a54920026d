//! A full spool gives up the oldest of the lowest priority, counts it, and never gives up an alert.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lavender_core::Severity;
use lavender_core::event::{Event, EventData, EventKind};
use lavender_core::transport::{Message, Payload, Publisher as _, Topic};

use crate::broker::{Broker, Mood, drained, open, sample, segments, small, telemetry};

fn bytes_of(directory: &Path) -> u64 {
    segments(directory).iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn files_go_first_the_oldest_first_and_every_event_is_there_or_counted() {
    const BYTES_MAX: u64 = 200_000;
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Away);
    let spool = open(directory.path(), small(BYTES_MAX, 16_384), &broker);
    let mut sample = sample();
    let mut published: BTreeMap<u64, EventKind> = BTreeMap::new();
    let mut alerts = Vec::new();
    for round in 0..200 {
        let events = sample.busy(40);
        published.extend(events.iter().map(|event| (event.id.sequence(), event.kind())));
        let mut messages = vec![];
        if round % 20 == 0 {
            let alert = sample.alert(&events[0], "r", Severity::High);
            alerts.push(alert.id);
            messages.push(Message {
                source: sample.source().clone(),
                topic: Topic::Alerts,
                payload: Payload::Alerts(vec![alert]),
            });
        }
        messages.push(telemetry(&sample, events));
        spool.publish(messages).await.unwrap();
        assert!(bytes_of(directory.path()) <= BYTES_MAX, "{}", bytes_of(directory.path()));
    }
    let shed = spool.status().shed;
    assert!(shed > 0, "it never was full");
    broker.set(Mood::Takes);
    drained(&spool).await;

    assert_eq!(broker.alerts(), alerts, "alerts are never given up");
    let delivered = broker.sequences();
    let mut missing: BTreeMap<EventKind, u64> = BTreeMap::new();
    for (sequence, kind) in &published {
        if !delivered.contains(sequence) {
            *missing.entry(*kind).or_default() += 1;
        }
    }
    let mut counted: BTreeMap<EventKind, u64> = BTreeMap::new();
    for (kind, count) in broker.lost() {
        *counted.entry(kind).or_default() += count;
    }
    assert_eq!(missing, counted, "what is not there is counted, and only that");
    assert_eq!(missing.values().sum::<u64>(), shed);
    assert!(delivered.is_sorted(), "what is left comes in order");
    // Files before processes: no process was given up while there were files to give up.
    let lost = |kind| missing.get(&kind).copied().unwrap_or(0);
    let opened = published.values().filter(|kind| **kind == EventKind::FileOpen).count() as u64;
    assert!(lost(EventKind::FileOpen) > opened / 4, "{missing:?}");
    assert!(lost(EventKind::Exec) == 0 || lost(EventKind::FileOpen) > opened / 2, "{missing:?}");
    // The oldest first: of the files that are left, most are of the second half.
    let is_file = |sequence: &&u64| published[*sequence] == EventKind::FileOpen;
    let half = published.len() as u64 / 2;
    let (old, new): (Vec<u64>, Vec<u64>) =
        delivered.iter().filter(is_file).partition(|sequence| **sequence <= half);
    assert!(old.len() < new.len(), "{} old and {} new", old.len(), new.len());
}

#[tokio::test]
async fn what_was_given_up_stays_counted_when_the_process_ends() {
    let directory = tempfile::tempdir().unwrap();
    let away = Broker::new(Mood::Away);
    let spool = open(directory.path(), small(100_000, 8_192), &away);
    let mut sample = sample();
    for _ in 0..100 {
        let events = sample.busy(40);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    }
    let shed = spool.close(Duration::ZERO).await.shed;
    assert!(shed > 0);
    drop(spool);
    let broker = Broker::new(Mood::Takes);
    let spool = open(directory.path(), small(100_000, 8_192), &broker);
    drained(&spool).await;
    assert_eq!(broker.lost().iter().map(|(_, count)| count).sum::<u64>(), shed);
    assert_eq!(broker.sequences().len() as u64 + shed, 4_000);
}

#[tokio::test]
async fn alerts_alone_make_the_publisher_wait_and_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Away);
    let spool = std::sync::Arc::new(open(directory.path(), small(60_000, 8_192), &broker));
    let mut sample = sample();
    let mut ids = Vec::new();
    let mut messages = Vec::new();
    for _ in 0..200 {
        let event = sample.busy(1).remove(0);
        let alert = sample.alert(&event, "r", Severity::High);
        ids.push(alert.id);
        messages.push(Message {
            source: sample.source().clone(),
            topic: Topic::Alerts,
            payload: Payload::Alerts(vec![alert]),
        });
    }
    let publisher = std::sync::Arc::clone(&spool);
    let publishing = tokio::spawn(async move {
        for message in messages {
            publisher.publish(vec![message]).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!publishing.is_finished(), "200 alerts do not fit");
    assert!(bytes_of(directory.path()) <= 60_000);
    broker.set(Mood::Takes);
    tokio::time::timeout(Duration::from_secs(90), publishing).await.unwrap().unwrap();
    drained(&spool).await;
    assert_eq!(broker.alerts(), ids);
}

/// A file system of so many KiB, unmounted when it goes out of scope.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kib: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "lavender-test"])
            .arg(directory.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the spool's thread may still hold files.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_makes_the_publisher_wait_and_tears_nothing() {
    let Some(disk) = SmallDisk::mount(256) else {
        println!("skipped: a small file system cannot be mounted here");
        return;
    };
    let directory = disk.0.path().join("spool");
    let filler = disk.0.path().join("filler");
    let broker = Broker::new(Mood::Away);
    let spool = std::sync::Arc::new(open(&directory, small(1 << 30, 16_384), &broker));
    let mut sample = sample();
    let events = sample.busy(20);
    spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    // Somebody else fills the disk.
    let _ = std::fs::write(&filler, vec![0_u8; 1 << 20]);
    let publisher = std::sync::Arc::clone(&spool);
    let batches: Vec<_> = (0..40)
        .map(|_| {
            let events = sample.busy(20);
            telemetry(&sample, events)
        })
        .collect();
    let publishing = tokio::spawn(async move {
        for batch in batches {
            publisher.publish(vec![batch]).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!publishing.is_finished(), "the disk is full");
    let fault = spool.status().fault.expect("it says so");
    assert!(fault.contains("No space left") || fault.contains("as it was told"), "{fault}");
    std::fs::remove_file(&filler).unwrap();
    broker.set(Mood::Takes);
    tokio::time::timeout(Duration::from_secs(90), publishing).await.unwrap().unwrap();
    let status = drained(&spool).await;
    assert_eq!(status.shed, 0);
    assert_eq!(broker.sequences(), (1..=820).collect::<Vec<_>>());
    spool.close(Duration::ZERO).await;
}

#[tokio::test]
async fn losses_themselves_are_never_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::new(Mood::Away);
    let spool = open(directory.path(), small(60_000, 8_192), &broker);
    let mut sample = sample();
    let reported = sample.event(
        None,
        EventData::Lost(lavender_core::event::Loss::new(
            lavender_core::event::LossStage::Spool,
            EventKind::Exec,
            1_000_000,
        )),
    );
    let mut first: Vec<std::sync::Arc<Event>> = sample.busy(20);
    first.push(reported);
    spool.publish(vec![telemetry(&sample, first)]).await.unwrap();
    for _ in 0..60 {
        let events = sample.busy(40);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    }
    broker.set(Mood::Takes);
    drained(&spool).await;
    assert!(broker.lost().contains(&(EventKind::Exec, 1_000_000)));
}
