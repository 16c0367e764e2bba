//! Which answers are events of a route's report, and what tells others that they are: the field
//! `Seawall-Reported` of forwarded requests.
//!
//! Whoever answers the client reports it. A request that comes from a tier of caches, or from a
//! trusted peer that says so, is not reported again; one that this process makes itself, to warm the
//! cache, is nobody's. What is said in the field is passed on only from trusted peers.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use seawall_config::plan::Route;
use seawall_h1::fields::is_same_variable;
use seawall_h1::{Known, encode};
use seawall_telemetry::event::Event;
use seawall_telemetry::metrics::CacheOutcome;

use super::cache::tier;
use super::headers::write_client;
use crate::message::Request;
use crate::record::Outcome;
use crate::refuse::Refusal;

/// The field that says that a request is reported by whoever forwards it.
pub(crate) const FIELD: &[u8] = b"seawall-reported";

/// By whom the answer to a request is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reported {
    /// By nobody.
    #[default]
    Not,
    /// By this process.
    Here,
    /// By somebody before, or it is not to be counted by anybody.
    Elsewhere,
}

/// By whom the answer to a request of this route is reported.
#[inline]
pub(crate) fn by_whom(request: &Request<'_>, route: &Route) -> Reported {
    match route.report {
        Some(_) => by_whom_if_any(request),
        None => Reported::Not,
    }
}

fn by_whom_if_any(request: &Request<'_>) -> Reported {
    let headers = &request.head.headers;
    match headers.first(FIELD) {
        Some(b"1") if request.trusted => Reported::Elsewhere,
        Some(sign) if sign == sign_of_this_process().as_bytes() => Reported::Elsewhere,
        // Its clients were not counted where they were answered, and are not counted here alone.
        _ if request.trusted && tier::asks(headers) => Reported::Not,
        _ => Reported::Here,
    }
}

/// What this process says in `Seawall-Reported` when it asks itself for something, such as to warm
/// the cache: nobody is to count that. A number that nobody else knows.
pub fn sign_of_this_process() -> &'static str {
    static SIGN: OnceLock<String> = OnceLock::new();
    // Seeded by the system.
    SIGN.get_or_init(|| format!("{:016x}", RandomState::new().hash_one("sign")))
}

/// Whether a field is [`FIELD`] to servers that hand fields over as variables.
#[inline]
pub(crate) fn is_field(name: &[u8]) -> bool {
    name.len() == FIELD.len() && is_same_variable(name, FIELD)
}

/// Whether a field that [is](is_field) goes on as it came.
pub(crate) fn is_passed_on(request: &Request<'_>, value: &[u8]) -> bool {
    request.trusted && value == b"1" && request.facts.reported.get() == Reported::Not
}

/// Says that a request is reported, if it is.
#[inline]
pub(crate) fn write(request: &Request<'_>, out: &mut Vec<u8>) {
    if request.facts.reported.get() != Reported::Not {
        encode::field(b"Seawall-Reported", b"1", out);
    }
}

/// Adds the event of an answer to those that the worker has collected, if there is to be one.
#[inline]
pub(crate) fn record(request: &Request<'_>, outcome: &Outcome) {
    if request.facts.reported.get() == Reported::Here {
        record_event(request, outcome);
    }
}

fn record_event(request: &Request<'_>, outcome: &Outcome) {
    if outcome.refusal == Some(Refusal::ClientGone) {
        return;
    }
    let Request { head, worker, facts, .. } = request;
    let events = facts.route.get().and_then(|route| request.running.reports[route].as_ref());
    let Some(events) = events else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let is_one = |name: &[u8]| head.headers.first(name) == Some(b"1");
    let mut client = worker.take_text();
    write_client(request, &mut client);
    events.borrow_mut().push(&Event {
        time_millis: now.map_or(0, |since| since.as_millis() as u64),
        client: &client,
        method: head.method_text(),
        host: head.authority(),
        path: (head.path(), head.query()),
        status: outcome.status,
        referrer: head.headers.first(b"referer").unwrap_or_default(),
        agent: head.headers.known(Known::UserAgent).unwrap_or_default(),
        dnt: is_one(b"dnt") || is_one(b"sec-gpc"),
        cache: facts.cache.get().map_or("", CacheOutcome::word),
    });
    worker.give_back_text(client);
}
