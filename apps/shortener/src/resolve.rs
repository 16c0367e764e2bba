//! Where a code leads: from this process, from Redis, from the database, in that order.
//!
//! The database is right and the tiers before it are never trusted beyond what is known of them:
//! `resolve/memory.rs` says when a slot is current, `resolve/redis.rs` stands aside from any
//! failure of Redis until nothing in it is older than the database, and `resolve/follow.rs` reads
//! what has changed and tells both. Of all who miss the same link at once one asks
//! (`resolve/flight.rs`). Whoever changes a link calls [`Resolver::changed`] before it answers.
//!
//! It knows nothing of HTTP. Called by `redirect.rs`; told of changes by the API.

mod encoding;
mod flight;
mod follow;
mod memory;
mod redis;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout;

use crate::config::CacheConfig;
use crate::edge::Prepared;
use crate::link::{Code, Link, Millis, Redirect};
use crate::store::{Read, Store, StoreError, system_clock};

use self::encoding::Value;
use self::flight::Flights;
use self::memory::{Kept, Memory, Slot, ticks};
use self::redis::{Answer, Tier};

pub use self::follow::follow;

/// What a redirect needs to know of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// Where it leads.
    pub target: Box<str>,
    /// With what status.
    pub redirect: Redirect,
    /// The query of whoever follows it is sent on.
    pub forward_query: bool,
    /// From when on it leads nowhere.
    pub expires: Option<Millis>,
    /// Its clicks are limited: one must be taken for each redirect.
    pub limited: bool,
    /// The hash of its password (argon2id, PHC string), if it has one.
    pub password: Option<Box<str>>,
    /// It leads nowhere.
    pub disabled: bool,
}

impl From<Link> for Mapping {
    fn from(link: Link) -> Mapping {
        Mapping {
            target: link.target,
            redirect: link.redirect,
            forward_query: link.forward_query,
            expires: link.expires,
            limited: link.clicks_left.is_some(),
            password: link.password,
            disabled: link.disabled,
        }
    }
}

/// A link that was found, with what its answers have in common.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub mapping: Mapping,
    /// Fields of its answers.
    pub prepared: Prepared,
    /// Its last click was taken; until it changes nobody needs to try.
    used_up: AtomicBool,
    /// It is being looked up again before it must be.
    is_refreshed: AtomicBool,
    /// When it must be, by the clock of `memory.rs`; the end of time while nobody keeps it.
    until: AtomicU64,
}

impl Entry {
    fn new(code: &str, mapping: Mapping) -> Entry {
        let prepared = Prepared::new(code, &mapping);
        Entry {
            mapping,
            prepared,
            used_up: false.into(),
            is_refreshed: false.into(),
            until: u64::MAX.into(),
        }
    }

    /// Whether its clicks are known to be used up.
    pub fn is_used_up(&self) -> bool {
        self.used_up.load(Relaxed)
    }

    /// Its last click was taken.
    pub fn use_up(&self) {
        self.used_up.store(true, Relaxed);
    }
}

/// What stands behind a code.
#[derive(Debug, Clone)]
pub enum Found {
    /// A link.
    Link(Arc<Entry>),
    /// Nothing.
    Missing,
}

impl Found {
    fn new(code: &str, mapping: Option<Mapping>) -> Found {
        match mapping {
            Some(mapping) => Found::Link(Arc::new(Entry::new(code, mapping))),
            None => Found::Missing,
        }
    }

    fn mapping(&self) -> Option<&Mapping> {
        match self {
            Found::Link(entry) => Some(&entry.mapping),
            Found::Missing => None,
        }
    }
}

/// What a look-up found, and whether that may be told on.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What stands behind the code.
    pub found: Found,
    /// The database is away and could not say whether this is still so: good enough for one
    /// redirect, and for no cache.
    pub is_unsure: bool,
}

/// How look-ups were answered.
#[derive(Debug, Default)]
pub struct Counts {
    /// By this process.
    pub memory: AtomicU64,
    /// By Redis.
    pub redis: AtomicU64,
    /// By the database.
    pub store: AtomicU64,
    /// By this process, since the database was away.
    pub unsure: AtomicU64,
    /// Not at all.
    pub failed: AtomicU64,
    /// Before they had to be, in the background.
    pub refreshed: AtomicU64,
    /// Failures of Redis.
    pub redis_failures: AtomicU64,
    /// Changes of links that were followed.
    pub changes: AtomicU64,
}

/// The look-up.
pub struct Resolver {
    store: Store,
    memory: Memory,
    redis: Option<Tier>,
    flights: Flights<Result<Found, StoreError>>,
    config: CacheConfig,
    /// How long the database takes, in microseconds: a moving average.
    cost: AtomicU64,
    /// The database was found to be away: until then nobody waits for it who can do without.
    away_until: AtomicU64,
    counts: Counts,
}

/// What took longer to read than this is not kept, since it may be from before a change that
/// nobody remembers any more. Well below [`memory::RECENT`].
const TOO_LATE: Duration = Duration::from_secs(2);

/// How long somebody waits for the database who could be told what it said a while ago.
const BRIEF: Duration = Duration::from_millis(500);

