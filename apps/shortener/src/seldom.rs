//! A line of the log for what may happen thousands of times a second, such as while the database is
//! away: once a second, so that the log does not fill the disk that the database needs.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Lets one through a second.
#[derive(Debug)]
pub struct Seldom {
    /// The second, from 1, from which on the next may be told.
    next: AtomicU64,
    passed_over: AtomicU64,
}

impl Seldom {
    /// Whose first may be told.
    pub const fn new() -> Seldom {
        Seldom { next: AtomicU64::new(0), passed_over: AtomicU64::new(0) }
    }

    /// Whether this one may be told now, and how many before it were not.
    pub fn may(&self) -> Option<u64> {
        self.may_at(START.elapsed().as_secs() + 1)
    }

    fn may_at(&self, second: u64) -> Option<u64> {
        let next = self.next.load(Relaxed);
        let is_first = second >= next
            && self.next.compare_exchange(next, second + 1, Relaxed, Relaxed).is_ok();
        if !is_first {
            self.passed_over.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.passed_over.swap(0, Relaxed))
    }
}

impl Default for Seldom {
    fn default() -> Seldom {
        Seldom::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_told_and_how_many_were_not() {
        let seldom = Seldom::new();
        let told: Vec<_> = [1, 1, 1, 2, 2, 5, 5, 6].map(|second| seldom.may_at(second)).into();
        let expect = [Some(0), None, None, Some(2), None, Some(1), None, Some(1)];
        assert_eq!(told, expect);
    }
}
