//! What is given up when there is no room.
//!
//! Of some entries that are picked at random, and the newest, that one goes which is worth least:
//! how much it is [wanted](demand), by all that is known of requests for it, also from before it was
//! last given up, which [ghosts](ghosts) remember. Whoever has been asked for once is worth a little
//! for half a turn of the cache and then next to nothing, so a crawler that asks for everything
//! pushes out its own pages. Large entries are worth a little less than small ones: half as much
//! when a thousand times as large, and an eighth as much by what is known of them in the longer run.
//! More would give more hits and fewer bytes from the cache, less the other way round. What is
//! asked for in a burst right now is spared the second: traces of real sites lost bytes by it.
//!
//! A hit touches one entry and moves nothing; picking at random needs no order. That entries are
//! compared by a guess and not by a queue costs time when one goes, some dozens of numbers.
//!
//! Pure arithmetic over slots: the caller keeps what belongs to a slot beside it. It knows no keys,
//! no clock and no content. [`crate::memory`] calls it.

mod demand;
mod ghosts;

use demand::{Clock, Demand};
use ghosts::Ghosts;

/// The number of an entry, given again to another after it was removed.
pub type Slot = u32;

/// The entries of a shard, and which of them go.
#[derive(Debug)]
pub struct Eviction {
    entries: Vec<Entry>,
    /// The first of those that are not in use.
    free: Slot,
    length: usize,
    weight: u64,
    budget: u64,
    /// What came last, if it is still there.
    newest: Slot,
    clock: Clock,
    ghosts: Ghosts,
    /// Of a pseudo-random sequence. The hashes of keys, which nobody outside knows, go into it.
    random: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    /// `None` if it is not in use.
    demand: Option<Demand>,
    /// The next one that is not in use, if this one is not.
    weight: u32,
}

impl Eviction {
    /// No entries, and at most `budget` in weight.
    pub fn new(budget: u64) -> Eviction {
        Eviction {
            entries: Vec::new(),
            free: NONE,
            length: 0,
            weight: 0,
            budget,
            newest: NONE,
            clock: Clock::default(),
            ghosts: Ghosts::new(),
            random: 0,
        }
    }

    /// What all entries together may weigh from now on. [`Eviction::make_room`] enforces it.
    pub fn set_budget(&mut self, budget: u64) {
        self.budget = budget;
    }

