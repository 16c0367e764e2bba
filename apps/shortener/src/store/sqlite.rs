//! The database in a file: SQLite with a write-ahead log.
//!
//! One thread writes, and takes everything that waits into one transaction (`writer.rs`), so that
//! many creations share one flush to the disk. Look-ups read right where they are called: they
//! take microseconds, less than handing them to another thread. What may take longer (lists,
//! reports) goes to blocking threads of the runtime. No lock is held across an `.await`.

mod changes;
mod clicks;
mod error;
mod keys;
mod links;
mod list;
mod migrate;
mod once;
mod settings;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{Health, Size, Standing, StoreError};
use crate::code::Codes;
use crate::link::Millis;
use writer::Writer;

/// How long a statement waits for another process that has the file locked.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same of a look-up, which blocks its thread. Readers wait for nobody in normal work.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);

/// Lists and reports that are read at the same time; others wait.
const QUERIES: usize = 4;

/// A database in a file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    look_ups: Box<[Mutex<Connection>]>,
    next: AtomicUsize,
    /// Connections that no query uses; never more than [`QUERIES`].
    queries: Mutex<Vec<Connection>>,
    may_query: Arc<Semaphore>,
    codes: Codes,
    clock: fn() -> Millis,
    /// The last to be dropped: whoever closes last brings the log into the file, which those who
    /// only read cannot.
    writer: Writer,
}

impl Sqlite {
    /// Opens the file, makes it if it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// `Unusable` when it cannot be opened or was made by a newer version, `Corrupt` when it is no
    /// database, `Locked` when another process keeps it locked.
    pub async fn open(path: &Path, clock: fn() -> Millis) -> Result<Sqlite, StoreError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Inner::open(path, clock)).await;
        let inner = opened.map_err(StoreError::unavailable)??;
        Ok(Sqlite { inner: Arc::new(inner) })
    }

    /// The time.
    pub(super) fn now(&self) -> Millis {
        (self.inner.clock)()
    }

    /// Does `job` in a transaction, together with others that wait, and returns when all is on the
    /// disk. When it fails nothing of it is kept. It must not hold this database.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.writer.write(job).await
    }

    /// Reads on this very thread: only what takes microseconds.
    pub(super) fn look_up<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connections = &self.inner.look_ups;
        let first = self.inner.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..connections.len() {
            match connections[(first + turn) % connections.len()].try_lock() {
                Ok(connection) => return read(&connection),
                Err(TryLockError::Poisoned(poisoned)) => return read(&poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let connection = &connections[first % connections.len()];
        read(&connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads on a thread for what blocks, as of one moment.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let may = self.inner.may_query.clone().acquire_owned().await;
        let may = may.map_err(StoreError::unavailable)?;
        let inner = self.inner.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = inner.queries().pop();
            let connection = match connection {
                Some(connection) => connection,
                None => reader(&inner.path, PATIENCE)?,
            };
            let transaction = connection.unchecked_transaction()?;
            let result = read(&transaction);
            drop(transaction);
            inner.queries().push(connection);
            drop(may);
            result
        });
        task.await.map_err(StoreError::unavailable)?
    }

    pub(super) fn codes(&self) -> &Codes {
        &self.inner.codes
    }

    pub(super) async fn health(&self) -> Health {
        let began = Instant::now();
        // An empty transaction is begun and ended all the same: it meets every lock.
        let error = self.write(|_| Ok(())).await.err();
        let name = self.inner.path.display().to_string();
        let primary = Standing { name, error, took: began.elapsed(), lag: None };
        Health { primary, replicas: Vec::new() }
    }

    pub(super) async fn size(&self) -> Result<Size, StoreError> {
        self.query(|connection| {
            let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            // Counting all rows would read the whole index; numbers of rows are hardly ever lost.
            let links = number("SELECT COUNT(*) FROM links")?;
            let bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
            Ok(Size { links, bytes })
        })
        .await
    }
}

impl Inner {
    fn open(path: PathBuf, clock: fn() -> Millis) -> Result<Inner, StoreError> {
        let mut connection = writing(&path)?;
        migrate::bring_up_to_date(&mut connection, clock())?;
        let codes = Codes::new(&settings::secret(&connection, "codes")?);
        let readers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 64);
        let look_ups: Vec<_> = (0..readers)
            .map(|_| reader(&path, SHORT_PATIENCE).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        Ok(Inner {
            writer: Writer::start(connection)?,
            look_ups: look_ups.into(),
            next: AtomicUsize::new(0),
            queries: Mutex::new(Vec::new()),
            may_query: Arc::new(Semaphore::new(QUERIES)),
            codes,
            clock,
            path,
        })
    }

    fn queries(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that may write.
fn writing(path: &Path) -> Result<Connection, StoreError> {
    let unusable = |error: rusqlite::Error| {
        StoreError::unusable(format_args!("cannot open {}: {error}", path.display()))
    };
    keep_private(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
    connection.busy_timeout(PATIENCE)?;
    let deadline = Instant::now() + PATIENCE;
    // Two processes that make the file at once get in each other's way here, and SQLite does not
    // wait by itself when waiting could be a deadlock.
    loop {
        match connection.pragma_update(None, "journal_mode", "wal").map_err(StoreError::from) {
            Err(StoreError::Locked(_)) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            outcome => break outcome?,
        }
    }
    // Each transaction is on the disk before anybody is told of it.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -64 * 1024)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // What is remembered to undo a savepoint would else be written to a file of its own.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Makes the file if it is missing, for its owner alone: with the secrets in it anybody could sign
/// in as anybody. SQLite makes the files beside it alike. What fails here fails when it is opened.
fn keep_private(path: &Path) {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if made.is_err() && path.metadata().is_ok_and(|about| about.permissions().mode() & 0o044 != 0) {
        let file = path.display();
        tracing::warn!("others on this machine may read {file}, which has secrets in it");
    }
}

/// A connection that only reads.
fn reader(path: &Path, patience: Duration) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
