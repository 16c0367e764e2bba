//! Whether servers are well, asked in the background: active checks as the plan wants them, and,
//! for every server, whether it can be connected to again once that has failed.
//!
//! [`Checks`] belongs to the door and runs on the control thread: once for a server, however many
//! workers there are, and in the same way for servers of the file, of names and of discovery. It
//! follows the servers of an upstream as they change. It never sees a request; what requests find
//! out reaches it through [`ServerState::suspect`] and [`ServerState::cannot_connect`].
//!
//! Three things can be known against a server, each with one owner, and none overrules another:
//!
//! | last connection | checks | ejected | standing | used |
//! |---|---|---|---|---|
//! | opened | good, or none | no | `Ready` | yes |
//! | opened | good, or none | yes | `Ejected` | no, until the ejection is over |
//! | opened | bad | no or yes | `Failing` | no, until `rise` checks are good |
//! | failed | any | no or yes | `Unreachable` | no, until a connection can be opened |
//!
//! * *Last connection*: of requests, checks and of [`reach`], which tries again each second, then
//!   more and more rarely, up to ten. A check speaks for it only when it asks the server's own port.
//! * *Checks*: [`rounds`] alone. When they turn good, an ejection is over as well
//!   ([`ServerState::recovered`]), since it was for what came before. While they merely stay
//!   good they do not end one: a server may answer its checks and fail every request.
//! * *Ejected*: the watch of the upstream alone.
//!
//! When an upstream has too few servers left, those that are not used may be used all the same;
//! that is for who chooses.

mod grpc;
mod http;
mod probe;
mod reach;
mod report;
mod rounds;
pub(crate) mod tcp;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seawall_config::plan::{self, HealthCheck, Plan, ProxyProtocol};
use seawall_core::random::Random;
use seawall_h1::HeadLimits;
use seawall_telemetry::cells::PerWorker;
use seawall_telemetry::metrics::Checks as CheckCells;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;

use self::probe::{Finding, Question};
pub use self::report::{CheckReport, DeepCheck, DeepHealth, LastCheck};
use super::{ServerState, Upstream};

/// Connections that are open for checks at a time, all upstreams together; what is due beyond that
/// waits. Its time has not begun then.
const AT_A_TIME: usize = 512;

/// A server that could not be reached is passed over for this long, unless [`reach`] puts it off.
const HOLD: Duration = Duration::from_secs(2);

/// All checks of the process; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Checks {
    upstreams: HashMap<Arc<str>, Checked>,
    control: Control,
}

/// An upstream that is checked.
#[derive(Debug)]
struct Checked {
    upstream: Arc<Upstream>,
    setting: watch::Sender<Setting>,
    task: JoinHandle<()>,
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the plan says of checks, for all servers of an upstream.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    check: Option<Arc<HealthCheck>>,
    /// Limits on the head of an answer.
    head: usize,
    headers: usize,
    connect_timeout: Duration,
    /// What servers are to be told at the beginning of each connection.
    proxy_protocol: Option<ProxyProtocol>,
}

impl Setting {
    fn of(config: &plan::Upstream) -> Setting {
        Setting {
            check: config.health.clone().map(Arc::new),
            head: config.limits.head,
            headers: config.limits.headers,
            connect_timeout: config.connect_timeout,
            proxy_protocol: config.proxy_protocol,
        }
    }

    fn limits(&self) -> HeadLimits {
        HeadLimits { bytes: self.head, headers: self.headers }
    }
}

/// What all checks share.
#[derive(Clone)]
struct Control {
    /// When the clock began that all workers go by.
    epoch: Instant,
    /// See [`AT_A_TIME`].
    gate: Arc<Semaphore>,
    ask: Arc<dyn Fn(Question) -> Asked<Finding> + Send + Sync>,
    /// Opens a connection, to see whether it can be.
    connect: Arc<dyn Fn(SocketAddr) -> Asked<std::io::Result<()>> + Send + Sync>,
}

/// An answer to come.
type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Control {
    /// Milliseconds of the door's clock.
    fn millis(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}

impl Checks {
    /// Checks nothing yet. `epoch` is when the clock began that all workers go by.
    pub(crate) fn new(epoch: Instant) -> Checks {
        let control = Control {
            epoch,
            gate: Arc::new(Semaphore::new(AT_A_TIME)),
            ask: Arc::new(|question| Box::pin(probe::ask(question))),
            connect: Arc::new(|target| {
                Box::pin(async move { tcp::connect(target).await.map(drop) })
            }),
        };
        Checks { upstreams: HashMap::new(), control }
    }

    /// Checks what `plan` says from now on. What goes on as before is not disturbed; a check that
    /// has changed keeps the verdict of the one before it until it comes to its own. To be called
    /// on the control runtime.
    pub(crate) fn apply(&mut self, plan: &Plan, upstreams: &[Arc<Upstream>]) {
        let mut before = std::mem::take(&mut self.upstreams);
        for (config, upstream) in plan.upstreams.iter().zip(upstreams) {
            let setting = Setting::of(config);
            let known = before.remove(&config.name);
            let checked = match known.filter(|known| Arc::ptr_eq(&known.upstream, upstream)) {
                Some(known) => {
                    known.setting.send_if_modified(|current| {
                        let differs = *current != setting;
                        *current = setting;
                        differs
                    });
                    known
                }
                None => Checked::start(upstream.clone(), setting, self.control.clone()),
            };
            self.upstreams.insert(config.name.clone(), checked);
        }
    }
}

impl Checked {
    fn start(upstream: Arc<Upstream>, setting: Setting, control: Control) -> Checked {
        let setting = watch::Sender::new(setting);
        let task = tokio::spawn(follow(upstream.clone(), setting.subscribe(), control));
        Checked { upstream, setting, task }
    }
}

/// Watches the servers of an upstream as they come and go. Owns what it starts: when it is dropped,
/// that ends too.
async fn follow(upstream: Arc<Upstream>, setting: watch::Receiver<Setting>, control: Control) {
    let mut changes = upstream.changes();
    let mut tasks = JoinSet::new();
    let mut watched: HashMap<SocketAddr, (Arc<ServerState>, AbortHandle)> = HashMap::new();
    loop {
        changes.borrow_and_update();
        let mut before = std::mem::take(&mut watched);
        for endpoint in upstream.endpoints().iter() {
            let server = &endpoint.server;
            let known = before.remove(&server.address);
            let task = match known {
                Some((state, task)) if Arc::ptr_eq(&state, server) => task,
                known => {
                    known.inspect(|(_, task)| task.abort());
                    let post = Post {
                        upstream: upstream.clone(),
                        server: server.clone(),
                        setting: setting.clone(),
                        control: control.clone(),
                    };
                    tasks.spawn(post.keep_watch())
                }
            };
            watched.insert(server.address, (server.clone(), task));
        }
        before.values().for_each(|(_, task)| task.abort());
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(upstream = %upstream.name, %error, "a check has ended; this is a bug");
                    }
                }
            }
        }
    }
}