    /// What all entries together may weigh.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// What all entries together weigh.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether there is something in a slot.
    pub fn holds(&self, slot: Slot) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| entry.demand.is_some())
    }

    /// Bytes of memory that the policy itself takes.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.ghosts.memory()
    }

    /// The hash of what is in a slot, or was there last.
    #[inline]
    pub fn hash(&self, slot: Slot) -> u64 {
        self.entries[slot as usize].hash
    }

    /// The weight of what is in a slot.
    pub fn weight_of(&self, slot: Slot) -> u32 {
        self.entries[slot as usize].weight
    }

    /// Something was asked for that is not here.
    pub fn missed(&mut self, hash: u64) {
        self.clock.advance(self.length);
        self.ghosts.again(hash, self.clock.now());
    }

    /// Something was asked for, and is here.
    #[inline]
    pub fn hit(&mut self, slot: Slot) {
        self.clock.advance(self.length);
        if let Some(demand) = &mut self.entries[slot as usize].demand {
            demand.again(self.clock.now());
        }
    }

    /// Something new. [`Eviction::make_room`] is due after it, and may well give up just this.
    pub fn insert(&mut self, hash: u64, weight: u32) -> Slot {
        let now = self.clock.now();
        let demand = self.ghosts.take(hash).unwrap_or_else(|| Demand::first(now));
        self.random ^= hash;
        let entry = Entry { hash, demand: Some(demand), weight };
        let slot = if self.free == NONE {
            if self.entries.len() == self.entries.capacity() {
                // Not doubled: half of the table might stay empty.
                self.entries.reserve_exact(self.entries.len() / 16 + FEWEST_SLOTS);
            }
            self.entries.push(entry);
            (self.entries.len() - 1) as Slot
        } else {
            let slot = self.free;
            self.free = self.entries[slot as usize].weight;
            self.entries[slot as usize] = entry;
            slot
        };
        self.length += 1;
        self.weight += u64::from(weight);
        self.ghosts.fit(self.length, now);
        self.newest = slot;
        slot
    }

    /// What is in a slot weighs something else now. [`Eviction::make_room`] is due after it.
    pub fn reweigh(&mut self, slot: Slot, weight: u32) {
        let entry = &mut self.entries[slot as usize];
        self.weight = self.weight - u64::from(entry.weight) + u64::from(weight);
        entry.weight = weight;
    }

    /// Takes something out, other than by [`Eviction::make_room`].
    pub fn remove(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot as usize];
        debug_assert!(entry.demand.is_some(), "slot {slot} is removed twice");
        entry.demand = None;
        self.length -= 1;
        self.weight -= u64::from(entry.weight);
        entry.weight = std::mem::replace(&mut self.free, slot);
        if self.newest == slot {
            self.newest = NONE;
        }
    }

    /// Whether most slots are empty, so that it is worth while to [compact](Eviction::compact).
    pub fn is_sparse(&self) -> bool {
        self.entries.len() > FEWEST_SLOTS.max(SPARSE * self.length)
    }

    /// Moves all entries to slots without gaps between them, and gives memory back. The slots in
    /// which they were, in the order in which they are now.
    pub fn compact(&mut self) -> Vec<Slot> {
        let used = (0..self.entries.len() as Slot).filter(|slot| self.holds(*slot));
        let moved: Vec<Slot> = used.collect();
        self.entries = moved.iter().map(|slot| self.entries[*slot as usize]).collect();
        self.free = NONE;
        self.newest = NONE;
        self.ghosts.shrink(self.length, self.clock.now());
        moved
    }

    /// Gives up entries until all weigh no more than the budget, and adds their slots to `gone`.
    pub fn make_room(&mut self, gone: &mut Vec<Slot>) {
        if self.newest != NONE && u64::from(self.weight_of(self.newest)) > self.budget {
            // Nothing else is to go for it in vain.
            self.give_up(self.newest, gone);
        }
        while self.weight > self.budget && self.length > 0 {
            let slot = self.least();
            self.give_up(slot, gone);
        }
    }

    fn give_up(&mut self, slot: Slot, gone: &mut Vec<Slot>) {
        let Entry { hash, demand, .. } = self.entries[slot as usize];
        if let Some(demand) = demand {
            self.ghosts.add(hash, demand, self.clock.now());
        }
        self.remove(slot);
        gone.push(slot);
    }

    /// The least of some.
    fn least(&mut self) -> Slot {
        let now = self.clock.now();
        let usual = bits(self.weight as f32 / self.length as f32);
        let mut least = self.newest;
        let mut score = if least == NONE { f32::INFINITY } else { self.score(least, now, usual) };
        for _ in 0..PICKED {
            let slot = self.any();
            let other = self.score(slot, now, usual);
            if other < score {
                (least, score) = (slot, other);
            }
        }
        if least == NONE { self.any() } else { least }
    }

    /// One of those that are in use; there is one.
    fn any(&mut self) -> Slot {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let random = mix(self.random) >> 32;
        let mut at = ((random * self.entries.len() as u64) >> 32) as usize;
        // No more than seven of eight are free, but for a while after many were given up at once.
        while self.entries[at].demand.is_none() {
            at = if at + 1 == self.entries.len() { 0 } else { at + 1 };
        }
        at as Slot
    }

    /// The logarithm of the worth of an entry by weight. That of a number is about its bits, if
    /// they are read as an integer. `usual` is that of the weight of most.
    fn score(&self, slot: Slot, now: u32, usual: f32) -> f32 {
        let Entry { demand, weight, .. } = &self.entries[slot as usize];
        let weight = bits(*weight as f32);
        let longer = f32::from_bits((bits(1.0) - BY_WEIGHT_LONGER * (weight - usual)) as u32);
        let worth = demand.map_or(0.0, |demand| demand.worth(now, longer));
        bits(worth) - BY_WEIGHT * weight
    }
}

#[inline]
fn bits(number: f32) -> f32 {
    number.to_bits() as f32
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// No slot.
const NONE: Slot = Slot::MAX;

/// Entries of which the least goes.
const PICKED: usize = 32;

/// The power of an entry's weight by which its worth is divided.
const BY_WEIGHT: f32 = 0.1;

/// The power by which it is divided besides, as far as it is not of the shortest half-life: of the
/// weight in parts of the mean, so that it makes no difference where all are of one size.
const BY_WEIGHT_LONGER: f32 = 0.2;

/// Slots by entry from which on the table is sparse.
const SPARSE: usize = 8;

/// Slots by which the table grows at least.
const FEWEST_SLOTS: usize = 64;
