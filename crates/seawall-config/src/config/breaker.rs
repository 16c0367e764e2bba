//! The circuit breaker: `breaker` of `[upstream.NAME]`.

use std::time::Duration;

use crate::rules::{Integer, Percent, Time};
use crate::section::section;

section! {
    /// When an upstream as a whole is given time to recover: requests to it are refused at once,
    /// then a few are let through as probes, then a growing share.
    BreakerEntry {
        /// The time that is looked at.
        default "window" window: Duration = Duration::from_secs(10), Time(Duration::from_millis(100), Duration::from_secs(60 * 60));
        /// Fewest requests in it that say anything.
        default "minimum" minimum: u64 = 20, Integer(1, 1_000_000);
        /// The share of failures from which the breaker opens: no connection, no answer, or a 5xx
        /// other than 501 and 505.
        default "failures" failures: u32 = 500, Percent(10, 1_000);
        /// With `slow-after`: the share of slow answers from which it opens.
        default "slow" slow: u32 = 1_000, Percent(10, 1_000);
        /// How long the head of an answer may take that is not slow. Without it none is.
        optional "slow-after" slow_after: Duration, Time(Duration::from_millis(1), Duration::from_secs(60 * 60));
        /// How long it stays open at first. It is longer each time the probes fail.
        default "open" open: Duration = Duration::from_secs(5), Time(Duration::from_millis(10), Duration::from_secs(60 * 60));
        /// The longest. The default is `open` where that is longer.
        default "longest" longest: Duration = Duration::from_secs(60), Time(Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        /// Requests that are let through to see whether the upstream has recovered.
        default "probes" probes: u64 = 3, Integer(1, 1_000);
        /// When a probe without an answer counts as failed.
        default "probe-timeout" probe_timeout: Duration = Duration::from_secs(10), Time(Duration::from_millis(10), Duration::from_secs(60 * 60));
        /// How long each step of the recovery takes: 1 %, 5 % and 25 % of the requests, then all.
        default "step" step: Duration = Duration::from_secs(2), Time(Duration::from_millis(1), Duration::from_secs(60 * 60));
    }
}
