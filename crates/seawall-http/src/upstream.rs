//! Groups of servers, as all workers share them: which servers there are now, and how busy each
//! is. What belongs to one worker — idle connections, the rotation — is in [`pool`].

pub(crate) mod health;
pub(crate) mod pool;
pub(crate) mod resolve;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use seawall_config::plan::{ServerAddress, ServerSpec};
use seawall_telemetry::Metrics;
use seawall_telemetry::cells::PerWorker;
use seawall_telemetry::metrics::Server as ServerCells;
use tokio::sync::{Notify, watch};

use health::Notes;

/// One group of servers. Outlives plans: a reload changes its servers, not what is known of them.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    endpoints: ArcSwap<Vec<Endpoint>>,
    /// Goes up with every change of `endpoints`, so that workers notice without a lock.
    generation: AtomicU64,
    /// Goes up with every change of what may be used, see [`ServerState::standing`].
    standings: AtomicU64,
    source: Mutex<Source>,
    /// Told with every change of `endpoints`, for those who wait for one.
    changes: watch::Sender<()>,
    /// Wakes the watch of this upstream before its next tick.
    pub(crate) look: Notify,
}

/// Where the servers come from.
#[derive(Debug, Default)]
struct Source {
    servers: Vec<ServerSpec>,
    resolved: HashMap<Arc<str>, Vec<IpAddr>>,
}

/// One server of an upstream with its weight there.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) server: Arc<ServerState>,
    pub(crate) weight: u32,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) priority: u8,
}

/// What an operator has said about a server. Kept until it is said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Order {
    /// Use it.
    #[default]
    Use,
    /// Nothing new goes there; what is there ends by itself, and who is stuck to it stays.
    Drain,
    /// Nothing goes there.
    Disable,
}

/// Whether a server may be used, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// As far as is known it is well.
    Ready,
    /// It was taken out because of what it answered.
    Ejected,
    /// It fails its checks.
    Failing,
    /// No connection to it can be opened.
    Unreachable,
    /// An operator has said [`Order::Drain`].
    Draining,
    /// An operator has said [`Order::Disable`].
    Disabled,
}

/// What all workers know of a server.
#[derive(Debug)]
pub(crate) struct ServerState {
    /// The name of its upstream.
    pub(crate) upstream: Arc<str>,
    pub(crate) address: SocketAddr,
    /// The address as text, for logs and labels.
    pub(crate) label: String,
    pub(crate) in_flight: AtomicU32,
    pub(crate) connections: Arc<AtomicUsize>,
    /// A worker has no place for a connection, while another has idle ones: the next that is not
    /// needed is to be closed.
    pub(crate) wanted: AtomicBool,
    /// Told when a connection that was wanted has been closed.
    pub(crate) freed: Notify,
    /// Until when it is passed over because it could not be reached, in milliseconds of the
    /// door's clock; 0 for not at all. Set by [`ServerState::cannot_connect`] and put off by
    /// [`health`] until a connection can be opened.
    pub(crate) held_until: AtomicU64,
    /// It fails its active checks. Set by [`health`] alone.
    pub(crate) failing: AtomicBool,
    /// It passes its active checks after it did not, which lifts an ejection. Set by [`health`],
    /// taken by the watch.
    pub(crate) recovered: AtomicBool,
    /// It is taken out because of what it answers. Set by the watch of the upstream alone.
    pub(crate) ejected: AtomicBool,
    /// An [`Order`].
    order: AtomicU8,
    /// Since when it is used, as it was new or has returned, in milliseconds of the door's clock;
    /// for slow start.
    pub(crate) since: AtomicU64,
    /// What passes between those who use the server and those who check it.
    pub(crate) notes: Notes,
    pub(crate) cells: Arc<PerWorker<ServerCells>>,
}

