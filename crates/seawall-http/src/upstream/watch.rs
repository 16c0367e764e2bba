//! The watch: looks at what the workers counted, decides, and publishes.
//!
//! Workers observe, the watch decides, atomics publish: no request waits for a decision, and no
//! decision is made twice. One task on the control thread looks every tenth of a second, and at
//! once when a server has had as many errors in a row as are enough. What it knows hangs from the
//! upstreams and routes, so that a reload changes the rules and forgets nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seawall_config::plan;
use seawall_core::breaker::{Breaker, STEPS, Settings as BreakerSettings, State};
use seawall_core::eject::{
    Ejector, Observation, Prevented, Returned, Settings as EjectSettings, Verdict,
};
use seawall_core::hedge;
use seawall_core::random::Random;
use seawall_core::retry::Budget;
use seawall_core::window::Counts;
use seawall_telemetry::cells::{BOUNDS, HistogramSnapshot, PerWorker};
use seawall_telemetry::metrics::{BREAKER_STATES, Route as RouteCells};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::trial::Guard;
use super::{Endpoint, ServerState, Standing, Upstream};
use crate::compiled::Compiled;
use crate::door::status::{BreakerState, BreakerStatus};
use crate::policy::cache::advice::Told;

/// Time between two looks.
const TICK: Duration = Duration::from_millis(100);

/// Entries of the cache's store that are looked at each time, if any were purged: about a
/// millisecond's work.
const SWEPT: usize = 10_000;

/// A watch that has failed begins anew after this time.
const AFTER_A_BUG: Duration = Duration::from_secs(1);

/// What is known of the answers of a route of late. Outlives plans.
#[derive(Debug)]
pub(crate) struct RouteWatch {
    /// What pays for retries, hedges and failovers.
    pub(crate) budget: Arc<Budget>,
    /// Microseconds until the head of half, and of 95 %, of the answers; 0 while that is not known.
    typical: AtomicU64,
    p95: AtomicU64,
    latency: Mutex<(hedge::Latency, HistogramSnapshot)>,
    cells: Arc<PerWorker<RouteCells>>,
    /// What the log says of its answers already.
    pub(crate) told: Told,
}

impl RouteWatch {
    pub(crate) fn new(
        now: Duration,
        retry: &plan::Retry,
        cells: Arc<PerWorker<RouteCells>>,
    ) -> RouteWatch {
        RouteWatch {
            budget: Arc::new(Budget::new(now, retry.budget, retry.floor)),
            typical: AtomicU64::new(0),
            p95: AtomicU64::new(0),
            latency: Mutex::new((hedge::Latency::new(&BOUNDS), HistogramSnapshot::default())),
            cells,
            told: Told::default(),
        }
    }

    /// The time until the head of an answer, for half of them.
    pub(crate) fn typical(&self) -> Option<Duration> {
        known(&self.typical)
    }

    /// The same for 95 % of them.
    pub(crate) fn p95(&self) -> Option<Duration> {
        known(&self.p95)
    }

    fn look(&self, now: Duration) {
        let mut snapshot = HistogramSnapshot::default();
        for cells in self.cells.iter() {
            cells.until_head.add_to(&mut snapshot);
        }
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let (latency, before) = &mut *latency;
        let mut new = snapshot.buckets;
        for (new, before) in new.iter_mut().zip(before.buckets) {
            *new = new.saturating_sub(before);
        }
        latency.add(now, &new);
        *before = snapshot;
        let micros =
            |time: Option<Duration>| time.map_or(0, |time| (time.as_micros() as u64).max(1));
        self.typical.store(micros(latency.typical()), Relaxed);
        self.p95.store(micros(latency.quantile(0.95)), Relaxed);
    }
}

fn known(micros: &AtomicU64) -> Option<Duration> {
    match micros.load(Relaxed) {
        0 => None,
        micros => Some(Duration::from_micros(micros)),
    }
}