/// How long a database that was away is not waited for by those.
const REST: Duration = Duration::from_secs(1);

impl Resolver {
    /// A look-up in this database, with Redis at this URL.
    ///
    /// # Errors
    /// When the URL of Redis is none, or the database does not say what its keys are called.
    pub async fn new(
        store: Store,
        config: &CacheConfig,
        redis: Option<&str>,
    ) -> Result<Resolver, StoreError> {
        let redis = match redis {
            Some(url) => Some(Tier::new(url, store.secret("cache").await?)?),
            None => None,
        };
        Ok(Resolver {
            store,
            memory: Memory::new(config.memory, config.memory_ttl),
            redis,
            flights: Flights::new(),
            config: config.clone(),
            cost: AtomicU64::new(1000),
            away_until: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// What stands behind a code; what cannot be a code has nothing behind it.
    ///
    /// Dropped, another who waits for the same looks it up.
    ///
    /// # Errors
    /// When it is in no tier and the database is away.
    pub async fn resolve(&self, code: &str) -> Result<Resolved, StoreError> {
        let now = self.memory.now();
        let kept = self.memory.look_up(code, now);
        if let Kept::Current(slot) = kept {
            count(&self.counts.memory);
            return Ok(Resolved { found: slot.found, is_unsure: false });
        }
        let asked = self.flights.join(code, || self.fetch(code));
        let Kept::Unsure(slot) = kept else {
            return match asked.await {
                Ok(found) => Ok(Resolved { found, is_unsure: false }),
                Err(error) => {
                    count(&self.counts.failed);
                    Err(error)
                }
            };
        };
        // A database that hangs is away too, though it never says so.
        let is_away = now < self.away_until.load(Relaxed) && self.is_redis_live() != Some(true);
        let answer = if is_away { None } else { timeout(BRIEF, asked).await.ok() };
        match answer {
            Some(Ok(found)) => return Ok(Resolved { found, is_unsure: false }),
            Some(Err(error)) if !error.is_transient() => {
                count(&self.counts.failed);
                return Err(error);
            }
            Some(Err(_)) => {}
            None if is_away => {}
            None => self.note_away(),
        }
        count(&self.counts.unsure);
        Ok(Resolved { found: slot.found, is_unsure: true })
    }

    /// Looks a code up again in the background when its time is nearly over, so that nobody has to
    /// wait when it is. To be called with what [`Resolver::resolve`] found; nearly always it is
    /// only a glance.
    pub fn refresh_early(self: &Arc<Self>, code: &str, entry: &Arc<Entry>) {
        let left = entry.until.load(Relaxed).saturating_sub(self.memory.now());
        if !self.is_early(left) || entry.is_refreshed.swap(true, Relaxed) {
            return;
        }
        let (resolver, code, entry) = (self.clone(), code.to_owned(), entry.clone());
        // It ends by itself: everything in it has a limit of time.
        tokio::spawn(async move {
            count(&resolver.counts.refreshed);
            if resolver.refresh(&code).await.is_err() {
                entry.is_refreshed.store(false, Relaxed);
            }
        });
    }

    /// These links have changed: from now on nobody here is told what they were, nor elsewhere
    /// within `memory-ttl`, and sooner with Redis. To be called when the change is in the
    /// database, and before whoever made it is answered; takes half a second at most.
    pub async fn changed(&self, codes: &[Code]) {
        for code in codes {
            self.forget(code.as_str());
        }
        if let Some(redis) = &self.redis
            && let Some(live) = redis.live()
        {
            let marked = redis.mark(&live, codes.iter().map(Code::as_str), true).await;
            if let Err(failure) = marked {
                self.redis_failed(redis, &live, &failure);
            }
        }
    }

    /// How look-ups were answered.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Links and unknown codes in this process.
    pub fn kept(&self) -> (usize, usize) {
        self.memory.len()
    }

    /// Whether Redis is in use at this moment; `None` without Redis.
    pub fn is_redis_live(&self) -> Option<bool> {
        self.redis.as_ref().map(|redis| redis.live().is_some())
    }

    fn forget(&self, code: &str) {
        self.memory.forget(code);
        self.flights.forget(code);
    }

    /// Asks Redis, then the database, and keeps what it finds.
    async fn fetch(&self, text: &str) -> Result<Found, StoreError> {
        let Ok(code) = Code::new(text) else { return Ok(Found::Missing) };
        let asked = self.memory.now();
        if self.memory.is_recent(text, asked) {
            return self.read(&code, Read::Latest, asked).await.map(|(found, _)| found);
        }
        let Some(redis) = &self.redis else {
            return self.read(&code, Read::Any, asked).await.map(|(found, _)| found);
        };
        let Some(live) = redis.live() else {
            return self.read(&code, Read::Any, asked).await.map(|(found, _)| found);
        };
        match redis.look_up(&live, text).await {
            Ok(Answer::Value(Value::Known { mapping, until }, _)) => {
                count(&self.counts.redis);
                let left = u64::try_from(until - system_clock()).unwrap_or(0);
                let left = left.min(ticks(self.config.redis_ttl) * 2);
                let found = Found::new(text, mapping);
                self.keep(text, &found, asked, left);
                Ok(found)
            }
            Ok(Answer::Value(Value::Changed, _)) => {
                self.read(&code, Read::Latest, asked).await.map(|(found, _)| found)
            }
            Ok(Answer::Nothing) => {
                let (found, left) = self.read(&code, Read::Any, asked).await?;
                if let Some(left) = left
                    && let Some(bytes) = written(&found, left)
                    && let Err(failure) = redis.fill(&live, text, &bytes, left).await
                {
                    self.redis_failed(redis, &live, &failure);
                }
                Ok(found)
            }
            Err(failure) => {
                self.redis_failed(redis, &live, &failure);
                self.read(&code, Read::Any, asked).await.map(|(found, _)| found)
            }
        }
    }

    /// Asks the database although a tier knows, and tells the tiers.
    async fn refresh(&self, text: &str) -> Result<(), StoreError> {
        let Ok(code) = Code::new(text) else { return Ok(()) };
        let asked = self.memory.now();
        let live = self.redis.as_ref().and_then(|redis| Some((redis, redis.live()?)));
        let Some((redis, live)) = live else {
            return self.read(&code, Read::Any, asked).await.map(drop);
        };
        let before = match redis.look_up(&live, text).await {
            Ok(Answer::Value(Value::Known { .. }, bytes)) => Some(bytes),
            Ok(Answer::Value(Value::Changed, _)) => {
                return self.read(&code, Read::Latest, asked).await.map(drop);
            }
            Ok(Answer::Nothing) => None,
            Err(failure) => {
                self.redis_failed(redis, &live, &failure);
                return self.read(&code, Read::Any, asked).await.map(drop);
            }
        };
        let (found, left) = self.read(&code, Read::Any, asked).await?;
        let Some(left) = left else { return Ok(()) };
        let Some(bytes) = written(&found, left) else { return Ok(()) };
        // Never over what a change has put there meanwhile.
        let told = match before {
            Some(before) => redis.replace(&live, text, &before, &bytes, left).await,
            None => redis.fill(&live, text, &bytes, left).await,
        };
        if let Err(failure) = told {
            self.redis_failed(redis, &live, &failure);
        }
        Ok(())
    }

    /// Asks the database and keeps what it says in this process. Also for how many milliseconds
    /// others may keep it; `None`: it came too late to be kept.
    async fn read(
        &self,
        code: &Code,
        read: Read,
        asked: u64,
    ) -> Result<(Found, Option<u64>), StoreError> {
        let begun = std::time::Instant::now();
        let link = self.store.link(code, read).await;
        if link.as_ref().is_err_and(StoreError::is_transient) {
            self.note_away();
        }
        let link = link?;
        let took = begun.elapsed();
        count(&self.counts.store);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let cost = self.cost.load(Relaxed);
        // Some of these may be lost to other threads, and the average is none the worse.
        self.cost.store(cost - cost / 16 + micros / 16, Relaxed);
        let found = Found::new(code.as_str(), link.map(Mapping::from));
        if took >= TOO_LATE {
            return Ok((found, None));
        }
        let ttl = match found {
            // A tenth of jitter, so that what was read together does not end together.
            Found::Link(_) => {
                let ttl = ticks(self.config.redis_ttl);
                ttl - ttl / 20 + fastrand::u64(0..=ttl / 10)
            }
            Found::Missing => ticks(self.config.negative_ttl),
        };
        self.keep(code.as_str(), &found, asked, ttl);
        Ok((found, Some(ttl)))
    }

    /// The database does not answer.
    fn note_away(&self) {
        self.away_until.fetch_max(self.memory.now() + ticks(REST), Relaxed);
    }

    /// Keeps in this process what was asked then, for so many milliseconds.
    fn keep(&self, code: &str, found: &Found, asked: u64, left: u64) {
        let until = asked.saturating_add(left);
        if let Found::Link(entry) = found {
            entry.until.store(until, Relaxed);
        }
        self.memory.keep(code, Slot { found: found.clone(), asked, until });
    }

    /// XFetch: whether what goes out of date after `left` milliseconds should be looked up again
    /// now. The nearer the end and the dearer a look-up, the likelier.
    ///
    /// Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
    /// 2015, with β = 1 and a cost of 50 ms at least, so that links of a thousand clicks a second
    /// are ahead by some tenths of a second.
    fn is_early(&self, left: u64) -> bool {
        let cost = (self.cost.load(Relaxed) / 1000).max(50);
        // e^-16 is one in nine million: no logarithm for nearly all.
        left < cost * 16
            && (cost as f64) * -fastrand::f64().max(f64::MIN_POSITIVE).ln() >= left as f64
    }

    fn redis_failed(&self, redis: &Tier, live: &redis::Live, failure: &redis::Failure) {
        count(&self.counts.redis_failures);
        redis.fail(live, failure);
    }
}

/// What is written to Redis of an answer that is good for so many milliseconds.
fn written(found: &Found, left: u64) -> Option<Vec<u8>> {
    let left = Millis::try_from(left).ok()?;
    encoding::write(found.mapping(), system_clock().saturating_add(left))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
