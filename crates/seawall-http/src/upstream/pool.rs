//! One worker's connections to the servers of an upstream: choosing a server, taking an idle
//! connection or opening one, and keeping it afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use seawall_config::plan;
use seawall_core::breaker::Rule;
use seawall_core::retry::Share;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::choose::{Chosen, Members};
use super::line::Turn;
use super::trial::{Guard, Permission};
use super::{ServerState, Upstream};
use crate::buffer::Buffer;
use crate::refuse::Refusal;
use crate::tickets::{InFlight, Place};
use crate::worker::Worker;

/// Servers that one request tries to connect to before it gives up.
const MAX_CONNECTS: usize = 3;

/// One worker's view of an upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) upstream: Arc<Upstream>,
    /// The generation and the standings that `members` are of.
    seen: Cell<(u64, u64)>,
    members: RefCell<Rc<Members>>,
    /// The circuit breaker, if there is one.
    pub(super) guard: Option<Guard>,
    /// The zone of this process.
    zone: Option<Arc<str>>,
    /// No plan has the upstream any more.
    gone: Cell<bool>,
}

/// One worker's connections to a server.
#[derive(Debug)]
pub(crate) struct PooledServer {
    pub(crate) state: Arc<ServerState>,
    /// The most recently used last.
    pub(super) idle: RefCell<Vec<Idle>>,
    /// The upstream does not have it any more: it only lives on in connections that are in use, and
    /// keeps none for later.
    gone: Cell<bool>,
}

#[derive(Debug)]
pub(super) struct Idle {
    connection: Connection,
    since: Instant,
}

/// An open connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    _counted: Counted,
}

/// A connection's place among those that its server may have, and its entry in the metrics.
#[derive(Debug)]
struct Counted {
    place: Option<Place>,
    state: Arc<ServerState>,
    worker: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Before it is counted: who sees that it is gone may take its place.
        drop(self.place.take());
        self.state.cells.of(self.worker).closed.add(1);
        if self.state.wanted.load(Relaxed) && self.state.wanted.swap(false, Relaxed) {
            self.state.freed.notify_waiters();
            self.state.line.freed();
        }
    }
}

/// A connection in use by one exchange.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    pub(crate) input: Buffer,
    pub(crate) server: Rc<PooledServer>,
    /// It was idle before, so it may have died unnoticed.
    pub(crate) reused: bool,
    pub(crate) worker: Rc<Worker>,
    _slot: Slot,
}

/// A request's share of what may be in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    _total: Option<Place>,
    _server: InFlight,
}

/// A connection that carries nothing but one client's, so that no one takes it over.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    pub(crate) server: Rc<PooledServer>,
    _slot: Slot,
}

/// One request's search for a server, over all its attempts.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) pool: &'a Pool,
    pub(crate) config: &'a plan::Upstream,
    /// What it is hashed by, if the upstream asks for that and the request has it.
    pub(crate) key: Option<u64>,
    /// The server that a cookie names.
    pub(crate) stuck_to: Option<u64>,
    /// When it began.
    pub(crate) began: Instant,
    /// When the answer is due.
    pub(crate) deadline: Instant,
    /// What pays for attempts beyond the first.
    pub(crate) share: Option<&'a Share>,
    /// The server that was last chosen, whether a connection to it stands or not.
    chosen: RefCell<Option<Rc<PooledServer>>>,
    /// Servers that were tried in vain.
    pub(crate) tried: RefCell<Vec<Rc<PooledServer>>>,
    /// Connections that could not be opened.
    unreachable: Cell<usize>,
    /// The last of these for want of time.
    timed_out: Cell<bool>,
    /// One of these was not known to be unreachable.
    discovered: Cell<bool>,
    /// Take no idle connection.
    pub(crate) fresh: Cell<bool>,
    /// The request must not be sent twice, so an idle connection is looked at closely.
    pub(crate) once: bool,
    /// When its wait in line ended, if it had to wait.
    pub(crate) admitted: Cell<Option<Instant>>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        worker: &'a Rc<Worker>,
        pool: &'a Pool,
        config: &'a plan::Upstream,
        began: Instant,
        deadline: Instant,
    ) -> Search<'a> {
        Search {
            worker,
            pool,
            config,
            key: None,
            stuck_to: None,
            began,
            deadline,
            share: None,
            chosen: RefCell::default(),
            tried: RefCell::default(),
            unreachable: Cell::new(0),
            timed_out: Cell::new(false),
            discovered: Cell::new(false),
            fresh: Cell::new(false),
            once: false,
            admitted: Cell::new(None),
        }
    }

    /// The door's clock when the search began, in milliseconds.
    pub(crate) fn now_millis(&self) -> u64 {
        self.worker.millis_at(self.began)
    }

    /// What it is refused with when there is no server left to try.
    fn refusal(&self) -> Refusal {
        match (self.discovered.get(), self.timed_out.get()) {
            (false, _) => Refusal::NoHealthyUpstream,
            (true, true) => Refusal::ConnectTimeout,
            (true, false) => Refusal::ConnectFailed,
        }
    }

    /// Passes over the server that was last chosen, while there are others.
    pub(crate) fn exclude_last(&self) {
        let last = self.chosen.borrow().clone();
        self.tried.borrow_mut().extend(last);
    }

    fn unreachable(&self, server: Rc<PooledServer>, timed_out: bool) {
        // Nothing has been sent, so nobody is harmed, and the next server is tried in any case; but
        // what has gone into finding one is not there for retries.
        if let Some(share) = self.share {
            share.withdraw();
        }
        self.unreachable.set(self.unreachable.get() + 1);
        self.timed_out.set(timed_out);
        self.tried.borrow_mut().push(server);
    }
}

