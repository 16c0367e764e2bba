//! One PostgreSQL server: its connections, and whether it is worth asking.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, Error, Row};

use super::{StoreError, Values, tls};
use crate::store::Standing;

/// How long the primary may take for a connection, and then for a call.
const PATIENCE: Patience = Patience { connect: 5_000, call: 10_000 };

/// The same of a replica, instead of which the primary can be asked.
const SHORT_PATIENCE: Patience = Patience { connect: 500, call: 2_000 };

/// A call that failed sooner than this is tried once more: it met a connection of before a restart.
/// One that failed later has had its time.
const AT_ONCE: Duration = Duration::from_secs(1);

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
        let (mut config, tls) = tls::read(url)?;
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
        let pool = Pool::builder(Manager::from_config(config, tls, manager))
            .max_size(pool.max(1))
            .wait_timeout(connect)
            .create_timeout(connect)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StoreError::unusable)?;
        Ok(Server { name, pool, patience, is_replica })
    }

    /// `HOST:PORT`.
    pub(super) fn name(&self) -> &str {
        &self.name
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
        self.query_within(sql, values, self.longest()).await
    }

    /// The same, within a time that begins with the wait for a connection.
    pub(super) async fn query_within(
        &self,
        sql: &str,
        values: Values<'_>,
        limit: Duration,
    ) -> Result<Vec<Row>, StoreError> {
        let began = Instant::now();
        match self.query_once(sql, values, limit).await {
            Err(StoreError::Unavailable(_)) if began.elapsed() < AT_ONCE.min(limit / 2) => {
                self.query_once(sql, values, limit - began.elapsed()).await
            }
            result => result,
        }
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
        self.query_once(sql, values, self.longest()).await
    }

    async fn query_once(
        &self,
        sql: &str,
        values: Values<'_>,
        limit: Duration,
    ) -> Result<Vec<Row>, StoreError> {
        let deadline = Instant::now() + limit;
        let mut client = match timeout_at(deadline.into(), self.client()).await {
            Ok(client) => client?,
            Err(_) => {
                let what = format_args!("{}: no connection in time", self.name).to_string();
                return Err(StoreError::unavailable(what));
            }
        };
        let work = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        };
        let result: Result<Result<_, Error>, _> = timeout_at(deadline.into(), work).await;
        client.settle(result)?.map_err(StoreError::from)
    }

    /// The longest that a call may take with the wait for a connection.
    fn longest(&self) -> Duration {
        Duration::from_millis(self.patience.connect) + self.limit()
    }

    /// The longest that a call may take here. A little more than the server lets it take.
    pub(in crate::store) fn limit(&self) -> Duration {
        Duration::from_millis(self.patience.call + 500)
    }

    pub(super) async fn standing(&self) -> Standing {
        let began = Instant::now();
        let row = self.query_within("SELECT pg_is_in_recovery()", &[], STANDING).await;
        let is_copy = row.and_then(|rows| match rows.first() {
            Some(row) => Ok(row.try_get::<_, bool>(0)?),
            None => Err(StoreError::corrupt("a row is missing")),
        });
        let error = match is_copy {
            Ok(true) if !self.is_replica => {
                Some(StoreError::unavailable("it is a replica, and cannot be written to"))
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        Standing { name: self.name.clone(), error, took: began.elapsed(), lag: None }
    }
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
