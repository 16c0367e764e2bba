//! One PostgreSQL server: its connections, and whether it is worth asking.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::time::error::Elapsed;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, Error, NoTls, Row};

use super::changes::LAST_CHANGE;
use super::{StoreError, Values};
use crate::store::Standing;

/// How long the primary may take for a connection, and then for a call.
const PATIENCE: Patience = Patience { connect: 5_000, call: 10_000 };

/// The same of a replica, instead of which the primary can be asked.
const SHORT_PATIENCE: Patience = Patience { connect: 500, call: 2_000 };

/// How long a replica that failed is left alone; then one call tries it again.
const REST: Duration = Duration::from_secs(1);

/// The longest that [`Server::standing`] waits.
const STANDING: Duration = Duration::from_secs(4);

/// How often work is done once more after it met other transactions.
pub(super) const AGAIN: u32 = 3;

/// Milliseconds.
#[derive(Debug, Clone, Copy)]
struct Patience {
    connect: u64,
    call: u64,
}

/// One server.
#[derive(Debug)]
pub(in crate::store) struct Server {
    name: String,
    pool: Pool,
    patience: Patience,
    is_replica: bool,
    began: Instant,
    /// Milliseconds after `began` from when on it may be asked again; 0: it is up.
    rests_until: AtomicU64,
    /// It lacks changes that nobody remembers any more.
    is_behind: AtomicBool,
}

impl Server {
    pub(super) fn primary(url: &str, pool: usize) -> Result<Server, StoreError> {
        Server::new(url, pool, PATIENCE, false)
    }

    pub(super) fn replica(url: &str, pool: usize) -> Result<Server, StoreError> {
        Server::new(url, pool, SHORT_PATIENCE, true)
    }