impl Pool {
    /// The pool of an upstream, with the connections of `old`.
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        config: &plan::Upstream,
        zone: Option<Arc<str>>,
        old: Option<&Pool>,
    ) -> Pool {
        Pool {
            seen: Cell::new((u64::MAX, 0)),
            members: RefCell::new(old.map_or_else(Rc::default, |old| old.members.borrow().clone())),
            guard: upstream.guard(config),
            zone,
            gone: Cell::new(false),
            upstream,
        }
    }

    /// Closes what is idle, now and from now on: no plan has the upstream any more.
    pub(crate) fn retire(&self) {
        self.gone.set(true);
        for server in self.members.borrow().iter() {
            server.gone.set(true);
            server.close_if_gone();
        }
    }

    /// The members as they are now.
    fn members(&self, worker: &Worker, config: &plan::Upstream) -> Rc<Members> {
        let now = (self.upstream.generation(), self.upstream.standings());
        if self.seen.replace(now) != now {
            self.rebuild(worker, config);
        }
        self.members.borrow().clone()
    }

    fn rebuild(&self, worker: &Worker, config: &plan::Upstream) {
        let old = self.members.borrow().clone();
        let of = |state: &Arc<ServerState>| {
            let known = old.iter().find(|server| Arc::ptr_eq(&server.state, state));
            known.cloned().unwrap_or_else(|| {
                let (idle, gone) = (RefCell::default(), Cell::new(false));
                Rc::new(PooledServer { state: state.clone(), idle, gone })
            })
        };
        let endpoints = self.upstream.endpoints();
        let zone = self.zone.as_ref();
        let members = Members::new(&endpoints, of, config, zone, worker, &old);
        old.iter().for_each(|server| server.gone.set(true));
        members.iter().for_each(|server| server.gone.set(self.gone.get()));
        old.iter().for_each(|server| server.close_if_gone());
        *self.members.borrow_mut() = Rc::new(members);
    }

    /// Whether the circuit breaker keeps anything back.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.gate.rule() != Rule::All)
    }

    /// How many servers are well and in use.
    pub(crate) fn ready(&self, worker: &Worker, config: &plan::Upstream) -> usize {
        self.members(worker, config).ready()
    }

    /// Requests in flight relative to what may be; `None` when that is not limited. Above 1 while
    /// some wait.
    pub(crate) fn utilisation(&self, config: &plan::Upstream) -> Option<f64> {
        let members = self.members.borrow();
        let in_flight: f64 =
            members.iter().map(|server| f64::from(server.state.in_flight.load(Relaxed))).sum();
        let of_servers = config.max_in_flight.server;
        let of_servers = of_servers.map(|most| f64::from(most) * members.len() as f64);
        let total = config.max_in_flight.total.map(f64::from);
        let most = of_servers.into_iter().chain(total).fold(f64::INFINITY, f64::min);
        most.is_finite().then(|| in_flight / most)
    }

    /// The permission of the circuit breaker to make an attempt.
    #[inline]
    pub(crate) fn permission(&self, worker: &Worker) -> Result<Permission<'_>, Refusal> {
        let pass = match &self.guard {
            None => None,
            Some(guard) => match guard.gate.enter(&mut worker.random.borrow_mut()) {
                Ok(pass) => Some(pass),
                Err(shut) => {
                    let left = shut.until.map(|until| until.saturating_sub(worker.clock()));
                    let seconds = left.unwrap_or_default().as_secs_f64().ceil() as u32;
                    return Err(Refusal::BreakerOpen(seconds.max(1)));
                }
            },
        };
        Ok(Permission::new(self, worker.index, pass))
    }

    /// A connection to a server of this upstream: one that was idle, or a new one. When dropped
    /// meanwhile, a connection that is being opened is closed, and a place in the line given up.
    pub(crate) async fn lease(&self, search: &Search<'_>) -> Result<Lease, Refusal> {
        let worker = search.worker;
        let mut turn = None;
        loop {
            let (server, slot) = self.server(search, &mut turn).await?;
            let idle = match search.fresh.get() {
                true => None,
                false => server.take_idle(search.once),
            };
            let reused = idle.is_some();
            let connection = match idle {
                Some(connection) => connection,
                // Boxed, since it is large, and most requests do without.
                None => match Box::pin(self.open(&server, search)).await? {
                    Some(connection) => connection,
                    None => continue,
                },
            };
            return Ok(Lease {
                connection,
                input: Buffer::default(),
                server,
                reused,
                worker: worker.clone(),
                _slot: slot,
            });
        }
    }

    /// A new connection to a server of this upstream, of which no one has been sent a byte. When
    /// dropped meanwhile, a connection that is being opened is closed.
    pub(crate) async fn dial(&self, search: &Search<'_>) -> Result<Dialled, Refusal> {
        let mut turn = None;
        loop {
            let (server, slot) = self.server(search, &mut turn).await?;
            if let Some(connection) = self.open(&server, search).await? {
                // There is no answer by which it could do well.
                server.state.succeeded();
                return Ok(Dialled { connection, server, _slot: slot });
            }
        }
    }

    /// Opens a connection; `None` when another server is to be looked for.
    async fn open(
        &self,
        server: &Rc<PooledServer>,
        search: &Search<'_>,
    ) -> Result<Option<Connection>, Refusal> {
        let known = server.state.held_until.load(Relaxed) != 0;
        match server.connect(search.worker, search.config).await {
            Ok(connection) => return Ok(Some(connection)),
            // A fresh one is due, so an idle one has to make room for it.
            Err(ConnectFailure::Full) => drop(server.idle.borrow_mut().pop()),
            Err(failure) => {
                if !known {
                    search.discovered.set(true);
                }
                search.unreachable(server.clone(), failure == ConnectFailure::Timeout);
                if search.unreachable.get() >= MAX_CONNECTS {
                    return Err(search.refusal());
                }
            }
        }
        Ok(None)
    }

    /// A server with room for the request, chosen by the balancer; waits in line for one where the
    /// upstream has a line.
    async fn server(
        &self,
        search: &Search<'_>,
        turn: &mut Option<Turn>,
    ) -> Result<(Rc<PooledServer>, Slot), Refusal> {
        let Search { worker, config, .. } = *search;
        // Whoever has to stand in line once more has waited before.
        let mut waits: Option<(Instant, Instant)> = None;
        loop {
            let members = self.members(worker, config);
            if members.is_empty() {
                return Err(Refusal::Unresolved);
            }
            // Nobody goes before those who wait, as long as there is a line to join.
            let line = &self.upstream.line;
            let may_look = turn.is_some()
                || line.waiting() == 0 && line.turns() == 0
                || config.queue.size == 0;
            let total = match config.max_in_flight.total {
                Some(limit) if may_look => {
                    Place::take(&self.upstream.in_flight, limit as usize).map(Some)
                }
                Some(_) => None,
                None => Some(None),
            };
            let full = match (may_look, total) {
                (true, Some(total)) => match members.choose(search) {
                    Chosen::Server(server) => {
                        let limit = config.max_in_flight.server.unwrap_or(u32::MAX);
                        match InFlight::enter(&server, worker.index, limit) {
                            Some(in_flight) => {
                                if let Some(turn) = turn.take() {
                                    turn.used();
                                }
                                search.chosen.replace(Some(server.clone()));
                                return Ok((server, Slot { _total: total, _server: in_flight }));
                            }
                            // Another worker was quicker.
                            None => continue,
                        }
                    }
                    Chosen::None => return Err(search.refusal()),
                    Chosen::Full => true,
                },
                _ => false,
            };
            if config.queue.size > 0 {
                // There was no room for this turn, and there is none for anybody else's.
                if let Some(turn) = turn.take() {
                    turn.used();
                }
                let since = waits.map(|(since, _)| since);
                let (_, until) = *waits.get_or_insert_with(|| {
                    let now = Instant::now();
                    (now, search.deadline.min(now + config.queue.wait))
                });
                let waiting = line.join(since, until)?;
                // What became free before it stood in line has told nobody.
                if line.turns() == 0 && members.has_room(search) {
                    line.freed();
                } else {
                    members.ask_for_idle(search);
                }
                *turn = Some(Box::pin(waiting.turn(until)).await?);
                search.admitted.set(Some(Instant::now()));
            } else if !(full && Box::pin(members.wait_for_idle(search)).await) {
                return Err(Refusal::UpstreamFull);
            }
        }
    }

    /// Closes idle connections that the server has closed, that are too old, that are more than are
    /// to be kept, or whose place is wanted. Called about twice a second.
    pub(crate) fn sweep(&self, worker: &Worker, config: &plan::Upstream, now: Instant) {
        if self.members(worker, config).is_ramping() {
            self.rebuild(worker, config);
        }
        if config.balance == plan::Balance::LeastLatency {
            self.members.borrow().look_at_latency();
        }
        let config = &config.keepalive;
        for server in self.members.borrow().iter() {
            let mut idle = server.idle.borrow_mut();
            let wanted = usize::from(server.state.wanted.load(Relaxed));
            let surplus = idle.len().saturating_sub(config.idle).max(wanted.min(idle.len()));
            idle.drain(..surplus);
            idle.retain(|idle| now < idle.since + config.timeout && idle.connection.is_quiet());
            if idle.is_empty() {
                idle.shrink_to_fit();
            }
        }
    }
}

