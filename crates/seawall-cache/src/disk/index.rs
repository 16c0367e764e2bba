//! What is on disk, and where: a directory of entries in memory, and before it what waits to be
//! written and what is being read.
//!
//! An entry takes 16 bytes and its share of a hash table, 20 to 40 bytes in all. It holds a 64-bit
//! hash of its key; the key itself is in the record, and is compared once that was read. No lock
//! is ever held over I/O. Called by workers, by the writer and by the readers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::format::{MOST, UNIT};
use super::reader::Flight;
use super::{Blob, held};

/// Shards, so that workers seldom meet, and so that a table that grows is a small one.
const SHARDS: usize = 256;

/// Where a record is, how long it is, and whether it was read since it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

const UNIT_BITS: u32 = 42;
const LENGTH_BITS: u32 = 16;
const HIT: u64 = 1 << 63;
/// Its checksums were right when it was last read by this process.
const VERIFIED: u64 = 1 << 62;

const _: () = assert!(MOST as u64 / UNIT < 1 << LENGTH_BITS);
/// The most bytes that a store can have: positions have 42 bits.
pub(super) const LARGEST: u64 = UNIT << UNIT_BITS;

impl Place {
    /// A record of `bytes` bytes, `at` bytes from the beginning of the file; both are multiples of
    /// [`UNIT`]. A removal has no bytes.
    pub(super) fn new(at: u64, bytes: u64) -> Place {
        debug_assert!(
            at < LARGEST
                && at.is_multiple_of(UNIT)
                && bytes <= MOST as u64
                && bytes.is_multiple_of(UNIT)
        );
        Place((at / UNIT) | ((bytes / UNIT) << UNIT_BITS))
    }

    pub(super) fn from_bits(bits: u64) -> Option<Place> {
        let place = Place(bits);
        (bits & (HIT | VERIFIED) == 0
            && bits >> (UNIT_BITS + LENGTH_BITS) == 0
            && place.bytes() <= MOST as u64)
            .then_some(place)
    }

    pub(super) fn bits(self) -> u64 {
        self.0 & !(HIT | VERIFIED)
    }

    pub(super) fn at(self) -> u64 {
        (self.0 & ((1 << UNIT_BITS) - 1)) * UNIT
    }

    pub(super) fn bytes(self) -> u64 {
        ((self.0 >> UNIT_BITS) & ((1 << LENGTH_BITS) - 1)) * UNIT
    }

    fn same(self, other: Place) -> bool {
        self.bits() == other.bits()
    }
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) hash: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A record.
    Blob { key: Box<[u8]>, blob: Blob },
    /// That there is none under this hash any more.
    Removal,
}

impl Item {
    /// Bytes of memory that it holds, about.
    pub(super) fn weight(&self) -> usize {
        match &self.what {
            What::Blob { key, blob } => 256 + key.len() + blob.head.len() + blob.content.len(),
            What::Removal => 0,
        }
    }
}

