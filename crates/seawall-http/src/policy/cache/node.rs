//! The cache of a node, which all workers share and no plan owns.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use bytes::Bytes;
use seawall_cache::Millis;
use seawall_cache::disk::Disk;
use seawall_cache::fill::Fills;
use seawall_cache::object::{Content, Object};
use seawall_cache::purge::Kind;
use seawall_cache::store::{Found, Piece, Store};
use seawall_cache::tags::Labels;
use seawall_config::plan::{Action, CacheStore, CacheVersion, Plan};
use seawall_state::{StateError, Value, Watched};
use tokio::time::Instant;

use super::fleet::Fleet;
use crate::refuse::Refusal;

/// Makes the labels by which answers are purged. The number is kept on disk with them, so that it
/// never changes.
pub(crate) const LABELS: Labels = Labels::new(0x5_ea11_0001);

/// Stored answers, and those that are being fetched.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) store: Store,
    /// Fetches of whole answers, by their keys.
    pub(crate) fills: Arc<Fills<Refusal>>,
    /// Fetches of single chunks, by object and number.
    pub(crate) chunks: Arc<Fills<Refusal>>,
    /// Bytes of chunks that are held while they are read, since they cannot be fetched again.
    pub(crate) held: Arc<AtomicU64>,
    /// Fetches that nobody waits for.
    pub(crate) refreshing: Arc<AtomicUsize>,
    /// How the node calls itself in `CDN-Loop` (RFC 8586).
    pub(crate) loop_id: Box<[u8]>,
    /// Bytes that the larger tier has room for.
    capacity: AtomicU64,
    /// Bytes that memory has room for.
    memory: AtomicU64,
    /// The directory of the disk tier, if it began with one.
    disk: Option<PathBuf>,
    /// What it shares with other nodes, if there can be any.
    fleet: ArcSwapOption<Fleet>,
    /// What the shared state holds under the keys that namespaces go by.
    versions: ArcSwap<HashMap<Arc<str>, Watched>>,
    /// A moment, by both clocks.
    began: (Instant, Millis),
}

/// Bytes that the larger tier has room for.
fn capacity_of(config: &CacheStore) -> u64 {
    config.disk.as_ref().map_or(config.memory, |disk| disk.size.max(config.memory))
}

/// How long a start or a reload waits for what was missed: 1 s.
const CATCHING_UP: Duration = Duration::from_secs(1);

