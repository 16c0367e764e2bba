//! The store of a node, shared by all workers.
//!
//! Keys are spread over shards, each behind a lock that is held for some hundred nanoseconds and
//! never while something is awaited, dropped or copied. A hit allocates nothing. What is given up
//! falls after the lock is released.
//!
//! Below it there may be a disk tier, see [`Store::attach`]. Waits for no I/O, but where a function
//! is a future, and knows no clock. The HTTP door and [`crate::fill`] call it.

mod codec;
mod seen;
mod tier;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use seawall_config::plan::CacheStore;

use self::tier::Below;
use crate::Millis;
use crate::disk::Lent;
pub use crate::memory::{Found, Mark, Refused, Variants};
use crate::memory::{Place, Shard, Value};
use crate::object::Object;
use crate::purge::{Kind, Purged, Purges, Stamp};

/// The store.
#[derive(Debug)]
pub struct Store {
    seed: u64,
    shared_seed: SharedSeed,
    shards: Box<[Aligned]>,
    purges: Purges,
    below: OnceLock<Below>,
    /// Variants that one URL may have.
    variants: AtomicUsize,
    /// The shard that the sweep looks at next.
    sweeping: AtomicUsize,
}

/// A shard, on lines of the processor's cache of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned(Mutex<Shard>);

/// What a store holds, and what it has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory, with everything that is kept beside the objects.
    pub bytes: u64,
    /// Answers, variants among them.
    pub objects: u64,
    /// URLs whose answers vary.
    pub families: u64,
    /// Answers that are variants.
    pub variants: u64,
    /// Keys that are marked as not to be stored.
    pub marks: u64,
    /// Pieces of content.
    pub chunks: u64,
    /// What was given up for want of room, whatever it was.
    pub evicted: u64,
    /// Variants that were given up because a URL had too many.
    pub crowded: u64,
    /// Objects that were purged hard and are gone.
    pub purged: u64,
}

/// A piece of content.
#[derive(Debug, Clone)]
pub enum Piece {
    /// It is in memory.
    Memory(Bytes),
    /// It is on disk, and may be sent from there.
    Disk(Lent),
}

impl Piece {
    /// Bytes of content.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        match self {
            Piece::Memory(bytes) => bytes.len(),
            Piece::Disk(lent) => lent.len(),
        }
    }

    /// The content from `from` on, at most `most` bytes of it.
    #[must_use]
    pub fn part(&self, from: usize, most: usize) -> Piece {
        match self {
            Piece::Memory(bytes) => {
                let from = from.min(bytes.len());
                Piece::Memory(bytes.slice(from..from.saturating_add(most).min(bytes.len())))
            }
            Piece::Disk(lent) => Piece::Disk(lent.part(from, most)),
        }
    }
}

/// A key that is used much.
#[derive(Debug, Clone)]
pub struct Top {
    /// Look-ups that found it since it was first stored.
    pub uses: u32,
    /// Bytes of memory that its answer takes.
    pub bytes: u32,
    /// What is stored.
    pub object: Arc<Object>,
    /// By what the answers of its URL are told apart, if they vary.
    pub variants: Option<Arc<Variants>>,
}

impl Top {
    /// Uses first; the rest is for an order that is always the same.
    fn rank(&self) -> (u32, u32, &[u8]) {
        (self.uses, self.bytes, self.object.key())
    }
}

