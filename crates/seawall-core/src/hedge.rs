//! When a second attempt is begun beside the first.
//!
//! Dean and Barroso (*The Tail at Scale*, CACM 2013): a request that has taken longer than 95 % of
//! its kind is most likely stuck, and asking another server costs about 5 % more requests and cuts
//! off most of the tail. That holds only while servers have room: a hedge is a wager against
//! waiting, and under load waiting is what everybody does. So the delay follows the route's own
//! latency of late, each hedge is paid from the retry budget, and a busy upstream gets none.
//!
//! The control task feeds [`Latency`] from the histograms that workers fill and publishes what
//! [`decide`] says; the retry budget is asked when the moment comes.

use std::time::Duration;

/// Latencies of a route over the last half minute or so: histogram counts that fade, half of them
/// in each [`HALF_LIFE`].
#[derive(Debug, Clone)]
pub struct Latency {
    /// Upper bounds of the buckets in seconds, ascending.
    bounds: Box<[f64]>,
    /// One more than bounds: the last has none.
    counts: Box<[f64]>,
    now: Duration,
}

/// In this time half of what is known is forgotten.
pub const HALF_LIFE: Duration = Duration::from_secs(10);

/// Fewest (faded) samples from which a quantile is told: the 95th percentile of 20 is the
/// slowest but one.
pub const MINIMUM: f64 = 20.0;

impl Latency {
    /// No samples yet. `bounds` are the upper bounds of the buckets in seconds, ascending; a last
    /// bucket without a bound is added.
    pub fn new(bounds: &[f64]) -> Latency {
        Latency {
            bounds: bounds.into(),
            counts: vec![0.0; bounds.len() + 1].into(),
            now: Duration::ZERO,
        }
    }

    /// Adds what fell into each bucket since the last call (not cumulated over the buckets).
    pub fn add(&mut self, now: Duration, counts: &[u64]) {
        let passed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        let keep = (-passed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        for (at, held) in self.counts.iter_mut().enumerate() {
            *held = *held * keep + counts.get(at).map_or(0.0, |&count| count as f64);
        }
    }

    /// The number of samples that have not faded.
    pub fn samples(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// The time within which a share of the requests was answered (`0.95`: the 95th percentile),
    /// as if samples were spread evenly in their bucket. `None` below [`MINIMUM`] samples. Off by
    /// the width of a bucket at most; beyond the last bound, that bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all = self.samples();
        if all < MINIMUM {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * all;
        let (mut below, mut from) = (0.0, 0.0);
        for (&to, &count) in self.bounds.iter().zip(&self.counts) {
            if count > 0.0 && below + count >= wanted {
                let inside = ((wanted - below) / count).clamp(0.0, 1.0);
                return Duration::try_from_secs_f64(from + (to - from) * inside).ok();
            }
            below += count;
            from = to;
        }
        Duration::try_from_secs_f64(from).ok()
    }

    /// What is typical: the median.
    pub fn typical(&self) -> Option<Duration> {
        self.quantile(0.5)
    }
}

/// What is known when it is decided whether, and after what time, a request is hedged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Situation {
    /// After what time the configuration says; `None` for the live 95th percentile.
    pub after: Option<Duration>,
    /// But not earlier than this.
    pub least: Duration,
    /// The live 95th percentile of the route.
    pub p95: Option<Duration>,
    /// Requests in flight to the upstream relative to what it may have, 0 to 1; `None` when there
    /// is no limit to compare with.
    pub utilisation: Option<f64>,
    /// Whether the retry budget has a whole token.
    pub affordable: bool,
    /// Servers in use that the first attempt does not go to.
    pub others: usize,
}

/// Above this utilisation of the upstream nothing is hedged.
pub const BUSY: f64 = 0.7;

/// Why a request is not hedged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// Too few samples to know what is slow.
    Unknown,
    /// The upstream is busy.
    Busy,
    /// The retry budget is spent.
    Spent,
    /// There is no other server.
    Alone,
}

/// After what time a second attempt is begun, or why none is.
pub fn decide(situation: &Situation) -> Result<Duration, Off> {
    if situation.others == 0 {
        return Err(Off::Alone);
    }
    if situation.utilisation.is_some_and(|utilisation| utilisation > BUSY) {
        return Err(Off::Busy);
    }
    if !situation.affordable {
        return Err(Off::Spent);
    }
    let after = situation.after.or(situation.p95).ok_or(Off::Unknown)?;
    Ok(after.max(situation.least))
}

