//! The database on PostgreSQL servers: a primary, and replicas that answer what may be a moment
//! old.
//!
//! A call that fails because the server went away says so (`Unavailable`); the next one connects
//! again. What only reads is tried twice. What changes something is tried again only where it is
//! certain that nothing was changed.

mod block;
mod changes;
mod clicks;
mod error;
mod keys;
mod links;
mod list;
mod locks;
mod look_ups;
mod migrate;
mod once;
mod replica;
mod server;
mod settings;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{DatabaseConfig, Health, Size, StoreError};
use crate::code::Codes;
use crate::link::Millis;
use block::Block;
use look_ups::LookUps;
use replica::{Replica, Watch};
use server::Server;

/// How long a replica may take for a report, instead of which the primary can be asked.
const REPORT: Duration = Duration::from_millis(2_500);

/// How long the look-up of a link may take, at a replica and then at the primary. Nobody waits for
/// a redirect longer than that.
const LOOK_UP: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// A database on servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    primary: Arc<Server>,
    replicas: Arc<[Replica]>,
    _watch: Option<Watch>,
    /// Whose turn among the replicas is next.
    next: AtomicUsize,
    codes: Codes,
    block: Block,
    /// Look-ups of the primary, and of the replicas.
    latest: Arc<LookUps>,
    any: Arc<LookUps>,
    clock: fn() -> Millis,
}

/// Values of a statement.
type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Postgres {
    /// Says what is wrong with a URL, as far as that is known without asking anybody, or reading a
    /// file. Never its password.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn check_url(url: &str) -> Result<(), StoreError> {
        tls::parse(url).map(drop)
    }

    /// Connects to the primary and brings its tables up to date. Replicas may be away.
    ///
    /// # Errors
    /// `Unusable` when a URL is wrong, the server lets nobody in, or the database was made by a
    /// newer version; `Unavailable` when it cannot be reached.
    pub async fn open(config: &DatabaseConfig) -> Result<Postgres, StoreError> {
        let primary = Arc::new(Server::primary(&config.url, config.pool)?);
        let replicas = config.replicas.iter().map(|url| Replica::new(url, config.pool));
        let replicas: Arc<[Replica]> = replicas.collect::<Result<_, _>>()?;
        migrate::bring_up_to_date(&primary, (config.clock)()).await?;
        let codes = Codes::new(&settings::secret(&primary, "codes").await?);
        let watch = match replicas.is_empty() {
            true => None,
            false => Some(Watch::start(primary.clone(), replicas.clone()).await),
        };
        let inner = Inner {
            primary,
            replicas,
            _watch: watch,
            next: AtomicUsize::new(0),
            codes,
            block: Block::default(),
            latest: Arc::new(LookUps::new(config.pool)),
            any: Arc::new(LookUps::new(config.pool)),
            clock: config.clock,
        };
        Ok(Postgres { inner: Arc::new(inner) })
    }

    /// The server that knows the latest.
    pub(super) fn primary(&self) -> &Server {
        &self.inner.primary
    }

    /// Rows that may be a moment old: of a replica that is up, else of the primary.
    pub(super) async fn query_any(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        if let Some(rows) = self.query_replica(sql, values, REPORT).await {
            return Ok(rows);
        }
        self.primary().query(sql, values).await
    }

    /// Rows of a replica; `None` when none answers, whatever the reason.
    async fn query_replica(
        &self,
        sql: &str,
        values: Values<'_>,
        limit: Duration,
    ) -> Option<Vec<Row>> {
        let replicas = &self.inner.replicas;
        let first = self.inner.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..replicas.len() {
            let replica = &replicas[first.wrapping_add(turn) % replicas.len()];
            if !replica.is_fit() {
                continue;
            }
            // A replica that is not as far as the primary may lack even the tables.
            match replica.query(sql, values, limit).await {
                Ok(rows) => return Some(rows),
                Err(error) => tracing::debug!(replica = replica.name(), %error, "does not answer"),
            }
        }
        None
    }

    pub(super) fn now(&self) -> Millis {
        (self.inner.clock)()
    }

    pub(super) async fn health(&self) -> Health {
        // All at once, so that those that hang are waited for together.
        let replicas = join_all(self.inner.replicas.iter().map(Replica::standing));
        let (primary, replicas) = tokio::join!(self.inner.primary.standing(), replicas);
        Health { primary, replicas }
    }

    pub(super) async fn size(&self) -> Result<Size, StoreError> {
        // The server estimates rows when it analyses a table; it never did with a new one.
        let sql = "SELECT CASE WHEN reltuples < 0 THEN (SELECT COUNT(*) FROM links)
                          ELSE reltuples::bigint END,
                      pg_total_relation_size('links') + pg_total_relation_size('tags')
                          + pg_total_relation_size('changes')
                          + pg_total_relation_size('idempotency')
               FROM pg_class WHERE oid = 'links'::regclass";
        let row = self.primary().query_one(sql, &[]).await?;
        Ok(Size { links: row.try_get(0)?, bytes: row.try_get(1)? })
    }
}
