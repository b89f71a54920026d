//! Bytes from the network: whatever they are, reading them does not panic, and what is read can be written
//! and read again to the same.
#![no_main]

use lavender_core::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((source, events)) = codec::decode_batch(bytes) {
        let again = codec::encode_batch(&source, &events).expect("what was read can be written");
        assert_eq!(codec::decode_batch(&again).expect("and read again"), (source, events));
    }
    if let Ok((source, alerts)) = codec::decode_alerts(bytes) {
        let again = codec::encode_alerts(&source, &alerts).expect("what was read can be written");
        assert_eq!(codec::decode_alerts(&again).expect("and read again"), (source, alerts));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = codec::event_from_json(text);
        let _ = codec::alert_from_json(text);
    }
});
