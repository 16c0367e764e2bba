//! How much something is wanted, from all requests for it so far.
//!
//! Each past request counts by a power law of its age, `t^-d`: the odds that something is needed
//! again fall so with the time since, in many kinds of demand (Anderson, Schooler, "Reflections of
//! the environment in memory", Psychological Science 2:6, 1991). So frequency and recency are one
//! thing, as in LRFU (Lee et al., IEEE Transactions on Computers 50:12, 2001), but without its
//! choice of a single speed of forgetting: what is asked for in a burst counts for a while, what is
//! asked for steadily for long. The power law is a sum of exponentials whose half-lives are eight
//! times as long each, since those need no more than a number each.
//!
//! What was asked for often and is asked for no more is over: once several requests should have come
//! and none did, each level counts less. So yesterday's news goes before its half-lives are over,
//! and what was always rare is not suspected.
//!
//! Time is counted in *turns*, as many requests as there are entries, so that a cache remembers the
//! longer the more it holds.
//!
//! Pure. [`crate::eviction`] calls it.

use std::num::NonZeroU16;

/// What is remembered of the requests for something: 12 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// When the last one was.
    pub(super) seen: u32,
    /// How many there were, each halved for each half-life since; the shortest half-life first.
    /// In the upper half of an `f32`, whose precision ends their growth at 512. Never 0.
    levels: [NonZeroU16; LEVELS],
}

/// Requests, counted in 2^-32 turns.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock(u64);

impl Clock {
    /// A request came, while there were so many entries.
    pub(super) fn advance(&mut self, entries: usize) {
        // A cache with a few entries is not to forget with every request.
        self.0 = self.0.wrapping_add((1 << 32) / (entries.max(FEWEST_ENTRIES) as u64));
    }

    /// In [`TICKS`]; it begins anew after four million turns.
    #[inline]
    pub(super) fn now(self) -> u32 {
        (self.0 >> (32 - TICKS.ilog2())) as u32
    }
}

impl Demand {
    /// One request, now.
    pub(super) fn first(now: u32) -> Demand {
        Demand { seen: now, levels: FIRST.map(packed) }
    }

    /// How much it is wanted now, `longer` being what all half-lives but the shortest count. Larger
    /// than 0, unless nobody has for ages.
    #[inline]
    pub(super) fn worth(&self, now: u32, longer: f32) -> f32 {
        let turns = self.turns(now);
        let left = left(turns);
        let worth: [f32; LEVELS] = std::array::from_fn(|at| {
            let level = unpacked(self.levels[at]);
            // As many requests as should have come by now, were it still wanted as before.
            let missing = turns * level * RATES[at];
            let surprise = (missing * (1.0 / ODD)) * (missing * (1.0 / ODD));
            WEIGHTS[at] * level * left[at] / (1.0 + surprise * surprise)
        });
        worth[0] + longer * (worth[1] + (worth[2] + worth[3]))
    }

    /// One more, now.
    #[inline]
    pub(super) fn again(&mut self, now: u32) {
        let left = left(self.turns(now));
        for (level, left) in self.levels.iter_mut().zip(left) {
            *level = packed(unpacked(*level) * left + 1.0);
        }
        self.seen = now;
    }

    /// Since it was asked for last. Of the clock's beginning anew comes nothing worse than a wrong
    /// guess.
    #[inline]
    fn turns(&self, now: u32) -> f32 {
        now.wrapping_sub(self.seen) as f32 / TICKS as f32
    }
}

/// What is left of each level after so many turns.
#[inline]
fn left(turns: f32) -> [f32; LEVELS] {
    let mut left = (turns * (-1.0 / LONGEST)).exp2();
    let mut levels = [0.0; LEVELS];
    for level in levels.iter_mut().rev() {
        *level = left;
        // A half-life of an eighth.
        left *= left;
        left *= left;
        left *= left;
        // Numbers near the smallest ones are slow.
        left = if left > NEGLIGIBLE { left } else { 0.0 };
    }
    levels
}

