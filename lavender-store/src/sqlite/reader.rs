//! The threads that read. In WAL mode they neither hold up the writer nor wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::{Result, SqliteError};

/// How many reads wait for a thread before those who ask wait themselves.
const QUEUE: usize = 64;

type Request = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the readers' threads.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    queue: mpsc::Sender<Request>,
}

impl Readers {
    /// Starts a thread for each connection. They end when every `Readers` is gone; each drops its
    /// `alive` once its connection is closed.
    pub(super) fn start(
        connections: Vec<Connection>,
        alive: &std::sync::mpsc::Sender<()>,
    ) -> std::io::Result<(Self, Vec<thread::JoinHandle<()>>)> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let requests = Arc::new(Mutex::new(requests));
        let threads = connections
            .into_iter()
            .map(|connection| {
                let (requests, alive) = (Arc::clone(&requests), alive.clone());
                thread::Builder::new().name("lavender-sqlite-read".into()).spawn(move || {
                    run(&connection, &requests);
                    drop(connection);
                    drop(alive);
                })
            })
            .collect::<std::io::Result<_>>()?;
        Ok((Self { queue }, threads))
    }

    /// Reads from one state of the database.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let request: Request = Box::new(move |connection| {
            // Whoever asked may have stopped waiting.
            if !reply.is_closed() {
                let _ = reply.send(in_one_state(connection, work));
            }
        });
        self.queue.send(request).await.map_err(|_| SqliteError::Closed)?;
        answer.await.map_err(|_| SqliteError::ThreadGone)?
    }
}

fn run(connection: &Connection, requests: &Mutex<mpsc::Receiver<Request>>) {
    loop {
        // One thread waits for the next request, the others wait for their turn to wait.
        let next = requests.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(request) = next else { return };
        request(connection);
    }
}

fn in_one_state<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let transaction = connection.unchecked_transaction()?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}
