//! Follows the changes in the database, and tells whoever keeps what was: this process, Redis, and
//! the caches in front.
//!
//! Two tasks: [`follow`] reads what changed, twice in each `memory-ttl`, so that slots of memory
//! are known to be current; `tend` opens the connection to Redis and marks there what changed, so
//! that neither waits for the other. All of it is safe to be done by every instance, and to be
//! done twice. They end when the process drains.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::*};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::caches::Caches;
use crate::edge::Purger;
use crate::store::{Change, StoreError, system_clock};

use super::Resolver;
use super::memory::RECENT;
use super::redis::{Failure, Live, Tier};

/// Changes that are read at once.
const PAGE: u32 = 1000;

/// By how much the clocks of instances may differ.
const SKEW: Duration = Duration::from_secs(60);

/// How often what is not needed any more is deleted from the database.
const TIDY: Duration = Duration::from_secs(3600);

/// How long to wait before Redis is tried again: doubles from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// Follows the changes until `drain` becomes true. `keep` is how long caches in front keep what
/// they have: what changed within that time is purged at the start, since whoever changed it may
/// have ended before it could.
///
/// # Errors
/// When the database cannot be asked at the start.
pub async fn follow(
    caches: Caches,
    keep: Duration,
    drain: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()>, StoreError> {
    let Caches { resolver, purger } = caches;
    let seen = Arc::new(AtomicI64::new(0));
    let mut begun = resolver.memory.now();
    let now = system_clock();
    let recently = now - i64::try_from((RECENT + SKEW).as_millis()).unwrap_or(i64::MAX);
    let since = now - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    // From the first change that is still known: there are no more than those of an hour or so.
    while let Some(changes) = page(&resolver, &seen).await? {
        begun = resolver.memory.now();
        // A replica may not have heard of them yet.
        for change in changes.iter().filter(|it| it.at >= recently) {
            resolver.forget(change.code.as_str());
        }
        purger.pass_on(changes.iter().filter(|it| it.at >= since).map(|it| it.code.as_str()));
    }
    resolver.memory.followed(begun);
    let follower = Follower { resolver, purger, seen, keep };
    Ok(follower.run(drain))
}

struct Follower {
    resolver: Arc<Resolver>,
    purger: Arc<Purger>,
    /// The number of the last change that is known here.
    seen: Arc<AtomicI64>,
    keep: Duration,
}

impl Follower {
    async fn run(self, mut drain: watch::Receiver<bool>) {
        let every = (self.resolver.config.memory_ttl / 2).max(Duration::from_millis(5));
        let (resolver, seen) = (self.resolver.clone(), self.seen.clone());
        let tend = async move {
            match &resolver.redis {
                Some(redis) => tend(&resolver, redis, &seen, every).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.read(every) => {}
            () = tend => {}
            () = self.tidy() => {}
            // An error is a drain too: nobody is left who could ask for one.
            _ = drain.wait_for(|drain| *drain) => {}
        }
    }

    /// Reads what changed, for ever.
    async fn read(&self, every: Duration) {
        let mut is_away = false;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.catch_up().await {
                Ok(()) if is_away => {
                    is_away = false;
                    info!("changes of links are followed again");
                }
                Err(error) if !is_away => {
                    is_away = true;
                    warn!(%error, "changes of links cannot be followed");
                }
                _ => {}
            }
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let begun = self.resolver.memory.now();
            let Some(changes) = page(&self.resolver, &self.seen).await? else {
                self.resolver.memory.followed(begun);
                return Ok(());
            };
            for change in &changes {
                self.resolver.forget(change.code.as_str());
            }
            self.resolver.counts.changes.fetch_add(changes.len() as u64, Relaxed);
            self.purger.pass_on(changes.iter().map(|change| change.code.as_str()));
        }
    }

    /// Deletes what nobody needs any more, for ever.
    async fn tidy(&self) {
        let store = &self.resolver.store;
        // As long as anybody can still have what was: Redis forgets after `redis-ttl` and its
        // jitter, caches in front after `s-maxage`.
        let keep = TIDY + (2 * self.resolver.config.redis_ttl).max(self.keep);
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        loop {
            let forgotten = async {
                store.forget_changes(system_clock() - keep).await?;
                store.forget_once().await
            };
            if let Err(error) = forgotten.await {
                warn!(%error, "what is not needed any more stays in the database for now");
            }
            sleep(TIDY).await;
        }
    }
}

/// The changes behind the last one that is known, of which the last is known then. `None`: there
/// are none.
async fn page(resolver: &Resolver, seen: &AtomicI64) -> Result<Option<Vec<Change>>, StoreError> {
    let after = seen.load(Acquire);
    let page = resolver.store.changes_after(after, PAGE).await?;
    // Before the first there is always something that was forgotten.
    if page.incomplete && after > 0 {
        warn!("some changes of links were missed; all that was kept is dropped");
        resolver.memory.forget_all();
    }
    let Some(last) = page.changes.last() else { return Ok(None) };
    seen.store(last.seq, Release);
    Ok(Some(page.changes))
}

/// Keeps Redis in use whenever it can be, for ever.
async fn tend(resolver: &Arc<Resolver>, redis: &Tier, seen: &AtomicI64, every: Duration) {
    let mut pause = PAUSES[0];
    let mut past = Past::default();
    loop {
        past.note(seen.load(Acquire));
        match redis.live() {
            Some(live) => {
                if let Err(Trouble::Redis(failure)) =
                    mark(resolver, redis, &live, seen, &past).await
                {
                    resolver.redis_failed(redis, &live, &failure);
                    continue;
                }
                tokio::select! {
                    () = sleep(every) => {}
                    () = redis.lost.notified() => {}
                }
            }
            None => {
                // Weak, since the connection may outlive everything else.
                let told = Arc::downgrade(resolver);
                let changed = move |code: &str| {
                    if let Some(resolver) = told.upgrade() {
                        resolver.forget(code);
                    }
                };
                let opened = async {
                    let live = redis.connect(changed).await?;
                    mark(resolver, redis, &live, seen, &past).await
                };
                match opened.await {
                    Ok(()) => pause = PAUSES[0],
                    Err(_) => {
                        sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                        pause = (pause * 2).min(PAUSES[1]);
                    }
                }
            }
        }
    }
}

enum Trouble {
    Redis(Failure),
    Store,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Redis(failure)
    }
}

