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
