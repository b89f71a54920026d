//! The SHA-256 of a file's content, piece by piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use lavender_core::event::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// What was read of a file so far.
#[derive(Debug, Default)]
pub(crate) struct ContentHash {
    digest: Sha256,
    bytes: u64,
}

impl ContentHash {
    /// Reads on, as much as the buffer holds. How many bytes there were; 0 at the end.
    pub(crate) fn read(&mut self, file: &File, buffer: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match file.read_at(buffer, self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.digest.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }

    /// How many bytes were read.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was read.
    pub(crate) fn finish(self) -> Sha256Digest {
        Sha256Digest::from_bytes(&self.digest.finalize().into())
    }
}
