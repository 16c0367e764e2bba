//! The caches that are compared, behind one question: was it there? All weigh objects by the same
//! bytes and have the same room.

use foldhash::fast::FixedState;
use lru::LruCache;

use crate::workload::{Request, Sizes, Workload};

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// moka: W-TinyLFU.
    Moka,
    /// quick_cache: a clock with a ghost list, after S3-FIFO.
    QuickCache,
    /// The least recently used goes first.
    Lru,
}

/// All of them, in the order of the table.
pub(crate) const ALL: [Policy; 3] = [Policy::Moka, Policy::QuickCache, Policy::Lru];

impl Policy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Moka => "moka",
            Self::QuickCache => "quick_cache",
            Self::Lru => "LRU",
        }
    }
}

/// A cache at work.
pub(crate) enum Cache {
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

impl Cache {
    /// With room for a part of all objects, by their bytes.
    pub(crate) fn new(policy: Policy, workload: &Workload, percent: u64) -> Cache {
        let hasher = FixedState::with_seed(1);
        let room = workload.bytes * percent / 100;
        let objects = workload.objects * percent as usize / 100;
        match policy {
            Policy::Moka => {
                let cache = match workload.sizes {
                    // It makes its sketch a quarter as large with a weigher, so it is spared one.
                    Sizes::Equal => moka::sync::Cache::builder().max_capacity(objects as u64),
                    Sizes::Web | Sizes::Real => {
                        moka::sync::Cache::builder().max_capacity(room).weigher(|_, size| *size)
                    }
                }
                .build_with_hasher(hasher);
                Cache::Moka { cache, pending: 0, most: objects.div_ceil(100) }
            }
            Policy::QuickCache => Cache::QuickCache(Box::new(quick_cache::unsync::Cache::with(
                objects,
                room,
                BySize,
                hasher,
                quick_cache::unsync::DefaultLifecycle::default(),
            ))),
            Policy::Lru => {
                Cache::Lru { entries: LruCache::unbounded_with_hasher(hasher), used: 0, room }
            }
        }
    }

    /// Whether it was there; it is offered afterwards if it was not.
    pub(crate) fn request(&mut self, request: Request) -> bool {
        let Request { id, size } = request;
        match self {
            Cache::Moka { cache, pending, most } => {
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
            Cache::QuickCache(cache) => {
                let hit = cache.get(&id).is_some();
                if !hit {
                    cache.insert(id, size);
                }
                hit
            }
            Cache::Lru { entries, used, room } => {
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

/// Weighs an object by its bytes.
#[derive(Debug, Clone)]
pub(crate) struct BySize;

impl quick_cache::Weighter<u32, u32> for BySize {
    fn weight(&self, _: &u32, size: &u32) -> u64 {
        u64::from(*size)
    }
}
