//! Bodies, compressed and not.

use bytes::Bytes;

use super::{Encoding, EnvelopeError};
use crate::compressed;

/// The most bytes that a body may hold when decompressed.
pub const MAX_BODY_BYTES: usize = 32 << 20;

/// Smaller bodies gain too little.
const COMPRESS_FROM: usize = 1_024;

fn failed(error: impl std::fmt::Display) -> EnvelopeError {
    EnvelopeError::Compression { why: error.to_string() }
}

/// Compresses a body where that makes it smaller.
pub(super) fn compress(plain: Vec<u8>) -> Result<(Encoding, Bytes), EnvelopeError> {
    if plain.len() < COMPRESS_FROM {
        return Ok((Encoding::Identity, plain.into()));
    }
    let packed = compressed::compress(&plain).map_err(failed)?;
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
        Encoding::Zstd => compressed::content_bytes(body).map_err(failed)?,
    };
    let size = usize::try_from(claimed).ok().filter(|size| *size <= allowed);
    let size = size.ok_or(EnvelopeError::TooLarge { found: claimed, allowed })?;
    if encoding == Encoding::Identity {
        return Ok(body.clone());
    }
    Ok(compressed::decompress(body, size).map_err(failed)?.into())
}
