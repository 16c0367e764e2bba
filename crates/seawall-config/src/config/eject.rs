//! Passive health: `eject` of `[upstream.NAME]`.

use std::time::Duration;

use crate::rules::{Boolean, Integer, Percent, Time};
use crate::section::section;

section! {
    /// When a server is taken out for a while because of what it answers. The last server in use
    /// never is.
    EjectEntry {
        /// Gateway errors in a row — no connection, no answer, 502, 503, 504 — after which a server
        /// is out.
        default "errors" errors: u64 = 5, Integer(1, 10_000);
        /// Whether a server is out, too, whose share of errors, or whose latency, is far from that
        /// of the others; there must be enough evidence.
        default "outliers" outliers: bool = true, Boolean;
        /// For how long at first. It is longer each time it happens again, and never quite the same.
        default "for" base: Duration = Duration::from_secs(10), Time(Duration::from_millis(10), Duration::from_secs(60 * 60));
        /// The longest. The default is `for` where that is longer.
        default "longest" longest: Duration = Duration::from_secs(5 * 60), Time(Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        /// The most servers that are out at a time, rounded down: half of three is one.
        default "at-most" at_most: u32 = 500, Percent(10, 1_000);
    }
}
