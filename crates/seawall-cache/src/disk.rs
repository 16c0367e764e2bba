//! The disk tier: a bounded store of blobs by key, which outlasts the process.
//!
//! A log of segments on disk, a directory of entries in memory, one thread that writes and a few
//! that read. What is stored comes back exactly as it was written, or not at all: every record has
//! checksums and its whole key, and whatever does not fit is a miss. A process that is killed at
//! any moment loses what was not written yet, never more and never half of something. Blobs are
//! given up oldest first, but those that were read are written once more instead.
//!
//! Nothing here makes a worker wait: look-ups and writes touch memory, reads are futures. When the
//! disk fails, is full, or is taken away, the tier steps back and tries again after 5 s, then after
//! twice that, up to 5 min; look-ups then find nothing, which is all that its callers notice.
//!
//! In memory it takes the directory of entries, see [`Usage::memory`], up to 32 MiB of what waits to
//! be written, 16 bytes a slot for stamps, and about 10 MiB of buffers.
//!
//! [`crate::store`] calls it. The order of things on disk is in `disk/format.rs`, what makes room
//! in `disk/log.rs`, what a start does in `disk/recover.rs`.

mod backoff;
mod fault;
mod format;
mod health;
mod index;
mod lending;
mod log;
mod place;
mod reader;
mod recover;
mod stamping;
mod volume;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seawall_config::plan::CacheDisk;

pub use self::fault::DiskFault;
pub use self::health::Condition;
use self::health::Health;
use self::index::{Index, Item, Shard, What};
pub use self::lending::Lent;
pub use self::place::{PLACE, read_place, write_place};
pub use self::reader::{Borrowing, Landed, Reading};
use self::reader::{Buffers, Flight, Target, Wanted};
use self::stamping::Ack;
pub use self::stamping::Stamping;
use self::volume::{Opening, Volume};
use crate::purge::Stamp;

/// The disk tier. When dropped, it ends its threads, for which it waits up to 5 s, and gives the
/// directory free.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// What is stored under a key: two pieces of bytes. Which of them means what is the caller's; that
/// there are two saves him from copying them together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob {
    /// The first piece.
    pub head: Bytes,
    /// The second piece.
    pub content: Bytes,
}

/// The most bytes that a key and both pieces of a blob may have together.
pub const LARGEST: usize = format::MOST - format::HEADER;

/// What the disk tier has done since it was opened. All of it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Reads that were asked for.
    pub reads: u64,
    /// Reads that found something.
    pub hits: u64,
    /// Reads that found nothing because too many were waiting or the disk was failing.
    pub refused: u64,
    /// Records that were found damaged. Those of a process that was killed are among them.
    pub corrupt: u64,
    /// Blobs that were written.
    pub writes: u64,
    /// Blobs and removals that were not written: too much was waiting, or the disk was failing or
    /// full.
    pub dropped: u64,
    /// Operations that the operating system refused.
    pub errors: u64,
    /// Of these, reads.
    pub read_errors: u64,
    /// Bytes that were read, without keys.
    pub read_bytes: u64,
    /// Bytes that were written, without keys.
    pub written_bytes: u64,
    /// Blobs that were given up to make room.
    pub reclaimed: u64,
    /// Blobs that were written once more because they had been read.
    pub carried: u64,
}

/// What the disk tier holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes on disk of the blobs that can be found.
    pub bytes: u64,
    /// The most bytes that its files take together.
    pub size: u64,
    /// Blobs that can be found.
    pub entries: u64,
    /// Bytes of memory of the directory of entries, about.
    pub memory: u64,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    hits: AtomicU64,
    refused: AtomicU64,
    corrupt: AtomicU64,
    writes: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
    read_errors: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reclaimed: AtomicU64,
    carried: AtomicU64,
}

