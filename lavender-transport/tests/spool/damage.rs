//! Files cut at every byte, and bits that flip: what is whole is delivered, nothing panics, damage is counted.

use std::path::Path;
use std::time::Duration;

use lavender_core::transport::Publisher as _;
use lavender_transport::spool::SpoolOptions;
use proptest::prelude::*;

use crate::broker::{Broker, Mood, drained, open, sample, segments, small, telemetry};

/// A spool with so many frames of three events, left by a process that is gone. The bytes of its one segment.
async fn leave(directory: &Path, frames: usize) -> Vec<u8> {
    let spool = open(directory, SpoolOptions::default(), &Broker::new(Mood::Away));
    let mut sample = sample();
    for _ in 0..frames {
        let events = sample.busy(3);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
    }
    spool.close(Duration::ZERO).await;
    let found = segments(directory);
    assert_eq!(found.len(), 1);
    std::fs::read(&found[0]).unwrap()
}

/// Where each frame ends.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![8];
    while let Some(length) = bytes.get(*ends.last().unwrap()..ends.last().unwrap() + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        ends.push(ends.last().unwrap() + 8 + length);
    }
    ends
}

/// A directory with this segment and nothing else.
fn with_segment(bytes: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("0000000000000001.segment"), bytes).unwrap();
    directory
}

#[tokio::test]
async fn cut_at_any_byte_the_whole_frames_are_there_and_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = leave(directory.path(), 2).await;
    let ends = ends(&bytes);
    assert_eq!(*ends.last().unwrap(), bytes.len());
    for length in 0..=bytes.len() {
        let whole = ends.iter().skip(1).filter(|end| **end <= length).count() as u64;
        let directory = with_segment(&bytes[..length]);
        let broker = Broker::new(Mood::Takes);
        let spool = open(directory.path(), SpoolOptions::default(), &broker);
        assert_eq!(spool.status().damaged, 0, "a torn tail is no damage");
        // What is appended now must be readable behind what was cut.
        let mut sample = sample();
        let events = sample.busy(12).split_off(9);
        spool.publish(vec![telemetry(&sample, events)]).await.unwrap();
        drained(&spool).await;
        let expected: Vec<u64> = (1..=3 * whole).chain(10..=12).collect();
        assert_eq!(broker.sequences(), expected, "cut to {length} of {} bytes", bytes.len());
    }
}

#[tokio::test]
async fn a_damaged_frame_is_passed_over_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = leave(directory.path(), 3).await;
    let second = ends(&bytes)[1];
    let mut damaged = bytes.clone();
    damaged[second + 100] ^= 1;
    let directory = with_segment(&damaged);
    let broker = Broker::new(Mood::Takes);
    let spool = open(directory.path(), SpoolOptions::default(), &broker);
    assert_eq!(spool.status().damaged, 1);
    drained(&spool).await;
    assert_eq!(broker.sequences(), [1, 2, 3, 7, 8, 9]);
    assert_eq!(broker.lost().iter().map(|(_, count)| count).sum::<u64>(), 1, "at least one");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_bits_flip_the_rest_is_there(flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut bytes = leave(directory.path(), 4).await;
            let ends = ends(&bytes);
            let mut first_hit = ends.len() - 1;
            for (at, bit) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                first_hit = first_hit.min(ends.iter().filter(|end| **end <= at).count().saturating_sub(1));
            }
            let directory = with_segment(&bytes);
            let broker = Broker::new(Mood::Takes);
            let spool = open(directory.path(), small(1 << 20, 8_192), &broker);
            drained(&spool).await;
            let sequences = broker.sequences();
            // Up to the first that was hit, all are there; of the others, none is other than it was.
            let whole = if bytes.starts_with(b"LAVSPL1\n") { 3 * first_hit as u64 } else { 0 };
            assert!(sequences.iter().copied().take(whole as usize).eq(1..=whole), "{sequences:?}, {whole}");
            assert!(sequences.iter().all(|sequence| (1..=12).contains(sequence)));
            assert!(sequences.is_sorted());
        });
    }

    #[test]
    fn any_file_can_be_opened(content in prop::collection::vec(any::<u8>(), 0..400), magic: bool, state in "\\PC{0,80}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bytes = if magic { [b"LAVSPL1\n".as_slice(), &content].concat() } else { content };
            let directory = with_segment(&bytes);
            std::fs::write(directory.path().join("state"), state).unwrap();
            let broker = Broker::new(Mood::Takes);
            let spool = open(directory.path(), SpoolOptions::default(), &broker);
            let sample = sample();
            spool.publish(vec![telemetry(&sample, crate::broker::sample().busy(1))]).await.unwrap();
            drained(&spool).await;
            assert_eq!(broker.sequences(), [1]);
        });
    }
}