/// What the watch knows of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    ejector: Option<Ejector<u64>>,
    breaker: Option<Breaker>,
    /// Why the breaker is where it is.
    breaker_why: String,
    /// What the breaker had counted at the last look.
    counted: Counts,
    /// What was counted of servers at the last look.
    servers: HashMap<u64, Seen>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    requests: u64,
    gateway_errors: u64,
    failures: u64,
    log_latency: u64,
    /// Why it was taken out.
    why: String,
    ejections: u64,
}

/// The task; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to watch the upstreams and routes of a plan.
pub(crate) fn start(compiled: Arc<Compiled>, epoch: Instant, look: Arc<Notify>) -> Watch {
    Watch(tokio::spawn(async move {
        loop {
            // Dropped with this task, which aborts what is in it.
            let mut task = JoinSet::new();
            task.spawn(keep_watch(compiled.clone(), epoch, look.clone()));
            // A bug in a decision must not be the end of all decisions.
            if let Some(Err(error)) = task.join_next().await {
                tracing::error!(%error, "the watch of the upstreams has failed and begins anew");
            }
            sleep(AFTER_A_BUG).await;
        }
    }))
}

async fn keep_watch(compiled: Arc<Compiled>, epoch: Instant, look: Arc<Notify>) {
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let mut random = Random::seeded(seed);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = look.notified() => {}
        }
        let now = epoch.elapsed();
        for (config, upstream) in compiled.plan.upstreams.iter().zip(&compiled.upstreams) {
            upstream.look(config, now, &mut random);
        }
        for watch in &compiled.watches {
            watch.budget.tick(now);
            if looks.is_multiple_of(10) {
                watch.look(now);
            }
        }
        if let Some(node) = &compiled.cache {
            node.store.sweep(SWEPT, node.millis(Instant::now()));
        }
        looks += 1;
    }
}

impl Upstream {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What workers ask the circuit breaker by, if the plan has one.
    pub(super) fn guard(&self, config: &plan::Upstream) -> Option<Guard> {
        let mut watched = self.watched();
        let Some(breaker) = &config.breaker else {
            watched.breaker = None;
            return None;
        };
        let settings = breaker_settings(breaker);
        let known = watched.breaker.get_or_insert_with(|| Breaker::new(settings));
        known.configure(settings);
        Some(Guard {
            gate: known.gate().clone(),
            outcomes: self.outcomes.clone(),
            slow_after: breaker.slow_after,
        })
    }

    /// Where the circuit breaker is, if there is one.
    pub(crate) fn breaker_status(&self, now: Duration) -> Option<BreakerStatus> {
        let watched = self.watched();
        let mut until = None;
        let state = match watched.breaker.as_ref()?.state() {
            State::Closed => BreakerState::Closed,
            State::Open { until: end } => {
                until = Some(end.saturating_sub(now));
                BreakerState::Open
            }
            State::HalfOpen => BreakerState::HalfOpen,
            State::Recovering { step } => {
                BreakerState::Recovering(STEPS.get(step).copied().unwrap_or(1000))
            }
        };
        let moved = !watched.breaker_why.is_empty();
        Some(BreakerStatus { state, why: moved.then(|| watched.breaker_why.clone()), until })
    }

    /// How often a server was taken out because of what it answered, and why the last time.
    pub(crate) fn ejections(&self, server: &ServerState) -> (u64, String) {
        let watched = self.watched();
        watched
            .servers
            .get(&server.id)
            .map_or((0, String::new()), |seen| (seen.ejections, seen.why.clone()))
    }

    fn look(&self, config: &plan::Upstream, now: Duration, random: &mut Random) {
        let endpoints = self.endpoints();
        let millis = now.as_millis() as u64;
        let is_ready = |endpoint: &&Endpoint| endpoint.server.standing(millis) == Standing::Ready;
        self.let_in(config, endpoints.iter().filter(is_ready));
        let watched = &mut *self.watched();
        self.look_at_servers(config, watched, &endpoints, now, random);
        self.look_at_breaker(watched, now, random);
    }