    fn new(
        url: &str,
        pool: usize,
        patience: Patience,
        is_replica: bool,
    ) -> Result<Server, StoreError> {
        // The text of the error does not have the URL in it, which has a password.
        let mut config: Config = url
            .parse()
            .map_err(|error| StoreError::unusable(format_args!("a PostgreSQL URL: {error}")))?;
        let name = name_of(&config);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_millis(patience.connect));
        }
        if config.get_application_name().is_none() {
            config.application_name("snip");
        }
        // What takes longer is ended by the server itself, unless the URL has options of its own.
        if config.get_options().is_none() {
            let call = patience.call;
            config.options(format!(
                "-c statement_timeout={call} -c idle_in_transaction_session_timeout={call}"
            ));
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connect = Some(Duration::from_millis(patience.connect));
        let pool = Pool::builder(Manager::from_config(config, NoTls, manager))
            .max_size(pool.max(1))
            .wait_timeout(connect)
            .create_timeout(connect)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StoreError::unusable)?;
        let (began, rests_until) = (Instant::now(), AtomicU64::new(0));
        let is_behind = AtomicBool::new(false);
        Ok(Server { name, pool, patience, is_replica, began, rests_until, is_behind })
    }

    /// `HOST:PORT`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is up and not too far behind, or one call is due to see whether it is up again.
    pub(super) fn may_be_asked(&self) -> bool {
        if self.is_behind.load(Ordering::Relaxed) {
            return false;
        }
        let until = self.rests_until.load(Ordering::Relaxed);
        let now = self.clock();
        until == 0
            || now >= until
                && self
                    .rests_until
                    .compare_exchange(until, now + rest(), Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
    }

    /// A connection. It must be given back within the patience that calls have.
    pub(in crate::store) async fn client(&self) -> Result<Client, StoreError> {
        let object = self.pool.get().await;
        let object = object.map_err(|error| match StoreError::from(error) {
            StoreError::Unavailable(why) => {
                StoreError::unavailable(format_args!("{}: {why}", self.name))
            }
            other => other,
        })?;
        Ok(Client { object: Some(object) })
    }

    /// Rows of a statement that only reads, or may be done twice.
    pub(in crate::store) async fn query(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut result = self.query_once(sql, values).await;
        // A connection of before a restart fails once, and is replaced.
        if !self.is_replica && matches!(result, Err(StoreError::Unavailable(_))) {
            result = self.query_once(sql, values).await;
        }
        let until = match &result {
            Err(_) if self.is_replica => self.clock() + rest(),
            _ => 0,
        };
        self.rests_until.store(until, Ordering::Relaxed);
        result
    }

    /// The only row of such a statement.
    pub(in crate::store) async fn query_one(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Row, StoreError> {
        let rows = self.query(sql, values).await?;
        rows.into_iter().next().ok_or_else(|| StoreError::corrupt("a row is missing"))
    }

    /// Rows of a statement that changes something.
    pub(in crate::store) async fn change(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        self.query_once(sql, values).await
    }

    async fn query_once(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StoreError> {
        let mut client = self.client().await?;
        let work = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        };
        let result: Result<Result<_, Error>, _> = tokio::time::timeout(self.limit(), work).await;
        client.settle(result)?.map_err(StoreError::from)
    }

    /// The longest that a call may take here. A little more than the server lets it take.
    pub(in crate::store) fn limit(&self) -> Duration {
        Duration::from_millis(self.patience.call + 500)
    }

    /// Sees whether a replica has all changes up to this number. One that does not say so is not
    /// asked for anything until it does: nobody knows where it stopped.
    pub(super) async fn check(&self, known: i64) {
        let last = self.query_one(LAST_CHANGE, &[]).await;
        let last = last.and_then(|row| Ok(row.try_get::<_, i64>(0)?));
        let is_behind = last.as_ref().map_or(true, |last| *last < known);
        match (self.is_behind.swap(is_behind, Ordering::Relaxed), is_behind) {
            (false, true) => tracing::warn!(
                replica = self.name,
                "does not have the changes of some seconds ago, and is not asked meanwhile"
            ),
            (true, false) => tracing::info!(replica = self.name, "has caught up"),
            _ => {}
        }
    }

    pub(super) async fn standing(&self) -> Standing {
        let began = Instant::now();
        let sql = "SELECT pg_is_in_recovery(),
               CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                    ELSE (EXTRACT(epoch FROM clock_timestamp()
                              - pg_last_xact_replay_timestamp()) * 1000)::bigint END";
        let row = tokio::time::timeout(STANDING, self.query_one(sql, &[])).await;
        let row = row.unwrap_or_else(|_| Err(StoreError::unavailable("no answer in time")));
        let facts =
            row.and_then(|row| Ok((row.try_get::<_, bool>(0)?, row.try_get::<_, Option<i64>>(1)?)));
        let (error, lag) = match facts {
            Ok((true, _)) if !self.is_replica => {
                (Some(StoreError::unavailable("it is a replica, and cannot be written to")), None)
            }
            Ok((_, lag)) if self.is_behind.load(Ordering::Relaxed) => (
                Some(StoreError::unavailable("it does not have the changes of some seconds ago")),
                lag.and_then(|lag| u64::try_from(lag).ok()),
            ),
            Ok((_, lag)) => (None, lag.and_then(|lag| u64::try_from(lag).ok())),
            Err(error) => (Some(error), None),
        };
        let lag = lag.filter(|_| self.is_replica).map(Duration::from_millis);
        Standing { name: self.name.clone(), error, took: began.elapsed(), lag }
    }

    fn clock(&self) -> u64 {
        // From 1 on: 0 has a meaning of its own.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
    }
}

fn rest() -> u64 {
    u64::try_from(REST.as_millis()).unwrap_or(u64::MAX / 4)
}

/// A connection that is lent.
pub(in crate::store) struct Client {
    object: Option<Object>,
}

impl Client {
    /// What came of work with this connection. One that did not answer in time is closed, so that
    /// nobody waits behind it.
    pub(in crate::store) fn settle<T>(
        &mut self,
        result: Result<T, Elapsed>,
    ) -> Result<T, StoreError> {
        result.map_err(|_| {
            if let Some(object) = self.object.take() {
                drop(Object::take(object));
            }
            StoreError::unavailable("the server does not answer in time")
        })
    }
}

/// Does work with a connection that is lent for it, once more if it met other transactions so that
/// the server undid it.
macro_rules! with_client {
    ($server:expr, $client:ident => $work:expr) => {{
        let (server, mut left) = ($server, $crate::store::postgres::server::AGAIN);
        loop {
            let mut $client = server.client().await?;
            let result = tokio::time::timeout(server.limit(), $work).await;
            match $client.settle(result)? {
                Ok(value) => break Ok(value),
                Err(Failure::Conflict(_)) if left > 0 => left -= 1,
                Err(Failure::Conflict(error) | Failure::Other(error)) => break Err(error),
            }
        }
    }};
}
pub(super) use with_client;

impl Deref for Client {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object.as_ref().expect("taken only when the work is over")
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Object {
        self.object.as_mut().expect("taken only when the work is over")
    }
}

fn name_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}")
}
