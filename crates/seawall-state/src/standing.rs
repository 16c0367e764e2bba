//! Whether a node has applied all purges of its fleet, as atomics that every request can read.
//!
//! It is a statement about time: all that was purged before *then* is applied. So a node that was
//! stopped, and with it whoever could have marked it as behind, is behind for the first request
//! that it takes up again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::CURRENT;

/// Whether a node has applied all purges of its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All that were published more than [`CURRENT`] ago.
    Current,
    /// It is being told of those that it missed, or is about to find out that nobody tells it.
    CatchingUp,
    /// The state has been away for so long.
    Away(Duration),
}

/// Written by the task that follows purges, read by everybody.
#[derive(Debug)]
pub(crate) struct Mark {
    base: Instant,
    /// Milliseconds since `base`: all that was purged until then is applied. 0: nothing is known.
    applied: AtomicU64,
    /// Milliseconds since `base` when the state went away. 0: it is there.
    away: AtomicU64,
    changed: Notify,
}

impl Mark {
    pub(crate) fn new(now: Instant) -> Mark {
        // One second before now, so that no moment is 0 and the beginning is behind.
        let base = now.checked_sub(CURRENT).unwrap_or(now);
        Mark { base, applied: AtomicU64::new(0), away: AtomicU64::new(0), changed: Notify::new() }
    }

    #[inline]
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let since = self.away.load(Relaxed);
        if since != 0 {
            let since = Duration::from_millis(self.millis(now).saturating_sub(since));
            return Standing::Away(since);
        }
        let applied = self.applied.load(Relaxed);
        let behind = self.millis(now).saturating_sub(applied);
        match applied != 0 && Duration::from_millis(behind) <= CURRENT {
            true => Standing::Current,
            false => Standing::CatchingUp,
        }
    }

    /// All that was purged until `then` is applied.
    pub(crate) fn applied_until(&self, then: Instant) {
        self.applied.store(self.millis(then).max(1), Relaxed);
        self.away.store(0, Relaxed);
        self.changed.notify_waiters();
    }

    /// The state does not answer.
    pub(crate) fn away(&self, now: Instant) {
        if self.away.load(Relaxed) == 0 {
            self.away.store(self.millis(now).max(1), Relaxed);
        }
        self.changed.notify_waiters();
    }

    /// It answers again; what was missed is yet to come.
    pub(crate) fn back(&self) {
        self.away.store(0, Relaxed);
    }

    pub(crate) async fn settled(&self, at_most: Duration) -> Standing {
        let settled = || self.standing(Instant::now()) != Standing::CatchingUp;
        self.until(at_most, settled).await;
        self.standing(Instant::now())
    }

    /// Waits until something holds that can only begin to hold when more is applied, or the state
    /// goes away. Says whether it does.
    pub(crate) async fn until(&self, at_most: Duration, holds: impl Fn() -> bool) -> bool {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if holds() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(at_most, waiting).await.is_ok()
    }

    fn millis(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.base).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_current_only_for_a_while() {
        let start = Instant::now();
        let mark = Mark::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(mark.standing(start), Standing::CatchingUp, "nothing is known yet");
        mark.applied_until(at(10));
        assert_eq!(mark.standing(at(20)), Standing::Current);
        assert_eq!(mark.standing(at(1010)), Standing::Current);
        assert_eq!(mark.standing(at(1011)), Standing::CatchingUp, "as after a stop");
        mark.away(at(2000));
        mark.away(at(3000));
        assert_eq!(mark.standing(at(3500)), Standing::Away(Duration::from_millis(1500)));
        mark.back();
        assert_eq!(mark.standing(at(3600)), Standing::CatchingUp, "it may have missed something");
        mark.applied_until(at(3600));
        assert_eq!(mark.standing(at(3600)), Standing::Current);
    }
}