impl PartialEq for Top {
    fn eq(&self, other: &Top) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Top {}

impl PartialOrd for Top {
    fn partial_cmp(&self, other: &Top) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Top {
    fn cmp(&self, other: &Top) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Store {
    /// An empty store. Whoever does not know `seed` cannot make keys whose hashes are equal.
    pub fn new(plan: &CacheStore, seed: u64) -> Store {
        let purges = Purges::new(plan.memory);
        let shards = 1u64 << (plan.memory / SHARD).clamp(1, MOST_SHARDS).ilog2();
        let budget = plan.memory.saturating_sub(purges.memory()) / shards;
        Store {
            seed,
            shared_seed: SharedSeed::from_u64(seed.rotate_left(32)),
            shards: (0..shards).map(|_| Aligned(Mutex::new(Shard::new(budget)))).collect(),
            purges,
            below: OnceLock::new(),
            variants: AtomicUsize::new(plan.variants as usize),
            sweeping: AtomicUsize::new(0),
        }
    }

    /// Takes over a new plan, without losing what fits into it. The number of shards and the size
    /// of the purge table stay what the first plan made them.
    pub fn reconfigure(&self, plan: &CacheStore) {
        self.variants.store(plan.variants as usize, Ordering::Relaxed);
        let budget = plan.memory.saturating_sub(self.purges.memory()) / self.shards.len() as u64;
        for shard in &self.shards {
            let mut gone = Vec::new();
            shard.lock().set_budget(budget, &self.purges, &mut gone);
        }
    }

    /// The hash of a key, which most functions here take along with the key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write(key);
        hasher.finish()
    }

    /// What is known under the key of a URL. What was purged hard is not found.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<Found> {
        let mut gone = Vec::new();
        let got = self.shard(hash).get(hash, Place::Primary(key), &self.purges, &mut gone);
        let (found, uses) = got?;
        self.found(&found, uses);
        Some(found)
    }

    /// What is known of a variant: an object or a mark. `key` is made of the values that the
    /// request has for [`Variants::names`], and `hash` is its hash.
    pub fn get_variant(&self, variants: &Arc<Variants>, hash: u64, key: &[u8]) -> Option<Found> {
        let mut gone = Vec::new();
        let place = Place::Variant(variants, key);
        let got = self.shard(variants.hash()).get(hash, place, &self.purges, &mut gone);
        let (found, uses) = got?;
        self.found_variant(variants, &found, uses);
        Some(found)
    }

    /// Whether anything is in memory under a key, which is that of a variant if there are any. That
    /// is no use of it.
    pub fn holds(&self, variants: Option<&Arc<Variants>>, hash: u64, key: &[u8]) -> bool {
        match variants {
            None => self.shard(hash).holds(hash, Place::Primary(key)),
            Some(variants) => {
                self.shard(variants.hash()).holds(hash, Place::Variant(variants, key))
            }
        }
    }

    /// How many variants of a URL are stored, or marked as not to be.
    pub fn count_variants(&self, hash: u64, key: &[u8]) -> usize {
        self.shard(hash).members(hash, key)
    }

    /// Stores an answer that does not vary, in place of whatever is under its key.
    ///
    /// # Errors
    /// If it may not take the place, see [`Refused`].
    pub fn insert(&self, object: Arc<Object>) -> Result<(), Refused> {
        let hash = self.hash(object.key());
        let mut gone = Vec::new();
        let new = Arc::clone(&object);
        let put = self.shard(hash).put_object(hash, new, &self.purges, &mut gone);
        self.stored(hash, &object, put)
    }

    /// By what the answers of a URL are to be told apart once there is one that varies by `names`
    /// (lower case): by those, and by all that answers stored before vary by. From its names the
    /// key of the variant is made. Nothing is stored yet. When that makes more than 16 names,
    /// those of earlier answers are left out.
    pub fn vary(&self, hash: u64, key: &[u8], names: &[Box<[u8]>]) -> Arc<Variants> {
        let shard = self.shard(hash);
        let Some(known) = shard.variants(hash, key) else {
            drop(shard);
            return Arc::new(Variants::new(hash, key, names.to_vec()));
        };
        let known = Arc::clone(known);
        drop(shard);
        if names.iter().all(|name| known.names().contains(name)) {
            return known;
        }
        let both: Vec<_> = known.names().iter().chain(names).cloned().collect();
        let variants = Variants::new(hash, key, both);
        if variants.names().len() > MOST_NAMES {
            // An origin that names ever new fields.
            return Arc::new(Variants::new(hash, key, names.to_vec()));
        }
        Arc::new(variants)
    }

    /// Stores a variant under its own key, which was made of `variants`. If the answers of the URL
    /// were told apart by other names until now, all of them go. Beyond the number that a URL may
    /// have, the one that was stored first goes.
    ///
    /// # Errors
    /// If it may not take the place, see [`Refused`].
    pub fn insert_variant(
        &self,
        variants: &Arc<Variants>,
        object: Arc<Object>,
    ) -> Result<(), Refused> {
        let hash = self.hash(object.key());
        let known = self.shard(variants.hash()).variants(variants.hash(), variants.key()).cloned();
        let anew = !known.is_some_and(|known| known.same(variants));
        let put = self.put_variant(variants, hash, Value::object(Arc::clone(&object)));
        self.stored_variant(variants, (hash, &object), anew, put)
    }