/// One server as those see it who watch it.
#[derive(Debug)]
struct Post {
    upstream: Arc<Upstream>,
    server: Arc<ServerState>,
    setting: watch::Receiver<Setting>,
    control: Control,
}

impl Post {
    async fn keep_watch(self) {
        tokio::join!(rounds::run(&self), reach::run(&self));
    }

    /// A generator of its own for each that asks.
    fn random(&self) -> Random {
        Random::seeded(RandomState::new().hash_one(self.server.address))
    }

    /// A connection to the server was opened, or could not be.
    fn note_connection(&self, connected: Result<(), &str>) {
        let now = self.control.millis();
        let changed = match connected {
            Ok(()) => self.server.connected(now),
            Err(error) => self.server.cannot_connect(now, error),
        };
        if changed {
            self.standing_changed();
        }
    }

    fn standing_changed(&self) {
        self.upstream.standing_changed();
        self.upstream.look.notify_one();
    }
}

/// What passes between those who use a server and those who check it; part of [`ServerState`], so
/// it outlives plans.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Requests have failed since the last check began.
    suspect: AtomicBool,
    /// A connection could be opened again since the last check began.
    regained: AtomicBool,
    /// Told of these two.
    alarm: Notify,
    /// Told when it can no longer be connected to.
    lost: Notify,
    /// Told when that is in doubt.
    doubted: Notify,
    /// Never held for longer than it takes to copy.
    report: Mutex<Option<CheckReport>>,
    cells: Arc<PerWorker<CheckCells>>,
}

impl Notes {
    pub(super) fn new(cells: Arc<PerWorker<CheckCells>>) -> Notes {
        Notes {
            suspect: AtomicBool::new(false),
            regained: AtomicBool::new(false),
            alarm: Notify::new(),
            lost: Notify::new(),
            doubted: Notify::new(),
            report: Mutex::default(),
            cells,
        }
    }

    fn set_report(&self, report: Option<CheckReport>) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

impl ServerState {
    /// A request to it has failed, so it is checked sooner than it is due. May be called as often
    /// as that happens: it is one load until the next check has begun.
    pub(crate) fn suspect(&self) {
        let notes = &self.notes;
        if !notes.suspect.load(Relaxed) && !notes.suspect.swap(true, Relaxed) {
            notes.alarm.notify_one();
        }
    }

    /// A connection was given up before it could be known whether it would be opened, so that
    /// somebody with more time should see. Costs one connection, however often it is said meanwhile.
    pub(crate) fn doubt(&self) {
        self.notes.doubted.notify_one();
    }

    /// No connection could be opened at `now`, in milliseconds of the door's clock, because of
    /// `error`. From then on it is passed over until one can be, which is tried in the background.
    /// Says whether its standing has changed; then say [`Upstream::standing_changed`].
    pub(crate) fn cannot_connect(&self, now: u64, error: &str) -> bool {
        let until = now + HOLD.as_millis() as u64;
        let before = self.held_until.fetch_max(until, Relaxed);
        let is_news = before <= now;
        if is_news {
            tracing::warn!(
                upstream = %self.upstream,
                server = self.label,
                error,
                "server cannot be reached; it is passed over while there are others"
            );
            self.notes.lost.notify_one();
            self.suspect();
        }
        is_news
    }

    /// A connection was opened at `now`, in milliseconds of the door's clock. Says whether its
    /// standing has changed; then say [`Upstream::standing_changed`]. One load when nothing was
    /// known against it.
    pub(crate) fn connected(&self, now: u64) -> bool {
        if self.held_until.load(Relaxed) == 0 || self.held_until.swap(0, Relaxed) == 0 {
            return false;
        }
        self.since.store(now, Relaxed);
        tracing::info!(upstream = %self.upstream, server = self.label, "server can be reached again");
        self.notes.regained.store(true, Relaxed);
        self.notes.alarm.notify_one();
        true
    }

    /// What its checks have said; `None` when it is not checked, or was not yet.
    pub(crate) fn check_report(&self) -> Option<CheckReport> {
        self.notes.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests;
