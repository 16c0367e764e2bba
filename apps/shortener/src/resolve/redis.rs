//! The tier of the look-up in Redis, which all instances share.
//!
//! Readers fill with `SET NX`. A change puts a mark in the link's place for [`RECENT`]: whoever
//! finds it asks the primary, and nobody can fill over it, so that however changes, slow readers
//! and replicas that are behind cross each other, what was is not seen again. A mark says nothing
//! but "ask", so it does no harm twice, late, or out of order.
//!
//! `SEQ` is the number of the last change that is marked. Redis may lose anything, and may come
//! back with what it had long ago; therefore a connection is [`Live`] only once all that changed
//! after `SEQ` is marked (`resolve/follow.rs`), and any failure at all ends it. Nothing here
//! opens connections by itself, and nothing waits longer than [`PATIENCE`].
//!
//! Keys: `snip:NAMESPACE:CODE`, `snip:NAMESPACE!seq`, `snip:NAMESPACE!version`; `!` is in no code.
//! The namespace is of the database, the format and the version, which can be counted up to
//! forget everything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo, PushKind, RedisError, Value as Reply, cmd,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::store::StoreError;

use super::encoding::{self, CHANGED, Value};
use super::memory::RECENT;

/// How long Redis has to answer before it is taken to be away: 500 ms.
const PATIENCE: Duration = Duration::from_millis(500);

/// Commands on the way at once; more wait for their turn.
const ON_THE_WAY: usize = 10_000;

/// Puts a value in the place of the one that was read, if that is still there.
const REPLACE: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then \
                       redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end return 0";

/// Counts up, never down.
const ADVANCE: &str = "if tonumber(redis.call('GET',KEYS[1]) or -1)<tonumber(ARGV[1]) then \
                       redis.call('SET',KEYS[1],ARGV[1]) end return 0";

/// Redis, in use or not.
pub(super) struct Tier {
    client: Client,
    /// `snip:` and what is of the database and the format.
    family: String,
    live: RwLock<Option<Live>>,
    /// Woken when a connection has failed.
    pub(super) lost: Notify,
    opened: AtomicU64,
}

/// A connection through which Redis says nothing that is older than the database.
#[derive(Clone)]
pub(super) struct Live {
    wire: MultiplexedConnection,
    /// What keys of links begin with.
    prefix: Arc<str>,
    pub(super) version: i64,
    number: u64,
}

/// What Redis says of a link.
pub(super) enum Answer {
    /// This, which is written so.
    Value(Value, Vec<u8>),
    /// Nothing.
    Nothing,
}

/// Why Redis did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Said(#[from] RedisError),
    #[error("no answer within {PATIENCE:?}")]
    Silent,
}

impl Tier {
    /// Redis at this URL; nothing is asked of it yet. The secret is of the database.
    pub(super) fn new(url: &str, secret: [u8; 32]) -> Result<Tier, StoreError> {
        let unusable = |error: RedisError| StoreError::Unusable(format!("redis: {error}").into());
        let info = url.into_connection_info().map_err(unusable)?;
        // Version 3 of the protocol carries messages beside answers; it is as old as Redis 6.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(unusable)?;
        // Not secret, only different for each database: 30 bits of it, which are six characters.
        let of_database = data_encoding::BASE32_NOPAD.encode(&secret[..4]);
        let family = format!("snip:{}{}", encoding::FORMAT, &of_database[..6]);
        Ok(Tier {
            client,
            family,
            live: RwLock::default(),
            lost: Notify::new(),
            opened: AtomicU64::new(0),
        })
    }