    /// Marks the key of a URL as one whose answers are not to be stored, in place of an answer that
    /// is there. Not if there are variants: one request that is answered otherwise is no reason to
    /// lose them all; mark the variant.
    pub fn mark_pass(&self, hash: u64, key: &[u8], mark: Mark) {
        let mut gone = Vec::new();
        // A key that is too large is not marked: its requests wait for each other.
        let _ = self.shard(hash).put_mark(hash, Value::mark(key, mark), &self.purges, &mut gone);
        if self.is_on_disk(key) {
            self.removed(key);
        }
    }

    /// The same for a variant. It counts as one.
    pub fn mark_pass_variant(&self, variants: &Arc<Variants>, hash: u64, key: &[u8], mark: Mark) {
        let _ = self.put_variant(variants, hash, Value::mark(key, mark));
        if self.is_variant_on_disk(variants, key) {
            self.removed_variant(variants, key);
        }
    }

    /// Takes the mark of a URL away, if it has one.
    pub fn clear_pass(&self, hash: u64, key: &[u8]) {
        let mut gone = Vec::new();
        self.shard(hash).clear_mark(hash, Place::Primary(key), &mut gone);
    }

    /// A piece of the content of an object, [`crate::object::Content::Chunks`].
    pub fn chunk(&self, id: u64, number: u32) -> Option<Bytes> {
        let hash = self.chunk_hash(id, number);
        self.shard(hash).chunk(hash, id, number)
    }

    /// Whether a piece is in memory or on disk. That is no use of it.
    pub fn has_chunk(&self, id: u64, number: u32) -> bool {
        let hash = self.chunk_hash(id, number);
        let in_memory = self.shard(hash).has_chunk(hash, id, number);
        in_memory || self.is_chunk_on_disk(id, number)
    }

    /// Stores a piece of the content of an object.
    ///
    /// # Errors
    /// If it is too large.
    pub fn insert_chunk(&self, id: u64, number: u32, bytes: Bytes) -> Result<(), Refused> {
        let hash = self.chunk_hash(id, number);
        let mut gone = Vec::new();
        let new = bytes.clone();
        let put = self.shard(hash).put_chunk(hash, (id, number), new, &self.purges, &mut gone);
        self.stored_chunk(id, number, bytes, put)
    }

    /// Takes a piece out.
    pub fn remove_chunk(&self, id: u64, number: u32) {
        let hash = self.chunk_hash(id, number);
        let mut gone = Vec::new();
        self.shard(hash).remove(hash, Place::Chunk(id, number), &mut gone);
        self.removed_chunk(id, number);
    }

    /// Takes out what is under the key of a URL, with all variants. Whether there was something.
    ///
    /// What is being fetched may still be stored after that: a [`Store::purge`] of a label of the
    /// URL prevents it.
    pub fn remove(&self, hash: u64, key: &[u8]) -> bool {
        self.removed(key);
        let mut gone = Vec::new();
        self.shard(hash).remove(hash, Place::Primary(key), &mut gone)
    }

    /// Takes out one variant. Whether there was one.
    pub fn remove_variant(&self, variants: &Arc<Variants>, hash: u64, key: &[u8]) -> bool {
        self.removed_variant(variants, key);
        let mut gone = Vec::new();
        self.shard(variants.hash()).remove(hash, Place::Variant(variants, key), &mut gone)
    }

    /// Whether an object was purged since its fetch began, wherever it is. Those that
    /// [`Store::get`] gives have been asked already.
    pub fn purged(&self, object: &Object) -> Option<Purged> {
        self.purges.check(object.meta.sequence, object.labels())
    }

    /// The number of the newest purge, to be taken before a fetch begins.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.purges.sequence()
    }

    /// Purges everything with this label, whatever that is, at once. Returns what is to be kept
    /// on disk; if there is a disk tier below, that is under way already, and
    /// [`Store::purges_kept`] says when it is done.
    pub fn purge(&self, label: u32, kind: Kind, now: Millis) -> Stamp {
        let stamp = self.purges.purge(label, kind, now);
        self.keep_stamp(stamp);
        stamp
    }

