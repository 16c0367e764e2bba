//! One worker's connections to the servers of an upstream: choosing a server, taking an idle
//! connection or opening one, and keeping it afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use seawall_config::plan;
use seawall_core::balance::round_robin::RoundRobin;
use seawall_core::balance::{Servers, two_choices};
use tokio::net::TcpStream;
use tokio::time::Instant;

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
    upstream: Arc<Upstream>,
    seen: Cell<u64>,
    members: RefCell<Rc<[Member]>>,
    rotation: RefCell<RoundRobin>,
}

#[derive(Debug)]
struct Member {
    server: Rc<PooledServer>,
    weight: u32,
}

/// One worker's connections to a server.
#[derive(Debug)]
pub(crate) struct PooledServer {
    pub(crate) state: Arc<ServerState>,
    /// The most recently used last.
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
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
        self.state.cells.of(self.worker).closed.add(1);
        drop(self.place.take());
        if self.state.wanted.load(Relaxed) && self.state.wanted.swap(false, Relaxed) {
            self.state.freed.notify_waiters();
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
    _in_flight: InFlight,
}

/// What a request has been through with an upstream.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Servers that could not be reached.
    unreachable: Vec<Rc<PooledServer>>,
    timed_out: bool,
    /// Take no idle connection.
    pub(crate) fresh: bool,
    /// The request must not be sent twice, so an idle connection is looked at closely.
    pub(crate) once: bool,
}

impl Pool {
    /// The pool of an upstream, with the connections of `old`.
    pub(crate) fn new(upstream: Arc<Upstream>, old: Option<&Pool>) -> Pool {
        let pool = Pool {
            seen: Cell::new(u64::MAX),
            members: RefCell::new(
                old.map_or_else(|| Rc::from([]), |old| old.members.borrow().clone()),
            ),
            rotation: RefCell::default(),
            upstream,
        };
        pool.refresh();
        pool
    }

    fn refresh(&self) {
        let generation = self.upstream.generation();
        if self.seen.replace(generation) == generation {
            return;
        }
        let old = self.members.borrow().clone();
        let member = |endpoint: &super::Endpoint| {
            let known =
                old.iter().find(|member| Arc::ptr_eq(&member.server.state, &endpoint.server));
            let server = match known {
                Some(member) => member.server.clone(),
                None => Rc::new(PooledServer {
                    state: endpoint.server.clone(),
                    idle: RefCell::default(),
                }),
            };
            Member { server, weight: endpoint.weight }
        };
        *self.members.borrow_mut() = self.upstream.endpoints().iter().map(member).collect();
        *self.rotation.borrow_mut() = RoundRobin::default();
    }

    /// A connection to a server of this upstream. When dropped meanwhile, a connection that is
    /// being opened is closed.
    pub(crate) async fn lease(
        &self,
        worker: &Rc<Worker>,
        config: &plan::Upstream,
        attempts: &mut Attempts,
    ) -> Result<Lease, Refusal> {
        loop {
            self.refresh();
            let members = self.members.borrow().clone();
            if members.is_empty() {
                return Err(Refusal::Unresolved);
            }
            let Some(chosen) = self.choose(&members, worker, config, attempts) else {
                if attempts.unreachable.is_empty() && place(&members, config).await {
                    continue;
                }
                return Err(attempts.refusal());
            };
            let server = members[chosen].server.clone();
            let in_flight = InFlight::enter(&server, worker.index);
            let idle = if attempts.fresh { None } else { server.take_idle(attempts.once) };
            let reused = idle.is_some();
            let connection = match idle {
                Some(connection) => connection,
                None => match server.connect(worker, config).await {
                    Ok(connection) => connection,
                    Err(failure) => {
                        if failure == ConnectFailure::Full {
                            // A fresh one is due, so an idle one has to make room for it.
                            server.idle.borrow_mut().pop();
                            continue;
                        }
                        attempts.timed_out = failure == ConnectFailure::Timeout;
                        attempts.unreachable.push(server);
                        if attempts.unreachable.len() >= MAX_CONNECTS {
                            return Err(attempts.refusal());
                        }
                        continue;
                    }
                },
            };
            return Ok(Lease {
                connection,
                input: Buffer::default(),
                server,
                reused,
                worker: worker.clone(),
                _in_flight: in_flight,
            });
        }
    }

