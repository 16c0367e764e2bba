//! What the door tells of its upstreams: the state of each server and why it is so.
//!
//! Looked at from the control thread while the workers go on, so counts are of different moments
//! and need not add up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_config::plan::{Action, Balance, Route};
use seawall_core::balance::latency::Latency;
use seawall_telemetry::metrics::ServersByState;
use tokio::time::Instant;

use super::Door;
pub use crate::upstream::health::{CheckReport, DeepCheck, DeepHealth, LastCheck};
pub use crate::upstream::sources::{Change, DepartedStatus, NameStatus, Origin};
use crate::upstream::{Endpoint, ServerState, Upstream};
pub use crate::upstream::{Order, Standing};

/// An upstream as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: Arc<str>,
    /// How a server is chosen.
    pub balance: Balance,
    /// Where its servers come from.
    pub origin: Origin,
    /// None of the servers that it should have has an address, so it goes on with those it had.
    pub stranded: bool,
    /// Its servers; for a name, one for each address it has now.
    pub servers: Vec<ServerStatus>,
    /// Servers that have gone and still have requests in flight.
    pub departed: Vec<DepartedStatus>,
    /// The names that servers are looked up by.
    pub names: Vec<NameStatus>,
    /// Requests in flight to all servers, those that have gone too.
    pub in_flight: u64,
    /// Requests that wait for others to end.
    pub waiting: u64,
    /// The circuit breaker; `None` when there is none.
    pub breaker: Option<BreakerStatus>,
    /// What the routes that forward here may still spend on retries, hedges and failovers.
    pub budgets: Vec<BudgetStatus>,
}

/// A server as it is now, as all workers together see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share of the requests relative to the others.
    pub weight: u32,
    /// The zone it is in.
    pub zone: Option<Arc<str>>,
    /// 0 is used first.
    pub priority: u8,
    /// Whether it may be used.
    pub standing: Standing,
    /// Why, in a few words; `None` for a server that is well.
    pub why: Option<String>,
    /// For how long that has been so, to half a second.
    pub since: Duration,
    /// What an operator has said about it.
    pub order: Order,
    /// Requests sent to it that have not ended.
    pub in_flight: u32,
    /// Open connections to it, idle ones too.
    pub connections: usize,
    /// For how long it is still passed over because it could not be reached; `None` when it is
    /// not.
    pub unreachable_for: Option<Duration>,
    /// The moving average of its latency in milliseconds; `None` when there is none yet.
    pub latency_ms: Option<f64>,
    /// How often it has been taken out because of what it answered.
    pub ejections: u64,
    /// What its checks have said; `None` when it is not checked, or not yet.
    pub check: Option<CheckReport>,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStatus {
    /// What it does.
    pub state: BreakerState,
    /// Why, in a few words; `None` while it is closed.
    pub why: Option<String>,
    /// When this state ends by itself, from now; `None` when it does not.
    pub until: Option<Duration>,
}

/// What a circuit breaker does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets all through.
    Closed,
    /// Lets none through.
    Open,
    /// Lets a few through, to see.
    HalfOpen,
    /// Lets this share through, in thousandths.
    Recovering(u32),
}

/// A budget of retries, hedges and failovers.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetStatus {
    /// The route it belongs to.
    pub route: Arc<str>,
    /// How many it would allow now.
    pub balance: f64,
}

