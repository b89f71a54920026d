//! Events from outside: JSON of any shape, or Lavender's own.

use std::io::{self, BufRead};
use std::sync::Arc;

use lavender_core::Timestamp;
use lavender_core::codec::{self, CodecError};
use lavender_core::event::Event;
use lavender_detect::{FieldValue, JsonFields, JsonLine, JsonLineError, JsonLines};

use crate::time;

/// The longest line or event that is read.
pub const MAX_BYTES: usize = 8 << 20;

/// What has all of these is one of Lavender's events.
const EVENT_KEYS: [&str; 5] = ["id", "kind", "observed_at", "boot_time", "data"];
/// What has these and is of the kind `alert` is one of Lavender's alerts.
const ALERT_KEYS: [&str; 3] = ["rule", "event_kind", "created_at"];
/// Where `kind` is among them.
const KIND: usize = 1;

/// Where the time is looked for where no field is named.
const TIME_FIELDS: [&str; 7] =
    ["@timestamp", "timestamp", "UtcTime", "time", "ts", "EventTime", "_time"];
/// The first of them among the paths that are read.
const TIME: usize = EVENT_KEYS.len() + ALERT_KEYS.len();

/// What a text is.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// An event as `lavender-agent --events` prints it.
    Event(Arc<Event>),
    /// An alert as `lavender-agent` prints it: no event.
    Alert,
    /// Any other object.
    Object(JsonLine<'a>),
}

/// Why a text is no event.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is no JSON object.
    #[error(transparent)]
    Json(#[from] JsonLineError),
    /// It has the keys of Lavender's events, and is none.
    #[error("not an event of Lavender's: {0}")]
    Event(#[from] CodecError),
}

/// Reads events for one set of rules. One pass over a text finds what the rules ask for, and what it is.
#[derive(Debug)]
pub struct Reader {
    lines: JsonLines,
}

impl Reader {
    /// A reader of these fields, and of the time in this one, or in the first of the usual ones that is there.
    pub fn new(fields: &JsonFields, time_field: Option<&str>) -> Self {
        let usual: &[&str] = if time_field.is_some() { &[] } else { &TIME_FIELDS };
        let times = time_field.into_iter().chain(usual.iter().copied());
        let paths = EVENT_KEYS.into_iter().chain(ALERT_KEYS).chain(times);
        Self { lines: JsonLines::with_paths(fields, paths) }
    }

    /// Reads one JSON object.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn read<'a>(&'a mut self, text: &'a [u8]) -> Result<Input<'a>, InputError> {
        let line = self.lines.parse(text)?;
        let has = |number| line.path(number).is_present();
        if (0..EVENT_KEYS.len()).all(has) {
            return event(text);
        }
        let is_alert = line.path(KIND) == FieldValue::from("alert");
        if is_alert && (EVENT_KEYS.len()..EVENT_KEYS.len() + ALERT_KEYS.len()).all(has) {
            return Ok(Input::Alert);
        }
        Ok(Input::Object(line))
    }
}

fn event(text: &[u8]) -> Result<Input<'static>, InputError> {
    // It was found to be JSON, so there is nothing that is not UTF-8.
    let text = String::from_utf8_lossy(text);
    Ok(Input::Event(Arc::new(codec::event_from_json(&text)?)))
}

/// The time of an object, where it has one that can be read.
pub fn time(object: &JsonLine<'_>) -> Option<Timestamp> {
    let values = (TIME..TIME + TIME_FIELDS.len()).map(|number| object.path(number));
    values.into_iter().find(FieldValue::is_present).and_then(time::read)
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
