//! What is counted of upstreams as a whole. Written by the control thread alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::exposition::Exposition;

/// What is known of an upstream.
#[derive(Debug, Default)]
pub struct Upstream {
    /// Requests that wait for a server now.
    pub waiting: AtomicU64,
    /// Where the circuit breaker is: 0 for none, else 1 more than the position in
    /// [`BREAKER_STATES`].
    pub breaker: AtomicU64,
    /// How often the circuit breaker opened.
    pub opened: AtomicU64,
}

/// States of a circuit breaker, as labels.
pub const BREAKER_STATES: [&str; 4] = ["closed", "open", "half-open", "recovering"];

/// Writes those of all upstreams.
pub(super) fn expose(all: &[(Arc<str>, Arc<Upstream>)], page: &mut Exposition) {
    let name = "seawall_upstream_waiting";
    page.metric(name, "gauge", "Requests that wait in line for a server now.");
    for (upstream, known) in all {
        page.sample(name, &[("upstream", upstream)], known.waiting.load(Relaxed));
    }
    let with_breaker = || all.iter().filter(|(_, known)| known.breaker.load(Relaxed) > 0);
    let name = "seawall_breaker_state";
    page.metric(name, "gauge", "1 for the state that the circuit breaker is in.");
    for (upstream, known) in with_breaker() {
        for (at, state) in BREAKER_STATES.iter().enumerate() {
            let is_in = known.breaker.load(Relaxed) == at as u64 + 1;
            page.sample(name, &[("upstream", upstream), ("state", state)], u64::from(is_in));
        }
    }
    let name = "seawall_breaker_opened_total";
    page.metric(name, "counter", "How often the circuit breaker opened.");
    for (upstream, known) in with_breaker() {
        page.sample(name, &[("upstream", upstream)], known.opened.load(Relaxed));
    }
}
