//! How the disk tier does, and what it says of that: once when it steps back, once when it is
//! well again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::backoff::Backoff;
use super::fault::{DiskFault, advice};
use super::volume::Volume;
use super::{Shared, held};
use crate::Millis;

/// Reads that fail one after the other before no more are tried for a while. One may fail for a
/// bad sector.
const FAILURES: u32 = 8;

/// Milliseconds before the log says the same once more.
const SAY_AGAIN: u64 = 3_600_000;

/// How the disk tier does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It works.
    Working,
    /// It works, but what was stored before the start is not all found yet.
    Recovering,
    /// It has stepped back, wholly or in part, and tries again now and then.
    Degraded(Box<str>),
}

/// What is known of the disk.
#[derive(Debug, Default)]
pub(super) struct Health {
    reads: Side,
    writes: Side,
    /// The whole directory.
    whole: Side,
}

#[derive(Debug, Default)]
struct Side {
    backoff: Backoff,
    /// Why it was given up.
    reason: Option<Box<str>>,
    /// What was said of it last, and when.
    said: Option<(Box<str>, Millis)>,
}

impl Health {
    pub(super) fn condition(&self, recovering: bool) -> Condition {
        let sides = [&self.whole, &self.writes, &self.reads];
        match sides.into_iter().find_map(|side| side.reason.as_ref()) {
            Some(reason) => Condition::Degraded(reason.clone()),
            None if recovering => Condition::Recovering,
            None => Condition::Working,
        }
    }
}

impl Side {
    /// Returns until when nothing is tried, and what is to be logged: a reason that is new, or was
    /// not said for an hour.
    fn fail(&mut self, reason: String, now: Millis) -> (Millis, Option<&str>) {
        let reason = self.reason.insert(reason.into());
        let said = self.said.as_ref();
        let old = said.is_some_and(|(said, when)| said == reason && now - when < SAY_AGAIN);
        if !old {
            self.said = Some((reason.clone(), now));
        }
        (now + self.backoff.fail(now), (!old).then_some(reason))
    }

    /// Returns whether it had failed.
    fn succeed(&mut self) -> bool {
        self.reason = None;
        self.backoff.succeed()
    }
}

impl Shared {
    /// Milliseconds since it was opened.
    pub(super) fn now(&self) -> Millis {
        // 1 and up: 0 stands for "at any time".
        1 + self.began.elapsed().as_millis() as u64
    }

    pub(super) fn may_read(&self) -> bool {
        allows(self.readable.load(Relaxed), || self.now())
    }

    pub(super) fn may_write(&self) -> bool {
        allows(self.writable.load(Relaxed), || self.now())
    }

    /// Whether something failed since this was asked last, so that the directory may be gone.
    pub(super) fn suspicious(&self) -> bool {
        self.suspicious.load(Relaxed) && self.suspicious.swap(false, Relaxed)
    }

    /// Milliseconds until the directory may be opened again.
    pub(super) fn until_retry(&self) -> u64 {
        held(&self.health).whole.backoff.wait(self.now())
    }

    pub(super) fn read_worked(&self) {
        // Nothing to be done in nearly all cases, so without the lock.
        if self.failing_reads.load(Relaxed) == 0 {
            return;
        }
        self.failing_reads.store(0, Relaxed);
        if held(&self.health).reads.succeed() {
            self.readable.store(0, Relaxed);
            tracing::info!("the disk cache in {} can be read again", self.path.display());
        }
    }

    pub(super) fn read_failed(&self, error: &io::Error) {
        self.counts.errors.fetch_add(1, Relaxed);
        self.counts.read_errors.fetch_add(1, Relaxed);
        self.suspicious.store(true, Relaxed);
        if self.failing_reads.fetch_add(1, Relaxed) + 1 < FAILURES {
            return;
        }
        let mut health = held(&self.health);
        let path = self.path.display();
        let reason = format!("cannot read {path}: {error}; {}", advice(error));
        let (until, news) = health.reads.fail(reason, self.now());
        self.readable.store(until, Relaxed);
        if let Some(reason) = news {
            tracing::warn!("the disk cache is not read for a while: {reason}");
        }
    }

    pub(super) fn write_worked(&self) {
        if self.writable.load(Relaxed) != 0 && held(&self.health).writes.succeed() {
            self.writable.store(0, Relaxed);
            tracing::info!("the disk cache in {} can be written again", self.path.display());
        }
    }

    pub(super) fn write_failed(&self, error: &io::Error) {
        self.counts.errors.fetch_add(1, Relaxed);
        self.suspicious.store(true, Relaxed);
        let path = self.path.display();
        let reason = format!("cannot write {path}: {error}; {}", advice(error));
        let mut health = held(&self.health);
        let (until, news) = health.writes.fail(reason, self.now());
        self.writable.store(until, Relaxed);
        if let Some(reason) = news {
            tracing::warn!("the disk cache is not written for a while: {reason}");
        }
    }

    /// The directory cannot be used; it is opened again after a while.
    pub(super) fn lost(&self, fault: &DiskFault) {
        self.counts.errors.fetch_add(1, Relaxed);
        let mut health = held(&self.health);
        let (_, news) = health.whole.fail(fault.to_string(), self.now());
        self.readable.store(Millis::MAX, Relaxed);
        self.writable.store(Millis::MAX, Relaxed);
        if let Some(reason) = news {
            tracing::warn!("no disk cache for now: {reason}");
        }
    }

    /// Lets go of the directory and of all that is known of it.
    pub(super) fn leave(&self) {
        let volume = self.volume();
        self.set_volume(None);
        volume.inspect(|volume| volume.retire());
        // Behind that, so that no entry is ever looked up in a volume that it is not of.
        self.index.forget_between(0, u64::MAX);
    }

    /// The directory was opened again.
    pub(super) fn found(&self, volume: Arc<Volume>) {
        self.recovering.store(true, Relaxed);
        self.set_volume(Some(volume));
        let mut health = held(&self.health);
        let Health { reads, writes, whole } = &mut *health;
        for side in [reads, writes, whole] {
            side.succeed();
        }
        self.readable.store(0, Relaxed);
        self.writable.store(0, Relaxed);
        tracing::info!("the disk cache in {} is used again, empty", self.path.display());
    }
}

/// Whether a moment has come; 0 has always.
fn allows(until: Millis, now: impl Fn() -> Millis) -> bool {
    until == 0 || now() >= until
}