/// What the threads and the callers share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    size: u64,
    seeds: [u64; 2],
    most_entries: usize,
    index: Index,
    reads: reader::Queue,
    writes: writer::Queue,
    buffers: Arc<Buffers>,
    counts: Counts,
    health: Mutex<Health>,
    /// Whether reads and writes may be tried, as far as is known.
    readable: AtomicU64,
    writable: AtomicU64,
    /// Reads that failed one after the other.
    failing_reads: AtomicU32,
    /// Whether the file system reads from the page cache alone when asked to.
    cached: AtomicBool,
    suspicious: AtomicBool,
    recovering: AtomicBool,
    stop: AtomicBool,
    volume: RwLock<Option<Arc<Volume>>>,
    stamps: Mutex<Vec<[u64; 2]>>,
    began: Instant,
    readers: AtomicUsize,
    reader_ended: (Mutex<()>, Condvar),
}

/// Bytes of `size` for which there may be an entry. Smaller blobs than this are welcome, but only
/// so many of them, so that the directory of entries takes at most a fiftieth of `size` in memory.
const BYTES_AN_ENTRY: u64 = 2048;
/// Bytes of `size` for which there is a slot for stamps.
const BYTES_A_STAMP: u64 = 8192;
/// The bounds of the number of slots for stamps.
const STAMPS: (u64, u64) = (1 << 10, volume::MOST_SLOTS as u64);
/// The longest that a drop waits for the threads.
const ENDING: Duration = Duration::from_secs(5);

impl Disk {
    /// Opens the directory, and makes it if it is missing. Reads the stamps; the entries are found
    /// by a thread of its own, and until then look-ups may miss what is there. `slots` are those
    /// of the table of purges, a power of two.
    ///
    /// # Errors
    /// If the directory cannot be used; the fault says why and what to do.
    pub fn open(plan: &CacheDisk, slots: usize) -> Result<Disk, DiskFault> {
        let slots = slots_for(plan.size, slots);
        let opening = Opening { path: &plan.path, size: plan.size, anew: None, slots };
        let (volume, stamps) = Volume::open(opening)?;
        Ok(Disk::new(plan, volume.seeds(), Some(volume), stamps))
    }

    /// The same, but when the directory cannot be used it is tried again from time to time, and
    /// there is no disk tier until then. What is found in it later is not used, since it may have
    /// been purged meanwhile. The fault is logged and returned too.
    pub fn start(plan: &CacheDisk, slots: usize) -> (Disk, Option<DiskFault>) {
        match Disk::open(plan, slots) {
            Ok(disk) => (disk, None),
            Err(fault) => {
                let stamps = vec![[0; 2]; slots_for(plan.size, slots) as usize];
                let disk = Disk::new(plan, volume::random_seeds(), None, stamps);
                disk.shared.lost(&fault);
                (disk, Some(fault))
            }
        }
    }

    fn new(
        plan: &CacheDisk,
        seeds: [u64; 2],
        volume: Option<Volume>,
        stamps: volume::Stamps,
    ) -> Disk {
        let readers = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
        let shared = Arc::new(Shared {
            path: plan.path.clone(),
            size: plan.size,
            seeds,
            most_entries: (plan.size / BYTES_AN_ENTRY) as usize,
            index: Index::new(),
            reads: reader::Queue::default(),
            writes: writer::Queue::default(),
            buffers: Arc::default(),
            counts: Counts::default(),
            health: Mutex::default(),
            readable: AtomicU64::new(0),
            writable: AtomicU64::new(0),
            failing_reads: AtomicU32::new(0),
            cached: AtomicBool::new(true),
            suspicious: AtomicBool::new(false),
            recovering: AtomicBool::new(volume.is_some()),
            stop: AtomicBool::new(false),
            volume: RwLock::new(volume.map(Arc::new)),
            stamps: Mutex::new(stamps),
            began: Instant::now(),
            readers: AtomicUsize::new(0),
            reader_ended: Default::default(),
        });
        let disk = Disk { shared };
        for number in 0..readers {
            disk.spawn_reader(number);
        }
        disk.spawn_writer();
        disk
    }

    fn spawn_writer(&self) {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("disk-write".into());
        if let Err(error) = thread.spawn(move || writer::run(&shared)) {
            tracing::warn!("no disk cache: cannot start its thread: {error}");
            self.shared.writes.ended();
        }
    }

