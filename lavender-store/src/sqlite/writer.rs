//! The thread that writes: one transaction for what has gathered, one answer to each who asked.

use std::thread;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::connection::Lock;
use super::error::{Result, SqliteError};
use super::events::Remembered;

/// How many requests wait for the thread before those who ask wait themselves.
const QUEUE: usize = 256;

/// After so many rows a transaction is closed, even where more requests wait: it bounds how long the
/// first of them waits, and what a transaction holds in memory.
const TRANSACTION_ROWS: usize = 10_000;

/// How long the end waits for reads that are under way.
const READERS_WAIT: Duration = Duration::from_secs(5);

/// What a request does, inside a transaction.
pub(super) type Work<T> = Box<dyn FnOnce(&Connection, &mut Remembered) -> Result<T> + Send>;

/// A request, whatever its answer is.
trait Request: Send {
    fn apply(&mut self, connection: &Connection, remembered: &mut Remembered);

    /// Whether it did what it should.
    fn failed(&self) -> Option<SqliteError>;

    /// Answers: `Ok` once what it did is durable.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Pending<T> {
    work: Option<Work<T>>,
    result: Result<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send> Request for Pending<T> {
    fn apply(&mut self, connection: &Connection, remembered: &mut Remembered) {
        if let Some(work) = self.work.take() {
            self.result = work(connection, remembered);
        }
    }

    fn failed(&self) -> Option<SqliteError> {
        self.result.as_ref().err().cloned()
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        // Whoever asked may have stopped waiting; what was written stays written.
        let _ = self.reply.send(committed.and(self.result));
    }
}

enum Message {
    Request { rows: usize, request: Box<dyn Request> },
    Close(oneshot::Sender<Result<()>>),
}

/// The way to the writer's thread.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the thread. It ends when every `Writer` is gone, or when it is closed; its connection is
    /// the last to be closed, after those of the `readers`, since the last one tidies up.
    pub(super) fn start(
        connection: Connection,
        lock: Lock,
        readers: std::sync::mpsc::Receiver<()>,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let thread =
            thread::Builder::new().name("lavender-sqlite-write".into()).spawn(move || {
                Thread { connection, readers, remembered: Remembered::default() }
                    .run(requests, lock);
            })?;
        Ok((Self { queue }, thread))
    }

    /// Has work done in a transaction, and waits until it is durable. `rows` says about how much it is.
    pub(super) async fn write<T: Send + 'static>(&self, rows: usize, work: Work<T>) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let pending = Pending { work: Some(work), result: Err(SqliteError::ThreadGone), reply };
        let message = Message::Request { rows, request: Box::new(pending) };
        self.queue.send(message).await.map_err(|_| SqliteError::Closed)?;
        answer.await.map_err(|_| SqliteError::ThreadGone)?
    }

    /// Waits until what was asked for before is written and the file is closed.
    pub(super) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        answer.await.map_err(|_| SqliteError::ThreadGone)?
    }
}

struct Thread {
    connection: Connection,
    /// Nothing is ever sent; it is at its end when the readers are gone.
    readers: std::sync::mpsc::Receiver<()>,
    remembered: Remembered,
}

impl Thread {
    fn run(mut self, mut requests: mpsc::Receiver<Message>, lock: Lock) {
        let mut closing = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let mut group = Vec::new();
            let mut rows = 0;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Request { rows: more, request } => {
                        rows += more;
                        group.push(request);
                    }
                    Message::Close(reply) => {
                        // Nothing new from here on; what waits already is still written.
                        requests.close();
                        closing.push(reply);
                    }
                }
                next = if rows < TRANSACTION_ROWS { requests.try_recv().ok() } else { None };
            }
            self.commit(group);
        }
        let closed = self.close();
        drop(lock);
        for reply in closing {
            let _ = reply.send(closed.clone());
        }
    }

    fn close(self) -> Result<()> {
        // Not for ever: who holds on to a read and does not go on with it must not hold up the end.
        let _ = self.readers.recv_timeout(READERS_WAIT);
        self.connection.flush_prepared_statement_cache();
        // The log goes into the file where there is room for it; it is as durable beside it.
        self.connection.close().map_err(|(_, error)| error.into())
    }

    /// Does what a group of requests asks for in one transaction, and answers each of them.
    fn commit(&mut self, mut group: Vec<Box<dyn Request>>) {
        if group.is_empty() {
            return;
        }
        let committed = self.transaction(&mut group);
        if committed.is_err() {
            self.remembered.clear();
        }
        for request in group {
            request.answer(committed.clone());
        }
    }

    fn transaction(&mut self, group: &mut [Box<dyn Request>]) -> Result<()> {
        let Self { connection, remembered, .. } = self;
        // Dropped without a commit, it is taken back.
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let [request] = group {
            // Nothing else is to be kept when it fails. A savepoint would copy every page that it changes.
            request.apply(&transaction, remembered);
            if let Some(error) = request.failed() {
                return Err(error);
            }
            transaction.commit()?;
            return Ok(());
        }
        for request in group {
            let savepoint = transaction.savepoint()?;
            request.apply(&savepoint, remembered);
            match request.failed() {
                None => savepoint.commit()?,
                Some(error) => {
                    remembered.clear();
                    // A full disk, say: SQLite has taken back the whole transaction by itself.
                    if savepoint.is_autocommit() {
                        return Err(error);
                    }
                    drop(savepoint);
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
