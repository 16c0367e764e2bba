//! The end of an exchange: counted and logged, whichever way it came.

use std::time::{SystemTime, UNIX_EPOCH};

use seawall_h1::Known;
use seawall_telemetry::access_log::Entry;
use seawall_telemetry::metrics::CacheOutcome;
use tokio::time::Instant;

use crate::message::{Peer, Request};
use crate::policy::headers::write_client;
use crate::refuse::Refusal;
use crate::serve::Exchange;
use crate::worker::Worker;

/// What became of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Status of the answer; 0 when there was none.
    pub(crate) status: u16,
    /// Bytes of content that the client was sent.
    pub(crate) sent: u64,
    /// Why the answer was Seawall's own, or broke off.
    pub(crate) refusal: Option<Refusal>,
}

/// Records the exchange of a request that could be read. Says what time it is.
pub(crate) fn record(request: &Request<'_>, outcome: Outcome) -> Instant {
    let Request { running, listener, facts, started, worker, .. } = *request;
    let exchange = Exchange { running, listener, facts, started };
    let received = request.client.received.get();
    let ended = count(&exchange, worker, received, outcome);
    let mut lines = worker.lines.borrow_mut();
    let Some(lines) = lines.as_mut() else { return ended };
    let head = request.head;
    let mut client = Vec::new();
    write_client(request, &mut client);
    let server = facts.server.borrow();
    lines.push(&Entry {
        client: &client,
        method: head.method_text(),
        host: head.authority(),
        path: head.path(),
        query: head.query(),
        received,
        server: server.as_ref().map_or("", |server| &server.state.label),
        agent: head.headers.known(Known::UserAgent).unwrap_or_default(),
        trace: facts.trace.get(),
        ..entry(&exchange, outcome, ended)
    });
    ended
}

/// Records that something came that could not be read as a request.
pub(crate) fn record_unread(
    exchange: &Exchange<'_>,
    worker: &Worker,
    peer: &Peer,
    outcome: Outcome,
) {
    let ended = count(exchange, worker, 0, outcome);
    if let Some(lines) = worker.lines.borrow_mut().as_mut() {
        lines.push(&Entry { client: peer.plain.as_bytes(), ..entry(exchange, outcome, ended) });
    }
}

fn count(exchange: &Exchange<'_>, worker: &Worker, received: u64, outcome: Outcome) -> Instant {
    let compiled = &exchange.running.compiled;
    let route = exchange.facts.route.get();
    let cells = route.map_or(&compiled.no_route, |route| &compiled.routes[route]).of(worker.index);
    let ended = worker.turn.now();
    let class = match outcome.refusal {
        Some(Refusal::ClientGone) => 0,
        _ => usize::from(outcome.status / 100).min(5),
    };
    cells.answers[class].add(1);
    // The life of a tunnel says nothing of how long an answer takes.
    if outcome.status != 101 {
        cells.duration.observe(ended - exchange.started);
    }
    if let Some(answered) = exchange.facts.answered.get() {
        cells.until_head.observe(answered - exchange.started);
    }
    cells.received.add(received);
    cells.sent.add(outcome.sent);
    if exchange.facts.stored.get()
        && let Some(cache) = route.and_then(|route| compiled.caches[route].as_ref())
    {
        cache.of(worker.index).sent.add(outcome.sent);
    }
    if let Some(refusal) = outcome.refusal {
        compiled.metrics.refused(worker.index, refusal.number());
    }
    ended
}

fn entry<'a>(exchange: &Exchange<'a>, outcome: Outcome, ended: Instant) -> Entry<'a> {
    let plan = &exchange.running.compiled.plan;
    let description = outcome.refusal.map(Refusal::description);
    let status = match outcome.refusal {
        Some(Refusal::ClientGone) => description.map_or(0, |description| description.status),
        _ => outcome.status,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Entry {
        time_millis: now.map_or(0, |since| since.as_millis() as u64),
        listener: &exchange.listener.name,
        route: exchange.facts.route.get().map_or("", |route| &plan.routes[route].name),
        client: b"",
        method: b"",
        host: b"",
        path: b"",
        query: b"",
        status,
        received: 0,
        sent: outcome.sent,
        duration: ended - exchange.started,
        server: "",
        refusal: description.map_or("", |description| description.code),
        cache: exchange.facts.cache.get().map_or("", CacheOutcome::word),
        age: exchange.facts.age.get(),
        agent: b"",
        trace: 0,
    }
}
