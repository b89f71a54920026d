//! Events from outside: JSON of any shape, or Lavender's own.

use std::io::{self, BufRead};
use std::sync::Arc;

use lavender_core::codec;
use lavender_core::event::Event;
use serde_json::Value;

/// The longest line or event that is read.
pub const MAX_BYTES: usize = 8 << 20;

/// What stands on a line.
#[derive(Clone, Debug)]
pub enum Input {
    /// An event as `lavender-agent --events` prints it.
    Event(Arc<Event>),
    /// An alert as `lavender-agent` prints it: no event.
    Alert,
    /// Any other object.
    Object(Value),
}

impl Input {
    /// Reads one JSON object.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8: {error}"))?;
        let object: Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let Some(entries) = object.as_object() else {
            return Err("not a JSON object".to_owned());
        };
        let has = |key: &&str| entries.contains_key(*key);
        if ["id", "kind", "observed_at", "boot_time", "data"].iter().all(has) {
            return match codec::event_from_json(text) {
                Ok(event) => Ok(Self::Event(Arc::new(event))),
                Err(error) => Err(format!("not an event of Lavender's: {error}")),
            };
        }
        let is_alert = entries.get("kind").is_some_and(|kind| kind == "alert");
        if is_alert && ["rule", "event_kind", "created_at"].iter().all(has) {
            return Ok(Self::Alert);
        }
        Ok(Self::Object(object))
    }
}

/// One line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It is in the buffer, without its end.
    Read,
    /// It has more than [`MAX_BYTES`], and was passed over.
    TooLong,
    /// There is none any more.
    End,
}

/// Reads a line into `line`, whatever it holds, and never keeps more than [`MAX_BYTES`] of it.
///
/// # Errors
///
/// Those of the stream.
pub fn read_line(stream: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut outcome = Line::End;
    loop {
        let available = match stream.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(outcome);
        }
        let end = memchr::memchr(b'\n', available);
        let part = &available[..end.unwrap_or(available.len())];
        if outcome == Line::TooLong || line.len() + part.len() > MAX_BYTES {
            outcome = Line::TooLong;
            line.clear();
        } else {
            outcome = Line::Read;
            line.extend_from_slice(part);
        }
        let consumed = end.map_or(available.len(), |end| end + 1);
        stream.consume(consumed);
        if end.is_some() {
            return Ok(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(Line, usize)> {
        let mut stream = io::BufReader::with_capacity(1 << 16, text);
        let (mut line, mut all) = (Vec::new(), Vec::new());
        loop {
            match read_line(&mut stream, &mut line).unwrap() {
                Line::End => return all,
                outcome => all.push((outcome, line.len())),
            }
        }
    }

    #[test]
    fn a_line_ends_at_its_end_or_at_that_of_the_stream() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"ab\n\nc"), [(Line::Read, 2), (Line::Read, 0), (Line::Read, 1)]);
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_not_kept() {
        let mut text = vec![b'x'; MAX_BYTES];
        text.push(b'\n');
        assert_eq!(lines(&text), [(Line::Read, MAX_BYTES)]);
        text.insert(0, b'x');
        text.extend_from_slice(b"next");
        assert_eq!(lines(&text), [(Line::TooLong, 0), (Line::Read, 4)]);
    }
}
