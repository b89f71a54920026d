//! Alerts and events as lines: whole, one each, and readable again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lavender_core::conformance::sample::Sample;
use lavender_core::{ErrorKind, Severity, Sink as _, codec};
use lavender_transport::JsonLines;

#[tokio::test]
async fn each_item_is_a_line_that_can_be_read_again() {
    let mut sample = Sample::new("acme", "web-1", 1);
    let events = sample.every_kind();
    let alert = sample.alert(&events[2], "r", Severity::High);
    let lines = JsonLines::new("buffer", Vec::new());
    lines.write(&events).await.unwrap();
    lines.write(&[Arc::clone(&alert)]).await.unwrap();
    let text = String::from_utf8(lines.into_inner()).unwrap();
    assert!(text.ends_with('\n'));
    let mut read = text.lines();
    for event in &events {
        assert_eq!(codec::event_from_json(read.next().unwrap()).unwrap(), **event);
    }
    assert_eq!(codec::alert_from_json(read.next().unwrap()).unwrap(), *alert);
    assert_eq!(read.next(), None);
}

#[tokio::test]
async fn a_file_is_appended_to_and_flushed_by_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let mut sample = Sample::new("acme", "web-1", 1);
    for round in 1..=3 {
        let lines = JsonLines::append(&path).unwrap();
        lines.write(&[sample.heartbeat(), sample.heartbeat()]).await.unwrap();
        // Still open: what was acknowledged can be read.
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), round * 2);
    }
    let error = JsonLines::append(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
}

#[tokio::test]
async fn a_reader_that_went_away_is_an_error() {
    let (reader, stream) = io::pipe().unwrap();
    drop(reader);
    let lines = JsonLines::new("stdout", stream);
    let error = lines.write(&[Sample::new("acme", "a", 1).heartbeat()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!error.is_retryable());
    assert!(error.to_string().starts_with("stdout: "), "{error}");
}

/// A stream that gives way between two bytes.
#[derive(Clone, Default)]
struct Halting(Arc<Mutex<Vec<u8>>>);

impl Write for Halting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::yield_now();
        self.0.lock().unwrap().push(bytes[0]);
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_of_several_writers_do_not_mix() {
    let stream = Halting::default();
    let lines = Arc::new(JsonLines::new("buffer", stream.clone()));
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let lines = Arc::clone(&lines);
            let mut sample = Sample::new("acme", &format!("a{number}"), number + 1);
            tokio::spawn(async move { lines.write(&sample.busy(10)).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let text = String::from_utf8(stream.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 40);
    for line in text.lines() {
        codec::event_from_json(line).unwrap();
    }
}
