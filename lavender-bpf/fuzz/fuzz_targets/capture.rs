//! A capture from anywhere: whatever its bytes are, replaying it ends, and does not panic.
//!
//! Checksums are made right in a second try, so that what frames hold is reached.
#![no_main]

use std::io::Cursor;

use lavender_bpf::Replay;
use libfuzzer_sys::fuzz_target;

/// Length, CRC-32 and kind.
const HEAD_BYTES: usize = 9;
const MAGIC_BYTES: usize = 16;

fn replay(bytes: Vec<u8>) {
    if let Ok(mut replay) = Replay::from_reader("fuzz", Cursor::new(bytes)) {
        while let Ok(Some(_)) = replay.read_batch() {}
    }
}

/// Gives every frame the checksum that it should have.
fn with_right_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = MAGIC_BYTES;
    while let Some(&[a, b, c, d]) = bytes.get(at..at + 4) {
        let end = at + HEAD_BYTES + u32::from_le_bytes([a, b, c, d]) as usize;
        let Some(checked) = bytes.get(at + 8..end) else { break };
        let checksum = crc32fast::hash(checked).to_le_bytes();
        bytes[at + 4..at + 8].copy_from_slice(&checksum);
        at = end;
    }
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    replay(bytes.to_vec());
    replay(with_right_checksums(bytes.to_vec()));
});
