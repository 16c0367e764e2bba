//! The writer: a thread that writes what workers leave in its queue, makes room, and steps back
//! when the disk fails.
//!
//! Stamps go before records, so that what was purged is known before anything that was stored
//! after it. What waits is written together, about a mebibyte at a time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault::DiskFault;
use super::index::{Item, What};
use super::log::{Log, bytes, volume_share};
use super::recover::recover;
use super::stamping::Ack;
use super::volume::{Opening, Volume};
use super::{Shared, held};

/// Bytes that may wait to be written; what comes then is dropped.
const QUEUE_BYTES: usize = 32 << 20;
/// Removals that may wait to be written.
const QUEUE_REMOVALS: usize = 1 << 16;
/// Bytes of records that are written together, unless one is longer.
const BATCH: u64 = 1 << 20;
/// Milliseconds between looks at whether the directory is still there.
const LOOK: u64 = 5_000;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    work: Condvar,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    removals: usize,
    /// The newest stamp of each slot that is to be written: bounded by the number of slots.
    stamps: HashMap<u32, [u64; 2]>,
    acks: Vec<Arc<Ack>>,
    /// Items that were ever put in, that were taken out, and that are done with.
    submitted: u64,
    taken: u64,
    done: u64,
    /// A table of the current segment is wanted; it is being written; how many were written.
    table: bool,
    tabling: bool,
    tables: u64,
    /// The writer has found what there was, and taken its first batch.
    begun: bool,
    stop: bool,
    ended: bool,
}

struct Batch {
    items: Vec<Arc<Item>>,
    stamps: HashMap<u32, [u64; 2]>,
    acks: Vec<Arc<Ack>>,
    table: bool,
    stop: bool,
}

impl Queue {
    /// Returns whether there was room. Never waits for the disk.
    pub(super) fn push(&self, item: &Arc<Item>) -> bool {
        let mut waiting = held(&self.waiting);
        let weight = item.weight();
        let room = match item.what {
            What::Blob { .. } => waiting.bytes + weight <= QUEUE_BYTES,
            What::Removal => waiting.removals < QUEUE_REMOVALS,
        };
        if !room || waiting.stop {
            return false;
        }
        waiting.bytes += weight;
        waiting.removals += usize::from(matches!(item.what, What::Removal));
        waiting.submitted += 1;
        waiting.items.push_back(Arc::clone(item));
        drop(waiting);
        self.work.notify_one();
        true
    }

    /// Whether half of what may wait does.
    pub(super) fn is_pressed(&self) -> bool {
        held(&self.waiting).bytes > QUEUE_BYTES / 2
    }

    /// Settles `ack` when this stamp, if there is one, is written, and all that wait now.
    pub(super) fn stamp(&self, stamp: Option<(u32, [u64; 2])>, ack: Arc<Ack>) {
        let mut waiting = held(&self.waiting);
        if waiting.stop {
            drop(waiting);
            return ack.settle(false);
        }
        waiting.stamps.extend(stamp);
        waiting.acks.push(ack);
        drop(waiting);
        self.work.notify_one();
    }

