//! What becomes known of a server by one attempt: told to the counters that the watch of the
//! upstream judges by, whichever way the attempt ends.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seawall_core::balance::latency::Latency;
use seawall_core::breaker::{Gate, Pass};
use seawall_core::eject::log_latency;
use tokio::time::Instant;

use super::ServerState;
use super::pool::{Pool, PooledServer};
use crate::message::Request;

/// The permission to make an attempt, as far as the circuit breaker is concerned. Dropped without
/// an outcome it says nothing about the upstream.
#[derive(Debug)]
pub(crate) struct Permission<'a> {
    pool: &'a Pool,
    worker: usize,
    pass: Option<Pass>,
}

impl<'a> Permission<'a> {
    pub(super) fn new(pool: &'a Pool, worker: usize, pass: Option<Pass>) -> Permission<'a> {
        Permission { pool, worker, pass }
    }

    /// Tells the breaker what came of the attempt.
    pub(crate) fn settle(mut self, failed: bool, slow: bool) {
        let Some(guard) = &self.pool.guard else { return };
        match self.pass.take() {
            Some(Pass::Probe(permit)) => permit.settle(!failed && !slow),
            // An answer to a request from before the breaker opened says nothing of a recovery.
            Some(Pass::Free { epoch }) if epoch == guard.gate.epoch() => {
                let outcomes = guard.outcomes.of(self.worker);
                outcomes.total.add(1);
                outcomes.failed.add(u64::from(failed));
                outcomes.slow.add(u64::from(slow));
            }
            Some(Pass::Free { .. }) | None => {}
        }
    }
}

/// What the breaker of an upstream asks of a worker.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(super) gate: Gate,
    pub(super) outcomes: std::sync::Arc<seawall_telemetry::cells::PerWorker<super::Outcomes>>,
    /// How long an answer takes that is slow.
    pub(super) slow_after: Option<Duration>,
}

/// An attempt that a server has been chosen for. Dropped before it is settled, it counts as
/// unanswered if its time was over, and else it only says how long the server took at least: the
/// client has left, or another attempt was quicker. What time the client takes for its body is not
/// held against the server.
pub(crate) struct Trial<'a> {
    server: Rc<PooledServer>,
    request: &'a Request<'a>,
    permission: Option<Permission<'a>>,
    began: Instant,
    deadline: Instant,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The head of an answer with this status.
    Answered(u16),
    /// No answer, or none that can be understood.
    Broken,
    /// Something that says nothing about the server.
    Nothing,
}

/// Answers that a gateway gives for a server that it cannot get one from.
pub(crate) fn is_gateway_error(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// Answers that say that the server failed. 501 and 505 say so of the request.
fn is_failure(status: u16) -> bool {
    status >= 500 && !matches!(status, 501 | 505)
}

impl<'a> Trial<'a> {
    pub(crate) fn new(
        server: Rc<PooledServer>,
        request: &'a Request<'a>,
        permission: Permission<'a>,
        began: Instant,
        deadline: Instant,
    ) -> Trial<'a> {
        Trial { server, request, permission: Some(permission), began, deadline }
    }

    /// Counts the outcome that was there at `now`.
    pub(crate) fn settle(mut self, outcome: Outcome, now: Instant) {
        self.count(outcome, now);
    }

    fn count(&mut self, outcome: Outcome, now: Instant) {
        let Some(permission) = self.permission.take() else { return };
        if outcome == Outcome::Nothing {
            return;
        }
        let worker = self.request.worker;
        let last = self.request.client.last_read.get();
        let began = last.map_or(self.began, |last| last.max(self.began));
        let took = now.saturating_duration_since(began);
        let slow_after = permission.pool.guard.as_ref().and_then(|guard| guard.slow_after);
        let slow = slow_after.is_some_and(|after| took >= after);
        let (gateway_error, failure) = match outcome {
            Outcome::Answered(status) => (is_gateway_error(status), is_failure(status)),
            Outcome::Broken | Outcome::Nothing => (true, true),
        };
        permission.settle(failure, slow);
        let state = &self.server.state;
        let cells = state.cells.of(worker.index);
        cells.answered.add(1);
        let clock = worker.millis_at(now);
        let latency = Latency::from_bits(state.latency.load(Relaxed));
        let micros = took.as_secs_f32() * 1e6;
        let latency = match failure {
            true => latency.failed(clock, micros),
            false => latency.observe(clock, micros),
        };
        state.latency.store(latency.to_bits(), Relaxed);
        if failure {
            cells.server_errors.add(1);
            state.failed(gateway_error, worker.index);
        } else {
            cells.log_latency.add(log_latency(took));
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.permission.is_none() {
            return;
        }
        let now = Instant::now();
        if self.request.waits_for_client() {
            return self.count(Outcome::Nothing, now);
        }
        let took = now.saturating_duration_since(self.began);
        let due = self.request.due(self.deadline);
        // It is not the server's fault when others have used up the time.
        let had_time = took * 2 >= due.saturating_duration_since(self.request.started);
        if now >= due && had_time {
            return self.count(Outcome::Broken, now);
        }
        let state = &self.server.state;
        let latency = Latency::from_bits(state.latency.load(Relaxed));
        let clock = self.request.worker.millis_at(now);
        let latency = latency.gave_up(clock, took.as_secs_f32() * 1e6);
        state.latency.store(latency.to_bits(), Relaxed);
    }
}

impl ServerState {
    /// Notes a failure of the server, and whether it was one that only a gateway sees.
    #[cold]
    pub(crate) fn failed(&self, gateway_error: bool, worker: usize) {
        self.suspect();
        if !gateway_error {
            return;
        }
        self.cells.of(worker).gateway_errors.add(1);
        let in_a_row = self.errors_in_a_row.fetch_add(1, Relaxed) + 1;
        if in_a_row >= self.look_at.load(Relaxed) {
            self.look.notify_one();
        }
    }

    /// Notes a whole and good answer.
    #[inline]
    pub(crate) fn succeeded(&self) {
        if self.errors_in_a_row.load(Relaxed) != 0 {
            self.errors_in_a_row.store(0, Relaxed);
        }
    }
}
