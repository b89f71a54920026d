//! A pipe of bodies, however hostile, in one piece and cut in two.
#![no_main]

use lavender_core::envelope::Pieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = |cut: usize| {
        let mut pieces = Pieces::default();
        let mut found = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            pieces.push(part);
            found.extend(pieces.by_ref().map(|piece| (piece.offset, piece.result.is_ok())));
        }
        pieces.end();
        found.extend(pieces.by_ref().map(|piece| (piece.offset, piece.result.is_ok())));
        found
    };
    assert_eq!(read(0), read(bytes.len() / 2));
});