#[inline]
fn packed(value: f32) -> NonZeroU16 {
    NonZeroU16::new(((value.to_bits() + 0x8000) >> 16) as u16).unwrap_or(NonZeroU16::MIN)
}

#[inline]
fn unpacked(bits: NonZeroU16) -> f32 {
    f32::from_bits(u32::from(bits.get()) << 16)
}

/// Exponentials in the sum.
const LEVELS: usize = 4;

/// The longest half-life in turns; the shortest is half a turn.
const LONGEST: f32 = 256.0;

/// How much a level counts: each `8^-0.34` of the one before, for a power law with that exponent.
/// Larger ones suit requests that come in bursts, smaller ones such as never change; this one does
/// better than other policies on both (`cargo xtask bench hits`).
const WEIGHTS: [f32; LEVELS] = [1.0, 0.493, 0.243, 0.12];

/// Requests in a turn, by level, if they came at an even rate: `ln 2` by half-life.
const RATES: [f32; LEVELS] = [1.386, 0.1733, 0.02166, 0.002708];

/// Requests that did not come from which on it is odd that they did not.
const ODD: f32 = 4.0;

/// What the first request counts. In the longer run half: most of what is asked for once never is
/// again.
const FIRST: [f32; LEVELS] = [1.0, 0.5, 0.5, 0.5];

/// The part of a request that is as good as nothing.
const NEGLIGIBLE: f32 = 1e-9;

/// Parts of a turn that are told apart.
const TICKS: u32 = 1 << 10;

/// Entries that a turn has at least.
const FEWEST_ENTRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_turns() {
        let mut clock = Clock::default();
        for _ in 0..10_000 {
            clock.advance(1_000);
        }
        assert!((10 * TICKS - 1..=10 * TICKS).contains(&clock.now()), "{}", clock.now());
    }

    #[test]
    fn demand_falls_by_a_power_law() {
        let one = Demand { seen: 0, levels: [packed(1.0); LEVELS] };
        for turns in [1, 2, 4, 8, 16, 32] {
            let fall = one.worth(2 * turns * TICKS, 1.0) / one.worth(turns * TICKS, 1.0);
            // 2^-0.37 = 0.77, which the exponentials waver around.
            assert!((0.66..0.88).contains(&fall), "{turns}: {fall}");
        }
    }

    #[test]
    fn many_requests_long_ago_outlast_few_lately() {
        let now = 40 * TICKS;
        let mut often = Demand::first(0);
        for turn in 1..20 {
            often.again(turn * TICKS);
        }
        let mut lately = Demand::first(now - 3 * TICKS);
        assert!(often.worth(now, 1.0) > lately.worth(now, 1.0));
        for tick in 0..10 {
            lately.again(now - 10 + tick);
        }
        assert!(often.worth(now, 1.0) < lately.worth(now, 1.0));
    }

    #[test]
    fn what_was_hot_and_is_silent_is_over() {
        let mut hot = Demand::first(0);
        let mut rare = Demand::first(0);
        for tick in 1..20 * TICKS {
            if tick % 64 == 0 {
                hot.again(tick);
            }
            if tick % (6 * TICKS) == 0 {
                rare.again(tick);
            }
        }
        let now = 19 * TICKS;
        assert!(hot.worth(now + TICKS, 1.0) > 10.0 * rare.worth(now + TICKS, 1.0));
        assert!(hot.worth(now + 30 * TICKS, 1.0) < rare.worth(now + 30 * TICKS, 1.0));
    }

    #[test]
    fn counting_ends_somewhere_and_never_at_zero() {
        let mut demand = Demand::first(0);
        for _ in 0..100_000 {
            demand.again(0);
        }
        assert_eq!(demand.levels.map(unpacked), [512.0; LEVELS]);
        demand.again(u32::MAX);
        assert_eq!(demand.levels.map(unpacked), [1.0; LEVELS]);
        assert!(demand.worth(u32::MAX - 1, 1.0).is_finite());
    }
}
