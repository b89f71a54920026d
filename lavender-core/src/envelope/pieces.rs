//! Bodies as they follow each other in a pipe, without a broker to say where one ends.

use bytes::Bytes;
use serde::Deserialize;
use zstd::zstd_safe::{find_frame_compressed_size, get_error_name};

use super::{Encoding, EnvelopeError, MAX_BODY_BYTES, decompress};
use crate::alert::AgentIdentity;
use crate::codec::{self, CodecError};
use crate::transport::Payload;

const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const NATS: &[u8] = b"NATS/1.0";
const BATCH: &[u8] = b"{\"lavender\":";

/// The longest block of headers.
const HEADERS_MAX: usize = 64 << 10;

/// What zstd calls a frame of which the end is not there.
const CUT: &str = "Src size is incorrect";

/// What was found in a pipe.
#[derive(Debug)]
#[non_exhaustive]
pub struct Piece {
    /// Where it begins: bytes from the start of the pipe.
    pub offset: u64,
    /// Whose it is and what it holds, or what is wrong with it.
    pub result: Result<(AgentIdentity, Payload), EnvelopeError>,
}

/// Reads bodies out of a stream of bytes: plain or compressed, with or without the broker's headers, with line ends
/// between them (`nats sub 'telemetry.raw.>' --raw`). After a piece that cannot be read it goes on at the next line
/// that begins like one. It holds at most one body.
///
/// ```
/// use lavender_core::envelope::Pieces;
///
/// let mut pieces = Pieces::default();
/// pieces.push(b"what is this\n{\"lavender\":1,\"tenant\":");
/// let piece = pieces.next().expect("a line that is nothing");
/// assert_eq!(piece.offset, 0);
/// assert!(piece.result.is_err());
/// assert!(pieces.next().is_none(), "the rest is to come");
/// pieces.end();
/// assert_eq!(pieces.next().map(|piece| piece.offset), Some(13));
/// ```
#[derive(Debug, Default)]
pub struct Pieces {
    buffer: Vec<u8>,
    offset: u64,
    ended: bool,
    /// Whether stray lines belong to a piece that was reported already.
    lost: bool,
}

/// What stands at the front.
enum Front {
    /// Not to be known before more is there.
    More,
    /// So many bytes that are nothing.
    Skip(usize),
    /// A body of so many bytes.
    Body(usize, Encoding),
    /// It begins like one and cannot be read, for at least so many bytes.
    Broken(usize, EnvelopeError),
    /// A line of so many bytes that does not begin like one.
    Stray(usize),
}

/// How many lines follow the first of a batch.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    processes: usize,
    events: usize,
    alerts: Option<usize>,
}

fn broken(why: &str) -> EnvelopeError {
    EnvelopeError::Compression { why: why.to_owned() }
}

impl Pieces {
    /// Takes more of the pipe. Read what is there with [`next`](Iterator::next) before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Nothing more comes: what is there is all.
    pub const fn end(&mut self) {
        self.ended = true;
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.drain(..count.min(self.buffer.len()));
        self.offset += count as u64;
    }

    fn front(&self) -> Front {
        let bytes = &self.buffer[..];
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        if blank > 0 {
            return Front::Skip(blank);
        }
        if bytes.is_empty() || (bytes.len() < BATCH.len() && !self.ended) {
            return Front::More;
        }
        if bytes.starts_with(NATS) {
            return self.headers();
        }
        if bytes.starts_with(ZSTD) {
            return self.frame();
        }
        if bytes.starts_with(BATCH) {
            return self.lines();
        }
        match self.line_end(0) {
            Some(end) => Front::Stray(end),
            None => Front::More,
        }
    }

    /// Behind the end of the line that begins there; `None` when it has none yet.
    fn line_end(&self, from: usize) -> Option<usize> {
        let rest = self.buffer.get(from..).unwrap_or_default();
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => Some(from + at + 1),
            None if self.ended || rest.len() > MAX_BODY_BYTES => Some(self.buffer.len()),
            None => None,
        }
    }

    fn headers(&self) -> Front {
        let bytes = &self.buffer[..self.buffer.len().min(HEADERS_MAX)];
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Front::Skip(at + 4);
        }
        if self.ended || bytes.len() == HEADERS_MAX {
            let end = self.line_end(0).unwrap_or(bytes.len());
            return Front::Broken(end, broken("the headers have no end"));
        }
        Front::More
    }

    fn frame(&self) -> Front {
        match find_frame_compressed_size(&self.buffer) {
            Ok(size) => Front::Body(size, Encoding::Zstd),
            Err(code) => {
                let why = get_error_name(code);
                if why == CUT && !self.ended && self.buffer.len() <= MAX_BODY_BYTES {
                    return Front::More;
                }
                match self.line_end(0) {
                    Some(end) => Front::Broken(end, broken(why)),
                    None => Front::More,
                }
            }
        }
    }

    fn lines(&self) -> Front {
        let Some(mut end) = self.line_end(0) else { return Front::More };
        let claims: Claims = match serde_json::from_slice(&self.buffer[..end]) {
            Ok(claims) => claims,
            Err(source) => {
                return Front::Broken(end, CodecError::Line { line: 1, source }.into());
            }
        };
        let items = claims.alerts.unwrap_or(claims.events);
        for _ in 0..items.saturating_add(claims.processes) {
            let next = &self.buffer[end..];
            let another = [BATCH, ZSTD, NATS].iter().any(|start| next.starts_with(start));
            if another || (next.is_empty() && self.ended) {
                break;
            }
            if end > MAX_BODY_BYTES {
                return Front::Broken(
                    end,
                    EnvelopeError::TooLarge { found: end as u64, allowed: MAX_BODY_BYTES },
                );
            }
            match self.line_end(end) {
                Some(behind) => end = behind,
                None => return Front::More,
            }
        }
        Front::Body(end, Encoding::Identity)
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    /// The next piece; `None` until more is [pushed](Self::push), or at the end.
    fn next(&mut self) -> Option<Piece> {
        loop {
            let offset = self.offset;
            match self.front() {
                Front::More => return None,
                Front::Skip(count) => self.drop_front(count),
                Front::Body(count, encoding) => {
                    let body = Bytes::copy_from_slice(&self.buffer[..count]);
                    self.drop_front(count);
                    self.lost = false;
                    return Some(Piece { offset, result: open(encoding, &body) });
                }
                Front::Broken(count, error) => {
                    self.drop_front(count.max(1));
                    self.lost = true;
                    return Some(Piece { offset, result: Err(error) });
                }
                Front::Stray(count) => {
                    self.drop_front(count.max(1));
                    if !std::mem::replace(&mut self.lost, true) {
                        let error = broken("it is neither a batch nor a frame of zstd");
                        return Some(Piece { offset, result: Err(error) });
                    }
                }
            }
        }
    }
}

fn open(encoding: Encoding, body: &Bytes) -> Result<(AgentIdentity, Payload), EnvelopeError> {
    let plain = decompress(encoding, body, MAX_BODY_BYTES)?;
    let first = plain.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let claims: Claims =
        serde_json::from_slice(first).map_err(|source| CodecError::Line { line: 1, source })?;
    if claims.alerts.is_some() {
        let (source, alerts) = codec::decode_alerts(&plain)?;
        return Ok((source, Payload::Alerts(alerts)));
    }
    let (source, events) = codec::decode_batch(&plain)?;
    Ok((source, Payload::Events(events)))
}
