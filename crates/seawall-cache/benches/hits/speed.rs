//! How long a look-up takes that inserts what it did not find, while one or two threads do nothing
//! else.

use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Instant;

use foldhash::fast::FixedState;
use lru::LruCache;

use crate::policy::Policy;
use crate::workload::{OBJECTS, Zipf};

/// The exponent of the requests, and the part of the objects that there is room for, in percent.
const ALPHA: f64 = 1.0;
const ROOM: u32 = 10;

const LOOK_UPS: usize = 1_000_000;
const ROUNDS: usize = 3;

/// What is stored: shared with whoever looks it up, as answers are.
type Value = Arc<[u8; 64]>;

/// A cache that threads share. All objects weigh one.
enum Shared {
    Moka(moka::sync::Cache<u32, Value, FixedState>),
    QuickCache(quick_cache::sync::Cache<u32, Value, quick_cache::UnitWeighter, FixedState>),
    Lru(Mutex<LruCache<u32, Value, FixedState>>),
}

impl Shared {
    fn new(policy: Policy) -> Shared {
        let hasher = FixedState::with_seed(1);
        let room = OBJECTS * ROOM / 100;
        match policy {
            Policy::Moka => Shared::Moka(
                moka::sync::Cache::builder()
                    .max_capacity(u64::from(room))
                    .build_with_hasher(hasher),
            ),
            Policy::QuickCache => Shared::QuickCache(quick_cache::sync::Cache::with(
                room as usize,
                u64::from(room),
                quick_cache::UnitWeighter,
                hasher,
                quick_cache::sync::DefaultLifecycle::default(),
            )),
            Policy::Lru => {
                let room = (room as usize).try_into().expect("there is some room");
                Shared::Lru(Mutex::new(LruCache::with_hasher(room, hasher)))
            }
        }
    }

    fn look_up(&self, id: u32, make: impl FnOnce() -> Value) -> Value {
        match self {
            Shared::Moka(cache) => cache.get(&id).unwrap_or_else(|| {
                let made = make();
                cache.insert(id, made.clone());
                made
            }),
            Shared::QuickCache(cache) => cache.get(&id).unwrap_or_else(|| {
                let made = make();
                cache.insert(id, made.clone());
                made
            }),
            Shared::Lru(cache) => {
                let mut cache = cache.lock().expect("no thread fails");
                cache.get_or_insert(id, make).clone()
            }
        }
    }
}

/// Nanoseconds that a look-up takes a thread: the best of some rounds, for what disturbs a round
/// only makes it slower.
pub(crate) fn nanos(policy: Policy, threads: usize) -> f64 {
    let zipf = Zipf::new(OBJECTS, ALPHA);
    let ids: Vec<Vec<u32>> =
        (0..threads).map(|thread| zipf.ids(LOOK_UPS, 4 + thread as u64)).collect();
    let cache = Shared::new(policy);
    round(&cache, &ids);
    (0..ROUNDS).map(|_| round(&cache, &ids)).fold(f64::INFINITY, f64::min)
}

fn round(cache: &Shared, ids: &[Vec<u32>]) -> f64 {
    let ready = Barrier::new(ids.len());
    let each = |ids: &[u32]| {
        ready.wait();
        let start = Instant::now();
        for &id in ids {
            black_box(cache.look_up(id, || Arc::new([0; 64])));
        }
        start.elapsed().as_nanos() as f64 / ids.len() as f64
    };
    thread::scope(|scope| {
        let each = &each;
        let runs: Vec<_> = ids.iter().map(|ids| scope.spawn(move || each(ids))).collect();
        let times = runs.into_iter().map(|run| run.join().expect("a round ends"));
        times.fold(0.0, f64::max)
    })
}
