//! stdout: one JSON line for each alert, and for each event where that is wanted.
//!
//! A thread of its own writes, so that a reader that is slow, stopped or gone holds up neither detection
//! nor storage.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use async_trait::async_trait;
use lavender_core::event::Event;
use lavender_core::pipeline::Overflow;
use lavender_core::{Alert, Error, ErrorKind, Result, Sink, codec};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// How many bytes of lines may wait for the reader.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Writes lines to a stream from a thread of its own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use lavender_agent::output::LineSink;
/// use lavender_core::pipeline::Overflow;
///
/// let (lines, writer) = LineSink::new(Vec::new(), Overflow::Wait);
/// let alerts = lines.clone(); // a `Sink` of alerts
/// drop((lines, alerts));
/// assert_eq!(writer.skipped(), 0);
/// writer.finish().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LineSink {
    queue: mpsc::UnboundedSender<String>,
    free: Arc<Semaphore>,
    overflow: Overflow,
    skipped: Arc<AtomicU64>,
}

/// The thread behind [`LineSink`].
#[derive(Debug)]
pub struct LineWriter {
    done: oneshot::Receiver<()>,
    reader_gone: watch::Receiver<bool>,
    skipped: Arc<AtomicU64>,
}

impl LineSink {
    /// Lines to `stream`. With [`Overflow::Wait`] whoever writes waits for a slow reader; with
    /// [`Overflow::Shed`] lines that do not fit are skipped and counted.
    pub fn new(stream: impl Write + Send + 'static, overflow: Overflow) -> (Self, LineWriter) {
        let (queue, lines) = mpsc::unbounded_channel();
        let free = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        let (gone, reader_gone) = watch::channel(false);
        let skipped = Arc::new(AtomicU64::new(0));
        let (finished, done) = oneshot::channel();
        let room = Arc::clone(&free);
        // Not joined: a reader that has stopped for good must not keep the process.
        thread::spawn(move || {
            write_lines(stream, lines, &room, &gone);
            let _ = finished.send(());
        });
        let writer = LineWriter { done, reader_gone, skipped: Arc::clone(&skipped) };
        (Self { queue, free, overflow, skipped }, writer)
    }

    /// Queues lines, each ended by a newline.
    async fn push(&self, lines: String, count: usize) {
        let bytes = lines.len().min(WAITING_BYTES_MAX) as u32;
        let permits = match self.overflow {
            Overflow::Wait => self.free.acquire_many(bytes).await.ok(),
            Overflow::Shed => self.free.try_acquire_many(bytes).ok(),
        };
        match permits {
            Some(permits) if self.queue.send(lines).is_ok() => permits.forget(),
            Some(_) => {}
            // Nobody reads any more: that is no line too many.
            None if self.free.is_closed() => {}
            None => {
                if self.skipped.fetch_add(count as u64, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        "stdout is not read fast enough: lines are skipped there, not in the store"
                    );
                }
            }
        }
    }
}

impl LineWriter {
    /// Resolves once nobody reads the stream any more; never otherwise.
    pub fn reader_gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut gone = self.reader_gone.clone();
        async move {
            if gone.wait_for(|gone| *gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until everything is written. Every [`LineSink`] must have been dropped before.
    pub async fn finish(self) {
        // An error means that the thread is gone, and with it whatever it could still have written.
        let _ = self.done.await;
        let skipped = self.skipped.load(Ordering::Relaxed);
        if skipped > 0 {
            tracing::warn!(skipped, "lines were not printed: stdout was not read fast enough");
        }
    }

    /// How many lines were skipped by now.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

fn write_lines(
    mut stream: impl Write,
    mut queue: mpsc::UnboundedReceiver<String>,
    free: &Semaphore,
    gone: &watch::Sender<bool>,
) {
    while let Some(lines) = queue.blocking_recv() {
        if let Err(error) = stream.write_all(lines.as_bytes()).and_then(|()| stream.flush()) {
            if error.kind() == io::ErrorKind::BrokenPipe {
                tracing::info!("nobody reads stdout any more");
            } else {
                tracing::error!(%error, "cannot write to stdout");
            }
            break;
        }
        free.add_permits(lines.len().min(WAITING_BYTES_MAX));
    }
    free.close();
    if !queue.is_closed() {
        gone.send_replace(true);
    }
}

fn lines<T>(
    items: &[T],
    to_json: impl Fn(&T) -> Result<String, codec::CodecError>,
) -> Result<String> {
    let mut text = String::new();
    for item in items {
        let line = to_json(item).map_err(|e| Error::new(ErrorKind::Internal, "stdout", e))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

#[async_trait]
impl Sink<Arc<Alert>> for LineSink {
    async fn write(&self, alerts: &[Arc<Alert>]) -> Result<()> {
        self.push(lines(alerts, |alert| codec::alert_to_json(alert))?, alerts.len()).await;
        Ok(())
    }
}

#[async_trait]
impl Sink<Arc<Event>> for LineSink {
    async fn write(&self, events: &[Arc<Event>]) -> Result<()> {
        self.push(lines(events, |event| codec::event_to_json(event))?, events.len()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use lavender_core::event::EventData;
    use lavender_core::{AgentId, BootId, BootTime, Origin, TenantId, Timestamp};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that has gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that has stopped until the other end is dropped.
    struct Stalled(std::sync::mpsc::Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events(count: u64) -> Vec<Arc<Event>> {
        let origin = Origin::new(
            &TenantId::new("t").unwrap(),
            &AgentId::new("a").unwrap(),
            BootId::from_u128(1),
        );
        (1..=count)
            .map(|sequence| {
                Arc::new(Event {
                    id: origin.event(sequence),
                    observed_at: Timestamp::from_millis(1),
                    boot_time: BootTime::from_nanos(1),
                    tid: 0,
                    process: None,
                    data: EventData::Heartbeat(Box::default()),
                })
            })
            .collect()
    }

    #[tokio::test]
    async fn every_event_is_a_line_of_json() {
        let stream = Shared::default();
        let (lines, writer) = LineSink::new(stream.clone(), Overflow::Wait);
        lines.write(&events(3)).await.unwrap();
        lines.write(&events(1)).await.unwrap();
        drop(lines);
        assert_eq!(writer.skipped(), 0);
        writer.finish().await;
        let text = String::from_utf8(stream.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 4);
        for line in text.lines() {
            codec::event_from_json(line).unwrap();
        }
    }

    #[tokio::test]
    async fn a_reader_that_goes_is_told_and_stops_nobody() {
        let (lines, writer) = LineSink::new(Closed, Overflow::Wait);
        lines.write(&events(1)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), writer.reader_gone()).await.unwrap();
        lines.write(&events(100)).await.unwrap();
        drop(lines);
        assert_eq!(writer.skipped(), 0);
        writer.finish().await;
    }

    #[tokio::test]
    async fn a_reader_that_stops_costs_lines_and_they_are_counted() {
        let (go_on, stalled) = std::sync::mpsc::channel();
        let (lines, writer) = LineSink::new(Stalled(stalled), Overflow::Shed);
        let batch = events(1_000);
        let one = super::lines(&batch, |event| codec::event_to_json(event)).unwrap().len();
        let fit = WAITING_BYTES_MAX / one;
        for _ in 0..fit + 5 {
            lines.push("x".repeat(one), batch.len()).await;
        }
        let skipped = writer.skipped();
        drop((go_on, lines));
        writer.finish().await;
        assert!((4_000..=5_000).contains(&skipped), "{skipped}");
    }
}
