//! What was invalidated, by generation counters.
//!
//! Objects carry *labels*, 32-bit hashes of whatever they can be purged by: a tag, their URL, a
//! prefix of it, their host, a namespace. A purge writes its sequence number into one slot of a
//! fixed table, `label & mask`; an object is purged if a slot of one of its labels has a newer
//! number than the one that was current when its fetch began. So a purge costs the same whatever
//! the number of objects, nothing is listed, and purged objects are found when they are next looked
//! at.
//!
//! Labels that share a slot are purged together, since a slot does not know whose number it has:
//! with `n` slots and `k` labels an object, a purge of something else hits it with a probability of
//! `k / n`. Never the other way round: what was purged is purged. Labels of URLs have
//! slots of their own, so that what clients can purge hits nothing but URLs.
//!
//! A sequence number is the wall clock in milliseconds, shifted, and a counter below it (a hybrid
//! logical clock; Kulkarni et al., OPODIS 2014), so it only grows, also over restarts when the table
//! is restored, and tells when the purge was.
//!
//! Does no I/O: the disk tier keeps [`Stamp`]s and gives them back. [`crate::store`] calls it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::Millis;

/// How what is purged is treated from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is stale: it may be served while it is fetched anew, and when the origin fails.
    Soft,
    /// It is gone.
    Hard,
}

/// That an object was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// It is stale since then.
    Soft(Millis),
    /// It must not be served any more.
    Hard,
}

/// A slot of the table as it is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its position.
    pub slot: u32,
    /// The sequence number of its last hard purge, 0 if there was none.
    pub hard: u64,
    /// The sequence number of its last soft purge, 0 if there was none.
    pub soft: u64,
}

/// The table. Reading takes no lock; purges wait for each other.
#[derive(Debug)]
pub struct Purges {
    slots: Box<[Slot]>,
    /// That of the newest purge, written after its stamp: who reads this number sees the stamps of
    /// all purges up to it.
    sequence: AtomicU64,
    /// Purges since the process began, written last.
    count: AtomicU64,
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Slot {
    hard: AtomicU64,
    soft: AtomicU64,
}

impl Purges {
    /// An empty table for a store with `budget` bytes: about a slot for every 512 of them, but no
    /// less than 2^12 and no more than 2^24, of 16 bytes each.
    pub fn new(budget: u64) -> Purges {
        let wanted = (budget / BYTES_A_SLOT).max(1);
        let slots = 1usize << wanted.ilog2().clamp(FEWEST.ilog2(), MOST.ilog2());
        Purges {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            sequence: AtomicU64::new(0),
            count: AtomicU64::new(0),
            writing: Mutex::new(()),
        }
    }

    /// The number of the newest purge. Who begins a fetch takes it first, for
    /// [`Meta::sequence`](crate::object::Meta::sequence): purges after that hold for what is
    /// fetched, since the origin may have answered before them.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// How many purges there were since the process began, as far as that can be told: what was
    /// checked at an epoch need not be checked again as long as it is the same. `None` when there
    /// were more than four thousand million: then everything is checked each time.
    #[inline]
    pub fn epoch(&self) -> Option<u32> {
        u32::try_from(self.count.load(Ordering::Acquire)).ok()
    }

    /// Purges everything with this label. `now` is the wall clock; if it went back, the order of
    /// purges is kept all the same. Returns what is to be kept on disk.
    pub fn purge(&self, label: u32, kind: Kind, now: Millis) -> Stamp {
        let position = self.position(label);
        let slot = &self.slots[position];
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = (self.sequence.load(Ordering::Relaxed) + 1).max(now << COUNTER_BITS);
        match kind {
            Kind::Hard => slot.hard.store(sequence, Ordering::Relaxed),
            Kind::Soft => slot.soft.store(sequence, Ordering::Relaxed),
        }
        self.publish(sequence);
        self.stamp(position)
    }

    /// Whether something with these labels, whose fetch began at `since`, was purged after that.
    #[inline]
    pub fn check(&self, since: u64, labels: impl Iterator<Item = u32>) -> Option<Purged> {
        if since >= self.sequence() {
            return None;
        }
        let mut soft = 0;
        for label in labels {
            let slot = &self.slots[self.position(label)];
            if slot.hard.load(Ordering::Relaxed) > since {
                return Some(Purged::Hard);
            }
            soft = soft.max(slot.soft.load(Ordering::Relaxed));
        }
        (soft > since).then_some(Purged::Soft(soft >> COUNTER_BITS))
    }

    /// When any of these labels was purged last, softly or hard; `None` if none ever was.
    pub fn newest(&self, labels: impl Iterator<Item = u32>) -> Option<Millis> {
        let newest = self.newest_sequence(labels);
        (newest > 0).then_some(newest >> COUNTER_BITS)
    }

    /// The number of the last purge of any of these labels; 0 if none ever was purged.
    pub fn newest_sequence(&self, labels: impl Iterator<Item = u32>) -> u64 {
        let newest = labels.map(|label| {
            let slot = &self.slots[self.position(label)];
            slot.hard.load(Ordering::Relaxed).max(slot.soft.load(Ordering::Relaxed))
        });
        newest.max().unwrap_or(0)
    }

    /// Slots of the table, a power of two.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> u64 {
        size_of_val(&*self.slots) as u64
    }

    /// What is to be kept on disk of the slot of a label.
    pub fn stamp_of(&self, label: u32) -> Stamp {
        self.stamp(self.position(label))
    }

    /// All slots that were ever purged.
    pub fn snapshot(&self) -> impl Iterator<Item = Stamp> {
        (0..self.slots.len())
            .map(|position| self.stamp(position))
            .filter(|stamp| stamp.hard > 0 || stamp.soft > 0)
    }

    /// Takes over what was kept of a table of `slots` slots, a power of two, of whatever size.
    /// Nothing that was purged is forgotten: a slot that stood for several of this table is copied
    /// to all of them, and several that became one leave their newest number there.
    pub fn restore(&self, slots: usize, stamps: impl Iterator<Item = Stamp>) {
        debug_assert!(slots.is_power_of_two(), "the table was no power of two: {slots}");
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = self.sequence.load(Ordering::Relaxed);
        for stamp in stamps {
            let first = stamp.slot as usize & (slots - 1) & (self.slots.len() - 1);
            for position in (first..self.slots.len()).step_by(slots) {
                let slot = &self.slots[position];
                slot.hard.fetch_max(stamp.hard, Ordering::Relaxed);
                slot.soft.fetch_max(stamp.soft, Ordering::Relaxed);
            }
            newest = newest.max(stamp.hard).max(stamp.soft);
        }
        self.publish(newest);
    }

    /// Behind the stamps: nobody may believe to have checked up to here without having seen them.
    fn publish(&self, sequence: u64) {
        self.sequence.store(sequence, Ordering::Release);
        self.count.fetch_add(1, Ordering::Release);
    }

    fn position(&self, label: u32) -> usize {
        label as usize & (self.slots.len() - 1)
    }

    fn stamp(&self, position: usize) -> Stamp {
        let slot = &self.slots[position];
        Stamp {
            slot: position as u32,
            hard: slot.hard.load(Ordering::Relaxed),
            soft: slot.soft.load(Ordering::Relaxed),
        }
    }
}

/// Purges in one millisecond that keep their exact time: more borrow from the next.
const COUNTER_BITS: u32 = 16;

/// Bytes of the store's budget for which there is a slot.
const BYTES_A_SLOT: u64 = 512;

/// Fewest slots of a table.
const FEWEST: usize = 1 << 12;

/// Most slots of a table.
const MOST: usize = 1 << 24;
