//! The cache of a node, which all workers share and no plan owns.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use seawall_cache::Millis;
use seawall_cache::fill::Fills;
use seawall_cache::purge::Kind;
use seawall_cache::store::Store;
use seawall_cache::tags::Labels;
use seawall_config::plan::CacheStore;
use tokio::time::Instant;

use crate::refuse::Refusal;

/// Makes the labels by which answers are purged. The number is kept on disk with them, so that it
/// never changes.
pub(crate) const LABELS: Labels = Labels::new(0x5ea_11_0001);

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
    /// Bytes that there is room for.
    capacity: AtomicU64,
    /// What the shared state holds under the keys that namespaces go by.
    pub(crate) versions: ArcSwap<HashMap<Arc<str>, Arc<str>>>,
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
            fills: Arc::new(Fills::new(seed)),
            chunks: Arc::new(Fills::new(0)),
            refreshing: Arc::default(),
            capacity: AtomicU64::new(config.memory),
            versions: ArcSwap::default(),
            loop_id: format!("seawall; node={seed:016x}").into_bytes().into_boxed_slice(),
            began: (Instant::now(), now),
        }
    }

    /// Takes over a new plan.
    pub(crate) fn configure(&self, config: &CacheStore) {
        self.store.reconfigure(config);
        self.capacity.store(config.memory, Relaxed);
    }

    /// Bytes that there is room for.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Relaxed)
    }

    /// What the shared state holds under a key; empty while that is not known.
    pub(crate) fn version(&self, key: &str) -> Arc<str> {
        self.versions.load().get(key).cloned().unwrap_or_default()
    }

    /// The time on the calendar, by a clock that never goes back.
    #[inline]
    pub(crate) fn millis(&self, now: Instant) -> Millis {
        let (then, millis) = self.began;
        millis + now.saturating_duration_since(then).as_millis() as u64
    }

    /// Purges everything with this label.
    pub(crate) fn purge(&self, label: u32, kind: Kind) {
        self.store.purge(label, kind, self.millis(Instant::now()));
    }

    /// A chunk of an object, wherever it is stored.
    pub(crate) async fn stored_chunk(&self, id: u64, number: u64) -> Option<Bytes> {
        self.store.chunk(id, number as u32)
    }

    /// Stores a chunk of an object.
    pub(crate) fn keep_chunk(&self, id: u64, number: u64, chunk: Bytes) {
        // One that is too large for the memory is fetched each time.
        let _ = self.store.insert_chunk(id, number as u32, chunk);
    }
}
