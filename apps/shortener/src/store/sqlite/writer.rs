//! The one thread that writes. It takes all that waits into one transaction, so that many changes
//! share one flush to the disk (group commit), and answers them when it is there. Each change has
//! a savepoint of its own: one that fails takes no other with it.
//!
//! A failure of the transaction itself (a full disk, a locked file) is the answer to all who were
//! in it, and the thread goes on.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Changes that wait to be written; whoever comes then waits before it is let in.
const QUEUE: usize = 4096;

/// Changes in one transaction. More share a flush already as well as any.
const GROUP: usize = 1024;

/// The way to the thread. Dropping it writes what waits and ends the thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A change: done within a transaction, or told why there is none.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Outcome + Send>;

/// A change that was done, or failed, and has not been answered.
struct Outcome {
    failed: bool,
    /// Answers; with an error if the transaction was not kept after all.
    answer: Box<dyn FnOnce(Option<StoreError>) + Send>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Writer, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || work(&connection, queue))
            .map_err(StoreError::unavailable)?;
        Ok(Writer { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Dropped, the change is still made if it had been let in.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = connection.and_then(job);
            let failed = result.is_err();
            let answer = move |lost: Option<StoreError>| {
                // Whoever asked may have gone.
                drop(answer.send(lost.map_or(result, Err)));
            };
            Outcome { failed, answer: Box::new(answer) }
        });
        let gone = || StoreError::Unavailable("the thread that writes has ended".into());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends by itself after what waits; if it panicked, that was said on its own.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

fn work(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        commit(connection, group.drain(..));
    }
}

fn commit(connection: &Connection, group: impl ExactSizeIterator<Item = Job>) {
    let mut outcomes = Vec::new();
    let is_alone = group.len() == 1;
    let mut lost = execute(connection, "BEGIN IMMEDIATE").err();
    for job in group {
        let outcome = match &lost {
            Some(error) => job(Err(error.clone())),
            // Nobody else is in the transaction, which is undone as a whole if it fails. In a
            // savepoint SQLite would copy every page before it changes.
            None if is_alone => {
                let outcome = job(Ok(connection));
                if outcome.failed {
                    drop(execute(connection, "ROLLBACK"));
                } else if connection.is_autocommit() {
                    lost = Some(undone());
                }
                outcome
            }
            None => match in_savepoint(connection, job) {
                (outcome, Ok(())) => outcome,
                (outcome, Err(error)) => {
                    lost = Some(error);
                    outcome
                }
            },
        };
        outcomes.push(outcome);
    }
    if lost.is_none() && !connection.is_autocommit() {
        lost = execute(connection, "COMMIT").err();
    }
    if !connection.is_autocommit() {
        // What failed left the transaction open. If it cannot be undone either, the next BEGIN
        // says so to everybody.
        drop(execute(connection, "ROLLBACK"));
    }
    for outcome in outcomes {
        let lost = if outcome.failed { None } else { lost.clone() };
        (outcome.answer)(lost);
    }
}

/// Does one change. The second of the pair is an error when the whole transaction is gone.
fn in_savepoint(connection: &Connection, job: Job) -> (Outcome, Result<(), StoreError>) {
    if let Err(error) = execute(connection, "SAVEPOINT job") {
        return (job(Err(error.clone())), Err(error));
    }
    let outcome = job(Ok(connection));
    // Some failures, such as a full disk, make SQLite undo all of the transaction.
    if connection.is_autocommit() {
        return (outcome, Err(undone()));
    }
    let undone = if outcome.failed { execute(connection, "ROLLBACK TO job") } else { Ok(()) };
    let ended = undone.and_then(|()| execute(connection, "RELEASE job"));
    (outcome, ended)
}

/// Why a transaction is gone that SQLite has undone by itself.
fn undone() -> StoreError {
    StoreError::Full("what else was in the transaction did not fit".into())
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
