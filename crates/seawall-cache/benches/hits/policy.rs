//! The caches that are compared, behind one question: was it there? All weigh objects by the same
//! bytes and have the same room.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use lru::LruCache;
use seawall_cache::eviction::{Eviction, Slot};

use crate::workload::{Request, Sizes, Workload};

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// What the store of Seawall goes by, in one shard.
    Seawall,
    /// moka: W-TinyLFU.
    Moka,
    /// quick_cache: a clock with a ghost list, after S3-FIFO.
    QuickCache,
    /// The least recently used goes first.
    Lru,
}

/// All of them, in the order of the table.
pub(crate) const ALL: [Policy; 4] =
    [Policy::Seawall, Policy::Moka, Policy::QuickCache, Policy::Lru];

impl Policy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seawall => "Seawall",
            Self::Moka => "moka",
            Self::QuickCache => "quick_cache",
            Self::Lru => "LRU",
        }
    }
}

/// A cache at work.
pub(crate) enum Contestant {
    Seawall(Box<Seawall>),
    /// It decides later on what to keep and holds more than it may until then: by itself 64
    /// objects more, a third of the smallest room here. It is made to decide when a hundredth of
    /// what fits is `pending`.
    Moka {
        cache: moka::sync::Cache<u32, u32, FixedState>,
        pending: usize,
        most: usize,
    },
    QuickCache(Box<quick_cache::unsync::Cache<u32, u32, BySize, FixedState>>),
    Lru {
        entries: LruCache<u32, u32, FixedState>,
        used: u64,
        room: u64,
    },
}

impl Contestant {
    /// With room for a part of all objects, by their bytes.
    pub(crate) fn new(policy: Policy, workload: &Workload, percent: u64) -> Contestant {
        let hasher = FixedState::with_seed(1);
        let room = workload.bytes * percent / 100;
        let objects = workload.objects * percent as usize / 100;
        match policy {
            Policy::Seawall => Contestant::Seawall(Box::new(Seawall::new(room, hasher))),
            Policy::Moka => {
                let cache = match workload.sizes {
                    // It makes its sketch a quarter as large with a weigher, so it is spared one.
                    Sizes::Equal => moka::sync::Cache::builder().max_capacity(objects as u64),
                    Sizes::Web | Sizes::Real => {
                        moka::sync::Cache::builder().max_capacity(room).weigher(|_, size| *size)
                    }
                }
                .build_with_hasher(hasher);
                Contestant::Moka { cache, pending: 0, most: objects.div_ceil(100) }
            }
            Policy::QuickCache => {
                Contestant::QuickCache(Box::new(quick_cache::unsync::Cache::with(
                    objects,
                    room,
                    BySize,
                    hasher,
                    quick_cache::unsync::DefaultLifecycle::default(),
                )))
            }
            Policy::Lru => {
                Contestant::Lru { entries: LruCache::unbounded_with_hasher(hasher), used: 0, room }
            }
        }
    }

    /// Whether it was there; it is offered afterwards if it was not.
    pub(crate) fn request(&mut self, request: Request) -> bool {
        let Request { id, size } = request;
        match self {
            Contestant::Seawall(cache) => cache.request(request),
            Contestant::Moka { cache, pending, most } => {
                let hit = cache.get(&id).is_some();
                if !hit {
                    cache.insert(id, size);
                    *pending += 1;
                    if *pending >= *most {
                        cache.run_pending_tasks();
                        *pending = 0;
                    }
                }
                hit
            }
            Contestant::QuickCache(cache) => {
                let hit = cache.get(&id).is_some();
                if !hit {
                    cache.insert(id, size);
                }
                hit
            }
            Contestant::Lru { entries, used, room } => {
                let hit = entries.get(&id).is_some();
                if !hit && u64::from(size) <= *room {
                    *used += u64::from(size);
                    entries.put(id, size);
                    while *used > *room {
                        let (_, gone) = entries.pop_lru().expect("something takes that room");
                        *used -= u64::from(gone);
                    }
                }
                hit
            }
        }
    }
}

/// The policy with the little it needs around it.
pub(crate) struct Seawall {
    policy: Eviction,
    slots: HashMap<u32, Slot, FixedState>,
    /// By slot.
    ids: Vec<u32>,
    gone: Vec<Slot>,
}

impl Seawall {
    fn new(room: u64, hasher: FixedState) -> Seawall {
        Seawall {
            policy: Eviction::new(room),
            slots: HashMap::with_hasher(hasher),
            ids: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn request(&mut self, Request { id, size }: Request) -> bool {
        if let Some(&slot) = self.slots.get(&id) {
            self.policy.hit(slot);
            return true;
        }
        let hash = self.slots.hasher().hash_one(id);
        self.policy.missed(hash);
        let slot = self.policy.insert(hash, size);
        let at = slot as usize;
        self.ids.resize(self.ids.len().max(at + 1), 0);
        self.ids[at] = id;
        self.slots.insert(id, slot);
        self.policy.make_room(&mut self.gone);
        for slot in self.gone.drain(..) {
            self.slots.remove(&self.ids[slot as usize]);
        }
        false
    }
}

/// Weighs an object by its bytes.
#[derive(Debug, Clone)]
pub(crate) struct BySize;

impl quick_cache::Weighter<u32, u32> for BySize {
    fn weight(&self, _: &u32, size: &u32) -> u64 {
        u64::from(*size)
    }
}