    fn choose(
        &self,
        members: &[Member],
        worker: &Worker,
        config: &plan::Upstream,
        attempts: &Attempts,
    ) -> Option<usize> {
        let balance = |choice: &Choice<'_>| match config.balance {
            plan::Balance::RoundRobin => self.rotation.borrow_mut().choose(choice),
            _ => two_choices::choose(choice, &mut worker.random.borrow_mut()),
        };
        let mut choice = Choice {
            members,
            unreachable: &attempts.unreachable,
            limit: config.limits.connections,
            held: Some(worker),
        };
        balance(&choice).or_else(|| {
            // Rather a server that failed a moment ago than none.
            choice.held = None;
            balance(&choice)
        })
    }

    /// Closes idle connections that the server has closed, that are too old, that are more than are
    /// to be kept, or whose place is wanted. Called about twice a second.
    pub(crate) fn sweep(&self, config: &plan::Keepalive, now: Instant) {
        self.refresh();
        for member in self.members.borrow().iter() {
            let mut idle = member.server.idle.borrow_mut();
            let wanted = usize::from(member.server.state.wanted.load(Relaxed));
            let surplus = idle.len().saturating_sub(config.idle).max(wanted.min(idle.len()));
            idle.drain(..surplus);
            idle.retain(|idle| now < idle.since + config.timeout && idle.connection.is_quiet());
            if idle.is_empty() {
                idle.shrink_to_fit();
            }
        }
    }
}

/// Waits for a place when those of some server are taken by idle connections of other workers.
/// False when all are in use, or when it takes longer than a connection may take.
async fn place(members: &[Member], config: &plan::Upstream) -> bool {
    let limit = config.limits.connections;
    let has_idle =
        |member: &&Member| (member.server.state.in_flight.load(Relaxed) as usize) < limit;
    let Some(member) = members.iter().find(has_idle) else { return false };
    let state = &member.server.state;
    let freed = state.freed.notified();
    state.wanted.store(true, Relaxed);
    state.connections.load(Relaxed) < limit
        || tokio::time::timeout(config.connect_timeout, freed).await.is_ok()
}

impl Attempts {
    fn refusal(&self) -> Refusal {
        match (self.unreachable.is_empty(), self.timed_out) {
            (true, _) => Refusal::UpstreamFull,
            (false, true) => Refusal::ConnectTimeout,
            (false, false) => Refusal::ConnectFailed,
        }
    }
}

/// The servers as a balancer sees them.
struct Choice<'a> {
    members: &'a [Member],
    unreachable: &'a [Rc<PooledServer>],
    limit: usize,
    /// Whose clock says whether a server is held; `None` when that does not matter.
    held: Option<&'a Worker>,
}

impl Servers for Choice<'_> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn weight(&self, server: usize) -> u32 {
        self.members[server].weight
    }

    fn load(&self, server: usize) -> u32 {
        self.members[server].server.state.in_flight.load(Relaxed)
    }

    fn is_usable(&self, server: usize) -> bool {
        let server = &self.members[server].server;
        let state = &server.state;
        // The clock is only asked when there is a reason to.
        let held = |worker: &Worker| match state.held_until.load(Relaxed) {
            0 => false,
            until => until > worker.clock_millis(),
        };
        let full =
            || state.connections.load(Relaxed) >= self.limit && server.idle.borrow().is_empty();
        let tried = || self.unreachable.iter().any(|tried| Rc::ptr_eq(tried, server));
        !self.held.is_some_and(held) && !full() && !tried()
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
        let (failure, error) = match tokio::time::timeout(config.connect_timeout, connecting).await
        {
            Ok(Ok(stream)) => {
                state.connected(worker.clock_millis());
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
        state.cannot_connect(worker.clock_millis(), &error);
        Err(failure)
    }

    /// Keeps a connection for the next request, unless its place is wanted.
    pub(crate) fn keep(&self, connection: Connection, now: Instant) {
        if self.state.wanted.load(Relaxed) {
            return;
        }
        self.idle.borrow_mut().push(Idle { connection, since: now });
    }
}

impl Connection {
    /// Whether nothing has come from the server, not even a close. Costs no system call while that
    /// is so, since the runtime has been told.
    fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if self.stream.poll_read_ready(&mut cx).is_pending() {
            return true;
        }
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
