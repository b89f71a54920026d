//! Alerts and events as lines of JSON.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::event::Event;
use lavender_core::{Alert, Error, ErrorKind, Result, Sink, async_trait, codec};

/// Writes each alert and each event as one line of JSON, and flushes after every batch.
///
/// Lines are never torn or mixed, however many write at once. Writing blocks the thread for as long as
/// the stream does; a stream whose reader may stall belongs on a thread of its own. A stream does not know
/// what it has taken before: what is written again after an error may stand there twice.
///
/// ```
/// use std::sync::Arc;
/// use lavender_core::Sink;
/// use lavender_core::event::Event;
/// use lavender_transport::JsonLines;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lavender_core::Result<()> {
/// let lines = JsonLines::new("stdout", std::io::stdout());
/// let events: [Arc<Event>; 0] = [];
/// lines.write(&events).await?;
/// # Ok(())
/// # }
/// ```
pub struct JsonLines<W> {
    name: Box<str>,
    stream: Mutex<W>,
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").field("name", &self.name).finish_non_exhaustive()
    }
}

impl JsonLines<BufWriter<File>> {
    /// Lines to the end of a file, which is made where there is none.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) when the file cannot be opened for writing.
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("file:{}", path.display());
        match OpenOptions::new().append(true).create(true).open(path) {
            Ok(file) => Ok(Self::new(name, BufWriter::new(file))),
            Err(error) => Err(Error::new(ErrorKind::Invalid, name, error)),
        }
    }
}

impl<W: Write> JsonLines<W> {
    /// Lines to a stream; errors call it by this name.
    pub fn new(name: impl Into<Box<str>>, stream: W) -> Self {
        Self { name: name.into(), stream: Mutex::new(stream) }
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> W {
        self.stream.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lines(&self, lines: Result<Vec<String>, codec::CodecError>) -> Result<()> {
        let lines = lines.map_err(|error| Error::new(ErrorKind::Invalid, &*self.name, error))?;
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || -> io::Result<()> {
            for mut line in lines {
                line.push('\n');
                stream.write_all(line.as_bytes())?;
            }
            stream.flush()
        };
        write().map_err(|error| {
            let kind = match error.kind() {
                // Nobody reads any more; trying again does not bring them back.
                io::ErrorKind::BrokenPipe => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, &*self.name, error)
        })
    }
}

#[async_trait]
impl<W: Write + Send + 'static> Sink<Arc<Alert>> for JsonLines<W> {
    async fn write(&self, items: &[Arc<Alert>]) -> Result<()> {
        self.write_lines(items.iter().map(|alert| codec::alert_to_json(alert)).collect())
    }
}

#[async_trait]
impl<W: Write + Send + 'static> Sink<Arc<Event>> for JsonLines<W> {
    async fn write(&self, items: &[Arc<Event>]) -> Result<()> {
        self.write_lines(items.iter().map(|event| codec::event_to_json(event)).collect())
    }
}