    /// Waits until all is written that waits now, and then the table of the current segment.
    /// Returns whether that was done in time.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let began = Instant::now();
        let waiting = held(&self.waiting);
        let target = waiting.submitted;
        let mut waiting = self.wait(waiting, limit, |waiting| waiting.done < target);
        let target = waiting.tables + 1 + u64::from(waiting.tabling);
        waiting.table = true;
        self.work.notify_one();
        let limit = limit.saturating_sub(began.elapsed());
        let waiting = self.wait(waiting, limit, |waiting| waiting.tables < target);
        waiting.tables >= target
    }

    /// Waits until the writer has found what there was. Returns whether it did in time.
    pub(super) fn begun(&self, limit: Duration) -> bool {
        self.wait(held(&self.waiting), limit, |waiting| !waiting.begun).begun
    }

    fn wait<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        limit: Duration,
        unfinished: impl Fn(&Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        let unfinished = |waiting: &mut Waiting| unfinished(waiting) && !waiting.ended;
        let waited = self.idle.wait_timeout_while(waiting, limit, unfinished);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Tells the writer to end, and waits until it did, at most so long.
    pub(super) fn close(&self, limit: Duration) {
        let mut waiting = held(&self.waiting);
        waiting.stop = true;
        self.work.notify_one();
        drop(self.idle.wait_timeout_while(waiting, limit, |waiting| !waiting.ended));
    }

    /// Nothing is written any more.
    pub(super) fn ended(&self) {
        let mut waiting = held(&self.waiting);
        waiting.ended = true;
        waiting.stop = true;
        let acks = std::mem::take(&mut waiting.acks);
        drop(waiting);
        self.idle.notify_all();
        for ack in acks {
            ack.settle(false);
        }
    }

    fn take_stamps(&self) -> (HashMap<u32, [u64; 2]>, Vec<Arc<Ack>>) {
        let mut waiting = held(&self.waiting);
        (std::mem::take(&mut waiting.stamps), std::mem::take(&mut waiting.acks))
    }

    /// The next batch; an empty one after `wait`. What the last one held is done.
    fn take(&self, wait: Duration) -> Batch {
        let mut waiting = held(&self.waiting);
        waiting.begun = true;
        waiting.done = waiting.taken;
        waiting.tables += u64::from(std::mem::take(&mut waiting.tabling));
        self.idle.notify_all();
        let nothing = |waiting: &mut Waiting| !waiting.pending();
        let waited = self.work.wait_timeout_while(waiting, wait, nothing);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;

        let mut items = Vec::new();
        let mut length = 0;
        while let Some(item) = waiting.items.pop_front() {
            length += bytes(&item);
            if length > BATCH && !items.is_empty() {
                waiting.items.push_front(item);
                break;
            }
            waiting.bytes -= item.weight();
            waiting.removals -= usize::from(matches!(item.what, What::Removal));
            items.push(item);
        }
        waiting.taken += items.len() as u64;
        waiting.tabling = std::mem::take(&mut waiting.table);
        Batch {
            items,
            stamps: std::mem::take(&mut waiting.stamps),
            acks: std::mem::take(&mut waiting.acks),
            table: waiting.tabling,
            stop: waiting.stop,
        }
    }
}

impl Waiting {
    fn pending(&self) -> bool {
        !self.items.is_empty() || !self.acks.is_empty() || self.table || self.stop
    }
}

