//! What is known of the speed of one server, in 64 bits, so that all workers can share it in one
//! atomic: a moving average of its latency that follows peaks at once, and the share of its recent
//! answers that failed. Fed by whoever sees answers, read by `least-latency` by way of
//! [`super::Servers::latency`].
//!
//! What it is built against, each seen in a balancer of others:
//!
//! * *An idle server looks better and better until it gets a burst.* Without answers an estimate
//!   only sinks towards the typical latency of the group, never below it.
//! * *A new server looks infinitely fast until its first answer.* An unmeasured one counts as
//!   typical, and its requests in flight count against it like everyone's.
//! * *A server that fails fast attracts everything.* A failure never lowers the estimate, and it
//!   multiplies what is read, by up to [`PENALTY`].

/// How fast the average forgets: a sample counts 1/e after this long, in milliseconds. Also how
/// fast a high estimate sinks while there are no answers. The value of Finagle and Envoy.
pub const DECAY_MILLIS: f32 = 10_000.0;

/// How fast the share of failures is forgotten while there are no answers, in milliseconds. A
/// server that failed always is tried again after a quarter of a minute by an idle group, and
/// within seconds by a busy one, where its price is soon worth paying.
pub const FORGIVE_MILLIS: f32 = 3_000.0;

/// What a server that always fails costs more than it would by its latency.
pub const PENALTY: f32 = 32.0;

/// The typical latency of a group of which nothing is known yet, in microseconds.
pub const COLD_START: f32 = 10_000.0;

/// What one answer counts in the share of failures.
const ANSWER: f32 = 1.0 / 8.0;

// From the top: latency (28 bits of an `f32` without sign and last digits; 0: unmeasured), time of
// the last answer (28 bits of milliseconds, which come round after three days), failures (of 255).
const TIME_SHIFT: u32 = 8;
const LATENCY_SHIFT: u32 = 36;
const FIELD: u64 = (1 << 28) - 1;

/// A time this little in the future is one of another worker, whose clock is a little ahead; a
/// time further ahead is one from before the milliseconds came round.
const SKEW_MILLIS: u64 = 60_000;

/// The speed of one server. The default is that of one that has not answered yet.
///
/// Updates of several workers that meet may lose one of them, which is one answer among many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Latency(u64);

impl Latency {
    /// From what [`Latency::to_bits`] gave. Any number is a valid one, 0 the default.
    pub fn from_bits(bits: u64) -> Latency {
        Latency(bits)
    }

    /// All of it, to be kept in an atomic.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// After a good answer that took `took_us` microseconds, at `now_ms` of the door's clock in
    /// milliseconds.
    ///
    /// A longer time than the estimate replaces it at once; a shorter one pulls it down by the time
    /// that passed since the answer before (peak EWMA: Finagle, `PeakEwma`).
    #[must_use]
    pub fn observe(self, now_ms: u64, took_us: f32) -> Latency {
        let took = measurable(took_us);
        let passed = self.passed(now_ms);
        let latency = match self.microseconds() {
            Some(known) if took < known => took + (known - took) * (-passed / DECAY_MILLIS).exp(),
            _ => took,
        };
        Latency::pack(latency, now_ms, self.failures_after(passed) * (1.0 - ANSWER))
    }

    /// After a failure that took `took_us` microseconds, at `now_ms`. What counts as one is the
    /// caller's to say: no connection, no answer, a timeout, an answer of a broken server.
    ///
    /// One that took long raises the estimate, as an answer does; one that was quick leaves it.
    #[must_use]
    pub fn failed(self, now_ms: u64, took_us: f32) -> Latency {
        let failures = self.failures_after(self.passed(now_ms));
        let latency = self.microseconds().map_or(0.0, |known| known.max(measurable(took_us)));
        Latency::pack(latency, now_ms, failures + (1.0 - failures) * ANSWER)
    }

    /// After `took_us` microseconds without an answer, when nobody waits for it any more: the client
    /// has left, or another server was quicker. Who was never answered would otherwise not be known
    /// to be slow.
    ///
    /// It raises the estimate to what was waited at least, and never lowers it; of an unmeasured
    /// server it says nothing.
    #[must_use]
    pub fn gave_up(self, now_ms: u64, took_us: f32) -> Latency {
        let waited = measurable(took_us);
        match self.microseconds() {
            Some(known) if waited > known => {
                Latency::pack(waited, now_ms, self.failures_after(self.passed(now_ms)))
            }
            _ => self,
        }
    }

    /// What an answer is expected to cost at `now_ms`, in microseconds with failures counted in,
    /// given the typical latency of its group: see [`typical`].
    pub fn read(self, now_ms: u64, typical_us: f32) -> f32 {
        let passed = self.passed(now_ms);
        let latency = match self.microseconds() {
            None => typical_us,
            Some(known) if known <= typical_us => known,
            Some(known) => typical_us + (known - typical_us) * (-passed / DECAY_MILLIS).exp(),
        };
        latency * (1.0 + (PENALTY - 1.0) * self.failures_after(passed))
    }

