//! The cache of a node, which all workers share and no plan owns.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use seawall_cache::Millis;
use seawall_cache::fill::Fills;
use seawall_cache::store::Store;
use seawall_config::plan::CacheStore;
use tokio::time::Instant;

use crate::refuse::Refusal;

/// Stored answers, and those that are being fetched.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) store: Store,
    /// Fetches of whole answers, by their keys.
    pub(crate) fills: Arc<Fills<Refusal>>,
    /// Fetches of single chunks, by object and number.
    pub(crate) chunks: Arc<Fills<Refusal>>,
    /// Fetches that nobody waits for.
    pub(crate) refreshing: Arc<AtomicUsize>,
    /// How the node calls itself in `CDN-Loop` (RFC 8586).
    pub(crate) loop_id: Box<[u8]>,
    /// A moment, by both clocks.
    began: (Instant, Millis),
}

impl Node {
    pub(crate) fn new(config: &CacheStore) -> Node {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "cache");
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_millis() as u64);
        Node {
            store: Store::new(config, seed),
            fills: Arc::default(),
            chunks: Arc::default(),
            refreshing: Arc::default(),
            loop_id: format!("seawall; node={seed:016x}").into_bytes().into_boxed_slice(),
            began: (Instant::now(), now),
        }
    }

    /// The time on the calendar, by a clock that never goes back.
    #[inline]
    pub(crate) fn millis(&self, now: Instant) -> Millis {
        let (then, millis) = self.began;
        millis + now.saturating_duration_since(then).as_millis() as u64
    }
}
