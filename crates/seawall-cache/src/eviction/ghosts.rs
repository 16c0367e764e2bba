//! What is remembered of entries that went.
//!
//! A table of buckets with four places; in a full bucket, what is wanted least is forgotten. Keys
//! are known by 32 bits of their hash: that one is taken for another happens once in hundreds of
//! millions of look-ups, and then an entry stays or goes that should not.
//!
//! Pure. [`crate::eviction`] calls it.

use super::demand::Demand;

/// The table.
#[derive(Debug)]
pub(super) struct Ghosts {
    buckets: Vec<Bucket>,
}

/// A line of the processor's cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([Option<Ghost>; PLACES]);

#[derive(Debug, Clone, Copy)]
struct Ghost {
    mark: u32,
    demand: Demand,
}

impl Ghosts {
    pub(super) fn new() -> Ghosts {
        Ghosts { buckets: vec![Bucket::default(); FEWEST_BUCKETS] }
    }

    /// One more request for something that may have been here.
    pub(super) fn again(&mut self, hash: u64, now: u32) {
        let mark = mark(hash);
        let position = self.position(mark);
        let known = self.buckets[position].0.iter_mut().flatten().find(|ghost| ghost.mark == mark);
        if let Some(ghost) = known {
            ghost.demand.again(now);
        }
    }

    /// What was known of something that is here again.
    pub(super) fn take(&mut self, hash: u64) -> Option<Demand> {
        let mark = mark(hash);
        let position = self.position(mark);
        let mut places = self.buckets[position].0.iter_mut();
        let place = places.find(|place| place.is_some_and(|ghost| ghost.mark == mark))?;
        place.take().map(|ghost| ghost.demand)
    }

    /// Something went.
    pub(super) fn add(&mut self, hash: u64, demand: Demand, now: u32) {
        self.put(Ghost { mark: mark(hash), demand }, now);
    }

    /// Makes it large enough for so many entries.
    pub(super) fn fit(&mut self, entries: usize, now: u32) {
        let wanted = entries * GHOSTS_OF_TWO / (2 * PLACES);
        if self.buckets.len() >= wanted {
            return;
        }
        // Each time by an eighth: doubled, half of it might be of no use.
        self.rebuild(wanted + wanted / 8 + 1, now);
    }

    /// Makes it no larger than so many entries need.
    pub(super) fn shrink(&mut self, entries: usize, now: u32) {
        let wanted = (entries * GHOSTS_OF_TWO / (2 * PLACES)).max(FEWEST_BUCKETS);
        if wanted < self.buckets.len() {
            self.rebuild(wanted, now);
        }
    }

    fn rebuild(&mut self, buckets: usize, now: u32) {
        let before = std::mem::replace(&mut self.buckets, vec![Bucket::default(); buckets]);
        for ghost in before.into_iter().flat_map(|bucket| bucket.0).flatten() {
            self.put(ghost, now);
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    fn put(&mut self, ghost: Ghost, now: u32) {
        let position = self.position(ghost.mark);
        let mut least = f32::INFINITY;
        let mut chosen = 0;
        for (at, place) in self.buckets[position].0.iter().enumerate() {
            let worth = place.map_or(-1.0, |ghost| ghost.demand.worth(now, 1.0));
            if worth < least {
                (chosen, least) = (at, worth);
            }
        }
        self.buckets[position].0[chosen] = Some(ghost);
    }

    /// Any number of buckets will do, not only powers of two (Lemire, ACM Transactions on Modeling
    /// and Computer Simulation 29:1, 2019).
    fn position(&self, mark: u32) -> usize {
        ((u64::from(mark) * self.buckets.len() as u64) >> 32) as usize
    }
}

/// All bits of a hash have a part in it: some are the same for all keys of a shard.
fn mark(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Places of a bucket.
const PLACES: usize = 4;

/// Ghosts for which there are places, by two entries.
const GHOSTS_OF_TWO: usize = 3;

/// Buckets of the smallest table.
const FEWEST_BUCKETS: usize = 16;
