//! Every metric there is, by name. Cells are found by name once, when a plan is put in place, and
//! outlive it: a reload never sets a counter back.

mod cache;
mod checks;
mod files;
mod reports;
mod state;
mod upstreams;
mod words;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::access_log::AccessLog;
use crate::cells::{Cell, Histogram, HistogramSnapshot, PerWorker};
use crate::exposition::Exposition;
pub use words::{HeaderFailure, TcpOutcome};

pub use self::cache::{
    Cache, CacheCounts, CacheOutcome, CacheUsage, DiskUsage, MAX_UNSTORABLE, PurgeKind, TierUsage,
};
pub use self::checks::{CheckOutcome, Checks};
pub use self::reports::{Lost, Report};
pub use self::state::SharedState;
pub use self::upstreams::{BREAKER_STATES, Upstream};

/// How many codes of refusals there can be.
pub const MAX_REFUSALS: usize = 64;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    started: u64,
    refusal_codes: Vec<&'static str>,
    refusals: PerWorker<Refusals>,
    routes: Registry<Arc<str>, Route>,
    listeners: Registry<Arc<str>, Listener>,
    servers: Registry<(Arc<str>, String), Server>,
    upstreams: Mutex<BTreeMap<Arc<str>, Arc<Upstream>>>,
    checks: Registry<(Arc<str>, String), Checks>,
    reload: Reload,
    access_log: Mutex<Option<AccessLog>>,
    standings: Mutex<Option<Standings>>,
    files: files::Files,
    state: state::Asked,
    reports: reports::Reports,
    caches: Registry<Arc<str>, Cache>,
    unstorable: Vec<&'static str>,
    purges: cache::Purges,
    cache_usage: cache::Usage,
}

/// The servers of each upstream by their state, from whoever knows them: name of the upstream,
/// states and how many are in each.
pub type ServersByState = Vec<(Arc<str>, Vec<(&'static str, u64)>)>;

/// Counts servers by state when it is asked.
struct Standings(Box<dyn Fn() -> ServersByState + Send + Sync>);

impl std::fmt::Debug for Standings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Standings(..)")
    }
}

/// What is counted for each route.
#[derive(Debug, Default)]
pub struct Route {
    /// Exchanges by class of the answer's status, from 1xx; the first also counts clients that
    /// left before they had an answer.
    pub answers: [Cell; 6],
    /// From the first byte of a request to the last of its answer.
    pub duration: Histogram,
    /// Of those that a server answered: from the first byte of a request to the head of the answer.
    pub until_head: Histogram,
    /// Attempts made again after one that failed.
    pub retries: Cell,
    /// Attempts made beside one that took long.
    pub hedges: Cell,
    /// Of these, those whose answer was taken.
    pub hedges_won: Cell,
    /// Attempts not made because the budget was spent.
    pub unaffordable: Cell,
    /// Answers that took the place of failed ones.
    pub fallbacks: Cell,
    /// Bytes of request content.
    pub received: Cell,
    /// Bytes of answer content.
    pub sent: Cell,
}

/// What is counted for each listener.
#[derive(Debug, Default)]
pub struct Listener {
    /// Connections accepted.
    pub accepted: Cell,
    /// Connections closed again.
    pub closed: Cell,
    /// Connections turned away at once because of a limit.
    pub turned_away: Cell,
    /// Connections upgraded to another protocol.
    pub tunnels_opened: Cell,
    /// Of these, those that have ended.
    pub tunnels_closed: Cell,
    /// Bytes from clients through tunnels.
    pub tunnel_received: Cell,
    /// Bytes to clients through tunnels.
    pub tunnel_sent: Cell,
    /// Connections proxied as TCP that have ended, by [`TcpOutcome`].
    pub tcp_ended: [Cell; TcpOutcome::ALL.len()],
    /// Bytes from clients proxied as TCP.
    pub tcp_received: Cell,
    /// Bytes to clients proxied as TCP.
    pub tcp_sent: Cell,
    /// Connections of trusted peers that did not begin with a PROXY protocol header, by
    /// [`HeaderFailure`].
    pub header_failures: [Cell; HeaderFailure::ALL.len()],
}