    /// When any of these labels was purged last.
    pub fn newest_purge(&self, labels: impl Iterator<Item = u32>) -> Option<Millis> {
        self.purges.newest(labels)
    }

    /// What was purged, for the disk tier to keep and to restore.
    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Looks at up to about `most` entries for those that were purged hard and marks that are
    /// over, and gives their memory back, and that of tables that are much too large. Cheap when there are none. Called now and then by one
    /// thread. How many were looked at.
    pub fn sweep(&self, most: usize, now: Millis) -> usize {
        let mut looked = 0;
        let mut idle = 0;
        while looked < most && idle < self.shards.len() {
            let position = self.sweeping.load(Ordering::Relaxed) % self.shards.len();
            let mut gone = Vec::new();
            let mut shard = self.shards[position].lock();
            let swept =
                shard.sweep(SWEPT_AT_ONCE.min(most - looked), Some(now), &self.purges, &mut gone);
            let done = shard.swept();
            if done {
                shard.compact();
            }
            drop(shard);
            match swept {
                None => idle += 1,
                Some(swept) => {
                    looked += swept;
                    idle = if done { idle + 1 } else { 0 };
                }
            }
            if swept.is_none() || done {
                self.sweeping.store(position + 1, Ordering::Relaxed);
            }
        }
        looked
    }

    /// What the store holds, and what it has counted.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { bytes: self.purges.memory(), ..Usage::default() };
        for shard in &self.shards {
            let shard = shard.lock();
            let counts = shard.counts();
            usage.bytes += shard.memory();
            usage.objects += counts.objects + counts.variants;
            usage.families += counts.families;
            usage.variants += counts.variants;
            usage.marks += counts.marks;
            usage.chunks += counts.chunks;
            usage.evicted += counts.evicted;
            usage.crowded += counts.crowded;
            usage.purged += counts.purged;
        }
        usage
    }

    /// The keys that were found most often, the first first. It looks at everything, so it is
    /// nothing for the way of a request.
    pub fn top(&self, most: usize) -> Vec<Top> {
        let mut heap = BinaryHeap::new();
        for shard in &self.shards {
            let mut next = Some(0);
            while let Some(from) = next {
                next = shard.lock().each(from, SWEPT_AT_ONCE, |object, variants, uses, bytes| {
                    let worst = heap.peek().map_or(0, |Reverse(Top { uses, .. })| *uses);
                    if heap.len() < most || uses > worst {
                        let (object, variants) = (Arc::clone(object), variants.cloned());
                        heap.push(Reverse(Top { uses, bytes, object, variants }));
                    }
                    if heap.len() > most {
                        heap.pop();
                    }
                });
            }
        }
        heap.into_sorted_vec().into_iter().map(|Reverse(top)| top).collect()
    }

    fn put_variant(
        &self,
        variants: &Arc<Variants>,
        hash: u64,
        value: Value,
    ) -> Result<(), Refused> {
        let most = self.variants.load(Ordering::Relaxed).max(1);
        let mut gone = Vec::new();
        let mut shard = self.shard(variants.hash());
        shard.put_variant(variants, (hash, value), most, &self.purges, &mut gone)
    }

    fn chunk_hash(&self, id: u64, number: u32) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write_u64(id);
        hasher.write_u32(number);
        hasher.finish()
    }

    /// Neither the bits that the index takes, the lowest and the highest ones.
    #[inline]
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.shards[(hash >> 40) as usize & (self.shards.len() - 1)].lock()
    }
}

impl Aligned {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock().unwrap_or_else(|poisoned| {
            // A bug has left the shard half-way; an empty one is right.
            let mut shard = poisoned.into_inner();
            shard.clear();
            self.0.clear_poison();
            shard
        })
    }
}

/// Bytes of memory for which there is a shard. A shard must hold many of the largest pieces.
const SHARD: u64 = 16 << 20;

/// The most shards.
const MOST_SHARDS: u64 = 256;

/// The most names that are collected of several answers.
const MOST_NAMES: usize = 16;

/// Entries that are looked at while a shard is locked.
const SWEPT_AT_ONCE: usize = 256;