    /// Room that did not come of a request's end: a server is new or has returned.
    fn let_in<'a>(&self, config: &plan::Upstream, ready: impl Iterator<Item = &'a Endpoint>) {
        self.line.sweep();
        self.metrics.waiting.store(self.line.waiting() as u64, Relaxed);
        if self.line.waiting() == 0 {
            return;
        }
        let most = config.max_in_flight.server.unwrap_or(u32::MAX);
        let room = ready
            .map(|endpoint| most.saturating_sub(endpoint.server.in_flight.load(Relaxed)) as usize);
        let mut room = room.fold(0usize, usize::saturating_add);
        if let Some(total) = config.max_in_flight.total {
            room = room.min((total as usize).saturating_sub(self.in_flight.load(Relaxed)));
        }
        for _ in 0..room.saturating_sub(self.line.turns()).min(self.line.waiting()) {
            self.line.freed();
        }
    }

    fn look_at_servers(
        &self,
        config: &plan::Upstream,
        watched: &mut Watched,
        endpoints: &[Endpoint],
        now: Duration,
        random: &mut Random,
    ) {
        let look_at = config.eject.map_or(0, |eject| eject.errors);
        let look_at = if look_at == 0 { u32::MAX } else { look_at };
        let millis = now.as_millis() as u64;
        let by_id: BTreeMap<u64, &Arc<ServerState>> =
            endpoints.iter().map(|endpoint| (endpoint.server.id, &endpoint.server)).collect();
        let Some(eject) = &config.eject else {
            watched.ejector = None;
            for server in by_id.values().filter(|server| server.ejected.load(Relaxed)) {
                self.take_back(server, millis, "`eject` is gone from the configuration");
            }
            return;
        };
        let settings = EjectSettings {
            errors: eject.errors,
            outliers: eject.outliers,
            base: eject.base,
            longest: eject.longest,
            at_most: eject.at_most,
        };
        let ejector = watched.ejector.get_or_insert_with(|| Ejector::new(settings));
        ejector.configure(settings);
        watched.servers.retain(|id, _| by_id.contains_key(id));
        let mut verdicts = Vec::new();
        let mut observations = Vec::with_capacity(by_id.len());
        for (&id, server) in &by_id {
            server.look_at.store(look_at, Relaxed);
            if server.recovered.swap(false, Relaxed) {
                verdicts.extend(ejector.healthy_again(id));
            }
            let seen = watched.servers.entry(id).or_insert_with(|| Seen::now(server));
            observations.push(seen.observe(server, millis));
        }
        verdicts.extend(ejector.tick(now, &observations, random));
        for verdict in verdicts {
            match verdict {
                Verdict::Eject { server: id, until, reason } => {
                    let Some(server) = by_id.get(&id) else { continue };
                    server.ejected.store(true, Relaxed);
                    server.standing_changed();
                    let time = format!("{:.1}s", until.saturating_sub(now).as_secs_f32());
                    tracing::warn!(upstream = %self.name, server = server.label, reason, "for" = time, "server is taken out");
                    if let Some(seen) = watched.servers.get_mut(&id) {
                        seen.why = reason;
                        seen.ejections += 1;
                    }
                }
                Verdict::Return { server: id, why } => {
                    let Some(server) = by_id.get(&id) else { continue };
                    self.take_back(server, millis, returned(why));
                }
                Verdict::Prevented { server: id, reason, why } => {
                    let Some(server) = by_id.get(&id) else { continue };
                    tracing::warn!(upstream = %self.name, server = server.label, reason, but = prevented(why), "server would be taken out, but stays");
                }
            }
        }
    }

    fn take_back(&self, server: &ServerState, millis: u64, why: &str) {
        server.ejected.store(false, Relaxed);
        server.errors_in_a_row.store(0, Relaxed);
        server.since.store(millis, Relaxed);
        server.standing_changed();
        tracing::info!(upstream = %self.name, server = server.label, why, "server is used again");
    }

    fn look_at_breaker(&self, watched: &mut Watched, now: Duration, random: &mut Random) {
        let Some(breaker) = &mut watched.breaker else {
            self.metrics.breaker.store(0, Relaxed);
            return;
        };
        let all = Counts {
            total: self.outcomes.sum(|outcomes| &outcomes.total),
            failed: self.outcomes.sum(|outcomes| &outcomes.failed),
            slow: self.outcomes.sum(|outcomes| &outcomes.slow),
        };
        let new = all.minus(std::mem::replace(&mut watched.counted, all));
        if let Some(change) = breaker.tick(now, new, random) {
            let (from, to) = (change.from, change.to);
            if matches!(to, State::Open { .. }) {
                self.metrics.opened.fetch_add(1, Relaxed);
            }
            let (from, word, reason) = (word(from), word(to), &change.reason);
            match to {
                State::Open { .. } => {
                    tracing::warn!(upstream = %self.name, from, to = word, reason, "circuit breaker");
                }
                State::Closed | State::HalfOpen | State::Recovering { .. } => {
                    tracing::info!(upstream = %self.name, from, to = word, reason, "circuit breaker");
                }
            }
            watched.breaker_why = change.reason;
        }
        self.metrics.breaker.store(number(breaker.state()) as u64 + 1, Relaxed);
    }
}

