//! What is missing is told once, whoever tells it.

use std::time::Duration;

use lavender_core::conformance::sample::Sample;
use lavender_core::event::{EventKind, LossStage};
use lavender_core::transport::Message;
use lavender_transport::ingest::IngestOptions;

use super::support::{Gaps, Site, agent, batch, gaps, publish, raw_message};
use crate::server::available;

fn options() -> IngestOptions {
    let mut options = IngestOptions::default();
    options.gap_wait = Duration::from_secs(2);
    options.batch_max = 4;
    options
}

/// Messages of which every fifth is not sent, and what is missing by that.
fn with_holes(sample: &mut Sample) -> (Vec<Message>, Gaps) {
    let (mut sent, mut missing) = (Vec::new(), Gaps::new());
    let mut next = 1;
    for number in 0..51 {
        let length = 1 + number % 7;
        let message = batch(sample, length as usize);
        if number % 5 == 3 {
            let name = sample.source().agent.as_str().to_owned();
            missing.insert((name, next, length), 1);
        } else {
            sent.push(message);
        }
        next += length;
    }
    (sent, missing)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_tell_of_each_gap_once() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let workers = [site.worker(options()).await, site.worker(options()).await];
    let mut missing = Gaps::new();
    let mut sent = Vec::new();
    for number in 0..4 {
        let (messages, holes) = with_holes(&mut agent("acme", &format!("web-{number}"), number));
        missing.extend(holes);
        sent.push(messages);
    }
    // All agents at once, so that both workers have some of each.
    let longest = sent.iter().map(Vec::len).max().unwrap();
    for at in 0..longest {
        let row: Vec<Message> = sent.iter().filter_map(|of| of.get(at).cloned()).collect();
        publish(&site.transport, row).await;
    }
    let count: usize = sent.iter().map(Vec::len).sum();
    let mut got = reader.take_at_least(count + missing.len()).await;
    got.extend(reader.rest(Duration::from_secs(3)).await);
    assert_eq!(gaps(&got), missing);
    let [one, other] = workers;
    let (one, other) = (one.stop().await, other.stop().await);
    assert!(one.messages > 0 && other.messages > 0, "both worked");
    assert_eq!(one.gaps + other.gaps, missing.len() as u64);
    let lost: u64 = missing.keys().map(|(_, _, count)| count).sum();
    assert_eq!(one.lost + other.lost, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_is_no_gap_and_what_the_agent_tells_of_is_not_told_again() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let worker = site.worker(options()).await;
    let mut sample = agent("acme", "web-1", 1);
    let messages: Vec<_> = (0..10).map(|_| batch(&mut sample, 10)).collect();
    let (late, first): (Vec<_>, Vec<_>) =
        messages.into_iter().enumerate().partition(|(number, _)| number % 3 == 1);
    let of = |numbered: Vec<(usize, Message)>| numbered.into_iter().map(|(_, m)| m).collect();
    publish(&site.transport, of(first)).await;
    worker.until(|counts| counts.messages == 7).await;
    publish(&site.transport, of(late)).await;
    // Ten that its queue gave up, and it says so.
    sample.busy(10);
    let told = vec![sample.lost(LossStage::Queue, EventKind::FileOpen, 10)];
    let mut with_word = sample.busy(1);
    with_word.splice(0..0, told);
    publish(&site.transport, vec![raw_message(&sample, with_word)]).await;
    let mut got = reader.take_at_least(11).await;
    got.extend(reader.rest(Duration::from_secs(4)).await);
    assert_eq!(gaps(&got), Gaps::new());
    assert_eq!(worker.stop().await.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_a_dead_worker_watched_is_told_by_the_next() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let mut patient = options();
    patient.gap_wait = Duration::from_secs(3_600);
    let worker = site.worker(patient).await;
    let (messages, missing) = with_holes(&mut agent("acme", "web-1", 1));
    let count = messages.len();
    publish(&site.transport, messages).await;
    site.until_worked_off().await;
    assert_eq!(worker.monitor.watched(), 1);
    worker.abort().await;
    let mut got = reader.take_at_least(count).await;
    // This one has seen no message of it.
    let worker = site.worker(options()).await;
    got.extend(reader.take_at_least(missing.len()).await);
    got.extend(reader.rest(Duration::from_secs(1)).await);
    assert_eq!(gaps(&got), missing);
    assert_eq!(worker.monitor.watched(), 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_watched_is_found_by_the_next_scan() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let mut options = options();
    (options.watched_max, options.scan_interval) = (1, Duration::from_secs(1));
    let worker = site.worker(options).await;
    let (mut sent, mut missing) = (0, Gaps::new());
    for number in 0..4 {
        let mut sample = agent("acme", &format!("web-{number}"), number);
        let mut messages: Vec<_> = (0..3).map(|_| batch(&mut sample, 5)).collect();
        messages.remove(1);
        sent += messages.len();
        missing.insert((format!("web-{number}"), 6, 5), 1);
        publish(&site.transport, messages).await;
    }
    let got = reader.take_at_least(sent + missing.len()).await;
    assert_eq!(gaps(&got), missing);
    let watched = worker.monitor.watched();
    let counts = worker.stop().await;
    assert!(counts.unwatched > 0 && watched <= 1, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_aside_is_missing() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut reader = site.reader().await;
    let worker = site.worker(options()).await;
    let mut sample = agent("acme", "web-1", 1);
    let before = batch(&mut sample, 5);
    let now = sample.now();
    sample.set_now(now.saturating_add(Duration::from_secs(86_400)));
    let ahead = batch(&mut sample, 7);
    sample.set_now(now);
    let after = batch(&mut sample, 5);
    publish(&site.transport, vec![before, ahead, after]).await;
    let got = reader.take(3).await;
    assert_eq!(gaps(&got), Gaps::from([(("web-1".to_owned(), 6, 7), 1)]));
    let counts = worker.stop().await;
    assert_eq!((counts.messages, counts.dead_letters, counts.lost), (2, 1, 7));
}
