//! Writing captures.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::frame::{KIND_BATCH, KIND_END, KIND_HEADER, KIND_KNOWN, encode};
use super::{BatchMeta, CaptureEnd, CaptureError, CaptureHeader, Known, MAGIC};

/// Kept free for the end mark.
const END_BYTES: u64 = 64;

/// Writes a capture. Given to a sensor, which fills it and closes it.
///
/// It takes at most a stated number of bytes: a capture that is full ends with a mark that says so, and the
/// sensor goes on without it.
#[derive(Debug)]
pub struct CaptureWriter {
    path: PathBuf,
    output: Option<BufWriter<File>>,
    written: u64,
    max_bytes: u64,
}

impl CaptureWriter {
    /// A new file, readable by its owner only: it holds what processes were called with. It must not exist.
    ///
    /// # Errors
    ///
    /// When the file is there already or cannot be made.
    pub fn create(path: impl AsRef<Path>, max_bytes: u64) -> Result<Self, CaptureError> {
        let path = path.as_ref().to_owned();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(&path)
            .map_err(|source| CaptureError::File { path: path.clone(), source })?;
        Ok(Self { path, output: Some(BufWriter::new(file)), written: 0, max_bytes })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes it has so far.
    pub const fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Whether records of so many bytes can still be written, for all that can be said before.
    #[cfg(all(feature = "load", target_os = "linux"))]
    pub(crate) const fn fits(&self, bytes: usize) -> bool {
        self.written + bytes as u64 + END_BYTES <= self.max_bytes
    }

    /// Whether it takes more: not after it was full, or closed.
    pub const fn is_open(&self) -> bool {
        self.output.is_some()
    }

    /// Writes where the capture comes from: the first thing in it.
    pub(crate) fn begin(&mut self, header: &CaptureHeader) -> Result<(), CaptureError> {
        let header = self.json(header)?;
        let frame = self.checked(encode(KIND_HEADER, &header, &[]))?;
        self.put(MAGIC)?;
        self.put(&frame)
    }

    /// Writes what was known before the first batch: of a capture that begins midway.
    pub(crate) fn known(&mut self, known: &Known) -> Result<(), CaptureError> {
        let known = self.json(known)?;
        let frame = self.checked(encode(KIND_KNOWN, &known, &[]))?;
        self.put(&frame)
    }

    /// Writes a batch, and what is buffered, out to the file.
    pub(crate) fn batch(&mut self, meta: &BatchMeta, records: &[u8]) -> Result<(), CaptureError> {
        if self.output.is_none() {
            return Ok(());
        }
        let meta = self.json(meta)?;
        let mut first = Vec::with_capacity(meta.len() + 4);
        first.extend_from_slice(&(meta.len() as u32).to_le_bytes());
        first.extend_from_slice(&meta);
        let frame = self.checked(encode(KIND_BATCH, &first, records))?;
        if self.written + frame.len() as u64 + END_BYTES > self.max_bytes {
            tracing::warn!(
                path = %self.path.display(),
                max_bytes = self.max_bytes,
                "the capture is full; recording ends"
            );
            return self.end(CaptureEnd::Full);
        }
        self.put(&frame)?;
        self.flush()
    }

    /// Ends the capture.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn close(mut self) -> Result<(), CaptureError> {
        self.end(CaptureEnd::Closed)
    }

    fn end(&mut self, end: CaptureEnd) -> Result<(), CaptureError> {
        if self.output.is_none() {
            return Ok(());
        }
        let end = self.json(&end)?;
        let frame = self.checked(encode(KIND_END, &end, &[]))?;
        self.put(&frame)?;
        self.flush()?;
        self.output = None;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CaptureError> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let result = output.write_all(bytes);
        self.written += bytes.len() as u64;
        self.checked_write(result)
    }

    fn flush(&mut self) -> Result<(), CaptureError> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let result = output.flush();
        self.checked_write(result)
    }

    /// A frame that did not go out whole is where the capture ends: nothing after it could be read.
    fn checked_write(&mut self, result: io::Result<()>) -> Result<(), CaptureError> {
        if result.is_err()
            && let Some(output) = self.output.take()
        {
            // Without another try to write what is buffered.
            drop(output.into_parts());
        }
        self.checked(result)
    }

    fn json(&self, value: &impl serde::Serialize) -> Result<Vec<u8>, CaptureError> {
        self.checked(serde_json::to_vec(value).map_err(io::Error::from))
    }

    fn checked<T>(&self, result: io::Result<T>) -> Result<T, CaptureError> {
        result.map_err(|source| CaptureError::File { path: self.path.clone(), source })
    }
}
