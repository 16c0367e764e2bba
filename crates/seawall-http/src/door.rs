//! The door as the rest of the program sees it: opened on a plan, given new ones, closed. What it
//! tells of its upstreams is in [`status`], what can be told to it about their servers in
//! [`servers`], and what can be done with its cache in [`cache`].

pub mod cache;
pub mod servers;
pub mod status;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_config::plan::{Action, Plan, Retry, Route, ServerSpec};
use seawall_state::StateError;
use seawall_telemetry::{AccessLog, Metrics};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use self::cache::CacheHandle;
use crate::compiled::{Compiled, Entrance};
use crate::listen::{self, Bound, Key};
use crate::policy::cache::node::Node;
pub use crate::policy::report::sign_of_this_process;
use crate::refuse::Refusal;
use crate::report::Reports;
use crate::route::RouteTable;
use crate::tickets::Doorkeeper;
use crate::upstream::Upstream;
use crate::upstream::health::Checks;
use crate::upstream::resolve::Names;
use crate::upstream::watch::{self, RouteWatch, Watch};
use crate::worker::{self, Command, Start};

/// An open door. Dropping it ends its threads at once; [`Door::close`] does so gently.
#[derive(Debug)]
pub struct Door {
    workers: Vec<Handle>,
    metrics: Arc<Metrics>,
    upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// The same in the order of the plan, for the metrics.
    shown: Arc<ArcSwap<Vec<Arc<Upstream>>>>,
    entrances: Vec<(Entrance, SocketAddr)>,
    watches: HashMap<Arc<str>, Arc<RouteWatch>>,
    watch: Option<Watch>,
    /// Wakes the watch.
    look: Arc<Notify>,
    names: Names,
    checks: Checks,
    reports: Reports,
    /// The cache, which outlives plans.
    cache: Option<Arc<Node>>,
    /// Those who hold on to it.
    handle: CacheHandle,
    plan: Arc<Plan>,
    generation: u64,
    /// When the clock began that all workers go by.
    epoch: Instant,
}

/// How long the end of the process waits for the cache to be written to disk.
const FLUSH: Duration = Duration::from_secs(5);

/// The servers in the files of upstreams, by the name of the upstream. Those of a file that cannot
/// be read are not there: the door then goes on with those of the last good one.
pub type FileServers = HashMap<Arc<str>, Vec<ServerSpec>>;

#[derive(Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// Why a plan cannot be put in place. The one before it stays.
#[derive(Debug, Error)]
pub enum DoorError {
    /// An address cannot be listened on.
    #[error("listener `{name}` cannot listen on {address}: {error}{}", hint(.error))]
    Bind {
        /// Name of the listener.
        name: Arc<str>,
        /// Its address.
        address: SocketAddr,
        /// What the system says; part of the message, and so not its source too.
        error: std::io::Error,
    },
    /// What the nodes of a fleet share cannot be used as it is configured.
    #[error(transparent)]
    State(#[from] StateError),
    /// Names cannot be resolved at all.
    #[error("{0}")]
    Resolver(String),
    /// A thread cannot be started or has ended.
    #[error("worker {0} is not there")]
    Worker(usize),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program listens there: stop it or take another port"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability `cap_net_bind_service`"
        }
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// The codes of all refusals, by number, for [`Metrics::new`].
pub fn refusal_codes() -> Vec<&'static str> {
    Refusal::ALL.iter().map(|refusal| refusal.description().code).collect()
}