/// What the writer's thread does until the queue is closed.
pub(super) fn run(shared: &Shared) {
    // Dropped last, also by a panic: nobody waits for a writer that is no more.
    let _ended = Ended(shared);
    let mut writer = Writer { shared, log: None, looked: shared.now() };
    if let Some(volume) = shared.volume() {
        writer.begin(volume);
    }
    loop {
        let batch = shared.writes.take(writer.patience());
        if !batch.acks.is_empty() {
            writer.stamp(&batch);
        }
        if !batch.items.is_empty() {
            writer.append(&batch.items);
        }
        if batch.table {
            // Without it the next start takes longer, no more.
            let _ = writer.log.as_mut().map(Log::write_table);
        }
        if batch.stop {
            break;
        }
        writer.make_room();
        writer.look();
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether all of them were.
fn write_stamps(shared: &Shared, volume: &Volume, stamps: &HashMap<u32, [u64; 2]>) -> bool {
    let mut stamps = stamps.iter();
    let written = stamps.try_for_each(|(slot, stamp)| volume.write_stamp(*slot, *stamp));
    written.map_err(|error| shared.write_failed(&error)).is_ok()
}

struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.writes.ended();
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    log: Option<Log>,
    /// When it was last looked at whether the directory is still there.
    looked: u64,
}

impl Writer<'_> {
    fn begin(&mut self, volume: Arc<Volume>) {
        // A failure shows again with the first write.
        let _ = volume.sync_header();
        let shared = self.shared;
        let mut stamped = true;
        // Purges need not wait for the end of this.
        let between = || {
            let (stamps, acks) = shared.writes.take_stamps();
            let written = write_stamps(shared, &volume, &stamps);
            stamped &= written;
            let kept = written || volume.condemn().is_ok();
            acks.iter().for_each(|ack| ack.settle(kept));
        };
        let (index, most) = (&shared.index, shared.most_entries);
        let mut log = recover(Arc::clone(&volume), index, most, &shared.stop, between);
        if !stamped {
            self.condemn(&volume);
            shared.recovering.store(false, Relaxed);
            return;
        }
        if log.free.is_empty() {
            log.reclaim(volume_share(&log.volume));
        }
        self.log = Some(log);
        shared.recovering.store(false, Relaxed);
    }

    /// How long it may sleep when nobody has work for it.
    fn patience(&self) -> Duration {
        match &self.log {
            Some(log) if log.evacuation.is_some() => Duration::ZERO,
            Some(_) => Duration::from_millis(LOOK),
            None => Duration::from_millis(self.shared.until_retry().clamp(1, LOOK)),
        }
    }

    fn append(&mut self, items: &[Arc<Item>]) {
        let shared = self.shared;
        let written = match &mut self.log {
            Some(log) if shared.may_write() => log.append(items, &shared.index, &shared.counts),
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        match written {
            Ok(()) => shared.write_worked(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotConnected {
                    shared.write_failed(&error);
                }
                if let Some(log) = &mut self.log
                    && is_full(&error)
                {
                    log.retreat(&shared.index, &shared.counts);
                }
                for item in items {
                    if shared.index.settle(item, None) {
                        shared.counts.dropped.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }

    fn stamp(&mut self, batch: &Batch) {
        let Some(volume) = self.log.as_ref().map(|log| Arc::clone(&log.volume)) else {
            return batch.acks.iter().for_each(|ack| ack.settle(false));
        };
        let written = write_stamps(self.shared, &volume, &batch.stamps);
        let kept = written || self.condemn(&volume);
        batch.acks.iter().for_each(|ack| ack.settle(kept));
    }

    /// A start must not find what was purged, so nothing is served from here, now or then. Returns
    /// whether that is sure.
    fn condemn(&mut self, volume: &Volume) -> bool {
        let condemned = volume.condemn().is_ok();
        self.give_up();
        self.shared.lost(&DiskFault::Unstamped { path: volume.path().to_owned() });
        condemned
    }

    /// Reclaims what there is to reclaim, a little at a time.
    fn make_room(&mut self) {
        let shared = self.shared;
        let Some(log) = &mut self.log else { return };
        if log.evacuation.is_none() && shared.index.entries() > shared.most_entries {
            log.reclaim(0);
        }
        if let Err(error) = log.evacuate(&shared.index, &shared.counts) {
            log.finish_evacuation(&shared.index, &shared.counts);
            shared.write_failed(&error);
        }
    }

    /// Looks whether the directory is still there, and opens it again if it was not.
    fn look(&mut self) {
        let shared = self.shared;
        let now = shared.now();
        if let Some(log) = &self.log {
            if now < self.looked + LOOK && !shared.suspicious() {
                return;
            }
            self.looked = now;
            if log.volume.is_gone() {
                let path = log.volume.path().to_owned();
                self.give_up();
                shared.lost(&DiskFault::Gone { path });
            }
        } else if shared.until_retry() == 0 {
            // What it holds may have been purged while this process did without it.
            let stamps = held(&shared.stamps).clone();
            let anew = Some((shared.seeds, &stamps[..]));
            let opening =
                Opening { path: &shared.path, size: shared.size, anew, slots: stamps.len() as u32 };
            match Volume::open(opening) {
                Ok((volume, _)) => {
                    let volume = Arc::new(volume);
                    shared.found(Arc::clone(&volume));
                    self.begin(volume);
                }
                Err(fault) => shared.lost(&fault),
            }
        }
    }

    /// Does without the directory; it is opened again, and made anew, after a while.
    fn give_up(&mut self) {
        self.log = None;
        self.shared.leave();
    }
}
