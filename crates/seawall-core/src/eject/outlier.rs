//! Whether a server differs from the others by more than chance: by failures, and by latency.
//!
//! Called by [`super::Ejector`], once a tick for each server in use.

use std::time::Duration;

use crate::proportion;

/// Requests and how many of them failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) requests: u64,
    pub(super) failed: u64,
}

impl Tried {
    pub(super) fn add(&mut self, other: Tried) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failed = self.failed.saturating_add(other.failed);
    }

    pub(super) fn without(self, other: Tried) -> Tried {
        Tried {
            requests: self.requests.saturating_sub(other.requests),
            failed: self.failed.saturating_sub(other.failed),
        }
    }

    fn halve(&mut self) {
        self.requests /= 2;
        self.failed /= 2;
    }

    fn share(self) -> f64 {
        self.failed as f64 / self.requests.max(1) as f64
    }
}

/// Evidence that a server fails more often than the others: a cumulative sum of log-likelihood
/// ratios (Page: *Continuous Inspection Schemes*, Biometrika 1954), which is Wald's sequential
/// test begun anew whenever it comes out for the server. It may be looked at after each request
/// without more false alarms, needs few requests when the difference is great, and many when it is
/// small.
///
/// The two hypotheses are the rate of the others **in the same period** — so that an outage of all
/// speaks against none — and a rate [`ODDS`] times as likely. The rate of the others is only
/// estimated, hence taken at the upper end of what they may have, and at least [`FEW`].
#[derive(Debug, Default, Clone)]
pub(super) struct Failures {
    own: Tried,
    others: Tried,
    since: Duration,
}

/// Failures at a rate below this are nothing to compare.
const FEW: f64 = 0.01;
/// When the others fail at this rate the upstream is the patient, not the server.
const MANY: f64 = 0.5;
/// The odds of failing that make an outlier, relative to the others: 20 % beside 1 %.
const ODDS: f64 = 25.0;
/// The logarithm of how much likelier the outlier must be, about 10^9 : 1. With equal servers the
/// mean number of requests to a false alarm is at least that (Lorden: *Procedures for Reacting to
/// a Change in Distribution*, 1971), as far as failures are independent.
const SURE: f64 = 20.7;
/// The upper end of the rate of the others, in standard deviations.
const CAUTION: f64 = 1.645;
/// After this time evidence counts half.
const MEMORY: Duration = Duration::from_secs(60);
/// Requests to the others that show that they fail as well.
const COMMON: u64 = 10;

impl Failures {
    pub(super) fn add(&mut self, now: Duration, own: Tried, others: Tried) {
        if self.own.failed == 0 {
            if own.failed == 0 {
                return;
            }
            self.since = now;
        }
        if now.saturating_sub(self.since) >= MEMORY {
            self.own.halve();
            self.others.halve();
            self.since = now;
        }
        self.own.add(own);
        self.others.add(others);
        let common = self.others.requests >= COMMON && self.others.share() >= MANY;
        if common || self.evidence().is_some_and(|evidence| evidence <= 0.0) {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Failures::default();
    }

    /// How strongly it speaks against the server; `None` when too little is known of the others.
    fn evidence(&self) -> Option<f64> {
        let (_, upper) = proportion::bounds(self.others.failed, self.others.requests, CAUTION);
        let usual = upper.max(FEW);
        if usual >= MANY {
            return None;
        }
        let odds = usual / (1.0 - usual) * ODDS;
        let outlying = odds / (1.0 + odds);
        let failed = self.own.failed as f64 * (outlying / usual).ln();
        let good = self.own.requests.saturating_sub(self.own.failed) as f64;
        Some(failed + good * ((1.0 - outlying) / (1.0 - usual)).ln())
    }

    pub(super) fn verdict(&self) -> Option<(f64, String)> {
        let evidence = self.evidence().filter(|&evidence| evidence >= SURE)?;
        let Tried { requests, failed } = self.own;
        let others = percent(self.others.share());
        Some((
            evidence,
            format!("{failed} of {requests} answers failed while the others fail {others}"),
        ))
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.1 => "less than 0.1 %".to_owned(),
        percent if percent > 0.0 && percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// How long the answers of a server take, in one period after the other.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    since: Duration,
    answers: u64,
    sum: Duration,
    last: Option<Period>,
    /// Periods in a row in which it was an outlier.
    streak: u32,
}

/// A period with enough answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Period {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) mean: Duration,
}

/// The shortest period.
const PERIOD: Duration = Duration::from_secs(2);
/// A period that has not enough answers by then says nothing.
const STALE: Duration = Duration::from_secs(30);
/// Fewest answers in a period.
const ANSWERS: u64 = 10;
/// An outlier's answers take longer than those of the median other by this factor,
const FACTOR: u32 = 5;
/// and longer than this: below it balancing is enough.
const NOTICEABLE: Duration = Duration::from_millis(500);
/// in so many periods in a row.
const PERIODS: u32 = 3;

impl Pace {
    pub(super) fn new(now: Duration) -> Pace {
        Pace { since: now, answers: 0, sum: Duration::ZERO, last: None, streak: 0 }
    }

    /// Counts answers that took `sum` together. Says what period ended, if one did.
    pub(super) fn add(&mut self, now: Duration, answers: u64, sum: Duration) -> Option<Period> {
        self.answers = self.answers.saturating_add(answers);
        self.sum = self.sum.saturating_add(sum);
        let age = now.saturating_sub(self.since);
        if age < PERIOD {
            return None;
        }
        if self.answers < ANSWERS {
            if age >= STALE {
                *self = Pace::new(now);
            }
            return None;
        }
        let mean = self.sum.div_f64(self.answers as f64);
        let period = Period { from: self.since, to: now, mean };
        *self = Pace { last: Some(period), streak: self.streak, ..Pace::new(now) };
        Some(period)
    }

    /// The mean of its last period, if that overlaps with `period`.
    pub(super) fn during(&self, period: Period) -> Option<Duration> {
        self.last.filter(|last| last.to >= period.from).map(|last| last.mean)
    }

    /// Compares a period of it with those of the others.
    pub(super) fn compare(&mut self, period: Period, others: Vec<Duration>) {
        let outlying = median(others).is_some_and(|usual| {
            period.mean > NOTICEABLE && period.mean > usual.saturating_mul(FACTOR)
        });
        self.streak = if outlying { self.streak.saturating_add(1) } else { 0 };
    }

    /// Whether it is an outlier, by what factor, and why; `others` as at the last comparison.
    pub(super) fn verdict(
        &self,
        others: impl FnOnce(Period) -> Vec<Duration>,
    ) -> Option<(f64, String)> {
        let period = self.last.filter(|_| self.streak >= PERIODS)?;
        let usual = median(others(period))?;
        let factor = period.mean.as_secs_f64() / usual.as_secs_f64().max(1e-6);
        Some((factor, format!("answers take {}, the others {}", short(period.mean), short(usual))))
    }
}

/// The middle one; of two the lesser.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len().checked_sub(1)? / 2).copied()
}

/// A time with two or three digits.
fn short(time: Duration) -> String {
    match time.as_micros() {
        0..1_000 => format!("{} µs", time.as_micros()),
        1_000..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{} ms", time.as_millis()),
        1_000_000..100_000_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} s", time.as_secs()),
    }
}
