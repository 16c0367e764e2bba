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
/// server that failed always is tried again after about ten seconds even by an idle group.
pub const FORGIVE_MILLIS: f32 = 2_000.0;

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
        let failures = (failures * 255.0).round() as u64;
        Latency(digits << LATENCY_SHIFT | (now_ms & FIELD) << TIME_SHIFT | failures)
    }
}

/// A time that fits: at least a microsecond, at most an hour.
fn measurable(micros: f32) -> f32 {
    micros.clamp(1.0, 3.6e9)
}

/// The typical latency of a group in microseconds: the median of its measured servers, the lower
/// one of two; [`COLD_START`] when none has been measured. For the caller to work out a few times a
/// second, not for every request.
pub fn typical(group: impl IntoIterator<Item = Latency>) -> f32 {
    let mut known: Vec<f32> = group.into_iter().filter_map(Latency::microseconds).collect();
    let Some(middle) = known.len().checked_sub(1).map(|last| last / 2) else { return COLD_START };
    *known.select_nth_unstable_by(middle, f32::total_cmp).1
}
