//! A bundle of rules from the broker or a file: whatever the bytes are, reading them does not panic, and what is read has
//! one form and one digest. The input is a bundle, and also what one would hold.
#![no_main]

use lavender_core::ruleset::Ruleset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let packed = zstd::bulk::compress(bytes, 1).expect("it fits");
    let wrapped = [b"lavender-bundle\x01", &packed[..]].concat();
    for bundle in [bytes, &wrapped] {
        if let Ok(rules) = Ruleset::from_any_bundle(bundle) {
            let again = rules.to_bundle().expect("what was read can be written");
            assert_eq!(Ruleset::from_bundle(&again, rules.digest()).as_ref(), Ok(&rules));
        }
    }
});
