//! Exact counts of outcomes over the last seconds.
//!
//! A ring of slots: what is older than the window has fallen off to the last unit, with nothing
//! decayed or estimated. (An average that fades was tried by linkerd for its breaker and replaced
//! by such a ring: a short burst hardly moved it and hid whole outages.) Called by
//! [`crate::breaker`] and [`crate::retry`].

use std::time::Duration;

/// Outcomes of requests. `failed` and `slow` are parts of `total` and may overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those whose answer took longer than it should.
    pub slow: u64,
}

impl Counts {
    /// Both together, modulo 2^64.
    #[must_use]
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            total: self.total.wrapping_add(other.total),
            failed: self.failed.wrapping_add(other.failed),
            slow: self.slow.wrapping_add(other.slow),
        }
    }

    /// What is left of these without `other`, modulo 2^64: the difference of two readings of
    /// counters.
    #[must_use]
    pub fn minus(self, other: Counts) -> Counts {
        Counts {
            total: self.total.wrapping_sub(other.total),
            failed: self.failed.wrapping_sub(other.failed),
            slow: self.slow.wrapping_sub(other.slow),
        }
    }
}

/// Counts over a sliding window.
///
/// The window covers the slot of `now` and those before it: from `length - length / slots` to
/// `length` back. Adding and summing cost a step for each slot that has ended since.
#[derive(Debug, Clone)]
pub struct Window {
    slots: Box<[Counts]>,
    width: u128,
    newest: u128,
    sums: Counts,
}

impl Window {
    /// A window of `length` in `slots` slots (at least 1, each at least a nanosecond long).
    pub fn new(length: Duration, slots: usize) -> Window {
        let slots = slots.max(1);
        Window {
            slots: vec![Counts::default(); slots].into_boxed_slice(),
            width: (length.as_nanos() / slots as u128).max(1),
            newest: 0,
            sums: Counts::default(),
        }
    }

    /// Counts at `now`. A time before the latest that was seen counts as that: clocks do not run
    /// backwards here.
    pub fn add(&mut self, now: Duration, counts: Counts) {
        self.advance(now);
        let slot = self.slot(self.newest);
        self.slots[slot] = self.slots[slot].plus(counts);
        self.sums = self.sums.plus(counts);
    }

    /// What was counted in the window that ends at `now`.
    pub fn sums(&mut self, now: Duration) -> Counts {
        self.advance(now);
        self.sums
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(Counts::default());
        self.sums = Counts::default();
    }

    fn advance(&mut self, now: Duration) {
        let newest = now.as_nanos() / self.width;
        let ended = newest.saturating_sub(self.newest);
        if ended >= self.slots.len() as u128 {
            self.clear();
        } else {
            for number in self.newest + 1..=self.newest + ended {
                let slot = self.slot(number);
                self.sums = self.sums.minus(std::mem::take(&mut self.slots[slot]));
            }
        }
        self.newest += ended;
    }

    fn slot(&self, number: u128) -> usize {
        (number % self.slots.len() as u128) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn counts(total: u64, failed: u64, slow: u64) -> Counts {
        Counts { total, failed, slow }
    }

    #[test]
    fn old_slots_fall_off_whole() {
        let ms = Duration::from_millis;
        let mut window = Window::new(ms(1000), 10);
        window.add(ms(0), counts(5, 1, 0));
        window.add(ms(99), counts(5, 0, 1));
        window.add(ms(100), counts(1, 1, 1));
        assert_eq!(window.sums(ms(999)), counts(11, 2, 2));
        assert_eq!(window.sums(ms(1000)), counts(1, 1, 1));
        assert_eq!(window.sums(ms(1099)), counts(1, 1, 1));
        assert_eq!(window.sums(ms(1100)), Counts::default());
        window.add(ms(1100), counts(2, 0, 0));
        window.add(ms(5), counts(3, 0, 0));
        assert_eq!(window.sums(ms(2099)), counts(5, 0, 0), "an earlier time is the latest seen");
        assert_eq!(window.sums(Duration::MAX), Counts::default());
        window.add(Duration::MAX, counts(1, 0, 0));
        assert_eq!(window.sums(Duration::MAX), counts(1, 0, 0));
        window.clear();
        assert_eq!(window.sums(Duration::MAX), Counts::default());
    }

    #[test]
    fn odd_sizes_are_made_to_fit() {
        let mut window = Window::new(Duration::ZERO, 0);
        window.add(Duration::ZERO, counts(1, 0, 0));
        assert_eq!(window.sums(Duration::ZERO), counts(1, 0, 0));
        assert_eq!(window.sums(Duration::from_nanos(1)), Counts::default());
    }

    /// Compared with a list of everything that was ever added.
    #[test]
    fn sums_are_exact_whatever_the_times() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let slots = 1 + random.below(20) as usize;
            let width = 1 + random.below(1000);
            let mut window = Window::new(Duration::from_nanos(width * slots as u64), slots);
            let mut all: Vec<(u64, Counts)> = Vec::new();
            let mut now = 0;
            for _ in 0..500 {
                let jump = match random.below(10) {
                    0 => width * slots as u64 * random.below(5),
                    1..5 => random.below(width * 3),
                    _ => random.below(width / 4 + 1),
                };
                now += jump;
                let add = counts(random.below(9), random.below(4), random.below(4));
                window.add(Duration::from_nanos(now), add);
                all.push((now / width, add));
                let first = (now / width).saturating_sub(slots as u64 - 1);
                let expect = all
                    .iter()
                    .filter(|(slot, _)| *slot >= first)
                    .fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts));
                assert_eq!(window.sums(Duration::from_nanos(now)), expect, "seed {seed} at {now}");
            }
        }
    }
}
