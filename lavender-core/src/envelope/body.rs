//! Bodies, compressed and not.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

use super::{Encoding, EnvelopeError};

/// The most bytes that a body may hold when decompressed.
pub const MAX_BODY_BYTES: usize = 32 << 20;

/// Smaller bodies gain too little.
const COMPRESS_FROM: usize = 1_024;

/// What makes a batch five times smaller at 1 µs an event; higher levels cost more than they save.
const LEVEL: i32 = 1;

thread_local! {
    // Making one costs more than a small body.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn failed(error: std::io::Error) -> EnvelopeError {
    EnvelopeError::Compression { why: error.to_string() }
}

/// Compresses a body where that makes it smaller.
pub(super) fn compress(plain: Vec<u8>) -> Result<(Encoding, Bytes), EnvelopeError> {
    if plain.len() < COMPRESS_FROM {
        return Ok((Encoding::Identity, plain.into()));
    }
    let packed = COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(&plain)
    });
    let packed = packed.map_err(failed)?;
    if packed.len() >= plain.len() {
        return Ok((Encoding::Identity, plain.into()));
    }
    Ok((Encoding::Zstd, packed.into()))
}

/// The body as it was, and never more bytes than it says or than are allowed.
pub(super) fn decompress(
    encoding: Encoding,
    body: &Bytes,
    allowed: usize,
) -> Result<Bytes, EnvelopeError> {
    let claimed = match encoding {
        Encoding::Identity => body.len() as u64,
        Encoding::Zstd => match get_frame_content_size(body) {
            Ok(Some(size)) => size,
            Ok(None) => {
                let why = "the frame does not say how large its content is".to_owned();
                return Err(EnvelopeError::Compression { why });
            }
            Err(_) => {
                let why = "it does not begin like a frame of zstd".to_owned();
                return Err(EnvelopeError::Compression { why });
            }
        },
    };
    let size = usize::try_from(claimed).ok().filter(|size| *size <= allowed);
    let size = size.ok_or(EnvelopeError::TooLarge { found: claimed, allowed })?;
    if encoding == Encoding::Identity {
        return Ok(body.clone());
    }
    let plain = DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new()?),
        };
        decompressor.decompress(body, size)
    });
    Ok(plain.map_err(failed)?.into())
}
