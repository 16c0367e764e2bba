//! How much is asked of servers at once: `max-in-flight` and `queue` of `[upstream.NAME]`.

use std::time::Duration;

use crate::rules::{Integer, Time};
use crate::section::section;

section! {
    /// Requests (with `tcp`: connections) that may be in flight at once.
    InFlightEntry {
        /// To one server, all workers together. Without it, as many as it may have connections.
        optional "server" server: u64, Integer(1, 1_000_000);
        /// To all servers together. Without it there is no limit on the sum.
        optional "total" total: u64, Integer(1, 10_000_000);
    }
}

section! {
    /// Where requests wait while as many as `max-in-flight` allows are in flight. First come, first
    /// served, until even the shortest wait stays long: then the newest are served first, whose
    /// clients are still there, and those that have waited long are refused. The wait is part of the
    /// route's `timeout`.
    QueueEntry {
        /// Most requests that wait. What is beyond is refused at once; 0 for no waiting at all.
        default "size" size: u64 = 100, Integer(0, 1_000_000);
        /// The longest that one waits.
        default "wait" wait: Duration = Duration::from_secs(5), Time(Duration::from_millis(1), Duration::from_secs(60 * 60));
    }
}
