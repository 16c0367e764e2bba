//! The files of the disk tier: made, opened, locked, read and written.
//!
//! In the directory: `lock`, held by the process that uses it; `store`, the header; `stamps`, what
//! was purged; `log`, the segments one behind the other, at its full length from the beginning and
//! sparse until it was written. Knows nothing of what records mean. Called by [`super::Disk`] when
//! it is opened, by the writer, and by the readers.

use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rustix::fs::{FlockOperation, flock};
use rustix::io::ReadWriteFlags;

use super::fault::DiskFault;
use super::format::{self, HEADER, SLOT, Store};
use super::index::LARGEST;
use super::lending::{Held, Lending};

/// The bounds of the size of a segment, in bytes. The lower one is twice the longest record.
const SEGMENT: std::ops::RangeInclusive<u64> = (4 << 20)..=(64 << 20);
/// The fewest segments that a store has.
const FEWEST: u64 = 4;
/// The most segments that a store has before it is made anew with larger ones.
const MOST_SEGMENTS: u64 = 1 << 16;
/// The most slots that a file of stamps may have.
pub(super) const MOST_SLOTS: usize = 1 << 20;

/// An open directory.
#[derive(Debug)]
pub(super) struct Volume {
    path: PathBuf,
    store: Store,
    header: File,
    log: File,
    stamps: File,
    lock: File,
    generations: Box<[AtomicU64]>,
    lending: Lending,
}

/// What is stamped, by slot.
pub(super) type Stamps = Vec<[u64; 2]>;

/// How a directory is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) path: &'a Path,
    /// The most bytes for all files together.
    pub(super) size: u64,
    /// Seeds to use and stamps to keep if what is there must not be used; `None` if it may be.
    pub(super) anew: Option<([u64; 2], &'a [[u64; 2]])>,
    /// Slots for stamps.
    pub(super) slots: u32,
}

impl Volume {
    /// Opens a directory, makes what is missing, and makes all anew that cannot be used. Returns
    /// the stamps too.
    pub(super) fn open(opening: Opening<'_>) -> Result<(Volume, Stamps), DiskFault> {
        let Opening { path, size, anew, slots } = opening;
        let overhead = overhead(slots);
        let least = overhead + FEWEST * SEGMENT.start();
        if size < least {
            return Err(DiskFault::TooSmall { size, least });
        }
        let room = (size - overhead).min(LARGEST);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(DiskFault::io("create", path))?;
        let lock = lock(path)?;

        let kept = match anew {
            None => reopen(path, room, slots)?,
            Some(_) => None,
        };
        let (store, header, stamps, table) = match kept {
            Some(kept) => kept,
            None => create(path, room, slots, anew)?,
        };
        let segments = room / store.segment;
        let log_path = path.join("log");
        let log = file(&log_path).map_err(DiskFault::io("open", &log_path))?;
        let length = log.metadata().map_err(DiskFault::io("look at", &log_path))?.len();
        if length != segments * store.segment {
            log.set_len(segments * store.segment).map_err(DiskFault::io("extend", &log_path))?;
        }
        let generations = (0..segments).map(|_| AtomicU64::new(0)).collect();
        let path = path.to_owned();
        let lending = Lending::new(&lock, segments);
        Ok((Volume { path, store, header, log, stamps, lock, generations, lending }, table))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn mark(&self) -> u64 {
        self.store.mark
    }

    pub(super) fn seeds(&self) -> [u64; 2] {
        self.store.seeds
    }

    pub(super) fn run(&self) -> u32 {
        self.store.run
    }

    /// Bytes of a segment.
    pub(super) fn segment(&self) -> u64 {
        self.store.segment
    }

    /// Segments.
    pub(super) fn segments(&self) -> u32 {
        self.generations.len() as u32
    }

    /// The generation of the segment at a position; 0 if it has none.
    pub(super) fn generation(&self, at: u64) -> u64 {
        let segment = self.generations.get((at / self.store.segment) as usize);
        segment.map_or(0, |generation| generation.load(SeqCst))
    }

    pub(super) fn set_generation(&self, number: u32, generation: u64) {
        if let Some(segment) = self.generations.get(number as usize) {
            segment.store(generation, SeqCst);
        }
    }

    pub(super) fn log(&self) -> &File {
        &self.log
    }

    pub(super) fn lending(&self) -> &Lending {
        &self.lending
    }

    /// Keeps what is at a position of the log as it is, if that still is of this generation. Not for
    /// long: the writer waits for it.
    pub(super) fn hold(&self, at: u64, generation: u64) -> Option<Held<'_>> {
        // Announced first and looked at then, while whoever changes it does it the other way round:
        // one of the two sees the other.
        let held = self.lending.enter((at / self.store.segment) as usize)?;
        (generation != 0 && self.generation(at) == generation).then_some(held)
    }