/// An attempt to connect. Dropped when there was no more time for it: a host that has gone without a
/// word would else never be found out by requests that have less time than `connect-timeout`.
struct Doubt<'a> {
    state: &'a ServerState,
    began: Instant,
}

/// How long a connection must have been waited for that is in doubt when it is given up.
const DOUBTFUL: Duration = Duration::from_millis(50);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.began.elapsed() >= DOUBTFUL {
            self.state.doubt();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ConnectFailure {
    Full,
    Timeout,
    Failed,
}

impl PooledServer {
    /// The connection that was used last and still stands.
    fn take_idle(&self, closely: bool) -> Option<Connection> {
        loop {
            let Idle { connection, .. } = self.idle.borrow_mut().pop()?;
            if connection.is_quiet() && (!closely || connection.is_still_quiet()) {
                return Some(connection);
            }
        }
    }

    async fn connect(
        &self,
        worker: &Rc<Worker>,
        config: &plan::Upstream,
    ) -> Result<Connection, ConnectFailure> {
        let state = &self.state;
        let place = Place::take(&state.connections, config.limits.connections)
            .ok_or(ConnectFailure::Full)?;
        let cells = state.cells.of(worker.index);
        let connecting = TcpStream::connect(state.address);
        let doubt = Doubt { state, began: Instant::now() };
        let tried = tokio::time::timeout(config.connect_timeout, connecting).await;
        std::mem::forget(doubt);
        let (failure, error) = match tried {
            Ok(Ok(stream)) => {
                if state.connected(worker.clock_millis()) {
                    state.standing_changed();
                }
                cells.opened.add(1);
                let _counted =
                    Counted { place: Some(place), state: state.clone(), worker: worker.index };
                // Heads and chunks are written whole, so waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                return Ok(Connection { stream, _counted });
            }
            Ok(Err(error)) => (ConnectFailure::Failed, error.to_string()),
            Err(_) => (ConnectFailure::Timeout, "timed out".to_owned()),
        };
        cells.connect_failures.add(1);
        state.failed(true, worker.index);
        state.refuses.store(failure == ConnectFailure::Failed, Relaxed);
        if state.cannot_connect(worker.clock_millis(), &error) {
            state.standing_changed();
        }
        Err(failure)
    }

    fn close_if_gone(&self) {
        if self.gone.get() {
            self.idle.take();
        }
    }

    /// Keeps a connection for the next request, unless its place is wanted.
    pub(crate) fn keep(&self, connection: Connection, now: Instant) {
        if self.gone.get() || self.state.wanted.load(Relaxed) {
            return;
        }
        self.idle.borrow_mut().push(Idle { connection, since: now });
    }
}

impl Connection {
    /// Whether nothing has come from the server, not even a close. Costs no system call while that
    /// is so, since the runtime has been told.
    fn is_quiet(&self) -> bool {
        let nothing = self.stream.try_read(&mut [0]);
        matches!(nothing, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// The same, asked of the system, for what the runtime has not been told yet.
    fn is_still_quiet(&self) -> bool {
        let next = rustix::net::recv(&self.stream, &mut [0u8; 1], RecvFlags::PEEK);
        matches!(next, Err(Errno::AGAIN))
    }
}

impl Lease {
    /// Ends the exchange and keeps the connection for the next one.
    pub(crate) fn give_back(mut self) {
        debug_assert!(self.input.is_empty());
        self.input.release(&self.worker.buffers);
        self.server.keep(self.connection, self.worker.recently());
    }
}
