//! The tier of the look-up in this process: what was found, for as long as it is known to be so.
//!
//! A slot is served while one of two things holds: it was read no longer ago than `memory-ttl`; or
//! the changes of the database were followed up to no longer ago than that, and the slot is not
//! among what they changed. So another instance's change goes unseen for `memory-ttl` at most, and
//! yet nothing is read again that has not changed. It never asks anybody. Called by `resolve.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;

use super::Found;

/// Milliseconds since the start of this process, which never go back.
pub(super) type Ticks = u64;

/// How long a change is remembered: until then a link is read from the primary, and answers that
/// were asked for before are not kept.
pub(super) const RECENT: Duration = Duration::from_secs(10);

/// Changes that are remembered one by one; with more within [`RECENT`], every link counts as
/// changed.
const MOST_RECENT: usize = 100_000;

/// What was found, and what is known about its age.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) found: Found,
    /// When the question was asked.
    pub(super) asked: Ticks,
    /// From then on it is asked again whatever is known.
    pub(super) until: Ticks,
}

/// Whether a slot may be served.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    /// It is how things are.
    Current(Slot),
    /// Nobody has said otherwise, but nobody could have.
    Unsure(Slot),
    /// There is none.
    Nothing,
}

/// The tier.
pub(super) struct Memory {
    start: Instant,
    ttl: Ticks,
    links: Option<Slots>,
    /// Codes that lead nowhere are apart, so that whoever tries codes out cannot drive links away.
    missing: Option<Slots>,
    /// Up to when the changes are known.
    followed: AtomicU64,
    recent: Recent,
}

type Slots = Cache<Box<str>, Slot, UnitWeighter, RandomState>;

impl Memory {
    /// A tier for so many links; 0: it keeps nothing.
    pub(super) fn new(capacity: usize, ttl: Duration) -> Memory {
        let slots = |capacity| {
            Cache::with(
                capacity,
                capacity as u64,
                UnitWeighter,
                RandomState::default(),
                Default::default(),
            )
        };
        let is_on = capacity > 0;
        Memory {
            start: Instant::now(),
            ttl: ticks(ttl),
            links: is_on.then(|| slots(capacity)),
            missing: is_on.then(|| slots((capacity / 4).max(1024))),
            followed: AtomicU64::new(0),
            recent: Recent::default(),
        }
    }

    /// The time by this tier's clock.
    #[inline]
    pub(super) fn now(&self) -> Ticks {
        ticks(self.start.elapsed())
    }

    /// What is kept of a code.
    #[inline]
    pub(super) fn look_up(&self, code: &str, now: Ticks) -> Kept {
        let (Some(links), Some(missing)) = (&self.links, &self.missing) else {
            return Kept::Nothing;
        };
        let Some(slot) = links.get(code).or_else(|| missing.get(code)) else {
            return Kept::Nothing;
        };
        if now >= slot.until {
            return Kept::Nothing;
        }
        let seen = self.followed.load(Acquire).max(slot.asked);
        if now.saturating_sub(seen) <= self.ttl { Kept::Current(slot) } else { Kept::Unsure(slot) }
    }

    /// Keeps what was found, unless the link has changed since the question was asked.
    pub(super) fn keep(&self, code: &str, slot: Slot) {
        let (Some(links), Some(missing)) = (&self.links, &self.missing) else {
            return;
        };
        let asked = slot.asked;
        if let Found::Link(_) = slot.found {
            missing.remove(code);
            links.insert(code.into(), slot);
        } else {
            links.remove(code);
            missing.insert(code.into(), slot);
        }
        // Looked at after it is in, so that no change can slip in between: `forget` notes the
        // change first and removes then.
        if self.recent.changed_since(code, asked) {
            self.remove(code);
        }
    }

    /// A link has changed.
    pub(super) fn forget(&self, code: &str) {
        self.recent.note(code, self.now());
        self.remove(code);
    }

    /// All that is kept may be wrong.
    pub(super) fn forget_all(&self) {
        self.recent.note_all(self.now());
        for slots in [&self.links, &self.missing].into_iter().flatten() {
            slots.clear();
        }
    }

    /// All changes that were made before then have been told to [`Memory::forget`].
    pub(super) fn followed(&self, then: Ticks) {
        self.followed.fetch_max(then, Release);
    }

    /// Whether a link has changed a short while ago, so that only the primary is sure to know.
    #[inline]
    pub(super) fn is_recent(&self, code: &str, now: Ticks) -> bool {
        self.recent.changed_since(code, now.saturating_sub(ticks(RECENT)))
    }

    /// Links and unknown codes that are kept.
    pub(super) fn len(&self) -> (usize, usize) {
        let len = |slots: &Option<Slots>| slots.as_ref().map_or(0, |slots| slots.len());
        (len(&self.links), len(&self.missing))
    }

    fn remove(&self, code: &str) {
        for slots in [&self.links, &self.missing].into_iter().flatten() {
            slots.remove(code);
        }
    }
}

/// Links that changed within [`RECENT`], and when.
#[derive(Default)]
struct Recent {
    /// Of `changes`, so that who finds nothing needs no lock.
    count: AtomicUsize,
    changes: Mutex<Changes>,
    /// One more than when everything changed last; 0: never.
    all: AtomicU64,
}

#[derive(Default)]
struct Changes {
    at: HashMap<Box<str>, Ticks, RandomState>,
    /// When it was last looked for those that are not recent any more.
    swept: Ticks,
}

impl Recent {
    fn note(&self, code: &str, now: Ticks) {
        let mut changes = self.lock();
        let old = now.saturating_sub(ticks(RECENT));
        if changes.at.len() >= MOST_RECENT || changes.swept < old {
            changes.at.retain(|_, at| *at >= old);
            changes.swept = now;
        }
        if changes.at.len() >= MOST_RECENT {
            changes.at.clear();
            self.note_all(now);
        }
        changes.at.insert(code.into(), now);
        self.count.store(changes.at.len(), SeqCst);
    }

    fn note_all(&self, now: Ticks) {
        self.all.fetch_max(now + 1, SeqCst);
    }

    fn changed_since(&self, code: &str, then: Ticks) -> bool {
        if self.all.load(SeqCst) > then {
            return true;
        }
        self.count.load(SeqCst) > 0 && self.lock().at.get(code).is_some_and(|at| *at >= then)
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration in whole milliseconds.
pub(super) fn ticks(duration: Duration) -> Ticks {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