impl Door {
    /// Starts the workers and opens the listeners of `plan`. Call it on the control runtime, which
    /// must go on running for names to be resolved. `cache` is a hold on its cache from then on.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on or a thread cannot be started.
    pub async fn open(
        plan: Plan,
        files: &FileServers,
        metrics: Arc<Metrics>,
        access_log: Option<&AccessLog>,
        cache: CacheHandle,
    ) -> Result<Door, DoorError> {
        let nothing = Arc::new(Plan {
            listeners: Vec::new(),
            upstreams: Vec::new(),
            routes: Vec::new(),
            ..plan.clone()
        });
        let epoch = Instant::now();
        let shown: Arc<ArcSwap<Vec<Arc<Upstream>>>> = Arc::default();
        metrics.count_servers(status::servers_by_standing(shown.clone(), epoch));
        let mut door = Door {
            workers: Vec::new(),
            names: Names::new(metrics.clone(), epoch),
            metrics,
            upstreams: HashMap::new(),
            shown,
            entrances: Vec::new(),
            watches: HashMap::new(),
            watch: None,
            look: Arc::default(),
            checks: Checks::new(epoch),
            reports: Reports::new(epoch),
            cache: None,
            handle: cache,
            plan: nothing.clone(),
            generation: 0,
            epoch,
        };
        let nothing = Arc::new(door.compile(nothing, Vec::new()));
        for index in 0..door.metrics.workers() {
            let (commands, received) = mpsc::channel(16);
            let start = Start {
                index,
                seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), index),
                epoch,
                compiled: nothing.clone(),
                commands: received,
            };
            let thread =
                std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                    if let Err(error) = worker::run(start) {
                        tracing::error!(%error, worker = index, "a worker cannot start");
                    }
                });
            let thread = Some(thread.map_err(|_| DoorError::Worker(index))?);
            door.workers.push(Handle { commands, thread });
        }
        door.apply(plan, files, access_log).await?;
        Ok(door)
    }

    /// Puts a plan in place: all of it, or on an error nothing. Exchanges in flight end on the plan
    /// they began with. From then on, exchanges are logged to `access_log`.
    ///
    /// # Errors
    ///
    /// As [`Door::open`].
    pub async fn apply(
        &mut self,
        plan: Plan,
        files: &FileServers,
        access_log: Option<&AccessLog>,
    ) -> Result<(), DoorError> {
        let plan = Arc::new(plan);
        let (entrances, mut bound) = self.bind(&plan)?;
        let compiled =
            self.compile(plan.clone(), entrances.iter().map(|(e, _)| e.clone()).collect());
        if let Some(node) = &compiled.cache
            && node.share(&plan)?
        {
            let shares = Arc::downgrade(node);
            self.metrics.ask_state(move || {
                let fleet = shares.upgrade()?.fleet().clone()?;
                Some(fleet.status())
            });
            node.catch_up().await;
        }
        let from_file = |config: &seawall_config::plan::Upstream| {
            let read = || files.get(&config.name).map(Vec::as_slice);
            config.servers_file.as_ref().map(|_| read())
        };
        let pairs = || plan.upstreams.iter().zip(&compiled.upstreams);
        let needs: Vec<_> = pairs()
            .map(|(config, upstream)| {
                let questions = upstream.questions_with(&config.servers, from_file(config));
                (upstream.clone(), questions)
            })
            .collect();
        if needs.iter().any(|(_, questions)| !questions.is_empty()) {
            self.names.ask(plan.server.resolver).map_err(DoorError::Resolver)?;
        }
        self.names.follow(needs, true).await;
        // Nothing can fail from here on but a worker that is not there.
        for (config, upstream) in pairs() {
            let file = from_file(config);
            let began = upstream.endpoints().is_empty();
            let change =
                upstream.set_configured(&config.servers, file, self.clock(), &self.metrics);
            // What a file says in so many words need not be repeated.
            if !began || !upstream.names().is_empty() {
                change.log(&upstream.name, "configuration");
            }
        }
        self.checks.apply(&plan, &compiled.upstreams);
        self.reports.apply(&plan, &compiled.upstreams);
        self.upstreams = compiled.upstreams.iter().map(|u| (u.name.clone(), u.clone())).collect();
        self.shown.store(Arc::new(compiled.upstreams.clone()));
        let compiled = Arc::new(compiled);
        let mut done = Vec::new();
        for (index, handle) in self.workers.iter().enumerate() {
            let sockets = std::mem::take(&mut bound[index]);
            let (applied, is_applied) = oneshot::channel();
            let lines = access_log.map(AccessLog::buffer);
            let command =
                Command::Apply { compiled: compiled.clone(), sockets, lines, done: applied };
            handle.commands.send(command).await.map_err(|_| DoorError::Worker(index))?;
            done.push(is_applied);
        }
        for (index, is_applied) in done.into_iter().enumerate() {
            is_applied.await.map_err(|_| DoorError::Worker(index))?;
        }
        self.handle.follow(&compiled);
        self.plan = plan;
        self.generation = compiled.generation;
        self.entrances = entrances;
        let named =
            |(route, watch): (&Route, &Arc<RouteWatch>)| (route.name.clone(), watch.clone());
        self.watches = self.plan.routes.iter().zip(&compiled.watches).map(named).collect();
        self.watch = Some(watch::start(compiled.clone(), self.epoch, self.look.clone()));
        let known: HashMap<&str, _> =
            compiled.upstreams.iter().map(|u| (&*u.name, u.labels())).collect();
        self.metrics.forget_servers(|upstream, server| {
            known.get(upstream).is_some_and(|labels| labels.contains(server))
        });
        self.metrics.reloaded();
        Ok(())
    }

    /// Binds the listeners that are new, for every worker.
    #[allow(clippy::type_complexity)]
    fn bind(
        &self,
        plan: &Plan,
    ) -> Result<(Vec<(Entrance, SocketAddr)>, Vec<Vec<Bound>>), DoorError> {
        let workers = self.workers.len();
        let mut bound: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
        let mut entrances = Vec::new();
        for listener in &plan.listeners {
            let key = Key { name: listener.name.clone(), address: listener.address };
            let old = self.entrances.iter().find(|(entrance, _)| entrance.key == key);
            let actual = match old {
                Some((_, actual)) => *actual,
                None => {
                    let (sockets, actual) =
                        listen::bind(listener.address, workers).map_err(|error| {
                            DoorError::Bind {
                                name: listener.name.clone(),
                                address: listener.address,
                                error,
                            }
                        })?;
                    for (socket, bound) in sockets.into_iter().zip(&mut bound) {
                        bound.push(Bound { key: key.clone(), socket });
                    }
                    actual
                }
            };
            let doorkeeper =
                old.map_or_else(Arc::<Doorkeeper>::default, |(old, _)| old.doorkeeper.clone());
            let cells = self.metrics.listener(&listener.name);
            entrances.push((Entrance { key, doorkeeper, cells }, actual));
        }
        Ok((entrances, bound))
    }

    fn compile(&mut self, plan: Arc<Plan>, listeners: Vec<Entrance>) -> Compiled {
        let caches = |route: &Route| match &route.action {
            Action::Forward(to) => to.cache.is_some(),
            Action::Redirect(_) | Action::Respond(_) => false,
        };
        match &self.cache {
            Some(node) => node.configure(&plan.cache),
            None if plan.routes.iter().any(caches) => {
                self.cache = Some(Arc::new(Node::new(&plan.cache)));
            }
            None => {}
        }
        let upstream = |config: &seawall_config::plan::Upstream| {
            let known = self.upstreams.get(&config.name).cloned();
            let upstream = known.unwrap_or_else(|| {
                let (name, look) = (config.name.clone(), self.look.clone());
                Arc::new(Upstream::new(name, self.epoch, look, &self.metrics))
            });
            upstream.line.configure(&config.queue);
            upstream
        };
        let watch = |route: &Route| {
            let retry = match &route.action {
                Action::Forward(to) => to.retry.clone(),
                Action::Redirect(_) | Action::Respond(_) => Retry::default(),
            };
            if let Some(known) = self.watches.get(&route.name) {
                known.budget.configure(retry.budget, retry.floor);
                return known.clone();
            }
            let cells = self.metrics.route(&route.name);
            Arc::new(RouteWatch::new(self.epoch.elapsed(), &retry, cells))
        };
        let cells = |route: &Route| caches(route).then(|| self.metrics.cache(&route.name));
        let (reports, metrics) = (&mut self.reports, &self.metrics);
        let mut report =
            |route: &Route| route.report.as_ref().map(|_| reports.of(&route.name, metrics));
        let reports = plan.routes.iter().map(&mut report).collect();
        Compiled {
            generation: self.generation + 1,
            table: RouteTable::new(&plan.routes),
            upstreams: plan.upstreams.iter().map(upstream).collect(),
            watches: plan.routes.iter().map(watch).collect(),
            routes: plan.routes.iter().map(|route| self.metrics.route(&route.name)).collect(),
            caches: plan.routes.iter().map(cells).collect(),
            reports,
            no_route: self.metrics.route(&"".into()),
            listeners,
            metrics: self.metrics.clone(),
            cache: self.cache.clone(),
            plan,
        }
    }

    /// The listeners by name, with the addresses they really have.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.entrances.iter().map(|(entrance, actual)| (&*entrance.key.name, *actual))
    }

    /// The plan in place.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether there is a cache, which is when any plan so far had a route with one.
    pub fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Milliseconds since the door was opened.
    fn clock(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Stops listening, then waits for the exchanges in flight, at most for `patience`; what is
    /// left then is cut. Events of reports are delivered within the same time, or two seconds more.
    pub async fn close(mut self, patience: Duration) {
        let until = Instant::now() + patience;
        for handle in &self.workers {
            let _ = handle.commands.send(Command::Drain(until)).await;
        }
        let threads: Vec<_> =
            self.workers.iter_mut().filter_map(|handle| handle.thread.take()).collect();
        let cache = self.cache.take();
        let ended = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = ended.await;
        let flushed = tokio::task::spawn_blocking(move || {
            if let Some(node) = cache {
                node.flush(FLUSH);
            }
        });
        // They take the upstreams as the watch has them until then.
        self.reports.close(until).await;
        let _ = flushed.await;
    }
}