impl Door {
    /// The upstreams in the order of the plan, as they are now. Counts are of different moments
    /// and need not add up.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        let names = self.plan.upstreams.iter().map(|config| &*config.name);
        names.filter_map(|name| self.upstream(name)).collect()
    }

    /// One of them.
    pub fn upstream(&self, name: &str) -> Option<UpstreamStatus> {
        let config = self.plan.upstreams.iter().find(|config| &*config.name == name)?;
        let upstream = self.upstreams.get(name)?;
        let now = self.clock();
        let departed = upstream.departed(now);
        let endpoints = upstream.endpoints();
        let servers: Vec<ServerStatus> =
            endpoints.iter().map(|endpoint| server(upstream, endpoint, now)).collect();
        let in_flight = servers.iter().map(|server| server.in_flight);
        let in_flight = in_flight.chain(departed.iter().map(|departed| departed.in_flight));
        Some(UpstreamStatus {
            name: config.name.clone(),
            balance: config.balance.clone(),
            origin: upstream.origin(),
            stranded: upstream.is_stranded(),
            in_flight: in_flight.map(u64::from).sum(),
            servers,
            departed,
            names: upstream.names(),
            waiting: upstream.line.waiting() as u64,
            breaker: upstream.breaker_status(self.epoch.elapsed()),
            budgets: self.budgets_of(name),
        })
    }

    fn budgets_of(&self, upstream: &str) -> Vec<BudgetStatus> {
        let forwards_there = |route: &&Route| match &route.action {
            Action::Forward(to) => *self.plan.upstreams[to.upstream].name == *upstream,
            Action::Redirect(_) | Action::Respond(_) => false,
        };
        let status = |route: &Route| {
            let balance = self.watches.get(&route.name)?.budget.balance() as f64 / 1000.0;
            Some(BudgetStatus { route: route.name.clone(), balance })
        };
        self.plan.routes.iter().filter(forwards_there).filter_map(status).collect()
    }

    /// Looks after what changes with time alone. To be called about twice a second.
    pub fn tidy(&self) {
        let now = self.clock();
        for upstream in self.upstreams.values() {
            upstream.tidy(now, &self.metrics);
            for endpoint in upstream.endpoints().iter() {
                endpoint.server.note(now);
            }
        }
    }
}

fn server(upstream: &Upstream, endpoint: &Endpoint, now: u64) -> ServerStatus {
    let state = &*endpoint.server;
    let (ejections, reason) = upstream.ejections(state);
    let latency = Latency::from_bits(state.latency.load(Relaxed));
    let (standing, since) = state.note(now);
    let left = state.held_until.load(Relaxed).saturating_sub(now);
    ServerStatus {
        address: state.address,
        weight: endpoint.weight,
        zone: endpoint.zone.clone(),
        priority: endpoint.priority,
        standing,
        why: why(state, standing, left, reason),
        since: Duration::from_millis(now.saturating_sub(since)),
        order: state.order(),
        in_flight: state.in_flight.load(Relaxed),
        connections: state.connections.load(Relaxed),
        unreachable_for: (left > 0).then(|| Duration::from_millis(left)),
        latency_ms: latency.microseconds().map(|micros| f64::from(micros) / 1000.0),
        ejections,
        check: state.check_report(),
    }
}

/// `left` is for how many milliseconds it is still passed over.
fn why(state: &ServerState, standing: Standing, left: u64, ejected: String) -> Option<String> {
    let in_flight = state.in_flight.load(Relaxed);
    match standing {
        Standing::Ready => None,
        Standing::Ejected => Some(ejected),
        Standing::Failing => {
            let said = state.check_report().map(|report| report.last.reason);
            Some(format!("fails its checks: {}", said.unwrap_or_default()))
        }
        Standing::Unreachable => {
            let left = left as f64 / 1000.0;
            Some(format!("a connection could not be opened; tried again in {left:.1} s"))
        }
        Standing::Draining | Standing::Disabled if in_flight == 0 => {
            Some("by order of an operator; no request is in flight".to_owned())
        }
        Standing::Draining | Standing::Disabled => {
            Some(format!("by order of an operator; {in_flight} in flight"))
        }
    }
}

/// Counts the servers of upstreams by their standing, by name of the upstream, whenever it is
/// called.
pub(super) fn servers_by_standing(
    upstreams: Arc<ArcSwap<Vec<Arc<Upstream>>>>,
    epoch: Instant,
) -> impl Fn() -> ServersByState + Send + Sync + 'static {
    move || {
        let now = epoch.elapsed().as_millis() as u64;
        let counts = |upstream: &Arc<Upstream>| {
            let endpoints = upstream.endpoints();
            let count = |standing: &Standing| {
                let with = endpoints.iter().filter(|e| e.server.standing(now) == *standing);
                (standing.word(), with.count() as u64)
            };
            (upstream.name.clone(), Standing::ALL.iter().map(count).collect())
        };
        upstreams.load().iter().map(counts).collect()
    }
}
