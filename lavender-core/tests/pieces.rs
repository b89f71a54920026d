//! Bodies that follow each other in a pipe.
#![cfg(feature = "envelope")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

use lavender_core::codec;
use lavender_core::conformance::sample::Sample;
use lavender_core::envelope::{Envelope, Pieces};
use lavender_core::transport::{Message, Payload, Topic};
use proptest::prelude::*;

/// Three batches: plain, compressed behind a broker's headers, plain.
fn pipe() -> (Vec<u8>, Vec<Payload>, u64) {
    let mut sample = Sample::new("acme", "web-1", 1);
    let batches: Vec<_> = [2, 60, 3].map(|count| sample.busy(count)).into();
    let mut bytes = codec::encode_batch(sample.source(), &batches[0]).unwrap();
    bytes.extend_from_slice(b"\nNATS/1.0\r\nLav-Schema: 1\r\n\r\n");
    let payload = Payload::Events(batches[1].clone());
    let message = Message { source: sample.source().clone(), topic: Topic::TelemetryRaw, payload };
    let sealed = Envelope::encode(&message, 1 << 20).unwrap().remove(0);
    bytes.extend_from_slice(sealed.body());
    bytes.push(b'\n');
    let damaged = bytes.len() as u64;
    bytes.extend_from_slice(b"{\"lavender\":1,\"events\":no}\nand more of it\n");
    bytes.extend(codec::encode_batch(sample.source(), &batches[2]).unwrap());
    (bytes, batches.into_iter().map(Payload::Events).collect(), damaged)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_the_pipe_is_cut_into_the_same_comes_out(size in 1_usize..5_000) {
        let (bytes, payloads, damaged) = pipe();
        let mut pieces = Pieces::default();
        let mut found = Vec::new();
        for chunk in bytes.chunks(size) {
            pieces.push(chunk);
            found.extend(&mut pieces);
        }
        pieces.end();
        found.extend(&mut pieces);
        let (read, wrong): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|piece| piece.result.is_ok());
        let read: Vec<_> = read.into_iter().map(|piece| piece.result.unwrap().1).collect();
        prop_assert_eq!(read, payloads);
        let wrong: Vec<_> = wrong.iter().map(|piece| piece.offset).collect();
        prop_assert_eq!(wrong, [damaged]);
    }

    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut pieces = Pieces::default();
        pieces.push(&bytes);
        pieces.end();
        prop_assert!(pieces.by_ref().count() <= bytes.len());
        prop_assert!(pieces.next().is_none());
    }
}

#[test]
fn each_piece_that_begins_and_cannot_be_read_is_told_and_stray_lines_once() {
    let mut pieces = Pieces::default();
    pieces.push(
        b"stray\nmore of it\n{\"lavender\":1,\"events\":no}\nstray\n{\"lavender\":1,\"tenant\":",
    );
    pieces.end();
    let found: Vec<_> =
        pieces.by_ref().map(|piece| (piece.offset, piece.result.is_err())).collect();
    assert_eq!(found, [(0, true), (17, true), (50, true)]);
}
