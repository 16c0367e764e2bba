//! The cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use seawall_telemetry::metrics::{CacheCounts, CacheOutcome, CacheUsage, TierUsage};
use serde::Serialize;

use crate::cache::Fleet;

/// What the cache holds, and how well routes are served by it.
#[derive(Debug, Clone, Serialize)]
pub struct CacheState {
    /// The store; `None` while no route has a cache.
    pub store: Option<CacheStore>,
    /// The routes that have, or had, a cache since the start.
    pub routes: Vec<CacheRoute>,
}

/// The store of the node.
#[derive(Debug, Clone, Serialize)]
pub struct CacheStore {
    /// The memory tier.
    pub memory: CacheTier,
    /// The disk tier.
    pub disk: Option<CacheDisk>,
    /// Fetches that go on now.
    pub filling: u64,
    /// Variants that were given up for others of the same URL.
    pub variants_capped: u64,
}

/// A tier of the store.
#[derive(Debug, Clone, Serialize)]
pub struct CacheTier {
    /// Bytes in use.
    pub bytes: u64,
    /// The most there may be.
    pub limit_bytes: u64,
    /// Stored answers.
    pub objects: u64,
    /// Chunks of large answers.
    pub chunks: u64,
    /// Answers and chunks that were given up for others.
    pub evictions: u64,
}

/// The disk tier.
#[derive(Debug, Clone, Serialize)]
pub struct CacheDisk {
    /// What it holds.
    #[serde(flatten)]
    pub tier: CacheTier,
    /// Whether it is in use; not while the disk fails.
    pub up: bool,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Answers whose checksum was wrong.
    pub corrupt: u64,
    /// Writes that were left out because the disk did not keep up.
    pub dropped_writes: u64,
}

/// How well a route is served by the cache.
#[derive(Debug, Clone, Serialize)]
pub struct CacheRoute {
    /// The route.
    pub route: String,
    /// Its requests.
    pub requests: u64,
    /// The share of them that had no part in what the origin had to do, from 0 to 1; `None` before
    /// there were any.
    pub hit_ratio: Option<f64>,
    /// Requests, by what became of them.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Bytes of content that were served from the cache.
    pub sent_bytes: u64,
    /// Fetches that were begun.
    pub fills: u64,
    /// Answers that were stored.
    pub stored: u64,
    /// Answers that were not stored, by reason.
    pub unstorable: BTreeMap<&'static str, u64>,
}

impl CacheState {
    /// What is held and was counted.
    pub fn of(usage: Option<&CacheUsage>, counts: &[(Arc<str>, CacheCounts)]) -> CacheState {
        let store = usage.map(|usage| CacheStore {
            memory: tier(&usage.memory),
            disk: usage.disk.as_ref().map(|disk| CacheDisk {
                tier: tier(&disk.tier),
                up: disk.up,
                read_errors: disk.read_errors,
                write_errors: disk.write_errors,
                corrupt: disk.corrupt,
                dropped_writes: disk.dropped,
            }),
            filling: usage.filling,
            variants_capped: usage.variants_capped,
        });
        CacheState { store, routes: counts.iter().map(route).collect() }
    }
}

fn tier(usage: &TierUsage) -> CacheTier {
    CacheTier {
        bytes: usage.bytes,
        limit_bytes: usage.limit,
        objects: usage.objects,
        chunks: usage.chunks,
        evictions: usage.evictions,
    }
}

fn route((route, counts): &(Arc<str>, CacheCounts)) -> CacheRoute {
    let by_outcome = || CacheOutcome::ALL.into_iter().zip(counts.requests);
    let requests: u64 = counts.requests.iter().sum();
    let hits: u64 = by_outcome().filter(|(outcome, _)| outcome.is_hit()).map(|(_, n)| n).sum();
    CacheRoute {
        route: route.to_string(),
        requests,
        hit_ratio: (requests > 0).then(|| (hits as f64 / requests as f64 * 1e4).round() / 1e4),
        outcomes: by_outcome().map(|(outcome, count)| (outcome.word(), count)).collect(),
        sent_bytes: counts.sent,
        fills: counts.fills,
        stored: counts.stored,
        unstorable: counts.unstorable.iter().copied().collect(),
    }
}

