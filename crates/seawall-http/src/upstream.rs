//! Groups of servers, as all workers share them: which servers there are now, and how busy each
//! is. What belongs to one worker — idle connections, the rotation — is in [`pool`].

pub(crate) mod pool;
pub(crate) mod resolve;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use seawall_config::plan::{ServerAddress, ServerSpec};
use seawall_telemetry::Metrics;
use seawall_telemetry::cells::PerWorker;
use seawall_telemetry::metrics::Server as ServerCells;
use tokio::sync::Notify;

/// One group of servers. Outlives plans: a reload changes its servers, not what is known of them.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    endpoints: ArcSwap<Vec<Endpoint>>,
    /// Goes up with every change of `endpoints`, so that workers notice without a lock.
    generation: AtomicU64,
    source: Mutex<Source>,
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
}

/// What all workers know of a server.
#[derive(Debug)]
pub(crate) struct ServerState {
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
    /// door's clock; 0 for not at all.
    pub(crate) held_until: AtomicU64,
    pub(crate) cells: Arc<PerWorker<ServerCells>>,
}

impl Upstream {
    pub(crate) fn new(name: Arc<str>) -> Upstream {
        Upstream {
            name,
            endpoints: ArcSwap::default(),
            generation: AtomicU64::new(0),
            source: Mutex::default(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
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
        let mut add = |address: SocketAddr, weight: u32| {
            if new.iter().any(|endpoint| endpoint.server.address == address) {
                return;
            }
            let known = old.iter().find(|endpoint| endpoint.server.address == address);
            let server = match known {
                Some(endpoint) => endpoint.server.clone(),
                None => Arc::new(ServerState::new(address, &self.name, metrics)),
            };
            new.push(Endpoint { server, weight });
        };
        for spec in &source.servers {
            match &spec.address {
                ServerAddress::Socket(address) => add(*address, spec.weight),
                ServerAddress::Name { host, port } => {
                    for address in source.resolved.get(host).into_iter().flatten() {
                        add(SocketAddr::new(*address, *port), spec.weight);
                    }
                }
                ServerAddress::Service(_) => {}
            }
        }
        self.endpoints.store(Arc::new(new));
        self.generation.fetch_add(1, Relaxed);
    }
}

impl ServerState {
    fn new(address: SocketAddr, upstream: &Arc<str>, metrics: &Metrics) -> ServerState {
        let label = address.to_string();
        ServerState {
            address,
            in_flight: AtomicU32::new(0),
            connections: Arc::default(),
            wanted: AtomicBool::new(false),
            freed: Notify::new(),
            held_until: AtomicU64::new(0),
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