/// What is counted for each server of an upstream.
#[derive(Debug, Default)]
pub struct Server {
    /// Requests sent to it, those sent again included.
    pub requests: Cell,
    /// Connections opened.
    pub opened: Cell,
    /// Connections closed again.
    pub closed: Cell,
    /// Connections that could not be opened.
    pub connect_failures: Cell,
    /// Requests that ended without a usable answer after the connection stood.
    pub failures: Cell,
    /// Requests sent again because a kept-alive connection had died.
    pub resent: Cell,
    /// Requests sent on a connection that had been used before.
    pub reused: Cell,
    /// Attempts that came to something: an answer, or none where one was due.
    pub answered: Cell,
    /// How long those that did not fail took until the head of the answer: the sum of their
    /// logarithms, by which servers are compared.
    pub log_latency: Cell,
    /// Of these, those that a gateway error came of: no connection, no answer, 502, 503, 504.
    pub gateway_errors: Cell,
    /// Those that failed in whatever way: gateway errors and other answers from 500 on.
    pub server_errors: Cell,
    /// Exchanges begun with it.
    pub entered: Cell,
    /// Of these, those that have ended.
    pub left: Cell,
}

#[derive(Debug)]
struct Refusals([Cell; MAX_REFUSALS]);

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals(std::array::from_fn(|_| Cell::default()))
    }
}

#[derive(Debug, Default)]
struct Reload {
    generation: AtomicU64,
    last_good: AtomicU64,
    failed: AtomicBool,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Registry<K, T>(Mutex<BTreeMap<K, Arc<PerWorker<T>>>>);

impl<K: Ord + Clone, T: Default> Registry<K, T> {
    fn new() -> Registry<K, T> {
        Registry(Mutex::new(BTreeMap::new()))
    }

    fn of(&self, key: &K, workers: usize) -> Arc<PerWorker<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(key.clone()).or_insert_with(|| Arc::new(PerWorker::new(workers))).clone()
    }

    fn forget(&self, keep: impl Fn(&K) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keep(key));
    }

    fn all(&self) -> Vec<(K, Arc<PerWorker<T>>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, cells)| (key.clone(), cells.clone())).collect()
    }
}

impl Metrics {
    /// The metrics of a process with so many workers; `refusal_codes` are the labels of refusals
    /// by their number.
    pub fn new(workers: usize, refusal_codes: Vec<&'static str>) -> Metrics {
        debug_assert!(refusal_codes.len() <= MAX_REFUSALS);
        Metrics {
            workers,
            started: unix_seconds(),
            refusal_codes,
            refusals: PerWorker::new(workers),
            routes: Registry::new(),
            listeners: Registry::new(),
            servers: Registry::new(),
            upstreams: Mutex::default(),
            checks: Registry::new(),
            reload: Reload::default(),
            access_log: Mutex::default(),
            standings: Mutex::default(),
            files: files::Files::default(),
            state: state::Asked::default(),
            reports: reports::Reports::default(),
            caches: Registry::new(),
            unstorable: Vec::new(),
            purges: cache::Purges::new(workers),
            cache_usage: cache::Usage::default(),
        }
    }