/// The directory of entries.
#[derive(Debug)]
pub(super) struct Index {
    shards: Box<[Mutex<Shard>]>,
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

/// A part of the directory, to which its lock gives access.
#[derive(Debug, Default)]
pub(super) struct Shard {
    places: HashMap<u64, Place, BuildHasherDefault<Hashed>>,
    /// What waits to be written, or that what is there is about to go.
    pub(super) pending: HashMap<u64, Arc<Item>, BuildHasherDefault<Hashed>>,
    /// What is being read.
    pub(super) flights: HashMap<u64, Arc<Flight>, BuildHasherDefault<Hashed>>,
}

impl Index {
    pub(super) fn new() -> Index {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Index { shards, entries: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Neither the lowest bits, which choose a bucket, nor the highest, which tell the entries
        // of a bucket apart.
        held(&self.shards[(hash >> 40) as usize % SHARDS])
    }

    /// Whether something is stored, or about to be, under a key.
    pub(super) fn contains(&self, hash: u64, key: &[u8]) -> bool {
        let shard = self.shard(hash);
        match shard.pending.get(&hash) {
            Some(item) => matches!(&item.what, What::Blob { key: its, .. } if **its == *key),
            None => shard.places.contains_key(&hash),
        }
    }

    /// Where what is stored under a hash is, and whether it was checked; it counts as read from now
    /// on.
    pub(super) fn place(&self, shard: &mut Shard, hash: u64) -> Option<(Place, bool)> {
        let place = shard.places.get_mut(&hash)?;
        place.0 |= HIT;
        Some((Place(place.bits()), place.0 & VERIFIED != 0))
    }

    /// What is at a place was checked.
    pub(super) fn verified(&self, hash: u64, place: Place) {
        let mut shard = self.shard(hash);
        if let Some(its) = shard.places.get_mut(&hash).filter(|its| its.same(place)) {
            its.0 |= VERIFIED;
        }
    }

    /// Whether an entry is still what it was, and was read since it was written.
    pub(super) fn is_hot(&self, hash: u64, place: Place) -> bool {
        let shard = self.shard(hash);
        shard.places.get(&hash).is_some_and(|its| its.same(place) && its.0 & HIT != 0)
    }

    /// Takes away what is stored under a hash, and lets nobody join what is being read.
    pub(super) fn forget(&self, shard: &mut Shard, hash: u64) -> bool {
        shard.flights.remove(&hash);
        let old = shard.places.remove(&hash);
        if let Some(old) = old {
            self.entries.fetch_sub(1, Relaxed);
            self.bytes.fetch_sub(old.bytes() as usize, Relaxed);
        }
        old.is_some()
    }

    /// Takes away an entry if it is still this one. Returns whether it was.
    pub(super) fn forget_place(&self, hash: u64, place: Place) -> bool {
        let mut shard = self.shard(hash);
        let same = shard.places.get(&hash).is_some_and(|its| its.same(place));
        same && self.forget(&mut shard, hash)
    }

    /// What was pending is written, or never will be if there is no place. Nothing changes if
    /// something else is pending by now; returns whether it did.
    pub(super) fn settle(&self, item: &Arc<Item>, place: Option<Place>) -> bool {
        let mut shard = self.shard(item.hash);
        if !shard.pending.get(&item.hash).is_some_and(|its| Arc::ptr_eq(its, item)) {
            return false;
        }
        shard.pending.remove(&item.hash);
        if shard.pending.is_empty() && shard.pending.capacity() > 1024 {
            shard.pending.shrink_to_fit();
        }
        // What recovery found meanwhile is older.
        self.forget(&mut shard, item.hash);
        if let Some(place) = place {
            self.insert(&mut shard, item.hash, place);
        }
        true
    }

    /// A record was copied elsewhere; the entry follows if it is still the same.
    pub(super) fn follow(&self, hash: u64, from: Place, to: Place) -> bool {
        let mut shard = self.shard(hash);
        match shard.places.get_mut(&hash) {
            Some(place) if place.same(from) => {
                *place = to;
                true
            }
            _ => false,
        }
    }

    /// Recovery found a record. Older than all that is known, it counts only if nothing is.
    pub(super) fn recover(&self, hash: u64, place: Place) {
        let mut shard = self.shard(hash);
        if !shard.places.contains_key(&hash) {
            self.insert(&mut shard, hash, place);
        }
    }

    fn insert(&self, shard: &mut Shard, hash: u64, place: Place) {
        shard.places.insert(hash, place);
        self.entries.fetch_add(1, Relaxed);
        self.bytes.fetch_add(place.bytes() as usize, Relaxed);
    }

    /// Takes away all entries between two positions of the file.
    pub(super) fn forget_between(&self, from: u64, to: u64) -> usize {
        let mut gone = 0;
        for shard in &self.shards {
            let mut shard = held(shard);
            let Shard { places, flights, .. } = &mut *shard;
            places.retain(|hash, place| {
                let keep = !(from..to).contains(&place.at());
                if !keep {
                    flights.remove(hash);
                    gone += 1;
                    self.bytes.fetch_sub(place.bytes() as usize, Relaxed);
                }
                keep
            });
        }
        self.entries.fetch_sub(gone, Relaxed);
        gone
    }

    /// Entries.
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// Bytes on disk of what the entries stand for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Bytes of memory of the tables, about. Takes each lock once.
    pub(super) fn memory(&self) -> usize {
        // A bucket has a control byte, and seven of eight are used before the table doubles.
        let buckets = |shard: &Mutex<Shard>| (held(shard).places.capacity() * 8).div_ceil(7);
        self.shards.iter().map(|shard| buckets(shard) * (size_of::<(u64, Place)>() + 1)).sum()
    }
}

/// Keys of the maps are hashes already.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "only u64 keys");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
