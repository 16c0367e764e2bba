//! Whether a server is slower than the others by more than chance.
//!
//! Called by [`super::Ejector`], once a tick for each server in use.

use std::time::Duration;

/// How long an answer took, on a scale on which times can be added up without one long answer
/// outweighing all others: 256 times the binary logarithm of its microseconds, linear between
/// powers of two. What is less than a microsecond counts as one, and costs nothing to compute.
#[inline]
pub fn log_latency(took: Duration) -> u64 {
    let micros = (took.as_micros() as u64).clamp(1, MOST_MICROS);
    let octave = u64::from(micros.ilog2());
    (octave << 8) + ((micros << 8) >> octave) - 256
}

/// Twelve days.
const MOST_MICROS: u64 = 1 << 40;

/// The time that has this logarithm.
fn time(log: f64) -> Duration {
    let octave = (log / 256.0).floor();
    let micros = octave.exp2() * (1.0 + log / 256.0 - octave);
    Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX)
}

/// How long the answers of a server take, in one period after the other.
///
/// Compared are geometric means, that is, means of logarithms: some answers always take far longer
/// than the rest (long polls, exports), and a mean of times would blame the server that happens to
/// give one. How far two means differ by chance is taken from how far the ticks of a period differ
/// among themselves (Welch: *The Generalization of Student's Problem*, Biometrika 1947), so that a
/// mixture of quick and slow requests needs more of them than requests that are all alike.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    since: Duration,
    answers: u64,
    /// Each tick of the period that had answers.
    ticks: Vec<Tick>,
    last: Option<Period>,
    /// Of the others, if it was an outlier beside that,
    usual: Option<Period>,
    /// and in how many periods in a row it was.
    streak: u32,
}

#[derive(Debug, Clone, Copy)]
struct Tick {
    answers: f64,
    /// The mean of [`log_latency`].
    mean: f64,
}

/// A period with enough answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Period {
    from: Duration,
    to: Duration,
    /// The mean of [`log_latency`],
    mean: f64,
    /// and the square of its standard error.
    error: f64,
}

/// The shortest period.
const PERIOD: Duration = Duration::from_secs(2);
/// A period that has not enough answers by then says nothing.
const STALE: Duration = Duration::from_secs(30);
/// Fewest ticks with answers in a period.
const TICKS: usize = 10;
/// Most ticks that are looked at: those of [`STALE`], if there is one each 100 ms.
const MOST_TICKS: usize = 300;
/// An outlier's answers take longer than those of the median other by this factor,
const FACTOR: f64 = 5.0;
/// and longer than this: below it balancing is enough;
const NOTICEABLE: Duration = Duration::from_millis(500);
/// by so many standard errors,
const ERRORS: f64 = 6.0;
/// in so many periods in a row.
const PERIODS: u32 = 3;

impl Pace {
    pub(super) fn new(now: Duration) -> Pace {
        Pace { since: now, answers: 0, ticks: Vec::new(), last: None, usual: None, streak: 0 }
    }

    /// Counts answers whose [`log_latency`] add up to `sum`. Says what period ended, if one did.
    pub(super) fn add(&mut self, now: Duration, answers: u64, sum: u64) -> Option<Period> {
        if answers > 0 && self.ticks.len() < MOST_TICKS {
            self.answers = self.answers.saturating_add(answers);
            let answers = answers as f64;
            self.ticks.push(Tick { answers, mean: sum as f64 / answers });
        }
        let age = now.saturating_sub(self.since);
        if age < PERIOD {
            return None;
        }
        if self.ticks.len() < TICKS {
            if age >= STALE {
                *self = Pace::new(now);
            }
            return None;
        }
        let total = self.answers as f64;
        let mean = self.ticks.iter().map(|tick| tick.mean * tick.answers).sum::<f64>() / total;
        let off = |tick: &Tick| (tick.mean - mean).powi(2) * tick.answers;
        let variance = self.ticks.iter().map(off).sum::<f64>() / (self.ticks.len() - 1) as f64;
        let period = Period { from: self.since, to: now, mean, error: variance / total };
        *self =
            Pace { last: Some(period), usual: self.usual, streak: self.streak, ..Pace::new(now) };
        Some(period)
    }

    /// Its last period.
    pub(super) fn last(&self) -> Option<Period> {
        self.last
    }

    /// Compares a period of it with those of the others.
    pub(super) fn compare(&mut self, period: Period, others: Vec<Period>) {
        self.usual = median(others).filter(|usual| {
            let apart = period.mean - usual.mean;
            time(period.mean) > NOTICEABLE
                && apart > FACTOR.log2() * 256.0
                && apart > ERRORS * (period.error + usual.error).sqrt()
        });
        self.streak = if self.usual.is_some() { self.streak.saturating_add(1) } else { 0 };
    }

    /// Whether it is an outlier, by how much, and why.
    pub(super) fn verdict(&self) -> Option<(f64, String)> {
        let (period, usual) =
            (self.last?.mean, self.usual.filter(|_| self.streak >= PERIODS)?.mean);
        let reason = format!("answers take {}, the others {}", text(period), text(usual));
        Some((period - usual, reason))
    }
}

impl Period {
    /// Whether they have some time in common, or touch.
    pub(super) fn overlaps(self, other: Period) -> bool {
        self.to >= other.from && other.to >= self.from
    }
}

/// The middle one; of two the slower.
fn median(mut periods: Vec<Period>) -> Option<Period> {
    let middle = periods.len() / 2;
    if periods.is_empty() {
        return None;
    }
    let (_, median, _) = periods.select_nth_unstable_by(middle, |a, b| a.mean.total_cmp(&b.mean));
    Some(*median)
}

/// A time with two or three digits.
fn text(log: f64) -> String {
    let time = time(log);
    match time.as_micros() {
        0..1_000 => format!("{} µs", time.as_micros()),
        1_000..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{} ms", time.as_millis()),
        1_000_000..100_000_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} s", time.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_grow_with_the_time_and_lead_back_to_it() {
        let log = |micros| log_latency(Duration::from_micros(micros));
        for (micros, expect) in [(0, 0), (1, 0), (2, 256), (3, 384), (1024, 2560), (1536, 2688)] {
            assert_eq!(log(micros), expect, "{micros}");
        }
        assert_eq!(log_latency(Duration::MAX), 40 * 256);
        let mut last = 0;
        for micros in (0..200_000).chain((0..60).map(|shift| 1 << shift)) {
            let is = log(micros);
            assert!(is >= last || micros == 1, "{micros}");
            last = is;
            let back = time(is as f64).as_secs_f64() * 1e6;
            let expect = micros.clamp(1, MOST_MICROS) as f64;
            assert!((back / expect - 1.0).abs() < 0.005, "{micros}: {back}");
        }
    }

    #[test]
    fn times_are_shown_short() {
        for (micros, expect) in [
            (7, "7 µs"),
            (1_536, "1.5 ms"),
            (40_000, "39 ms"),
            (2_100_000, "2.1 s"),
            (120_000_000, "119 s"),
        ] {
            assert_eq!(text(log_latency(Duration::from_micros(micros)) as f64), expect);
        }
    }
}