    /// Takes a segment for something new: nothing of what is in it is sent from here on, and what
    /// was sent and did not arrive yet stays what it was.
    ///
    /// # Errors
    /// Then it must not be written.
    pub(super) fn renew(&self, number: u32, generation: u64) -> io::Result<()> {
        self.set_generation(number, generation);
        self.lending.quiesce(number as usize);
        let start = u64::from(number) * self.store.segment;
        self.lending.discard(&self.log, number as usize, start, self.store.segment)
    }

    /// Nothing is sent from here any more: its files may get another owner.
    pub(super) fn retire(&self) {
        for number in 0..self.segments() {
            self.set_generation(number, 0);
        }
        for number in 0..self.segments() {
            self.lending.quiesce(number as usize);
        }
    }

    /// Fills `bytes` from a position of the log.
    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.log.read_exact_at(bytes, at)
    }

    /// The same, but only if all of it is in the page cache, without waiting for the disk. Returns
    /// whether it is.
    pub(super) fn read_cached(&self, bytes: &mut [u8], at: u64) -> io::Result<bool> {
        let length = bytes.len();
        let parts = &mut [IoSliceMut::new(bytes)];
        match rustix::io::preadv2(&self.log, parts, at, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == length),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.log.write_all_at(bytes, at)
    }

    /// Writes all parts, one behind the other, to a position of the log.
    pub(super) fn write_parts(&self, mut parts: &mut [IoSlice<'_>], at: u64) -> io::Result<()> {
        // `IOV_MAX` of Linux.
        const AT_ONCE: usize = 1024;
        let mut at = at;
        while !parts.is_empty() {
            let some = &parts[..parts.len().min(AT_ONCE)];
            match rustix::io::pwritev(&self.log, some, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn write_stamp(&self, slot: u32, stamp: [u64; 2]) -> io::Result<()> {
        let bytes = format::encode_slot(self.store.mark, slot, stamp);
        self.stamps.write_all_at(&bytes, HEADER as u64 + SLOT as u64 * u64::from(slot))
    }

    /// Makes the count of runs outlast a power failure, so that what this run writes is never
    /// taken for what an earlier one left.
    pub(super) fn sync_header(&self) -> io::Result<()> {
        self.header.sync_data()
    }

    /// Makes the next start forget all that is stored.
    pub(super) fn condemn(&self) -> io::Result<()> {
        // Any of the two is enough.
        let overwritten = self.header.write_all_at(&[0; HEADER], 0);
        match std::fs::remove_file(self.path.join("store")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => overwritten.map_err(|_| error),
            _ => Ok(()),
        }
    }

    /// Whether the directory is no longer the one that was opened.
    pub(super) fn is_gone(&self) -> bool {
        let same = |ours: std::fs::Metadata, path: &str| {
            std::fs::metadata(self.path.join(path))
                .is_ok_and(|its| (its.dev(), its.ino()) == (ours.dev(), ours.ino()))
        };
        let files = [(&self.lock, "lock"), (&self.log, "log"), (&self.stamps, "stamps")];
        files.into_iter().any(|(file, path)| !file.metadata().is_ok_and(|ours| same(ours, path)))
    }
}

/// Bytes for what is kept beside the log, in whole blocks of a file system.
fn overhead(slots: u32) -> u64 {
    let stamps = HEADER as u64 + SLOT as u64 * u64::from(slots);
    // The header, the directory, and what takes its place before it is renamed.
    4 * 4096 + 2 * stamps.next_multiple_of(4096)
}

fn file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn lock(path: &Path) -> Result<File, DiskFault> {
    let name = path.join("lock");
    let lock = file(&name).map_err(DiskFault::io("open", &name))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DiskFault::InUse { path: path.to_owned() }),
        Err(error) => Err(DiskFault::io("lock", &name)(error.into())),
    }
}

type Parts = (Store, File, File, Stamps);

/// What is there, if all of it can be used.
fn reopen(path: &Path, room: u64, slots: u32) -> Result<Option<Parts>, DiskFault> {
    let name = path.join("store");
    let header = match OpenOptions::new().read(true).write(true).open(&name) {
        Ok(header) => header,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskFault::io("open", &name)(error)),
    };
    let mut block = [0; HEADER];
    let whole = header.read_exact_at(&mut block, 0);
    let Some(mut store) = whole.ok().and_then(|()| Store::decode(&block)) else {
        return Ok(None);
    };
    let sound = SEGMENT.contains(&store.segment) && store.segment.is_power_of_two();
    if !sound || !(FEWEST..=MOST_SEGMENTS).contains(&(room / store.segment)) {
        return Ok(None);
    }
    let Some((stamps, table)) = read_stamps(path, store.mark, slots)? else {
        return Ok(None);
    };
    store.run = store.run.wrapping_add(1);
    if store.run == 0 {
        // Runs are compared; after four billion starts all is forgotten.
        return Ok(None);
    }
    header.write_all_at(&store.encode(), 0).map_err(DiskFault::io("write", &name))?;
    Ok(Some((store, header, stamps, table)))
}

