//! What was fetched lately, approximately: so that what is fetched a second time is worth its place
//! on disk, and what is asked for once never takes any.
//!
//! A table of fixed size with a part of the hash of each key, where the newer takes the place of the
//! older. Pure, and shared without a lock.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Keys that are remembered, at most; 1 MiB.
const KEYS: usize = 1 << 18;

/// Keys that were fetched lately.
#[derive(Debug)]
pub(super) struct Seen(Box<[AtomicU32]>);

impl Seen {
    pub(super) fn new() -> Seen {
        Seen((0..KEYS).map(|_| AtomicU32::new(0)).collect())
    }

    /// Remembers a key by its hash. Returns whether it was known; wrongly so for one key in about
    /// two billion.
    pub(super) fn again(&self, hash: u64) -> bool {
        // Odd, since an empty place is not.
        let mark = (hash >> 32) as u32 | 1;
        self.0[hash as usize % KEYS].swap(mark, Relaxed) == mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_the_second_time_until_another_takes_its_place() {
        let seen = Seen::new();
        let keys = [0, 7, 1 << 40, (1 << 40) + 1, u64::MAX];
        assert!(keys.iter().all(|key| !seen.again(*key) && seen.again(*key)));
        let other = 7 + (2 << 32);
        assert!(!seen.again(other) && seen.again(other));
        assert!(!seen.again(7));
    }
}