/// What is asked for most.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CacheTop {
    /// Stored answers, the one that is asked for most first.
    pub keys: Vec<CacheKey>,
    /// Tags, that of most requests first.
    pub tags: Vec<CacheTag>,
}

/// A stored answer.
#[derive(Debug, Clone, Serialize)]
pub struct CacheKey {
    /// Its URL, and what else its key is made of.
    pub key: String,
    /// How often it was asked for of late, as the store estimates it.
    pub uses: u64,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// A tag.
#[derive(Debug, Clone, Serialize)]
pub struct CacheTag {
    /// The tag.
    pub tag: String,
    /// How often answers with it were asked for, as far as it was looked at.
    pub uses: u64,
}

/// What a purge has come to.
#[derive(Debug, Clone, Serialize)]
pub struct Purged {
    /// `soft` or `hard`.
    pub mode: &'static str,
    /// URLs that were named.
    pub urls: usize,
    /// Tags that were named.
    pub tags: usize,
    /// Prefixes that were named.
    pub prefixes: usize,
    /// Hosts that were named.
    pub hosts: usize,
    /// Whether everything was.
    pub everything: bool,
    /// Milliseconds until it held on this node.
    pub took_ms: f64,
    /// Whether the other nodes were told.
    pub fleet: Fleet,
}

/// Why a URL is stored or served, or not.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The URL.
    pub url: String,
    /// The route that takes it.
    pub route: Option<String>,
    /// The key that it is looked up by.
    pub key: Option<String>,
    /// What would be done with a request now, as metrics call it: `hit`, `miss`, …
    pub outcome: &'static str,
    /// What was looked at, in order.
    pub steps: Vec<Step>,
}

/// Something that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What: `route`, `bypass`, `key`, `store`, `vary`, `purge`, `freshness`, …
    pub step: &'static str,
    /// What was found, in a sentence.
    pub found: String,
    /// The section of an RFC, or the key of the configuration, that says so.
    pub because: Option<String>,
}

/// An answer that was to be stored.
#[derive(Debug, Clone, Serialize)]
pub struct Pushed {
    /// Whether it is stored.
    pub stored: bool,
    /// The key that it is stored under.
    pub key: Option<String>,
    /// For how long it is fresh.
    pub fresh_seconds: Option<f64>,
    /// Why it is not stored: a word of `seawall_cache_unstorable_total`.
    pub reason: Option<&'static str>,
}

/// How far warming has come.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Warming {
    /// Whether it goes on.
    pub running: bool,
    /// How it has ended: `done`, `stopped`, or `failed` before it could begin.
    pub outcome: Option<&'static str>,
    /// URLs, as far as they are known.
    pub total: usize,
    /// Of these, those that are done with, failures included.
    pub done: usize,
    /// Those that were answered with an error, or not at all.
    pub failed: usize,
    /// Those that were in the cache already.
    pub hits: usize,
    /// Those that were stored now.
    pub stored: usize,
    /// For how long it has gone on.
    pub seconds: f64,
    /// The most requests a second.
    pub rate: u32,
    /// The most requests at a time.
    pub concurrency: usize,
    /// Why it failed.
    pub problem: Option<String>,
    /// The first failures.
    pub failures: Vec<Failure>,
}

impl Warming {
    /// A URL has failed; `most` failures are told.
    pub(crate) fn failed(&mut self, url: String, why: &str, most: usize) {
        self.failed += 1;
        if self.failures.len() < most {
            self.failures.push(Failure { url, why: why.to_owned() });
        }
    }
}

/// A URL that could not be warmed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The URL.
    pub url: String,
    /// Why.
    pub why: String,
}
