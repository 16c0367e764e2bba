//! A plan with what belongs to its names: the route index, the upstreams, the counters.

use std::sync::Arc;

use seawall_config::plan::Plan;
use seawall_telemetry::Metrics;
use seawall_telemetry::cells::PerWorker;
use seawall_telemetry::metrics::{
    Cache as CacheCells, Listener as ListenerCells, Route as RouteCells,
};

use crate::listen::Key;
use crate::policy::cache::node::Node;
use crate::report::Report;
use crate::route::RouteTable;
use crate::tickets::Doorkeeper;
use crate::upstream::Upstream;
use crate::upstream::watch::RouteWatch;

/// A plan, ready to run; all workers share it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) plan: Arc<Plan>,
    /// Which plan it is, counted from 1.
    pub(crate) generation: u64,
    pub(crate) table: RouteTable,
    /// By position in the plan, as are the routes and listeners below.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) routes: Vec<Arc<PerWorker<RouteCells>>>,
    /// Only routes with a cache have these.
    pub(crate) caches: Vec<Option<Arc<PerWorker<CacheCells>>>>,
    /// Only routes with a report have these.
    pub(crate) reports: Vec<Option<Arc<Report>>>,
    pub(crate) watches: Vec<Arc<RouteWatch>>,
    /// For requests that no route takes.
    pub(crate) no_route: Arc<PerWorker<RouteCells>>,
    pub(crate) listeners: Vec<Entrance>,
    pub(crate) metrics: Arc<Metrics>,
    /// The cache of the node, from the first plan on that has a route with one.
    pub(crate) cache: Option<Arc<Node>>,
}

/// What outlives plans of a listener.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pub(crate) key: Key,
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    pub(crate) cells: Arc<PerWorker<ListenerCells>>,
}

impl Compiled {
    /// The position of the listener that `key` names, if the plan still has it.
    pub(crate) fn position(&self, key: &Key) -> Option<usize> {
        self.listeners.iter().position(|entrance| entrance.key == *key)
    }
}
