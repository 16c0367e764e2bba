//! What the API tells of upstreams and their servers as they are now, and of what a change of them
//! has come to.

use std::net::SocketAddr;

use serde::Serialize;

/// An upstream as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// How a server is chosen, as it is written in the configuration.
    pub balance: &'static str,
    /// Where its servers come from: `config`, `file`, `config+file` or `api`.
    pub source: &'static str,
    /// None of the servers that it should have has an address, so it goes on with those it had.
    pub stranded: bool,
    /// Its servers; for a name, one for each address it has now.
    pub servers: Vec<Server>,
    /// Servers that have gone and still have requests in flight.
    pub departed: Vec<Departed>,
    /// The names that servers are looked up by.
    pub names: Vec<Name>,
    /// The file with servers; `None` when it has none.
    pub file: Option<File>,
    /// Requests in flight to all servers.
    pub in_flight: u64,
    /// Requests that wait.
    pub queue: Queue,
    /// The circuit breaker; `None` when it has none.
    pub breaker: Option<Breaker>,
    /// What each route that forwards here may spend on retries, hedges and failovers.
    pub retry: Vec<Budget>,
}

/// A server as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// Its address and port.
    pub address: SocketAddr,
    /// `ready`, `ejected`, `failing`, `unreachable`, `draining` or `disabled`.
    pub state: &'static str,
    /// Why, in a few words; `None` for a server that is ready.
    pub why: Option<String>,
    /// For how many seconds that has been so.
    pub since_seconds: f64,
    /// Whether no request is in flight any more; only for a server that is draining or disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<bool>,
    /// Its share of the requests relative to the others.
    pub weight: u32,
    /// The zone it is in.
    pub zone: Option<String>,
    /// 0 is used first.
    pub priority: u8,
    /// Requests sent to it that have not ended.
    pub in_flight: u32,
    /// Open connections to it, idle ones too.
    pub connections: usize,
    /// The moving average of its latency; `None` when there is none yet.
    pub latency_ms: Option<f64>,
    /// How often it has been taken out because of what it answered.
    pub ejections: u64,
    /// What its last check found; `None` when it is not checked, or not yet.
    pub check: Option<Check>,
    /// For how many seconds it is still passed over; only when it is unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
}

/// A server that has gone and still has requests in flight.
#[derive(Debug, Clone, Serialize)]
pub struct Departed {
    /// Its address and port.
    pub address: SocketAddr,
    /// Requests sent to it that have not ended.
    pub in_flight: u32,
    /// For how many seconds it has been gone.
    pub since_seconds: f64,
}

/// A name that servers are looked up by.
#[derive(Debug, Clone, Serialize)]
pub struct Name {
    /// The name, with `srv:` before that of a service.
    pub name: String,
    /// How many addresses the last good answer had.
    pub addresses: usize,
    /// Why the last look-up failed; the last good answer stays in use.
    pub problem: Option<String>,
}

/// A file with servers.
#[derive(Debug, Clone, Serialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Why it cannot be used as it is now; the last good one stays in use.
    pub problem: Option<String>,
    /// How often that has been so since the start.
    pub failures: u64,
}

/// Requests that wait for others to end.
#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    /// How many.
    pub waiting: u64,
}

/// A circuit breaker.
#[derive(Debug, Clone, Serialize)]
pub struct Breaker {
    /// `closed`, `open`, `half-open` or `recovering`.
    pub state: &'static str,
    /// The share of requests that it lets through, while it recovers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Why, in a few words; `None` while it is closed.
    pub why: Option<String>,
    /// In how many seconds this state ends by itself; `None` when it does not.
    pub until_seconds: Option<f64>,
}

/// A budget of retries, hedges and failovers.
#[derive(Debug, Clone, Serialize)]
pub struct Budget {
    /// The route it belongs to.
    pub route: String,
    /// How many it would allow now.
    pub balance: f64,
}

/// What the active checks of a server have said.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The verdict: whether the server is used as far as checks are concerned.
    pub good: bool,
    /// Whether the checks have confirmed or changed that.
    pub decided: bool,
    /// What the last one found, in a few words.
    pub found: String,
    /// Checks in a row that ended as the last did.
    pub in_a_row: u32,
    /// How many seconds ago the last began.
    pub seconds_ago: f64,
    /// How many seconds it took.
    pub took_seconds: f64,
    /// What the server says of its parts, if it does.
    pub deep: Option<Deep>,
}

/// What a server says of its own health.
#[derive(Debug, Clone, Serialize)]
pub struct Deep {
    /// Its word for the whole.
    pub status: String,
    /// Its parts by name.
    pub checks: std::collections::BTreeMap<String, DeepCheck>,
}

/// One part of a server, as the server sees it.
#[derive(Debug, Clone, Serialize)]
pub struct DeepCheck {
    /// The server's word for it.
    pub status: String,
    /// What was measured or seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
}

/// What a change of the servers of an upstream has come to.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// Addresses that were not there before.
    pub added: Vec<String>,
    /// Addresses that are not there any more. Their requests in flight go on.
    pub removed: Vec<String>,
    /// Addresses whose weight, zone or priority is another.
    pub altered: Vec<String>,
    /// What should be known about it.
    pub warnings: Vec<String>,
    /// The upstream after the change.
    pub upstream: Upstream,
}

/// What an order about a server has come to.
#[derive(Debug, Clone, Serialize)]
pub struct Ordered {
    /// The server; `None` when it has gone.
    pub server: Option<Server>,
    /// What should be known about it.
    pub warning: Option<String>,
}
