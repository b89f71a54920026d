//! `decode`: what messages from a pipe say.

use std::io::{self, Read, Write};

use lavender_core::codec;
use lavender_core::envelope::{Piece, Pieces};
use lavender_core::transport::Payload;

use crate::exit::{Exit, Failure};

/// Prints events and alerts as JSON lines. What cannot be read is told in the log with its place, and the rest goes
/// on.
///
/// # Errors
///
/// [`Exit::Failure`] when the pipe cannot be read or written, or anything in it could not be decoded.
pub fn run(mut input: impl Read, mut output: impl Write) -> Result<(), Failure> {
    let mut pieces = Pieces::default();
    let mut buffer = vec![0; 64 << 10];
    let mut damaged = 0_u64;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::new(Exit::Failure, format!("stdin: {error}"))),
        };
        match count {
            0 => pieces.end(),
            _ => pieces.push(&buffer[..count]),
        }
        for piece in &mut pieces {
            match print(piece, &mut output) {
                Ok(true) => {}
                Ok(false) => damaged += 1,
                // Whoever read it has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Failure::new(Exit::Failure, format!("stdout: {error}"))),
            }
        }
        if count == 0 {
            break;
        }
    }
    match damaged {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Failure, format!("{damaged} pieces could not be decoded"))),
    }
}

/// Whether it could be read.
fn print(piece: Piece, output: &mut impl Write) -> io::Result<bool> {
    let offset = piece.offset;
    let lines: Result<Vec<String>, _> = match piece.result {
        Err(error) => {
            tracing::error!(offset, %error, "a piece cannot be decoded");
            return Ok(false);
        }
        Ok((_, Payload::Events(events))) => {
            events.iter().map(|event| codec::event_to_json(event)).collect()
        }
        Ok((_, Payload::Alerts(alerts))) => {
            alerts.iter().map(|alert| codec::alert_to_json(alert)).collect()
        }
        Ok(_) => return Ok(false),
    };
    for line in lines.map_err(io::Error::other)? {
        writeln!(output, "{line}")?;
    }
    output.flush()?;
    Ok(true)
}
