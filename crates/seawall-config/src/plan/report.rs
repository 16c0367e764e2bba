//! The plan of reports: to whom a route's answers are told.

use std::time::Duration;

use super::Secret;

/// To whom the answers of a route are told (`route.report`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporting {
    /// Position in [`Plan::upstreams`](super::Plan::upstreams).
    pub upstream: usize,
    /// Path and query that batches are posted to.
    pub path: Box<str>,
    /// The host that is asked for; `None` means the address of the server.
    pub host: Option<Box<str>>,
    /// The value of `Authorization`.
    pub authorization: Option<Secret>,
    /// How often they are posted; at least 100 ms.
    pub every: Duration,
    /// Patience with one batch.
    pub timeout: Duration,
    /// Bytes of events that may wait; at least 256 KiB.
    pub buffer: u64,
}