impl Node {
    pub(crate) fn new(config: &CacheStore) -> Node {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "cache");
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_millis() as u64);
        let store = Store::new(config, seed);
        if let Some(plan) = &config.disk {
            // What is wrong with it has been logged; without a disk tier there is the memory.
            let (disk, _) = Disk::start(plan, store.purges().slots());
            let _ = store.attach(disk);
        }
        Node {
            store,
            fills: Arc::new(Fills::new(seed, config.memory / 4)),
            chunks: Arc::new(Fills::new(0, config.memory / 4)),
            held: Arc::default(),
            refreshing: Arc::default(),
            capacity: AtomicU64::new(capacity_of(config)),
            memory: AtomicU64::new(config.memory),
            disk: config.disk.as_ref().map(|disk| disk.path.clone()),
            fleet: ArcSwapOption::empty(),
            versions: ArcSwap::default(),
            loop_id: format!("seawall; node={seed:016x}").into_bytes().into_boxed_slice(),
            began: (Instant::now(), now),
        }
    }

    /// Takes over a new plan.
    pub(crate) fn configure(&self, config: &CacheStore) {
        self.store.reconfigure(config);
        self.capacity.store(capacity_of(config), Relaxed);
        self.memory.store(config.memory, Relaxed);
        self.fills.set_most(config.memory / 4);
        self.chunks.set_most(config.memory / 4);
    }

    /// Bytes of memory that it may use.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Relaxed)
    }

    /// Bytes that there is room for.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Relaxed)
    }

    /// What the shared state holds under a key; empty while that is not known.
    pub(crate) fn version(&self, key: &str) -> Arc<str> {
        let versions = self.versions.load();
        match versions.get(key).map(|watched| watched.value()).as_deref() {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Unknown | Value::Absent) | None => Arc::default(),
        }
    }

    /// What it shares with other nodes, if there can be any.
    #[inline]
    pub(crate) fn fleet(&self) -> Guard<Option<Arc<Fleet>>> {
        self.fleet.load()
    }

    /// Joins the fleet that a plan names, or leaves the one before it, and follows the keys of its
    /// namespaces. Must be called on the control runtime. Says whether it is another fleet.
    ///
    /// # Errors
    /// When the plan names none that there can be; then nothing has changed.
    pub(crate) fn share(self: &Arc<Self>, plan: &Plan) -> Result<bool, StateError> {
        let mut changed = false;
        let fleet = match plan.state.redis {
            None => None,
            Some(_) => match self.fleet.load_full().filter(|fleet| fleet.is_of(&plan.state)) {
                Some(fleet) => Some(fleet),
                None => {
                    changed = true;
                    Some(Arc::new(Fleet::join(&plan.state, self, self.disk.as_deref())?))
                }
            },
        };
        let caches = plan.routes.iter().filter_map(|route| match &route.action {
            Action::Forward(to) => to.cache.as_ref(),
            Action::Redirect(_) | Action::Respond(_) => None,
        });
        let keys = caches.filter_map(|rules| match &rules.version {
            CacheVersion::State(key) => Some(key),
            CacheVersion::None | CacheVersion::Text(_) | CacheVersion::Header(_) => None,
        });
        let versions = fleet
            .iter()
            .flat_map(|fleet| keys.clone().map(|key| (key.clone(), fleet.state().watch(key))));
        self.versions.store(Arc::new(versions.collect()));
        self.fleet.store(fleet);
        Ok(changed)
    }

    /// Waits until it knows of all purges of its fleet, or that nobody tells it, but not for long.
    pub(crate) async fn catch_up(&self) {
        if let Some(fleet) = self.fleet.load_full() {
            fleet.state().settled(CATCHING_UP).await;
        }
    }

    /// The time on the calendar, by a clock that never goes back.
    #[inline]
    pub(crate) fn millis(&self, now: Instant) -> Millis {
        let (then, millis) = self.began;
        millis + now.saturating_duration_since(then).as_millis() as u64
    }

    /// Purges everything with this label, here and on all nodes of the fleet.
    pub(crate) fn purge(&self, label: u32, kind: Kind) {
        self.apply_purge(label, kind);
        if let Some(fleet) = &*self.fleet.load() {
            fleet.tell(label, kind);
        }
    }

    /// The same, and waits, at most half a second, until the fleet has heard it. Then no other tier
    /// gives what was purged to this one any more.
    pub(crate) async fn purge_and_wait(&self, label: u32, kind: Kind) {
        self.apply_purge(label, kind);
        if let Some(fleet) = self.fleet.load_full() {
            fleet.publish(label, kind).await;
        }
    }

    /// Tells the other nodes of the fleet of purges that were applied here. Whether they know of
    /// them now; `None` if there are no others. When dropped, some may not be told.
    pub(crate) async fn tell_all(&self, labels: &[u32], kind: Kind) -> Option<bool> {
        let fleet = self.fleet.load_full()?;
        Some(fleet.tell_all(labels, kind).await)
    }

    /// The same, here only.
    pub(crate) fn apply_purge(&self, label: u32, kind: Kind) {
        self.store.purge(label, kind, self.millis(Instant::now()));
    }

    /// A chunk of an object, wherever it is stored.
    pub(crate) async fn stored_chunk(&self, id: u64, number: u64) -> Option<Piece> {
        match self.store.chunk(id, number as u32) {
            Some(chunk) => Some(Piece::Memory(chunk)),
            None => self.store.load_chunk(id, number as u32).await,
        }
    }

    /// Takes an object out of the store whose chunks `id` cannot be completed, if it is still there.
    pub(crate) fn forget_chunked(&self, primary: &[u8], object: &Object, id: u64) {
        let store = &self.store;
        let hash = store.hash(object.key());
        let is_it = |found: &Found| match found {
            Found::Object { object, .. } => {
                matches!(object.content, Content::Chunks { id: other, .. } if other == id)
            }
            Found::Varies(_) | Found::Pass(_) => false,
        };
        match store.get(store.hash(primary), primary) {
            Some(Found::Varies(variants)) => {
                if store
                    .get_variant(&variants, hash, object.key())
                    .is_some_and(|found| is_it(&found))
                {
                    store.remove_variant(&variants, hash, object.key());
                }
            }
            Some(found) if is_it(&found) => drop(store.remove(hash, object.key())),
            Some(_) | None => {}
        }
    }

    /// Stores a chunk of an object.
    pub(crate) fn keep_chunk(&self, id: u64, number: u64, chunk: Bytes) {
        // One that is too large for the memory is fetched each time.
        let _ = self.store.insert_chunk(id, number as u32, chunk);
    }

    /// Ends when the disk tier can take more, or does not for a while: what it cannot take is
    /// dropped.
    pub(crate) async fn disk_takes_more(&self) {
        let is_pressed = || self.store.disk().is_some_and(Disk::is_pressed);
        let mut pauses = 0;
        while is_pressed() && pauses < 500 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            pauses += 1;
        }
    }

    /// Writes down what is on its way to the disk, for as long as `limit` at most. Blocks.
    pub(crate) fn flush(&self, limit: Duration) {
        if let Some(disk) = self.store.disk() {
            disk.flush(limit);
        }
    }
}