impl Seen {
    /// What has been counted so far says nothing new.
    fn now(server: &ServerState) -> Seen {
        let mut seen = Seen::default();
        seen.observe(server, 0);
        seen
    }

    /// What was counted since the last look.
    fn observe(&mut self, server: &ServerState, millis: u64) -> Observation<u64> {
        let cells = &server.cells;
        let unreachable = cells.sum(|cells| &cells.connect_failures);
        let new = Seen {
            requests: cells.sum(|cells| &cells.answered) + unreachable,
            gateway_errors: cells.sum(|cells| &cells.gateway_errors),
            failures: cells.sum(|cells| &cells.server_errors) + unreachable,
            log_latency: cells.sum(|cells| &cells.log_latency),
            ..Seen::default()
        };
        let gateway_errors = new.gateway_errors.saturating_sub(self.gateway_errors);
        let failures = new.failures.saturating_sub(self.failures);
        let requests = new.requests.saturating_sub(self.requests);
        let log_latency = new.log_latency.saturating_sub(self.log_latency);
        let standing = server.standing(millis);
        let observation = Observation {
            server: server.id,
            requests: requests.max(gateway_errors),
            gateway_errors,
            server_errors: failures.saturating_sub(gateway_errors),
            answers: requests.saturating_sub(failures),
            log_latency,
            consecutive: server.errors_in_a_row.load(Relaxed),
            usable: matches!(standing, Standing::Ready | Standing::Ejected),
        };
        (self.requests, self.gateway_errors) = (new.requests, new.gateway_errors);
        (self.failures, self.log_latency) = (new.failures, new.log_latency);
        observation
    }
}

fn word(state: State) -> &'static str {
    BREAKER_STATES[number(state)]
}

/// The position in [`BREAKER_STATES`].
fn number(state: State) -> usize {
    match state {
        State::Closed => 0,
        State::Open { .. } => 1,
        State::HalfOpen => 2,
        State::Recovering { .. } => 3,
    }
}

fn returned(why: Returned) -> &'static str {
    match why {
        Returned::TimeOver => "its time is over",
        Returned::Healthy => "it passes its checks again",
        Returned::Needed => "too few servers would be left",
    }
}

fn prevented(why: Prevented) -> &'static str {
    match why {
        Prevented::LastInUse => "no other server is in use",
        Prevented::AtMost => "as many are out already as `at-most` allows",
        Prevented::OthersToo => "the other servers fail alike",
    }
}

fn breaker_settings(breaker: &plan::Breaker) -> BreakerSettings {
    BreakerSettings {
        window: breaker.window,
        minimum: u64::from(breaker.minimum),
        failures: breaker.failures,
        slow: breaker.slow,
        count: None,
        open: breaker.open,
        longest: breaker.longest,
        probes: breaker.probes,
        probe_timeout: breaker.probe_timeout,
        step: breaker.step,
    }
}