/// The stamps, if every one of them is as it was written: without them nothing that is stored can
/// be trusted, for it may have been purged. A table of another size is made one of this.
fn read_stamps(path: &Path, mark: u64, slots: u32) -> Result<Option<(File, Stamps)>, DiskFault> {
    let name = path.join("stamps");
    let Some((file, old)) = read_table(&name, mark) else {
        return Ok(None);
    };
    let (from, to) = (old.len(), slots as usize);
    if from == to {
        return Ok(Some((file, old)));
    }
    // What stood for several slots of the new table goes to all of them.
    let mut table = vec![[0; 2]; to];
    for (slot, stamp) in old.iter().enumerate() {
        for merged in table.iter_mut().skip(slot & (to - 1)).step_by(from) {
            *merged = [merged[0].max(stamp[0]), merged[1].max(stamp[1])];
        }
    }
    Ok(Some((replace(&name, &encode_stamps(mark, &table))?, table)))
}

fn read_table(name: &Path, mark: u64) -> Option<(File, Stamps)> {
    let file = OpenOptions::new().read(true).write(true).open(name).ok()?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    let slots = format::decode_stamps(mark, &header)? as usize;
    (slots.is_power_of_two() && slots <= MOST_SLOTS).then_some(())?;
    let mut bytes = vec![0; SLOT * slots];
    file.read_exact_at(&mut bytes, HEADER as u64).ok()?;
    let rows = bytes.as_chunks::<SLOT>().0.iter().zip(0..);
    let table: Option<Stamps> =
        rows.map(|(row, slot)| format::decode_slot(mark, slot, row)).collect();
    Some((file, table?))
}

fn encode_stamps(mark: u64, table: &[[u64; 2]]) -> Vec<u8> {
    let mut bytes = format::encode_stamps(mark, table.len() as u32).to_vec();
    for (slot, stamp) in (0..).zip(table) {
        bytes.extend_from_slice(&format::encode_slot(mark, slot, *stamp));
    }
    bytes
}

/// Makes a store in which nothing is. That of before, if there is one, ends with the first of the
/// two renames: its header no longer fits the stamps.
fn create(
    path: &Path,
    room: u64,
    slots: u32,
    anew: Option<([u64; 2], &[[u64; 2]])>,
) -> Result<Parts, DiskFault> {
    let (seeds, table) = match anew {
        Some((seeds, table)) => (seeds, table.to_vec()),
        None => (random_seeds(), vec![[0; 2]; slots as usize]),
    };
    let segment = (room / 64).max(1);
    let segment = (1 << segment.ilog2()).clamp(*SEGMENT.start(), *SEGMENT.end());
    let store = Store { mark: random(), seeds, segment, run: 1 };

    let stamps = replace(&path.join("stamps"), &encode_stamps(store.mark, &table))?;
    let header = replace(&path.join("store"), &store.encode())?;
    Ok((store, header, stamps, table))
}

fn replace(name: &Path, bytes: &[u8]) -> Result<File, DiskFault> {
    let new = name.with_extension("new");
    let made = file(&new).map_err(DiskFault::io("create", &new))?;
    made.set_len(bytes.len() as u64).map_err(DiskFault::io("extend", &new))?;
    made.write_all_at(bytes, 0).map_err(DiskFault::io("write", &new))?;
    std::fs::rename(&new, name).map_err(DiskFault::io("replace", name))?;
    Ok(made)
}

/// Seeds of a hash, which nobody can know.
pub(super) fn random_seeds() -> [u64; 2] {
    [random(), random()]
}

/// SipHash under a key from the operating system, which nobody else can know.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
