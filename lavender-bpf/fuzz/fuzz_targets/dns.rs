//! Messages of the DNS from anyone: whatever the bytes are, reading them ends, and does not panic.
#![no_main]

use lavender_bpf::dns::{parse, parse_stream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for message in [parse(bytes), parse_stream(bytes)].into_iter().flatten() {
        assert!(message.name.len() <= 253);
        // Each record of an answer has 11 bytes at least.
        assert!(message.answers.len() * 11 <= bytes.len());
    }
});