    /// The connection, while it is in use.
    pub(super) fn live(&self) -> Option<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a connection that is not in use yet, and hands the codes of links that others change
    /// to `changed`, which must not block.
    pub(super) async fn connect(
        &self,
        changed: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Live, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(None)
            .set_concurrency_limit(ON_THE_WAY)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Message
                    && let Some(Reply::BulkString(codes)) = push.data.get(1)
                    && let Ok(codes) = std::str::from_utf8(codes)
                {
                    codes.split(' ').for_each(&changed);
                }
                Ok::<_, std::convert::Infallible>(())
            });
        let open = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut wire = timeout(PATIENCE, open).await.map_err(|_| Failure::Silent)??;
        let channel = format!("{}!changed", self.family);
        timeout(PATIENCE, wire.subscribe(channel)).await.map_err(|_| Failure::Silent)??;
        let number = self.opened.fetch_add(1, Relaxed) + 1;
        let live = Live { wire, prefix: "".into(), version: 0, number };
        let version = self.version(&live).await?;
        Ok(self.under(live, version))
    }

    /// The same connection in another version of the namespace.
    pub(super) fn under(&self, live: Live, version: i64) -> Live {
        let prefix = match version {
            0 => format!("{}:", self.family),
            _ => format!("{}.{version}:", self.family),
        };
        Live { prefix: prefix.into(), version, ..live }
    }

    /// Puts a connection to use.
    pub(super) fn put_to_use(&self, live: Live) {
        let mut place = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            info!("redis is in use");
        }
        *place = Some(live);
    }

    /// A connection has failed: nobody uses it any more.
    pub(super) fn fail(&self, failed: &Live, failure: &Failure) {
        let mut place = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|live| live.number == failed.number) {
            *place = None;
            warn!(%failure, "redis is away; links are looked up without it");
            self.lost.notify_one();
        }
    }

    /// What is there of a link.
    pub(super) async fn look_up(&self, live: &Live, code: &str) -> Result<Answer, Failure> {
        let bytes: Option<Vec<u8>> = live.ask(cmd("GET").arg(live.key(code))).await?;
        // What cannot be read was not written by this format: as good as nothing, and the fill
        // that follows does not overwrite it.
        Ok(match bytes.and_then(|bytes| Some((encoding::read(&bytes)?, bytes))) {
            Some((value, bytes)) => Answer::Value(value, bytes),
            None => Answer::Nothing,
        })
    }

    /// Puts a value there for so many milliseconds, if nothing is there.
    pub(super) async fn fill(
        &self,
        live: &Live,
        code: &str,
        bytes: &[u8],
        left: u64,
    ) -> Result<(), Failure> {
        let mut set = cmd("SET");
        set.arg(live.key(code)).arg(bytes).arg("NX").arg("PX").arg(left.max(1));
        live.ask::<Reply>(&set).await.map(drop)
    }

    /// Puts a value in the place of the one that was `before`, if that is still there.
    pub(super) async fn replace(
        &self,
        live: &Live,
        code: &str,
        before: &[u8],
        bytes: &[u8],
        left: u64,
    ) -> Result<(), Failure> {
        let mut eval = cmd("EVAL");
        eval.arg(REPLACE).arg(1).arg(live.key(code)).arg(before).arg(bytes).arg(left.max(1));
        live.ask::<Reply>(&eval).await.map(drop)
    }

    /// Marks links as changed, and tells the other instances if they do not know yet.
    pub(super) async fn mark<'a>(
        &self,
        live: &Live,
        codes: impl Iterator<Item = &'a str>,
        tell: bool,
    ) -> Result<(), Failure> {
        let codes: Vec<_> = codes.collect();
        for codes in codes.chunks(1000) {
            let mut all = Pipeline::new();
            for code in codes {
                let lasting = RECENT.as_millis() as u64;
                all.cmd("SET").arg(live.key(code)).arg(CHANGED).arg("PX").arg(lasting);
            }
            if tell {
                all.cmd("PUBLISH").arg(format!("{}!changed", self.family)).arg(codes.join(" "));
            }
            let mut wire = live.wire.clone();
            let asked = all.query_async::<Reply>(&mut wire);
            timeout(PATIENCE, asked).await.map_err(|_| Failure::Silent)??;
        }
        Ok(())
    }

    /// The number of the last change that is marked, if Redis knows of any.
    pub(super) async fn marked(&self, live: &Live) -> Result<Option<i64>, Failure> {
        live.ask(cmd("GET").arg(format!("{}!seq", self.family))).await
    }

    /// All changes up to this number are marked.
    pub(super) async fn advance(&self, live: &Live, seq: i64) -> Result<(), Failure> {
        let key = format!("{}!seq", self.family);
        live.ask::<Reply>(cmd("EVAL").arg(ADVANCE).arg(1).arg(key).arg(seq)).await.map(drop)
    }

    /// The version of the namespace.
    pub(super) async fn version(&self, live: &Live) -> Result<i64, Failure> {
        let version: Option<i64> =
            live.ask(cmd("GET").arg(format!("{}!version", self.family))).await?;
        Ok(version.unwrap_or(0))
    }

    /// Forgets everything that is there of this database: begins the next version, in which all
    /// changes up to this number are marked.
    pub(super) async fn begin_anew(&self, live: &Live, seq: i64) -> Result<i64, Failure> {
        let version = live.ask(cmd("INCR").arg(format!("{}!version", self.family))).await?;
        live.ask::<Reply>(cmd("SET").arg(format!("{}!seq", self.family)).arg(seq)).await?;
        Ok(version)
    }
}

impl Live {
    fn key(&self, code: &str) -> String {
        [&self.prefix, code].concat()
    }

    async fn ask<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Failure> {
        let mut wire = self.wire.clone();
        let answer = timeout(PATIENCE, cmd.query_async(&mut wire)).await;
        Ok(answer.map_err(|_| Failure::Silent)??)
    }
}