    /// The same with `reasons` as the labels of answers that are not stored, by their number.
    pub fn with_unstorable(self, reasons: Vec<&'static str>) -> Metrics {
        debug_assert!(reasons.len() <= MAX_UNSTORABLE);
        let unstorable = reasons.into_iter().take(MAX_UNSTORABLE).collect();
        Metrics { unstorable, ..self }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The cells of a route. The empty name stands for requests that no route took.
    pub fn route(&self, name: &Arc<str>) -> Arc<PerWorker<Route>> {
        self.routes.of(name, self.workers)
    }

    /// What is counted of the report of a route.
    pub fn report(&self, route: &Arc<str>) -> Arc<Report> {
        self.reports.of(route)
    }

    /// The cells of the cache of a route. They are made when they are first asked for: a route
    /// without a cache has none.
    pub fn cache(&self, route: &Arc<str>) -> Arc<PerWorker<Cache>> {
        self.caches.of(route, self.workers)
    }

    /// What was counted of the caches of all routes.
    pub fn cache_counts(&self) -> Vec<(Arc<str>, CacheCounts)> {
        cache::counts(&self.caches.all(), &self.unstorable)
    }

    /// What the store of the node holds; `None` when there is none.
    pub fn cache_usage(&self) -> Option<CacheUsage> {
        self.cache_usage.now()
    }

    /// Names who tells what the store of the node holds, whenever the page is made; `None` while
    /// there is no store.
    pub fn count_cache(&self, tell: impl Fn() -> Option<CacheUsage> + Send + Sync + 'static) {
        self.cache_usage.tell(Box::new(tell));
    }

    /// Counts what a purge names. Only `worker` itself may; the control thread counts as the one
    /// after the last.
    pub fn purge(&self, worker: usize, kind: PurgeKind, hard: bool) {
        self.purges.count(worker, kind, hard);
    }

    /// Counts the time from the order to purge, at whichever node, until it held here; `worker` is
    /// that of [`Metrics::purge`].
    pub fn purge_took(&self, worker: usize, latency: Duration) {
        self.purges.took(worker, latency);
    }

    /// The cells of a listener.
    pub fn listener(&self, name: &Arc<str>) -> Arc<PerWorker<Listener>> {
        self.listeners.of(name, self.workers)
    }

    /// The cells of a server.
    pub fn server(&self, upstream: &Arc<str>, address: &str) -> Arc<PerWorker<Server>> {
        self.servers.of(&(upstream.clone(), address.to_owned()), self.workers)
    }

    /// What is known of an upstream.
    pub fn upstream(&self, name: &Arc<str>) -> Arc<Upstream> {
        let mut all = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(name.clone()).or_default().clone()
    }

    /// The cells of the checks of a server, of which there is one, that of the control thread.
    pub fn checks(&self, upstream: &Arc<str>, address: &str) -> Arc<PerWorker<Checks>> {
        self.checks.of(&(upstream.clone(), address.to_owned()), 1)
    }

    /// Forgets servers that `keep` does not name any more, so that names that resolve to ever new
    /// addresses do not fill the memory.
    pub fn forget_servers(&self, keep: impl Fn(&str, &str) -> bool) {
        self.servers.forget(|(upstream, address)| keep(upstream, address));
        self.checks.forget(|(upstream, address)| keep(upstream, address));
    }

    /// Counts a refusal by its number; only `worker` itself may.
    pub fn refused(&self, worker: usize, number: usize) {
        if let Some(cell) = self.refusals.of(worker).0.get(number) {
            cell.add(1);
        }
    }

    /// Notes that a configuration was put in place.
    pub fn reloaded(&self) {
        self.reload.generation.fetch_add(1, Relaxed);
        self.reload.last_good.store(unix_seconds(), Relaxed);
        self.reload.failed.store(false, Relaxed);
    }

    /// Notes that a configuration was refused.
    pub fn reload_failed(&self) {
        self.reload.failed.store(true, Relaxed);
        self.reload.failures.fetch_add(1, Relaxed);
    }

    /// Names the access log whose losses are exposed.
    pub fn log_to(&self, access_log: Option<AccessLog>) {
        *self.access_log.lock().unwrap_or_else(PoisonError::into_inner) = access_log;
    }

    /// Notes whether the file with servers of an upstream can be used, when it was looked at since
    /// it has changed.
    pub fn file_looked_at(&self, upstream: &Arc<str>, good: bool) {
        self.files.note(upstream, good);
    }

    /// Forgets the files of upstreams that `keep` does not name any more.
    pub fn forget_files(&self, keep: impl Fn(&str) -> bool) {
        self.files.forget(keep);
    }

    /// Names who counts the servers of each upstream by their state whenever the page is made.
    /// The states must always be the same.
    pub fn count_servers(&self, count: impl Fn() -> ServersByState + Send + Sync + 'static) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        *standings = Some(Standings(Box::new(count)));
    }

    /// Names who knows how things stand with the state that nodes share, if they share any.
    pub fn ask_state(&self, ask: impl Fn() -> Option<SharedState> + Send + Sync + 'static) {
        self.state.ask(ask);
    }

    /// How many configurations have been put in place since the start.
    pub fn generation(&self) -> u64 {
        self.reload.generation.load(Relaxed)
    }

    /// The page for Prometheus.
    pub fn expose(&self) -> String {
        let mut page = Exposition::default();
        self.expose_process(&mut page);
        self.expose_listeners(&mut page);
        self.expose_routes(&mut page);
        self.expose_servers(&mut page);
        let all = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = all.iter().map(|(name, known)| (name.clone(), known.clone())).collect();
        upstreams::expose(&all, &mut page);
        checks::expose(&self.checks.all(), &mut page);
        self.files.expose(&mut page);
        self.state.expose(&mut page);
        self.reports.expose(&mut page);
        let (caches, usage) = (self.caches.all(), self.cache_usage.now());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let reasons = &self.unstorable;
        cache::expose(&caches, reasons, &self.purges, usage.as_ref(), now, &mut page);
        page.finish()
    }

    fn expose_process(&self, page: &mut Exposition) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.metric("seawall_build_info", "gauge", "The version that runs.");
        page.sample("seawall_build_info", &version, 1);
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            page.metric(name, kind, help);
            page.sample(name, &[], value);
        };
        one(
            "seawall_start_time_seconds",
            "gauge",
            "When the process started, since 1970.",
            self.started,
        );
        one("seawall_workers", "gauge", "Worker threads.", self.workers as u64);
        if let Some(bytes) = resident_memory() {
            one("seawall_resident_memory_bytes", "gauge", "Resident memory of the process.", bytes);
        }
        let reload = &self.reload;
        one(
            "seawall_config_generation",
            "counter",
            "Configurations put in place since the start.",
            reload.generation.load(Relaxed),
        );
        one(
            "seawall_config_last_reload_success",
            "gauge",
            "1 when the last configuration offered was put in place, 0 when it was refused.",
            u64::from(!reload.failed.load(Relaxed)),
        );
        one(
            "seawall_config_last_success_time_seconds",
            "gauge",
            "When a configuration was last put in place, since 1970.",
            reload.last_good.load(Relaxed),
        );
        one(
            "seawall_config_failures_total",
            "counter",
            "Configurations that were refused.",
            reload.failures.load(Relaxed),
        );
        let log = self.access_log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(log) = log {
            one(
                "seawall_access_log_dropped_total",
                "counter",
                "Access-log lines lost because the log could not be written, or not fast enough.",
                log.dropped(),
            );
        }
        let name = "seawall_refusals_total";
        page.metric(
            name,
            "counter",
            "Answers that Seawall made itself, by the code of the refusal.",
        );
        for (number, code) in self.refusal_codes.iter().enumerate() {
            let count = self.refusals.sum(|refusals| &refusals.0[number]);
            page.sample(name, &[("code", code)], count);
        }
    }

    fn expose_listeners(&self, page: &mut Exposition) {
        let all = self.listeners.all();
        let name = "seawall_connections_open";
        page.metric(name, "gauge", "Client connections open now.");
        for (listener, cells) in &all {
            let open = cells.sum(|c| &c.accepted).saturating_sub(cells.sum(|c| &c.closed));
            page.sample(name, &[("listener", listener)], open);
        }
        let name = "seawall_tunnels_open";
        page.metric(name, "gauge", "Upgraded connections (WebSocket) open now.");
        for (listener, cells) in &all {
            let opened = cells.sum(|c| &c.tunnels_opened);
            let open = opened.saturating_sub(cells.sum(|c| &c.tunnels_closed));
            page.sample(name, &[("listener", listener)], open);
        }
        type Pick = fn(&Listener) -> &Cell;
        let counters: [(&str, &str, Pick); 7] = [
            ("seawall_connections_total", "Client connections accepted.", |c| &c.accepted),
            (
                "seawall_connections_turned_away_total",
                "Client connections turned away at once because of a limit.",
                |c| &c.turned_away,
            ),
            ("seawall_tunnels_total", "Connections upgraded to another protocol.", |c| {
                &c.tunnels_opened
            }),
            ("seawall_tunnel_received_bytes_total", "Bytes from clients through tunnels.", |c| {
                &c.tunnel_received
            }),
            ("seawall_tunnel_sent_bytes_total", "Bytes to clients through tunnels.", |c| {
                &c.tunnel_sent
            }),
            ("seawall_tcp_received_bytes_total", "Bytes from clients proxied as TCP.", |c| {
                &c.tcp_received
            }),
            ("seawall_tcp_sent_bytes_total", "Bytes to clients proxied as TCP.", |c| &c.tcp_sent),
        ];
        for (name, help, pick) in counters {
            page.metric(name, "counter", help);
            for (listener, cells) in &all {
                page.sample(name, &[("listener", listener)], cells.sum(pick));
            }
        }
        let name = "seawall_tcp_connections_total";
        page.metric(name, "counter", "Connections proxied as TCP that have ended, by outcome.");
        for (listener, cells) in &all {
            for outcome in TcpOutcome::ALL {
                let count = cells.sum(|c| &c.tcp_ended[outcome as usize]);
                if count > 0 {
                    let labels = [("listener", &**listener), ("outcome", outcome.word())];
                    page.sample(name, &labels, count);
                }
            }
        }
        let name = "seawall_proxy_protocol_failures_total";
        let help = "Connections of trusted peers refused for want of a good PROXY protocol header.";
        page.metric(name, "counter", help);
        for (listener, cells) in &all {
            for reason in HeaderFailure::ALL {
                let count = cells.sum(|c| &c.header_failures[reason as usize]);
                if count > 0 {
                    let labels = [("listener", &**listener), ("reason", reason.word())];
                    page.sample(name, &labels, count);
                }
            }
        }
    }

    fn expose_routes(&self, page: &mut Exposition) {
        let all = self.routes.all();
        let name = "seawall_requests_total";
        page.metric(name, "counter", "Exchanges, by route and class of status; `none` means that the client left before it had an answer.");
        for (route, cells) in &all {
            for (class, label) in
                ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate()
            {
                let count = cells.sum(|c| &c.answers[class]);
                if count > 0 {
                    page.sample(name, &[("route", route), ("class", label)], count);
                }
            }
        }
        type Durations = fn(&Route) -> &Histogram;
        let histograms: [(&str, &str, Durations); 2] = [
            (
                "seawall_request_duration_seconds",
                "From the first byte of a request to the last of its answer.",
                |c| &c.duration,
            ),
            (
                "seawall_upstream_answer_seconds",
                "From the first byte of a request to the head of a server's answer.",
                |c| &c.until_head,
            ),
        ];
        for (name, help, pick) in histograms {
            page.metric(name, "histogram", help);
            for (route, cells) in &all {
                let mut snapshot = HistogramSnapshot::default();
                cells.iter().for_each(|c| pick(c).add_to(&mut snapshot));
                page.histogram(name, &[("route", route)], &snapshot);
            }
        }
        type Pick = fn(&Route) -> &Cell;
        let counters: [(&str, &str, Pick); 7] = [
            ("seawall_retries_total", "Attempts made again after one that failed.", |c| &c.retries),
            ("seawall_hedges_total", "Attempts made beside one that took long.", |c| &c.hedges),
            ("seawall_hedges_won_total", "Hedges whose answer was taken.", |c| &c.hedges_won),
            (
                "seawall_retries_unaffordable_total",
                "Attempts not made because the retry budget was spent.",
                |c| &c.unaffordable,
            ),
            ("seawall_fallbacks_total", "Answers that took the place of failed ones.", |c| {
                &c.fallbacks
            }),
            ("seawall_received_bytes_total", "Bytes of request content.", |c| &c.received),
            ("seawall_sent_bytes_total", "Bytes of answer content.", |c| &c.sent),
        ];
        for (name, help, pick) in counters {
            page.metric(name, "counter", help);
            for (route, cells) in &all {
                page.sample(name, &[("route", route)], cells.sum(pick));
            }
        }
    }

    fn expose_servers(&self, page: &mut Exposition) {
        let name = "seawall_upstream_servers";
        page.metric(name, "gauge", "Servers of an upstream, by state.");
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        for (upstream, states) in standings.iter().flat_map(|count| count.0()) {
            for (state, count) in states {
                page.sample(name, &[("upstream", &upstream), ("state", state)], count);
            }
        }
        drop(standings);
        let all = self.servers.all();
        let name = "seawall_upstream_connections_open";
        page.metric(name, "gauge", "Connections to a server open now.");
        for ((upstream, server), cells) in &all {
            let open = cells.sum(|c| &c.opened).saturating_sub(cells.sum(|c| &c.closed));
            page.sample(name, &[("upstream", upstream), ("server", server)], open);
        }
        let name = "seawall_upstream_in_flight";
        page.metric(name, "gauge", "Exchanges with a server that have not ended.");
        for ((upstream, server), cells) in &all {
            let entered = cells.sum(|c| &c.entered);
            let in_flight = entered.saturating_sub(cells.sum(|c| &c.left));
            page.sample(name, &[("upstream", upstream), ("server", server)], in_flight);
        }
        type Pick = fn(&Server) -> &Cell;
        let counters: [(&str, &str, Pick); 6] = [
            (
                "seawall_upstream_reused_total",
                "Requests sent on a connection that had been used before.",
                |c| &c.reused,
            ),
            ("seawall_upstream_requests_total", "Requests sent to a server.", |c| &c.requests),
            ("seawall_upstream_connections_total", "Connections opened to a server.", |c| {
                &c.opened
            }),
            (
                "seawall_upstream_connect_failures_total",
                "Connections to a server that could not be opened.",
                |c| &c.connect_failures,
            ),
            (
                "seawall_upstream_failures_total",
                "Requests that ended without a usable answer of the server.",
                |c| &c.failures,
            ),
            (
                "seawall_upstream_resent_total",
                "Requests sent again because a kept-alive connection had died.",
                |c| &c.resent,
            ),
        ];
        for (name, help, pick) in counters {
            page.metric(name, "counter", help);
            for ((upstream, server), cells) in &all {
                page.sample(name, &[("upstream", upstream), ("server", server)], cells.sum(pick));
            }
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Resident memory in bytes, where the system tells it (`/proc/self/status`).
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_exposed_and_outlives_a_plan() {
        let metrics = Metrics::new(2, vec!["no-route"]);
        let name: Arc<str> = "api".into();
        metrics.route(&name).of(0).answers[2].add(2);
        metrics.route(&name).of(1).answers[2].add(1);
        metrics.listener(&"web".into()).of(0).accepted.add(5);
        metrics.listener(&"web".into()).of(1).closed.add(2);
        metrics.server(&"app".into(), "127.0.0.1:1").of(0).requests.add(7);
        let db = metrics.listener(&"db".into());
        db.of(1).tcp_ended[TcpOutcome::Idle as usize].add(4);
        db.of(0).header_failures[HeaderFailure::Missing as usize].add(1);
        metrics.refused(1, 0);
        metrics.refused(1, MAX_REFUSALS);
        metrics.reloaded();
        metrics.reload_failed();
        let page = metrics.expose();
        for line in [
            "seawall_requests_total{route=\"api\",class=\"2xx\"} 3",
            "seawall_connections_open{listener=\"web\"} 3",
            "seawall_upstream_requests_total{upstream=\"app\",server=\"127.0.0.1:1\"} 7",
            "seawall_tcp_connections_total{listener=\"db\",outcome=\"idle\"} 4",
            "seawall_proxy_protocol_failures_total{listener=\"db\",reason=\"missing\"} 1",
            "seawall_refusals_total{code=\"no-route\"} 1",
            "seawall_config_generation 1",
            "seawall_config_last_reload_success 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
        metrics.forget_servers(|upstream, _| upstream != "app");
        assert!(!metrics.expose().contains("127.0.0.1:1"));
    }
}