    fn spawn_reader(&self, number: usize) {
        let shared = Arc::clone(&self.shared);
        shared.readers.fetch_add(1, Relaxed);
        let thread = thread::Builder::new().name(format!("disk-read-{number}"));
        if let Err(error) = thread.spawn(move || reader::run(&shared)) {
            tracing::warn!("the disk cache has too few threads: {error}");
            self.shared.reader_ended();
        }
    }

    /// Whether something is stored under a key, as far as is known without reading it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.shared.may_read() && self.shared.index.contains(self.shared.hash(key), key)
    }

    /// Lends the content of what is stored under a key, whose head is empty, to be sent from where it
    /// is. What that cannot be done with is read, see [`Landed`].
    pub fn lend(&self, key: &[u8]) -> Borrowing {
        let shared = &self.shared;
        let lends = shared.volume().is_some_and(|volume| volume.lending().is_on());
        Borrowing::new(match lends {
            true => self.look_up(key, Wanted::Lent),
            false => self.look_up(key, Wanted::Read),
        })
    }

    /// Has what is stored under a key brought into the page cache by a thread, if there is nothing
    /// more urgent: it will be lent soon.
    pub fn bring_near(&self, key: &[u8]) {
        let shared = &self.shared;
        if !shared.may_read() {
            return;
        }
        let hash = shared.hash(key);
        let Some(target) = shared.target(&mut shared.index.shard(hash), hash) else { return };
        if target.is_near() || shared.reads.is_busy() {
            return;
        }
        // Looked up anew, for it may be gone meanwhile.
        let mut shard = shared.index.shard(hash);
        if shard.pending.contains_key(&hash) || shard.flights.contains_key(&hash) {
            return;
        }
        let Some(target) = shared.target(&mut shard, hash) else { return };
        let flight = Arc::new(Flight::new(key, target, Wanted::Near));
        if shared.reads.push(&flight) {
            shard.flights.insert(hash, flight);
        }
    }

    /// Reads what is stored under a key. What was written is found at once, also before it is on
    /// disk. What is small and in the page cache is copied here and now.
    pub fn read(&self, key: &[u8]) -> Reading {
        self.look_up(key, Wanted::Read)
    }

    fn look_up(&self, key: &[u8], wanted: Wanted) -> Reading {
        let shared = &self.shared;
        shared.counts.reads.fetch_add(1, Relaxed);
        if !shared.may_read() {
            shared.counts.refused.fetch_add(1, Relaxed);
            return Reading::ready(None);
        }
        self.begin(shared.hash(key), key, wanted, shared.cached.load(Relaxed))
    }

    fn begin(&self, hash: u64, key: &[u8], wanted: Wanted, cached: bool) -> Reading {
        let shared = &self.shared;
        let mut shard = shared.index.shard(hash);
        if let Some(item) = shard.pending.get(&hash) {
            let blob = match &item.what {
                What::Blob { key: its, blob } if **its == *key => Some(blob.clone()),
                _ => None,
            };
            drop(shard);
            shared.counts.hits.fetch_add(u64::from(blob.is_some()), Relaxed);
            return Reading::ready(blob.map(Landed::Blob));
        }
        if let Some(flight) = shard.flights.get(&hash) {
            if *flight.key != *key {
                return Reading::ready(None);
            }
            if flight.is_for(wanted) {
                return Reading::join(Arc::clone(flight));
            }
        }
        let Some(target) = shared.target(&mut shard, hash) else {
            return Reading::ready(None);
        };
        let at_once = match wanted {
            Wanted::Read => target.is_small(),
            Wanted::Lent => target.verified,
            Wanted::Near => false,
        };
        if cached && at_once {
            drop(shard);
            let landed = match wanted {
                Wanted::Lent => reader::lend_cached(shared, &target, key).map(Some),
                _ => reader::read_cached(shared, &target, key),
            };
            return match landed {
                Some(landed) => Reading::ready(landed),
                // Looked up anew, for it may be gone meanwhile.
                None => self.begin(hash, key, wanted, false),
            };
        }
        let flight = Arc::new(Flight::new(key, target, wanted));
        let reading = Reading::join(Arc::clone(&flight));
        if !shared.reads.push(&flight) {
            drop(shard);
            shared.counts.refused.fetch_add(1, Relaxed);
            return Reading::ready(None);
        }
        // One of another kind stays: it is read twice then, which hardly ever happens.
        shard.flights.entry(hash).or_insert(flight);
        reading
    }

    /// Stores a blob under a key, in place of what is there. Returns whether it will be written,
    /// unless the disk fails: it is not when it is larger than [`LARGEST`], when too much waits to
    /// be written, or while the disk fails. What was there before is gone in any case.
    pub fn write(&self, key: &[u8], blob: Blob) -> bool {
        let shared = &self.shared;
        let hash = shared.hash(key);
        let fits =
            key.len().saturating_add(blob.head.len()).saturating_add(blob.content.len()) <= LARGEST;
        let item = Arc::new(Item { hash, what: What::Blob { key: key.into(), blob } });
        let mut shard = shared.index.shard(hash);
        shared.index.forget(&mut shard, hash);
        let accepted = fits && shared.may_write() && shared.writes.push(&item);
        // The old value drops behind the lock.
        let old =
            if accepted { shard.pending.insert(hash, item) } else { shard.pending.remove(&hash) };
        drop(shard);
        drop(old);
        if !accepted {
            shared.counts.dropped.fetch_add(1, Relaxed);
        }
        accepted
    }

    /// Removes what is stored under a key. It stays removed over restarts, unless the disk fails
    /// or tens of thousands of removals wait to be written; where that matters use [`Disk::stamp`].
    pub fn remove(&self, key: &[u8]) {
        let shared = &self.shared;
        let hash = shared.hash(key);
        let item = Arc::new(Item { hash, what: What::Removal });
        let mut shard = shared.index.shard(hash);
        shared.index.forget(&mut shard, hash);
        let accepted = shared.may_write() && shared.writes.push(&item);
        let old =
            if accepted { shard.pending.insert(hash, item) } else { shard.pending.remove(&hash) };
        drop(shard);
        drop(old);
        if !accepted {
            shared.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Whether so much waits to be written that more is likely to be dropped: whoever can make a
    /// sender slower should.
    pub fn is_pressed(&self) -> bool {
        self.shared.writes.is_pressed()
    }

    /// Keeps a stamp. It is on disk before anything that is written later. The future ends with
    /// whether it outlasts this process, also if that is killed; a failure of the machine may lose
    /// what the operating system has not written yet, for nothing is synced.
    ///
    /// Two purges that share a slot there, since it has fewer than the table of purges, both hold
    /// for what either would, after a restart.
    pub fn stamp(&self, stamp: Stamp) -> Stamping {
        let shared = &self.shared;
        let ack = Arc::new(Ack::default());
        let mut stamps = held(&shared.stamps);
        let slot = stamp.slot as usize & (stamps.len() - 1);
        let merged = &mut stamps[slot];
        *merged = [merged[0].max(stamp.hard), merged[1].max(stamp.soft)];
        // Under the lock, so that the newest is what is queued last.
        shared.writes.stamp(Some((slot as u32, *merged)), Arc::clone(&ack));
        drop(stamps);
        Stamping(ack)
    }

    /// Ends when all stamps up to now are written, with whether they outlast this process.
    pub fn stamped(&self) -> Stamping {
        let ack = Arc::new(Ack::default());
        self.shared.writes.stamp(None, Arc::clone(&ack));
        Stamping(ack)
    }

    /// The slots for stamps, a power of two, and the stamps that were kept; as
    /// [`Purges::restore`](crate::purge::Purges::restore) takes them.
    pub fn stamps(&self) -> (usize, Vec<Stamp>) {
        let stamps = held(&self.shared.stamps);
        let set = (0..).zip(stamps.iter()).filter(|(_, stamp)| **stamp != [0; 2]);
        let set = set.map(|(slot, &[hard, soft])| Stamp { slot, hard, soft });
        (stamps.len(), set.collect())
    }

    /// Waits until everything is on disk that was to be written when this was called, but not
    /// longer than `limit`. Returns whether it is. Blocks: it is for the end of a process.
    pub fn flush(&self, limit: Duration) -> bool {
        self.shared.writes.flush(limit)
    }

    /// Waits until all is found that was stored before this process, but not longer than `limit`.
    /// Returns whether it is. Blocks: nothing but a test or a tool has a reason to wait for that.
    pub fn recovered(&self, limit: Duration) -> bool {
        self.shared.writes.begun(limit)
    }

    /// How it does.
    pub fn condition(&self) -> Condition {
        let shared = &self.shared;
        held(&shared.health).condition(shared.recovering.load(Relaxed))
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        let index = &self.shared.index;
        Usage {
            bytes: index.bytes() as u64,
            size: self.shared.size,
            entries: index.entries() as u64,
            memory: index.memory() as u64,
        }
    }

    /// What it has done.
    pub fn counted(&self) -> Counted {
        let counts = &self.shared.counts;
        Counted {
            reads: counts.reads.load(Relaxed),
            hits: counts.hits.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            corrupt: counts.corrupt.load(Relaxed),
            writes: counts.writes.load(Relaxed),
            dropped: counts.dropped.load(Relaxed),
            errors: counts.errors.load(Relaxed),
            read_errors: counts.read_errors.load(Relaxed),
            read_bytes: counts.read_bytes.load(Relaxed),
            written_bytes: counts.written_bytes.load(Relaxed),
            reclaimed: counts.reclaimed.load(Relaxed),
            carried: counts.carried.load(Relaxed),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.stop.store(true, Relaxed);
        shared.reads.close();
        shared.writes.close(ENDING);
        let (lock, ended) = &shared.reader_ended;
        let waiting =
            ended.wait_timeout_while(held(lock), ENDING, |()| shared.readers.load(Relaxed) > 0);
        drop(waiting);
        // Gives the directory free, unless a thread hangs in the kernel with it.
        shared.leave();
    }
}

/// Slots for stamps on disk: no more than in the table of purges, and not so many that they take
/// much of the size.
fn slots_for(size: u64, slots: usize) -> u32 {
    debug_assert!(slots.is_power_of_two(), "the table is no power of two: {slots}");
    let wanted = (size / BYTES_A_STAMP).clamp(STAMPS.0, STAMPS.1).min(slots.max(1) as u64);
    1 << wanted.ilog2()
}

impl Shared {
    /// SipHash-2-4, under seeds that nobody knows and that stay the same as long as the store.
    #[expect(deprecated, reason = "the one in std that is the same in every version")]
    fn hash(&self, key: &[u8]) -> u64 {
        use std::hash::Hasher;
        let mut hasher = std::hash::SipHasher::new_with_keys(self.seeds[0], self.seeds[1]);
        hasher.write(key);
        hasher.finish()
    }

    /// What is to be read for a hash.
    fn target(&self, shard: &mut Shard, hash: u64) -> Option<Target> {
        let (place, verified) = self.index.place(shard, hash)?;
        let volume = self.volume()?;
        // The generation is taken while the entry is there for sure: when its segment is taken for
        // something new, its entries go first.
        let generation = volume.generation(place.at());
        Some(Target { hash, place, verified, generation, volume })
    }

    fn volume(&self) -> Option<Arc<Volume>> {
        self.volume.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_volume(&self, volume: Option<Arc<Volume>>) {
        *self.volume.write().unwrap_or_else(PoisonError::into_inner) = volume;
    }

    fn reader_ended(&self) {
        let lock = held(&self.reader_ended.0);
        let last = self.readers.fetch_sub(1, Relaxed) == 1;
        self.reader_ended.1.notify_all();
        drop(lock);
        if last {
            self.reads.abandon();
        }
    }
}

/// Locks. What the locks here protect is right at every step, so that a panic of another thread
/// does not matter.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
