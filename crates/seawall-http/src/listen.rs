//! Listening sockets: bound by the control thread, one for each worker, so that the kernel spreads
//! connections (`SO_REUSEPORT`) and no lock is shared; accepted here, and handed to those who speak
//! what the listener speaks.

mod proxy_header;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use seawall_config::plan::{self, Listener};
use seawall_h1::ResponseHead;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::buffer::Buffer;
use crate::compiled::Entrance;
use crate::refuse::Refusal;
use crate::tickets::{Open, Place};
use crate::worker::{Running, Worker};
use crate::{serve, socket, tcp};

/// Connections that the kernel keeps until they are accepted (it may allow fewer).
const BACKLOG: i32 = 4096;

/// Unsent bytes in a client's socket beyond which it takes no more. Keeps the window of a slow
/// reader small, and its progress visible.
const UNSENT: u32 = 128 * 1024;

/// What makes a listener the same one across reloads: its address, so that it can be renamed; with
/// port 0, which many may have, its name too.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: Arc<str>,
    /// As configured, so that port 0 stays port 0.
    pub(crate) address: SocketAddr,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.address == other.address && (self.address.port() != 0 || self.name == other.name)
    }
}

impl Eq for Key {}

/// A bound socket for one worker.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) key: Key,
    pub(crate) socket: StdListener,
}

/// Binds `address` once for each worker and says which address it is, which differs for port 0.
///
/// # Errors
///
/// When the address is taken by a program that does not share it, is not of this machine, or needs
/// rights that the process does not have.
pub(crate) fn bind(
    address: SocketAddr,
    workers: usize,
) -> io::Result<(Vec<StdListener>, SocketAddr)> {
    let mut sockets = Vec::with_capacity(workers);
    // A socket that does not share the port shows whether someone else has it. With
    // SO_REUSEPORT alone, a second Seawall would silently take half of the connections.
    let probe = unbound(address, false)?;
    probe.bind(&address.into())?;
    drop(probe);
    let mut actual = address;
    for _ in 0..workers {
        let socket = unbound(address, true)?;
        socket.bind(&actual.into())?;
        if actual.port() == 0 {
            actual = socket.local_addr()?.as_socket().unwrap_or(actual);
        }
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok((sockets, actual))
}

fn unbound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit these, which saves system calls for each.
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    Ok(socket)
}

/// A listening socket of a worker and the task that accepts from it.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) key: Key,
    socket: Rc<TcpListener>,
    task: AbortHandle,
}

impl Listening {
    pub(crate) fn start(worker: &Rc<Worker>, bound: Bound) -> io::Result<Listening> {
        let Bound { key, socket } = bound;
        let socket = Rc::new(TcpListener::from_std(socket)?);
        let task = tokio::task::spawn_local(accept(worker.clone(), key.clone(), socket.clone()));
        Ok(Listening { key, socket, task: task.abort_handle() })
    }

    /// Stops accepting, but not before those who are already in the backlog, whom a close would
    /// reset.
    pub(crate) fn stop(self, worker: &Rc<Worker>) {
        self.task.abort();
        let socket = socket2::SockRef::from(&*self.socket);
        // The system itself is asked: the runtime only knows of those it has been told of.
        for _ in 0..BACKLOG {
            let Ok((stream, peer)) = socket.accept() else { break };
            let Some(peer) = peer.as_socket() else { continue };
            let waits_not = stream.set_nonblocking(true);
            if let Ok(stream) = waits_not.and_then(|()| TcpStream::from_std(stream.into())) {
                admit(worker, &self.key, stream, peer);
            }
        }
        // At once, and not when the runtime gets round to dropping the task.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Accepts connections until it is aborted.
async fn accept(worker: Rc<Worker>, key: Key, socket: Rc<TcpListener>) {
    let mut failing = false;
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                admit(&worker, &key, stream, peer);
            }
            // These concern one connection that ended before it was accepted.
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                // Mostly that there are no descriptors left. Those waiting stay in the backlog.
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, listener = %key.name, "cannot accept connections; trying again");
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted)
}

/// Who has come, and where to.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    /// The client: whoever connected, or whom a trusted peer says it speaks for.
    pub(crate) client: SocketAddr,
    /// What the client connected to, if a trusted peer says so.
    pub(crate) destination: Option<SocketAddr>,
    /// What was read of the client already.
    pub(crate) input: Buffer,
    /// The plan in place when it came, and the position of its listener there.
    pub(crate) running: Rc<Running>,
    pub(crate) at: usize,
}

