//! How long a look-up takes that inserts what it did not find, while one or two threads do nothing
//! else.

use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Instant;

use foldhash::fast::FixedState;
use lru::LruCache;
use quick_cache::UnitWeighter;
use seawall_cache::object::{Content, Flags, Meta, Object};
use seawall_cache::store::Store;
use seawall_config::plan::CacheStore;

use crate::policy::Policy;
use crate::workload::{OBJECTS, Zipf};

/// The exponent of the requests, and the part of the objects that there is room for, in percent.
const ALPHA: f64 = 1.0;
const ROOM: u32 = 10;

const LOOK_UPS: usize = 1_000_000;
const ROUNDS: usize = 3;

/// Memory of Seawall's store: enough for as many shards as there would be for half a dozen cores,
/// filled by [`ROOM`] percent of the objects, which are made as large as that takes.
const MEMORY: u64 = 64 << 20;
const BODY: usize = MEMORY as usize / (OBJECTS * ROOM / 100) as usize - 300;

/// A cache that threads share. The others find objects by a number, and each weighs one there.
enum Shared {
    Seawall(Store),
    Moka(moka::sync::Cache<u32, Arc<Object>, FixedState>),
    QuickCache(quick_cache::sync::Cache<u32, Arc<Object>, UnitWeighter, FixedState>),
    Lru(Mutex<LruCache<u32, Arc<Object>, FixedState>>),
}

impl Shared {
    fn new(policy: Policy) -> Shared {
        let hasher = FixedState::with_seed(1);
        let room = OBJECTS * ROOM / 100;
        match policy {
            Policy::Seawall => {
                Shared::Seawall(Store::new(&CacheStore { memory: MEMORY, ..Default::default() }, 1))
            }
            Policy::Moka => Shared::Moka(
                moka::sync::Cache::builder()
                    .max_capacity(u64::from(room))
                    .build_with_hasher(hasher),
            ),
            Policy::QuickCache => Shared::QuickCache(quick_cache::sync::Cache::with(
                room as usize,
                u64::from(room),
                UnitWeighter,
                hasher,
                quick_cache::sync::DefaultLifecycle::default(),
            )),
            Policy::Lru => {
                let room = (room as usize).try_into().expect("there is some room");
                Shared::Lru(Mutex::new(LruCache::with_hasher(room, hasher)))
            }
        }
    }

    /// Whether it was there; it is put in if it was not.
    fn look_up(&self, id: u32, objects: &[Arc<Object>]) -> bool {
        let object = &objects[id as usize];
        match self {
            Shared::Seawall(store) => {
                let key = object.key();
                let found = store.get(store.hash(key), key).map(black_box).is_some();
                if !found {
                    store.insert(object.clone()).expect("it is not too large");
                }
                found
            }
            Shared::Moka(cache) => {
                let found = cache.get(&id).map(black_box).is_some();
                if !found {
                    cache.insert(id, object.clone());
                }
                found
            }
            Shared::QuickCache(cache) => {
                let found = cache.get(&id).map(black_box).is_some();
                if !found {
                    cache.insert(id, object.clone());
                }
                found
            }
            Shared::Lru(cache) => {
                let mut cache = cache.lock().expect("no thread fails");
                let found = cache.get(&id).cloned().map(black_box).is_some();
                if !found {
                    cache.put(id, object.clone());
                }
                found
            }
        }
    }
}

/// What is looked up.
pub(crate) fn objects() -> Vec<Arc<Object>> {
    let body = vec![0; BODY];
    let object = |id: u32| {
        let meta = Meta {
            received: 0,
            lifetime: 60_000,
            sequence: 0,
            initial_age: 0,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            cost: 1,
            status: 200,
            flags: Flags::default(),
        };
        Arc::new(Object::new(meta, &id.to_le_bytes(), b"", &[], Content::Whole, &[&body]))
    };
    (0..OBJECTS).map(object).collect()
}

/// What a look-up takes, and how many of a hundred found something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed {
    pub(crate) nanos: f64,
    pub(crate) found: f64,
}

/// The best of some rounds, for what disturbs a round only makes it slower.
pub(crate) fn measure(policy: Policy, threads: usize, objects: &[Arc<Object>]) -> Speed {
    let zipf = Zipf::new(OBJECTS, ALPHA);
    let ids: Vec<Vec<u32>> =
        (0..threads).map(|thread| zipf.ids(LOOK_UPS, 4 + thread as u64)).collect();
    let cache = Shared::new(policy);
    round(&cache, &ids, objects);
    (0..ROUNDS)
        .map(|_| round(&cache, &ids, objects))
        .min_by(|one, other| one.nanos.total_cmp(&other.nanos))
        .expect("there are rounds")
}

fn round(cache: &Shared, ids: &[Vec<u32>], objects: &[Arc<Object>]) -> Speed {
    let ready = Barrier::new(ids.len());
    let each = |ids: &[u32]| {
        ready.wait();
        let start = Instant::now();
        let found = ids.iter().filter(|&&id| cache.look_up(id, objects)).count();
        Speed {
            nanos: start.elapsed().as_nanos() as f64 / ids.len() as f64,
            found: 100.0 * found as f64 / ids.len() as f64,
        }
    };
    thread::scope(|scope| {
        let each = &each;
        let runs: Vec<_> = ids.iter().map(|ids| scope.spawn(move || each(ids))).collect();
        let speeds = runs.into_iter().map(|run| run.join().expect("a round ends"));
        speeds.max_by(|one, other| one.nanos.total_cmp(&other.nanos)).expect("there are threads")
    })
}
