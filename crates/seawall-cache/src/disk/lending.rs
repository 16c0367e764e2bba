//! Content that is lent to whoever sends it: the kernel takes it straight out of the log
//! (`sendfile`), without a copy in this process.
//!
//! What was handed to a socket is not gone when the call returns: the socket keeps the *pages* until
//! the client has them, and whatever is written to those pages meanwhile is what the client gets.
//! So a segment is taken for something new in this order:
//!
//! 1. Its generation changes. From here on nobody begins to send from it.
//! 2. Who is within a system call that reads from it is waited for.
//! 3. Its pages are let go ([`Volume::discard`]): those that sockets still have are theirs alone from
//!    here on, and the file gets new ones. Segments begin and end at multiples of 4 MiB, so that no
//!    page, however large, is let go by half, which would clear that half in place.
//! 4. It is written.
//!
//! Within a segment, records are only ever written behind the last one. A file system that cannot
//! let go of pages, or of which that is not known, lends nothing.
//!
//! Called by workers while they send, by [`super::log`] and by [`super::reader`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fstatfs, seek};
use rustix::io::Errno;

use super::volume::Volume;

/// Content of a record that may be sent from where it is. It was checked once in this process, and
/// was in the page cache when it was lent.
#[derive(Debug, Clone)]
pub struct Lent {
    /// Who reads slowly does not keep the directory from being given back.
    volume: Weak<Volume>,
    generation: u64,
    at: u64,
    length: usize,
}

impl Lent {
    /// Content of so many bytes, at a position of the log that has this generation.
    pub(super) fn new(volume: &Arc<Volume>, generation: u64, at: u64, length: usize) -> Lent {
        Lent { volume: Arc::downgrade(volume), generation, at, length }
    }

    /// Bytes of content.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The content from `from` on, at most `most` bytes of it.
    #[must_use]
    pub fn part(&self, from: usize, most: usize) -> Lent {
        let from = from.min(self.length);
        let length = (self.length - from).min(most);
        Lent { at: self.at + from as u64, length, ..self.clone() }
    }

    /// Calls with the file, and the position and the length of the content in it, which stays what
    /// it is for as long as the call lasts, and for as long as a socket has pages of it after that.
    /// `None` if it is not there any more.
    ///
    /// A call that takes long keeps the disk tier from writing.
    pub fn with<T>(&self, then: impl FnOnce(BorrowedFd<'_>, u64, usize) -> T) -> Option<T> {
        let volume = self.volume.upgrade()?;
        let _held = volume.hold(self.at, self.generation)?;
        Some(then(volume.log().as_fd(), self.at, self.length))
    }

    /// Whether it is in the page cache, as far as a look every 128 KiB can tell. What is not must be
    /// asked for anew, or whoever sends it waits for the disk. Where it cannot be known it is.
    pub fn is_resident(&self) -> bool {
        self.volume.upgrade().is_some_and(|volume| is_resident(&volume, self.at, self.length))
    }

    /// A copy of the content; `None` if it is not there any more. Waits for the disk if it is not in
    /// the page cache.
    pub fn copy(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        let read = self.with(|log, at, _| read_exact(log, &mut bytes, at))?;
        if read.is_err() {
            self.refuse();
        }
        read.ok().map(|()| bytes)
    }

    /// The kernel does not send from this file: nothing of it is lent from now on.
    pub fn refuse(&self) {
        if let Some(volume) = self.volume.upgrade()
            && volume.lending().on.swap(false, SeqCst)
        {
            let path = volume.path().display();
            tracing::warn!("the disk cache in {path} is copied rather than sent from there");
        }
    }
}

fn read_exact(file: BorrowedFd<'_>, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pread(file, &mut *bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = &mut bytes[read..];
                at += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether a part of the log is in the page cache, as far as that can be known without waiting.
pub(super) fn is_resident(volume: &Volume, at: u64, length: usize) -> bool {
    let looks = (0..length).step_by(LOOK).chain((length > 1).then(|| length - 1));
    for from in looks {
        if matches!(volume.read_cached(&mut [0], at + from as u64), Ok(false)) {
            return false;
        }
    }
    true
}

/// Bytes between two looks at whether something is in the page cache: as much as Linux reads ahead.
const LOOK: usize = 128 << 10;

/// What of a log is lent.
#[derive(Debug)]
pub(super) struct Lending {
    on: AtomicBool,
    /// How pages are let go.
    how: Option<FallocateFlags>,
    segments: Box<[Use]>,
}

/// Who uses a segment.
#[derive(Debug)]
struct Use {
    /// System calls that read from it.
    calls: AtomicU32,
    /// Sockets may have pages of it.
    lent: AtomicBool,
}

impl Lending {
    /// `like` is a file in the same file system of which nothing is needed.
    pub(super) fn new(like: &File, segments: u64) -> Lending {
        let how = discards(like);
        // The sockets of an earlier process may still have pages.
        let uses = (0..segments).map(|_| Use { calls: 0.into(), lent: true.into() });
        Lending { on: how.is_some().into(), how, segments: uses.collect() }
    }

    /// Whether anything is lent.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(SeqCst)
    }

    /// Begins a call that reads from a segment.
    pub(super) fn enter(&self, number: usize) -> Option<Held<'_>> {
        let segment = self.segments.get(number)?;
        segment.lent.store(true, SeqCst);
        segment.calls.fetch_add(1, SeqCst);
        Some(Held(segment))
    }

    /// Waits until no call reads from a segment. None can begin: its generation is another one.
    pub(super) fn quiesce(&self, number: usize) {
        let Some(segment) = self.segments.get(number) else { return };
        // Such a call waits for nothing, unless memory is so short that what was in the page cache
        // a moment ago is not any more.
        while segment.calls.load(SeqCst) > 0 {
            std::thread::yield_now();
        }
    }

    /// Makes the pages of a segment those of the sockets that have them.
    ///
    /// # Errors
    /// As the system gives them. Then the segment must not be written.
    pub(super) fn discard(
        &self,
        log: &File,
        number: usize,
        start: u64,
        length: u64,
    ) -> io::Result<()> {
        let Some((segment, how)) = self.segments.get(number).zip(self.how) else { return Ok(()) };
        if !segment.lent.load(SeqCst) {
            return Ok(());
        }
        // What was never written has no pages, and needs no place on the disk yet.
        let has_data = match seek(log, SeekFrom::Data(start)) {
            Ok(at) => at < start + length,
            Err(Errno::NXIO) => false,
            Err(_) => true,
        };
        if has_data {
            match fallocate(log, how, start, length) {
                // Its place on the disk may go to others; that is better than nothing.
                Err(_) if how != PUNCH => fallocate(log, PUNCH, start, length)?,
                result => result?,
            }
        }
        segment.lent.store(false, SeqCst);
        Ok(())
    }
}

/// A call that reads from a segment, until it is dropped.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a Use);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, SeqCst);
    }
}

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
/// Keeps the place on the disk, so that nobody else takes it.
const ZERO: FallocateFlags = FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE);

/// How a file system lets go of pages; `None` if it does not, or is not one of those that are known
/// to take them out of the page cache rather than to clear them there.
fn discards(like: &File) -> Option<FallocateFlags> {
    // ext4, XFS, btrfs, tmpfs, and overlays, which are above one of these.
    const KNOWN: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];
    let kind = fstatfs(like).ok()?.f_type as u64;
    if !KNOWN.contains(&(kind & 0xffff_ffff)) {
        return None;
    }
    let works = |how| fallocate(like, how, 0, 4096).is_ok();
    let zero = works(ZERO);
    works(PUNCH).then_some(if zero { ZERO } else { PUNCH })
}