    /// The average as of the last answer, in microseconds; `None` before the first.
    pub fn microseconds(self) -> Option<f32> {
        let digits = (self.0 >> LATENCY_SHIFT) as u32;
        (digits != 0).then(|| f32::from_bits(digits << 3))
    }

    /// The share of recent answers that failed, 0 to 1, as of the last one.
    pub fn failures(self) -> f32 {
        (self.0 & 0xff) as f32 / 255.0
    }

    fn failures_after(self, passed: f32) -> f32 {
        match self.0 & 0xff {
            0 => 0.0,
            _ => self.failures() * (-passed / FORGIVE_MILLIS).exp(),
        }
    }

    /// Milliseconds since the last answer.
    fn passed(self, now_ms: u64) -> f32 {
        let passed = now_ms.wrapping_sub(self.0 >> TIME_SHIFT) & FIELD;
        if passed > FIELD - SKEW_MILLIS { 0.0 } else { passed as f32 }
    }

    fn pack(latency_us: f32, now_ms: u64, failures: f32) -> Latency {
        // Rounded, since always rounding down would add up over thousands of answers a second.
        let digits = u64::from((latency_us.to_bits() + 4) >> 3);
        // Rounded down, since rounding to the nearest would never come to nothing again.
        let failures = (failures * 255.0) as u64;
        Latency(digits << LATENCY_SHIFT | (now_ms & FIELD) << TIME_SHIFT | failures)
    }
}

/// A time that fits: at least a microsecond, at most an hour.
fn measurable(micros: f32) -> f32 {
    // What is not a number is a microsecond: `max` drops it, `clamp` alone would keep it.
    micros.max(1.0).clamp(1.0, 3.6e9)
}