/// Marks in Redis what changed behind the last change that is marked there, and puts the
/// connection to use if it is not yet.
async fn mark(
    resolver: &Resolver,
    redis: &Tier,
    live: &Live,
    seen: &AtomicI64,
    past: &Past,
) -> Result<(), Trouble> {
    let store = &resolver.store;
    let known = redis.marked(live).await?;
    // An empty Redis has nothing that is old but what is being filled at this moment, by readers
    // that asked before a change.
    let mut after = known.unwrap_or_else(|| past.before(RECENT));
    // Asked only where it may have something new: each time for a connection that is not in use.
    let mut version = redis.version(live).await?;
    let is_new = redis.live().is_none_or(|live| live.version != version);
    if is_new || known.is_none() || after != seen.load(Acquire) {
        loop {
            let page = store.changes_after(after, PAGE).await.map_err(|_| Trouble::Store)?;
            let is_behind = page.changes.is_empty()
                && after > store.last_change().await.map_err(|_| Trouble::Store)?;
            // Changes are missing, or the database is one of an earlier day.
            if is_behind || (page.incomplete && known.is_some()) {
                let last = store.last_change().await.map_err(|_| Trouble::Store)?;
                warn!("redis knows other changes than the database; a new version begins in it");
                version = redis.begin_anew(live, last).await?;
                resolver.memory.forget_all();
                break;
            }
            let Some(last) = page.changes.last() else {
                if known.is_none() {
                    redis.advance(live, after).await?;
                }
                break;
            };
            after = last.seq;
            let codes = page.changes.iter().map(|change| change.code.as_str());
            let live = redis.under(live.clone(), version);
            redis.mark(&live, codes, false).await?;
            redis.advance(&live, after).await?;
        }
    }
    let in_use = redis.live().is_some_and(|live| live.version == version);
    if !in_use {
        if version != live.version {
            resolver.memory.forget_all();
        }
        redis.put_to_use(redis.under(live.clone(), version));
    }
    Ok(())
}

/// The numbers of the changes that were known in the last while.
#[derive(Default)]
struct Past(VecDeque<(Instant, i64)>);

impl Past {
    fn note(&mut self, seq: i64) {
        let now = Instant::now();
        if self.0.back().is_none_or(|(at, _)| now.duration_since(*at) > RECENT / 10) {
            self.0.push_back((now, seq));
        }
        // The first one is older than asked for, as soon as any is.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) > RECENT) {
            self.0.pop_front();
        }
    }

    /// A number that was the last one so long ago, or before this process began to know.
    fn before(&self, ago: Duration) -> i64 {
        let now = Instant::now();
        match self.0.front() {
            Some((at, seq)) if now.duration_since(*at) >= ago => *seq,
            Some((_, seq)) => seq.saturating_sub(i64::from(PAGE)).max(0),
            None => 0,
        }
    }
}
