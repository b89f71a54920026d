//! Where problems are told.

use std::io::{self, Write};

/// A stream for messages. When nobody reads them any more the work goes on, and the exit code tells.
#[derive(Debug)]
pub struct Problems<W>(pub W);

impl<W: Write> Write for Problems<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