/// The typical latency of a group in microseconds: the median of its measured servers, the lower
/// one of two; [`COLD_START`] when none has been measured. For the caller to work out a few times a
/// second, not for every request.
pub fn typical(group: impl IntoIterator<Item = Latency>) -> f32 {
    let mut known: Vec<f32> = group.into_iter().filter_map(Latency::microseconds).collect();
    let Some(middle) = known.len().checked_sub(1).map(|last| last / 2) else { return COLD_START };
    *known.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const TYPICAL: f32 = 1000.0;

    fn near(is: f32, expect: f32) -> bool {
        (is - expect).abs() <= expect.abs() * 0.01
    }

    #[test]
    fn peaks_count_at_once_and_are_forgotten_slowly() {
        let start = Latency::default().observe(0, 1000.0);
        let peak = start.observe(10, 50_000.0);
        assert_eq!(peak.microseconds(), Some(50_000.0));
        // One good answer right after does not undo it; time does.
        assert!(near(peak.observe(20, 1000.0).microseconds().unwrap_or(0.0), 49_951.0));
        let after = peak.observe(10 + DECAY_MILLIS as u64, 1000.0);
        assert!(near(after.microseconds().unwrap_or(0.0), 1000.0 + 49_000.0 / 1f32.exp()));
    }

    /// Many answers a millisecond or one a second: the average forgets by time.
    #[test]
    fn the_average_depends_on_time_not_on_the_number_of_answers() {
        for answers_a_second in [1, 10, 100, 1000, 20_000] {
            let mut latency = Latency::default().observe(0, 100_000.0);
            for answer in 1..=answers_a_second * 10 {
                latency = latency.observe(answer * 1000 / answers_a_second, 1000.0);
            }
            let is = latency.microseconds().unwrap_or(0.0);
            let expect = 1000.0 + 99_000.0 / 1f32.exp();
            assert!(
                (is - expect).abs() < expect * 0.03,
                "{answers_a_second}/s: {is}, not {expect}"
            );
        }
    }

    /// Trap of others: seen as ever faster, it gets a burst.
    #[test]
    fn an_idle_server_sinks_to_what_is_typical_and_no_further() {
        let slow = Latency::default().observe(0, 50_000.0);
        let mut before = slow.read(0, TYPICAL);
        assert_eq!(before, 50_000.0);
        for now in (1000..3_600_000).step_by(1000) {
            let read = slow.read(now, TYPICAL);
            assert!(read <= before && read >= TYPICAL, "{read} after {now} ms");
            before = read;
        }
        assert!(near(before, TYPICAL), "{before}");
        // A fast one is still known to be fast.
        let fast = Latency::default().observe(0, 300.0);
        assert_eq!(fast.read(3_600_000, TYPICAL), 300.0);
    }

    #[test]
    fn an_unmeasured_server_is_typical() {
        assert_eq!(Latency::default().read(77, TYPICAL), TYPICAL);
        let failed = Latency::default().failed(77, 10.0);
        assert_eq!(failed.microseconds(), None);
        assert!(failed.read(77, TYPICAL) > 4.0 * TYPICAL);
    }

    /// Trap of others: failing is quick, so it looks fast.
    #[test]
    fn a_failure_makes_no_server_faster() {
        let good = Latency::default().observe(0, 1000.0);
        let mut latency = good;
        let mut before = good.read(0, TYPICAL);
        for now in 1..=30 {
            latency = latency.failed(now, 5.0);
            let read = latency.read(now, TYPICAL);
            assert!(read > before, "{read} after {now}");
            before = read;
        }
        assert!(before > 0.95 * PENALTY * TYPICAL, "{before}");
        // Within seconds it is forgiven, by good answers sooner.
        assert!(near(latency.read(30 + 25_000, TYPICAL), TYPICAL));
        let answered = (31..=61).fold(latency, |latency, now| latency.observe(now, 1000.0));
        assert!(answered.read(61, TYPICAL) < 1.5 * TYPICAL);
        // One that took long was slow, too.
        assert_eq!(good.failed(1, 9000.0).microseconds(), Some(9000.0));
    }

    /// Trap of others: the answer of a stuck server is never waited for, so that it looks well.
    #[test]
    fn an_answer_that_was_not_waited_for_took_at_least_so_long() {
        let known = Latency::default().observe(0, 1000.0).failed(1, 1.0);
        let later = known.gave_up(50, 9000.0);
        assert!(near(later.microseconds().unwrap_or(0.0), 9000.0), "{later:?}");
        let failures = later.failures();
        assert!(failures > 0.0 && failures <= known.failures(), "it is no failure: {later:?}");
        // Less than is known says nothing, and nothing is known of a new one.
        assert_eq!(known.gave_up(50, 900.0), known);
        assert_eq!(known.gave_up(50, f32::NAN), known);
        assert_eq!(Latency::default().gave_up(50, 9000.0), Latency::default());
    }

    #[test]
    fn one_failure_among_many_answers_is_soon_forgotten() {
        let mut latency = Latency::default().observe(0, 1000.0).failed(1, 1000.0);
        assert!(latency.read(1, TYPICAL) > 4.0 * TYPICAL);
        for now in 2..=25 {
            latency = latency.observe(now, 1000.0);
        }
        assert!(latency.read(25, TYPICAL) < 1.25 * TYPICAL, "{}", latency.read(25, TYPICAL));
    }

    #[test]
    fn clocks_come_round_and_differ_a_little() {
        let round = 1u64 << 28;
        for start in [0, round - 5, round, 3 * round - 1, u64::MAX - 5] {
            let latency = Latency::default().observe(start, 50_000.0);
            let after = latency.read(start.wrapping_add(DECAY_MILLIS as u64), TYPICAL);
            assert!(near(after, TYPICAL + 49_000.0 / 1f32.exp()), "{start}: {after}");
            // A worker whose clock is behind sees it as of now.
            assert_eq!(latency.read(start.wrapping_sub(3), TYPICAL), 50_000.0);
            // After a night and a day it is forgotten.
            assert!(near(latency.read(start.wrapping_add(86_400_000), TYPICAL), TYPICAL));
        }
    }

    #[test]
    fn any_bits_and_any_sample_are_survived() {
        for seed in 0..256 {
            let mut random = Random::seeded(seed);
            for _ in 0..200 {
                let latency = Latency::from_bits(random.number());
                let sample =
                    [0.0, -1.0, f32::NAN, f32::INFINITY, 1e30, 77.0][random.below(6) as usize];
                let now = random.number();
                for next in [latency.observe(now, sample), latency.failed(now, sample)] {
                    assert!((0.0..=1.0).contains(&next.failures()), "seed {seed}: {next:?}");
                    assert_eq!(Latency::from_bits(next.to_bits()), next);
                }
                let fresh = Latency::default().observe(now, sample);
                let read = fresh.read(now, TYPICAL);
                assert!((1.0..=4e9).contains(&read), "seed {seed}: {sample} read as {read}");
            }
        }
    }

    #[test]
    fn the_typical_latency_is_the_median_of_the_measured() {
        let measured = |micros: f32| Latency::default().observe(1, micros);
        let none = Latency::default();
        assert_eq!(typical([]), COLD_START);
        assert_eq!(typical([none, none.failed(1, 5.0)]), COLD_START);
        assert_eq!(typical([none, measured(700.0)]), 700.0);
        assert_eq!(typical([measured(9000.0), measured(700.0)]), 700.0);
        assert_eq!(typical([measured(9000.0), none, measured(1.0), measured(700.0)]), 700.0);
    }
}