/// Whether a second attempt can be of use: begun after `delay`, it has the typical time before
/// the deadline that is `remaining` away.
pub fn is_useful(delay: Duration, typical: Option<Duration>, remaining: Duration) -> bool {
    delay.saturating_add(typical.unwrap_or_default()) < remaining
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const BOUNDS: [f64; 16] = [
        0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
        60.0,
    ];

    fn bucket(seconds: f64) -> usize {
        BOUNDS.iter().take_while(|bound| seconds > **bound).count()
    }

    fn close(time: Option<Duration>, expect: f64) -> bool {
        time.is_some_and(|time| (time.as_secs_f64() - expect).abs() < 1e-6)
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let mut latency = Latency::new(&[0.1, 0.2, 0.4]);
        latency.add(Duration::ZERO, &[10, 9]);
        assert_eq!(latency.quantile(0.5), None, "19 samples say nothing");
        latency.add(Duration::ZERO, &[0, 11, 60, 10]);
        for (share, expect) in
            [(0.0, 0.0), (0.05, 0.05), (0.1, 0.1), (0.2, 0.15), (0.3, 0.2), (0.6, 0.3), (0.9, 0.4)]
        {
            assert!(close(latency.quantile(share), expect), "{share}");
        }
        assert!(close(latency.quantile(0.95), 0.4), "beyond the last bound, that");
        assert!(close(latency.quantile(7.0), 0.4));
        assert!(close(latency.typical(), 0.2 + 0.2 / 3.0));
        let mut none = Latency::new(&[]);
        none.add(Duration::ZERO, &[100]);
        assert!(close(none.typical(), 0.0));
    }

    #[test]
    fn samples_fade() {
        let mut latency = Latency::new(&BOUNDS);
        let now = Duration::from_secs;
        let one = |at: usize, count| {
            let mut counts = [0; 17];
            counts[at] = count;
            counts
        };
        latency.add(now(100), &one(3, 1000));
        latency.add(now(110), &one(9, 500));
        assert!((latency.samples() - 1000.0).abs() < 1e-6, "half of the old are left");
        assert!(close(latency.typical(), 0.005), "as many before as after");
        latency.add(now(150), &[]);
        assert!((latency.samples() - 1000.0 / 16.0).abs() < 1e-6);
        latency.add(now(170), &[]);
        assert_eq!(latency.typical(), None, "too old to know");
        latency.add(now(1), &one(3, 20));
        assert!(latency.typical().is_some(), "a clock that goes back makes nothing older");
        latency.add(Duration::MAX, &[]);
        assert_eq!(latency.samples(), 0.0);
    }

    /// Against sorted samples: off by a bucket's width at most, and on average by far less.
    #[test]
    fn live_quantiles_follow_the_samples() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            let scale = 0.001 * (1 << random.below(10)) as f64;
            let mut latency = Latency::new(&BOUNDS);
            let mut samples = Vec::new();
            let mut counts = [0; 17];
            for _ in 0..2000 {
                // Exponential, as waiting times are.
                let uniform = (random.below(1 << 32) + 1) as f64 / 4294967296.0;
                let sample = -uniform.ln() * scale;
                counts[bucket(sample)] += 1;
                samples.push(sample);
            }
            latency.add(Duration::from_secs(1), &counts);
            samples.sort_unstable_by(f64::total_cmp);
            for share in [0.5, 0.95] {
                let exact = samples[(2000.0 * share) as usize];
                let is = latency.quantile(share).expect("enough samples").as_secs_f64();
                let bucket = bucket(exact);
                let width =
                    BOUNDS[bucket.min(15)] - bucket.checked_sub(1).map_or(0.0, |at| BOUNDS[at]);
                assert!(
                    (is - exact).abs() <= width * 0.5 + 0.02 * exact,
                    "seed {seed}: {is}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn a_hedge_needs_room_money_and_somewhere_to_go() {
        let ms = Duration::from_millis;
        let good = Situation {
            after: None,
            least: ms(5),
            p95: Some(ms(80)),
            utilisation: Some(0.5),
            affordable: true,
            others: 1,
        };
        for (situation, expect) in [
            (good, Ok(ms(80))),
            (Situation { p95: Some(ms(1)), ..good }, Ok(ms(5))),
            (Situation { p95: None, ..good }, Err(Off::Unknown)),
            (Situation { after: Some(ms(30)), p95: None, ..good }, Ok(ms(30))),
            (Situation { after: Some(ms(1)), ..good }, Ok(ms(5))),
            (Situation { utilisation: Some(0.7), ..good }, Ok(ms(80))),
            (Situation { utilisation: Some(0.71), ..good }, Err(Off::Busy)),
            (Situation { utilisation: None, ..good }, Ok(ms(80))),
            (Situation { affordable: false, ..good }, Err(Off::Spent)),
            (Situation { others: 0, ..good }, Err(Off::Alone)),
        ] {
            assert_eq!(decide(&situation), expect, "{situation:?}");
        }
        assert!(is_useful(ms(80), Some(ms(20)), ms(101)));
        assert!(!is_useful(ms(80), Some(ms(20)), ms(100)));
        assert!(is_useful(ms(80), None, ms(81)));
        assert!(!is_useful(Duration::MAX, Some(Duration::MAX), Duration::MAX));
    }
}
