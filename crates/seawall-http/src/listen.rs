//! Listening sockets: bound by the control thread, one for each worker, so that the kernel spreads
//! connections (`SO_REUSEPORT`) and no lock is shared; accepted here.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use seawall_h1::ResponseHead;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::refuse::Refusal;
use crate::serve;
use crate::tickets::Open;
use crate::worker::Worker;

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
    let probe = socket(address, false)?;
    probe.bind(&address.into())?;
    drop(probe);
    let mut actual = address;
    for _ in 0..workers {
        let socket = socket(address, true)?;
        socket.bind(&actual.into())?;
        if actual.port() == 0 {
            actual = socket.local_addr()?.as_socket().unwrap_or(actual);
        }
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok((sockets, actual))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
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

fn admit(worker: &Rc<Worker>, key: &Key, stream: TcpStream, peer: SocketAddr) {
    let running = worker.running();
    let Some(at) = running.compiled.position(key) else { return };
    let (listener, entrance) =
        (&running.compiled.plan.listeners[at], &running.compiled.listeners[at]);
    let cells = entrance.cells.of(worker.index);
    match entrance.doorkeeper.admit(peer.ip(), &listener.limits, &running.compiled.plan.server) {
        Ok(admission) => {
            cells.accepted.add(1);
            tokio::task::spawn_local(serve::connection(
                worker.clone(),
                running.clone(),
                stream,
                peer,
                at,
                admission,
            ));
        }
        Err(refusal) => {
            cells.turned_away.add(1);
            running.compiled.metrics.refused(worker.index, refusal.number());
            tokio::task::spawn_local(turn_away(
                Open::enter(worker),
                worker.clone(),
                stream,
                refusal,
            ));
        }
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
