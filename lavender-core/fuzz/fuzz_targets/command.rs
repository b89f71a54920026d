//! Bytes from the network: whatever they are, reading a signed command does not panic, and what is read has
//! only the one form that it was read from.
#![no_main]

use lavender_core::command::SignedCommand;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedCommand::from_bytes(bytes) {
        assert_eq!(signed.to_bytes(), bytes);
    }
});
