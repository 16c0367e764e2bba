//! Whether a server fails more often than the others by more than chance.
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

    /// The logarithm of the likelihood of just this, if requests fail at `rate`.
    fn likelihood(self, rate: f64) -> f64 {
        let part = |count: u64, rate: f64| if count == 0 { 0.0 } else { count as f64 * rate.ln() };
        part(self.failed, rate) + part(self.requests.saturating_sub(self.failed), 1.0 - rate)
    }
}

/// Evidence that a server fails more often than the others: a cumulative sum of log-likelihood
/// ratios (Page: *Continuous Inspection Schemes*, Biometrika 1954), which is Wald's sequential
/// test begun anew whenever it comes out for the server. It may be looked at after each request
/// without more false alarms, needs few requests when the difference is great, and many when it is
/// small.
///
/// The two hypotheses are the rate that is usual with the others, and [`ODDS`] times its odds.
/// What is usual is only estimated, hence taken at the upper end of what it may be, and at least
/// [`FEW`]. And since an outage of all must speak against none, the others have to be better in
/// the very period in which the server was bad: the two must not be explained by one common rate.
#[derive(Debug, Default, Clone)]
pub(super) struct Failures {
    /// Since the sum was last zero.
    own: Tried,
    others: Tried,
    since: Duration,
    /// The others in the last minute or so.
    usual: Tried,
    usual_since: Duration,
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
/// The logarithm of how much likelier two rates must be than a common one, about 10^6 : 1.
const APART: f64 = 13.8;
/// The upper end of the rate of the others, in standard deviations.
const CAUTION: f64 = 1.645;
/// After this time evidence counts half.
const MEMORY: Duration = Duration::from_secs(60);
/// Requests to the others that show that they fail as well.
const COMMON: u64 = 10;

impl Failures {
    pub(super) fn add(&mut self, now: Duration, own: Tried, others: Tried) {
        if now.saturating_sub(self.usual_since) >= MEMORY {
            self.usual.halve();
            self.usual_since = now;
        }
        self.usual.add(others);
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
            self.acquit();
        }
    }

    /// Forgets what speaks against the server.
    pub(super) fn acquit(&mut self) {
        (self.own, self.others) = (Tried::default(), Tried::default());
    }

    /// How strongly it speaks against the server; `None` when too little is known of the others,
    /// or they fail too often.
    fn evidence(&self) -> Option<f64> {
        let upper = |tried: Tried| proportion::bounds(tried.failed, tried.requests, CAUTION).1;
        // Each of the two may be the better known: what is usual after a quiet minute, the period
        // itself after an outage.
        let usual = upper(self.usual).min(upper(self.others)).max(FEW);
        if usual >= MANY {
            return None;
        }
        let odds = usual / (1.0 - usual) * ODDS;
        let outlying = odds / (1.0 + odds);
        Some(self.own.likelihood(outlying) - self.own.likelihood(usual))
    }

    /// How much likelier two different rates are than a common one.
    fn apart(&self) -> f64 {
        let Failures { own, others, .. } = *self;
        let mut both = own;
        both.add(others);
        own.likelihood(own.share()) + others.likelihood(others.share())
            - both.likelihood(both.share())
    }

    pub(super) fn verdict(&self) -> Option<(f64, String)> {
        let evidence = self.evidence().filter(|&evidence| evidence >= SURE)?;
        if self.apart() < APART {
            return None;
        }
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
