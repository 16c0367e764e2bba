//! Stepping back from a disk that fails: trying again now and then, with growing pauses.
//!
//! Pure: the moment is an argument.

use crate::Millis;

/// The pause after the first failure, in milliseconds.
const FIRST: u64 = 5_000;
/// The longest pause, in milliseconds.
const LONGEST: u64 = 300_000;

/// Whether something that fails may be tried.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pause: u64,
    until: Millis,
}

impl Backoff {
    /// It failed. Returns the pause that follows, in milliseconds: 5 s at first, then twice the
    /// last one, 5 min at most.
    pub(super) fn fail(&mut self, now: Millis) -> u64 {
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.until = now + self.pause;
        self.pause
    }

    /// It worked. Returns whether it had failed before.
    pub(super) fn succeed(&mut self) -> bool {
        let failed = self.pause > 0;
        *self = Backoff::default();
        failed
    }

    /// Milliseconds until it may be tried; 0 if it may be now.
    pub(super) fn wait(&self, now: Millis) -> u64 {
        self.until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_end_with_a_success() {
        let mut backoff = Backoff::default();
        let mut now = 1;
        for pause in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            assert_eq!(backoff.wait(now), 0);
            assert_eq!(backoff.fail(now), pause);
            assert_eq!(backoff.wait(now), pause);
            assert_eq!(backoff.wait(now + pause - 1), 1);
            now += pause;
        }
        assert!(backoff.succeed());
        assert!(!backoff.succeed());
        assert_eq!(backoff.fail(now), 5_000);
    }
}
