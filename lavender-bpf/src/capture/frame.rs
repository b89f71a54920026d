//! Frames: what a capture is made of, byte for byte.

use std::io::{self, Read};
use std::path::PathBuf;

use super::{BatchMeta, CaptureEnd, CaptureError, CaptureHeader, Known, MAGIC};
use crate::record::RECORD_VERSION;

/// No frame is longer; a length beyond it is damage, and nothing is allocated for it. A batch is bounded far
/// below by the sensor.
pub(crate) const FRAME_MAX_BYTES: u32 = 256 << 20;

/// Length, CRC-32 and kind.
const HEAD_BYTES: usize = 9;

pub(crate) const KIND_HEADER: u8 = 1;
pub(crate) const KIND_BATCH: u8 = 2;
pub(crate) const KIND_END: u8 = 3;
pub(crate) const KIND_KNOWN: u8 = 4;

/// A frame as bytes: `body` in two parts, so that records are not copied.
pub(crate) fn encode(kind: u8, first: &[u8], second: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(first.len() + second.len())
        .ok()
        .filter(|length| *length <= FRAME_MAX_BYTES)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + length as usize);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(kind, first, second).to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(first);
    frame.extend_from_slice(second);
    Ok(frame)
}

fn checksum(kind: u8, first: &[u8], second: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(first);
    hasher.update(second);
    hasher.finalize()
}

/// The version of the format: the last four bytes of the magic, as far as they are there.
fn magic_version(magic: &[u8]) -> u32 {
    magic.iter().skip(12).take(4).rev().fold(0, |version, byte| version << 8 | u32::from(*byte))
}

/// One frame.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A batch: its meta, and the records.
    Batch(Box<BatchMeta>, Vec<u8>),
    /// What is known before the first batch.
    Known(Known),
    /// The end.
    End(CaptureEnd),
}

/// Reads frames.
pub(crate) struct FrameReader {
    path: PathBuf,
    input: Box<dyn Read + Send>,
    offset: u64,
    /// Where the last frame began.
    frame: u64,
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl FrameReader {
    /// Reads the magic and the header.
    pub(crate) fn open(
        path: PathBuf,
        mut input: Box<dyn Read + Send>,
    ) -> Result<(Self, CaptureHeader), CaptureError> {
        let mut magic = Vec::new();
        input
            .by_ref()
            .take(MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(|source| CaptureError::File { path: path.clone(), source })?;
        if magic.get(..12) != Some(&MAGIC[..12]) {
            return Err(CaptureError::Format { path, reason: "this is not a capture".into() });
        }
        if magic != MAGIC {
            return Err(CaptureError::Format {
                path,
                reason: format!(
                    "format version {} is not known; this build reads version {}",
                    magic_version(&magic),
                    magic_version(MAGIC)
                ),
            });
        }
        let start = MAGIC.len() as u64;
        let mut reader = Self { path, input, offset: start, frame: start };
        let header = match reader.raw()? {
            Some((KIND_HEADER, body)) => {
                serde_json::from_slice::<CaptureHeader>(&body).map_err(|error| {
                    reader.damaged(MAGIC.len() as u64, format!("the header: {error}"))
                })?
            }
            Some(_) => return Err(reader.damaged(MAGIC.len() as u64, "no header".into())),
            None => return Err(reader.truncated(MAGIC.len() as u64, "no header")),
        };
        if !(1..=RECORD_VERSION).contains(&header.record_version) {
            return Err(CaptureError::Format {
                path: reader.path,
                reason: format!(
                    "records of version {} are not known; this build reads versions 1 to {RECORD_VERSION}",
                    header.record_version
                ),
            });
        }
        Ok((reader, header))
    }

    /// The next batch or the end.
    pub(crate) fn next(&mut self) -> Result<Frame, CaptureError> {
        let at = self.offset;
        self.frame = at;
        match self.raw()? {
            Some((KIND_BATCH, body)) => self.batch(at, body),
            Some((KIND_END, body)) => serde_json::from_slice(&body)
                .map(Frame::End)
                .map_err(|error| self.damaged(at, format!("the end mark: {error}"))),
            Some((KIND_KNOWN, body)) => serde_json::from_slice(&body)
                .map(Frame::Known)
                .map_err(|error| self.damaged(at, format!("what was known: {error}"))),
            Some((kind, _)) => Err(self.damaged(at, format!("there is no frame of kind {kind}"))),
            None => Err(self.truncated(at, "the end mark is missing: the recording was cut off")),
        }
    }

    fn batch(&self, at: u64, mut body: Vec<u8>) -> Result<Frame, CaptureError> {
        let meta_end = body
            .first_chunk::<4>()
            .map(|length| u32::from_le_bytes(*length) as usize)
            .and_then(|length| length.checked_add(4))
            .filter(|end| *end <= body.len())
            .ok_or_else(|| self.damaged(at, "a batch without its description".into()))?;
        let meta = serde_json::from_slice(&body[4..meta_end])
            .map_err(|error| self.damaged(at, format!("a batch's description: {error}")))?;
        body.drain(..meta_end);
        Ok(Frame::Batch(meta, body))
    }

    /// Kind and body of the next frame; `None` at the end of the file.
    fn raw(&mut self) -> Result<Option<(u8, Vec<u8>)>, CaptureError> {
        let at = self.offset;
        let head = self.read(HEAD_BYTES as u64)?;
        if head.is_empty() {
            return Ok(None);
        }
        let &[a, b, c, d, e, f, g, h, kind] = &head[..] else {
            return Err(self.truncated(at, "the file ends within a frame"));
        };
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > FRAME_MAX_BYTES {
            return Err(self.damaged(at, format!("a frame of {length} bytes")));
        }
        let body = self.read(length.into())?;
        if body.len() < length as usize {
            return Err(self.truncated(at, "the file ends within a frame"));
        }
        if checksum(kind, &body, &[]) != u32::from_le_bytes([e, f, g, h]) {
            return Err(self.damaged(at, "the checksum does not match".into()));
        }
        Ok(Some((kind, body)))
    }

    /// Up to `length` bytes; memory grows with what is there, not with what is claimed.
    fn read(&mut self, length: u64) -> Result<Vec<u8>, CaptureError> {
        let mut bytes = Vec::new();
        self.input
            .by_ref()
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|source| CaptureError::File { path: self.path.clone(), source })?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// The error of a batch that was read last and does not hold together.
    pub(crate) fn damaged_batch(&self, reason: &str) -> CaptureError {
        self.damaged(self.frame, reason.into())
    }

    fn damaged(&self, offset: u64, reason: String) -> CaptureError {
        CaptureError::Damaged { path: self.path.clone(), offset, reason }
    }

    fn truncated(&self, offset: u64, reason: &str) -> CaptureError {
        CaptureError::Truncated { path: self.path.clone(), offset, reason: reason.into() }
    }
}