impl Arrival {
    pub(crate) fn listener(&self) -> &Listener {
        &self.running.compiled.plan.listeners[self.at]
    }

    pub(crate) fn entrance(&self) -> &Entrance {
        &self.running.compiled.listeners[self.at]
    }
}

fn admit(worker: &Rc<Worker>, key: &Key, stream: TcpStream, peer: SocketAddr) {
    let running = worker.running();
    let Some(at) = running.compiled.position(key) else { return };
    let input = Buffer::default();
    // A listener on `[::]` sees IPv4 inside of IPv6.
    let client = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let arrival = Arrival { stream, client, destination: None, input, running, at };
    let listener = arrival.listener();
    match arrival.entrance().doorkeeper.place(&listener.limits) {
        Ok(place) => {
            let server = &arrival.running.compiled.plan.server;
            if listener.proxy_protocol && server.trusts(peer.ip()) {
                tokio::task::spawn_local(proxy_header::introduce(worker.clone(), arrival, place));
            } else {
                let_in(worker, arrival, place);
            }
        }
        Err(refusal) => keep_out(worker, arrival, refusal),
    }
}

/// Begins to serve a client, unless it has too many connections.
fn let_in(worker: &Rc<Worker>, arrival: Arrival, place: Place) {
    let Arrival { running, client, .. } = &arrival;
    let (listener, entrance) = (arrival.listener(), arrival.entrance());
    let server = &running.compiled.plan.server;
    match entrance.doorkeeper.admit(place, client.ip(), &listener.limits, server) {
        Ok(admission) => {
            entrance.cells.of(worker.index).accepted.add(1);
            match listener.protocol {
                plan::Protocol::Http => {
                    let serving = serve::connection(worker.clone(), arrival, admission);
                    tokio::task::spawn_local(serving);
                }
                plan::Protocol::Tcp(upstream) => {
                    let carrying = tcp::connection(worker.clone(), arrival, upstream, admission);
                    tokio::task::spawn_local(carrying);
                }
            }
        }
        Err(refusal) => keep_out(worker, arrival, refusal),
    }
}

/// Does not let a client in: with an answer, where there is a language for it.
fn keep_out(worker: &Rc<Worker>, arrival: Arrival, refusal: Refusal) {
    arrival.entrance().cells.of(worker.index).turned_away.add(1);
    arrival.running.compiled.metrics.refused(worker.index, refusal.number());
    match arrival.listener().protocol {
        plan::Protocol::Http => {
            let open = Open::enter(worker);
            let Arrival { stream, .. } = arrival;
            tokio::task::spawn_local(turn_away(open, worker.clone(), stream, refusal));
        }
        plan::Protocol::Tcp(_) => socket::reset_on_close(&arrival.stream),
    }
}

/// Tells a client that there is no room for it. Bounded in what it reads, writes and waits for;
/// when even these are many, they are dropped without a word.
async fn turn_away(_open: Open, worker: Rc<Worker>, stream: TcpStream, refusal: Refusal) {
    const MOST_AT_ONCE: usize = 1000;
    const PATIENCE: Duration = Duration::from_secs(1);
    if worker.turned_away.get() >= MOST_AT_ONCE {
        return;
    }
    worker.turned_away.set(worker.turned_away.get() + 1);
    let mut head = ResponseHead::default();
    let content = refusal.answer(None, worker.any_number(), &mut head);
    let mut answer = Vec::with_capacity(1024);
    seawall_h1::encode::status_line(head.status, b"", &mut answer);
    head.headers.write(|_| true, &mut answer);
    seawall_h1::encode::content_length(content.len() as u64, &mut answer);
    answer.extend_from_slice(b"Connection: close\r\n\r\n");
    answer.extend_from_slice(&content);
    // The request is read first: a close with unread bytes would reset the answer away.
    let _ = timeout(PATIENCE, stream.readable()).await;
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(&answer);
    let _ = socket2::SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
    let _ = timeout(PATIENCE, stream.readable()).await;
    worker.turned_away.set(worker.turned_away.get() - 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_bound_once_for_each_worker_but_never_shared_with_others() -> io::Result<()> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (sockets, actual) = bind(any, 3)?;
        assert_eq!(sockets.len(), 3);
        assert_ne!(actual.port(), 0);
        for socket in &sockets {
            assert_eq!(socket.local_addr()?, actual);
        }
        let taken = bind(actual, 1).map(|_| ());
        assert!(matches!(taken, Err(error) if error.kind() == io::ErrorKind::AddrInUse));
        Ok(())
    }
}