impl Upstream {
    pub(crate) fn new(name: Arc<str>) -> Upstream {
        Upstream {
            name,
            endpoints: ArcSwap::default(),
            generation: AtomicU64::new(0),
            standings: AtomicU64::new(0),
            look: Notify::new(),
            source: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Which [`ServerState::standing`]s there were, as a number that goes up when one changes.
    pub(crate) fn standings(&self) -> u64 {
        self.standings.load(Relaxed)
    }

    /// To be called after every change of a [`ServerState::standing`].
    pub(crate) fn standing_changed(&self) {
        self.standings.fetch_add(1, Relaxed);
    }

    pub(crate) fn endpoints(&self) -> Arc<Vec<Endpoint>> {
        self.endpoints.load_full()
    }

    /// Takes over the servers of a new plan.
    pub(crate) fn set_servers(&self, servers: &[ServerSpec], metrics: &Metrics) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.servers = servers.to_vec();
        let named = |name: &Arc<str>| {
            servers
                .iter()
                .any(|s| matches!(&s.address, ServerAddress::Name { host, .. } if host == name))
        };
        source.resolved.retain(|name, _| named(name));
        self.rebuild(&source, metrics);
    }

    /// Takes over the addresses that a name resolved to. Says whether anything changed.
    pub(crate) fn set_addresses(
        &self,
        name: &Arc<str>,
        mut addresses: Vec<IpAddr>,
        metrics: &Metrics,
    ) -> bool {
        addresses.sort_unstable();
        addresses.dedup();
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if source.resolved.get(name) == Some(&addresses) {
            return false;
        }
        source.resolved.insert(name.clone(), addresses);
        self.rebuild(&source, metrics);
        true
    }

    fn rebuild(&self, source: &Source, metrics: &Metrics) {
        let old = self.endpoints();
        let mut new: Vec<Endpoint> = Vec::new();
        let mut add = |address: SocketAddr, spec: &ServerSpec| {
            if new.iter().any(|endpoint| endpoint.server.address == address) {
                return;
            }
            let known = old.iter().find(|endpoint| endpoint.server.address == address);
            let server = match known {
                Some(endpoint) => endpoint.server.clone(),
                None => Arc::new(ServerState::new(address, &self.name, metrics)),
            };
            new.push(Endpoint {
                server,
                weight: spec.weight,
                zone: spec.zone.clone(),
                priority: spec.priority,
            });
        };
        for spec in &source.servers {
            match &spec.address {
                ServerAddress::Socket(address) => add(*address, spec),
                ServerAddress::Name { host, port } => {
                    for address in source.resolved.get(host).into_iter().flatten() {
                        add(SocketAddr::new(*address, *port), spec);
                    }
                }
                ServerAddress::Service(_) => {}
            }
        }
        self.endpoints.store(Arc::new(new));
        self.generation.fetch_add(1, Relaxed);
        self.changes.send_replace(());
    }

    /// Sees every change of [`Upstream::endpoints`] from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

impl ServerState {
    /// What an operator has said about it.
    pub(crate) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            1 => Order::Drain,
            2 => Order::Disable,
            _ => Order::Use,
        }
    }

    /// Takes an order; say [`Upstream::standing_changed`] afterwards.
    pub(crate) fn set_order(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
    }

    /// Whether it may be used at `now`, in milliseconds of the door's clock.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        match self.order() {
            Order::Disable => Standing::Disabled,
            Order::Drain => Standing::Draining,
            Order::Use if self.held_until.load(Relaxed) > now => Standing::Unreachable,
            Order::Use if self.failing.load(Relaxed) => Standing::Failing,
            Order::Use if self.ejected.load(Relaxed) => Standing::Ejected,
            Order::Use => Standing::Ready,
        }
    }

    fn new(address: SocketAddr, upstream: &Arc<str>, metrics: &Metrics) -> ServerState {
        let label = address.to_string();
        ServerState {
            upstream: upstream.clone(),
            address,
            in_flight: AtomicU32::new(0),
            connections: Arc::default(),
            wanted: AtomicBool::new(false),
            freed: Notify::new(),
            held_until: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            recovered: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            order: AtomicU8::new(Order::Use as u8),
            since: AtomicU64::new(0),
            notes: Notes::new(metrics.checks(upstream, &label)),
            cells: metrics.server(upstream, &label),
            label,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(upstream: &Upstream) -> Vec<String> {
        upstream.endpoints().iter().map(|endpoint| endpoint.server.label.clone()).collect()
    }

    #[test]
    fn servers_keep_their_state_while_names_and_plans_change() {
        let metrics = Metrics::new(1, vec![]);
        let upstream = Upstream::new("app".into());
        let host: Arc<str> = "app.internal".into();
        let fixed: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let named = ServerAddress::Name { host: host.clone(), port: 80 };
        let spec = |address| ServerSpec::new(address);
        upstream.set_servers(&[spec(ServerAddress::Socket(fixed)), spec(named.clone())], &metrics);
        assert_eq!(labels(&upstream), ["127.0.0.1:1"]);
        upstream.endpoints()[0].server.in_flight.store(7, Relaxed);

        let [a, b] = ["10.0.0.2", "10.0.0.1"].map(|text| text.parse().expect("an address"));
        assert!(upstream.set_addresses(&host, vec![a, b, a], &metrics));
        assert!(!upstream.set_addresses(&host, vec![b, a], &metrics), "nothing changed");
        assert_eq!(labels(&upstream), ["127.0.0.1:1", "10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(upstream.endpoints()[0].server.in_flight.load(Relaxed), 7);

        let generation = upstream.generation();
        upstream.set_servers(&[spec(named)], &metrics);
        assert!(upstream.generation() > generation);
        assert_eq!(labels(&upstream), ["10.0.0.1:80", "10.0.0.2:80"]);
    }
}
