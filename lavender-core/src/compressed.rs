//! One frame of zstd that says how large its content is, by compressors that a thread keeps.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// What makes a batch five times smaller at 1 µs an event; higher levels cost more than they save.
const LEVEL: i32 = 1;

thread_local! {
    // Making one costs more than a small body.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses.
pub(crate) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(plain)
    })
}

/// How large the content is.
///
/// # Errors
///
/// Why it does not say.
pub(crate) fn content_bytes(packed: &[u8]) -> Result<u64, &'static str> {
    match get_frame_content_size(packed) {
        Ok(Some(size)) => Ok(size),
        Ok(None) => Err("the frame does not say how large its content is"),
        Err(_) => Err("it does not begin like a frame of zstd"),
    }
}

/// The content, and never more than `size` bytes of it.
pub(crate) fn decompress(packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new()?),
        };
        decompressor.decompress(packed, size)
    })
}
