//! A scripted HTTP origin on a free loopback port.
//!
//! A script is straight code that runs once for each connection, on a thread of its own: it reads
//! what it expects, sends exactly the bytes it says, waits at [`Gate`](crate::Gate)s, resets,
//! hangs or returns (which closes). What arrived is recorded for the test to look at. A script
//! that panics fails the test that owns the origin when the origin is stopped or dropped.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::PATIENCE;
use crate::address::loopback;
use crate::gate::time_left;
use crate::message::{Request, Response};
use crate::wire::{Tap, Wire};

mod bulk;
mod conversation;

pub use conversation::Conversation;

/// Bytes of one connection that are recorded; what comes after is only counted.
const RECORDED: usize = 1 << 20;

type Script = dyn Fn(&mut Conversation) -> io::Result<()> + Send + Sync;

/// A running origin. Dropping it closes its listener and all its connections.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What an origin saw of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first MiB of what arrived.
    pub received: Vec<u8>,
    /// How many bytes arrived.
    pub length: u64,
    /// How many requests the script read.
    pub requests: usize,
    /// Whether the script is through with it.
    pub ended: bool,
    /// What the script failed with, if it did.
    pub error: Option<String>,
}

impl Origin {
    /// An origin that runs `script` for each connection; returning closes the connection, and an
    /// error is only recorded.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn scripted<S>(script: S) -> io::Result<Self>
    where
        S: Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::scripted_at(loopback(), script)
    }

    /// The same at a given address, such as the one of an origin that was stopped.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn scripted_at<S>(address: SocketAddr, script: S) -> io::Result<Self>
    where
        S: Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let script: Arc<Script> = Arc::new(script);
        let acceptor = thread::Builder::new().name("origin".to_owned()).spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared, &script)
        })?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// An ordinary origin: reads whole requests, keeps connections alive as the client wishes and
    /// answers each with what `answer` returns. HEAD, `Content-Length` and `Connection: close` are
    /// taken care of.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn responding<A>(answer: A) -> io::Result<Self>
    where
        A: Fn(&Request) -> Response + Send + Sync + 'static,
    {
        Self::responding_at(loopback(), answer)
    }

    /// The same at a given address.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn responding_at<A>(address: SocketAddr, answer: A) -> io::Result<Self>
    where
        A: Fn(&Request) -> Response + Send + Sync + 'static,
    {
        Self::scripted_at(address, move |conversation| {
            while let Some(request) = conversation.next_request()? {
                conversation.respond(&request, answer(&request))?;
                if !request.keeps_alive() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// An ordinary origin that always answers 200 with this body; [`Origin::requests`] counts.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn always(body: &'static str) -> io::Result<Self> {
        Self::responding(move |_| Response::new(200, body))
    }

    /// An ordinary origin for large bodies, streamed both ways in constant memory: `GET /bytes/N`
    /// answers N bytes with a `Content-Length`, `GET /chunked/N` the same in chunks, `GET /close/N`
    /// until the close, and any request with a body gets the number of its body bytes as text.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn bulk() -> io::Result<Self> {
        Self::scripted(bulk::serve)
    }

    /// An origin that accepts connections and closes them at once.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn hanging_up() -> io::Result<Self> {
        Self::scripted(|_| Ok(()))
    }

    /// An origin that reads requests and never answers.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn silent() -> io::Result<Self> {
        Self::scripted(Conversation::hang)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests scripts have read, over all connections.
    pub fn requests(&self) -> usize {
        self.shared.lock().seen.iter().map(|seen| seen.requests).sum()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.lock().seen.len()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.lock().seen.iter().filter(|seen| !seen.ended).count()
    }

    /// What was seen of each connection so far, in the order of their arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// The first MiB of what arrived on one connection, counted from 0, as text; empty when there
    /// is no such connection.
    pub fn received(&self, connection: usize) -> String {
        let state = self.shared.lock();
        state
            .seen
            .get(connection)
            .map_or_else(String::new, |seen| String::from_utf8_lossy(&seen.received).into_owned())
    }

    /// Waits until what was seen satisfies `condition`, and returns it.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait_until(&self, condition: impl Fn(&[Seen]) -> bool) -> io::Result<Vec<Seen>> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while !condition(&state.seen) {
            let left = time_left(deadline, "a condition on what an origin saw")?;
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(state.seen.clone())
    }

    /// Waits until at least `count` requests were read.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait_for_requests(&self, count: usize) -> io::Result<()> {
        self.wait_until(|seen| seen.iter().map(|seen| seen.requests).sum::<usize>() >= count)?;
        Ok(())
    }

    /// Waits until at least `count` connections were accepted.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait_for_connections(&self, count: usize) -> io::Result<()> {
        self.wait_until(|seen| seen.len() >= count)?;
        Ok(())
    }

    /// Waits until no connection is open.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub fn wait_until_idle(&self) -> io::Result<()> {
        self.wait_until(|seen| seen.iter().all(|seen| seen.ended))?;
        Ok(())
    }

    /// Resets every open connection, as the death of the process would; the listener stays.
    pub fn reset_connections(&self) {
        self.shared.end_connections(true);
    }

    /// Closes the listener and every connection and returns what was seen. The address can be
    /// taken again afterwards.
    ///
    /// # Panics
    /// When a script panicked: an assertion in a script is one of the test.
    pub fn stop(mut self) -> Vec<Seen> {
        self.shut_down();
        if let Some(message) = self.shared.lock().panic.take() {
            panic!("the script of an origin panicked: {message}");
        }
        std::mem::take(&mut self.shared.lock().seen)
    }

    fn shut_down(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.shared.lock().stopped = true;
        // Wakes the acceptor, which then finds that it is to stop.
        drop(TcpStream::connect_timeout(&self.address, PATIENCE));
        self.shared.end_connections(false);
        // Its panics are those of scripts, kept apart already.
        acceptor.join().ok();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shut_down();
        let message = self.shared.lock().panic.take();
        if let (Some(message), false) = (message, thread::panicking()) {
            panic!("the script of an origin panicked: {message}");
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    seen: Vec<Seen>,
    open: HashMap<usize, Arc<TcpStream>>,
    panic: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.lock().stopped
    }

    fn note(&self, connection: usize, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.lock().seen.get_mut(connection) {
            change(seen);
        }
        self.changed.notify_all();
    }

    fn end_connections(&self, reset: bool) {
        for stream in self.lock().open.values() {
            if reset {
                socket2::SockRef::from(&**stream).set_linger(Some(std::time::Duration::ZERO)).ok();
                // The close that resets comes when the script's thread lets go of the socket:
                // only the reading side may be shut, or the peer would see an orderly end.
                stream.shutdown(Shutdown::Read).ok();
            } else {
                stream.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

/// Records what arrives on one connection.
struct Recorder {
    shared: Arc<Shared>,
    connection: usize,
}

impl Tap for Recorder {
    fn received(&self, bytes: &[u8]) {
        self.shared.note(self.connection, |seen| {
            let room = RECORDED - seen.received.len();
            seen.received.extend(&bytes[..bytes.len().min(room)]);
            seen.length += bytes.len() as u64;
        });
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, script: &Arc<Script>) {
    let mut conversations: Vec<JoinHandle<()>> = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped() {
            break;
        }
        conversations.retain(|conversation| !conversation.is_finished());
        let stream = Arc::new(stream);
        let connection = {
            let mut state = shared.lock();
            let connection = state.seen.len();
            state.seen.push(Seen::default());
            state.open.insert(connection, stream.clone());
            connection
        };
        shared.changed.notify_all();
        let spawned = thread::Builder::new()
            .name(format!("origin connection {connection}"))
            .stack_size(512 << 10)
            .spawn({
                let (shared, script) = (shared.clone(), script.clone());
                move || converse(connection, stream, &shared, &*script)
            });
        match spawned {
            Ok(conversation) => conversations.push(conversation),
            Err(error) => end(shared, connection, Some(error.to_string())),
        }
    }
    for conversation in conversations {
        // Panics inside were caught and kept.
        conversation.join().ok();
    }
}

fn converse(connection: usize, stream: Arc<TcpStream>, shared: &Arc<Shared>, script: &Script) {
    let tap = Arc::new(Recorder { shared: shared.clone(), connection });
    let outcome = Wire::new(stream, PATIENCE, Some(tap)).and_then(|wire| {
        let mut conversation = Conversation::new(connection, wire, shared.clone());
        // A script's state is its own: nobody looks at it after the panic.
        panic::catch_unwind(AssertUnwindSafe(|| script(&mut conversation))).unwrap_or_else(
            |payload| {
                let message = panic_message(payload.as_ref());
                shared.lock().panic.get_or_insert(message.clone());
                Err(io::Error::other(message))
            },
        )
    });
    end(shared, connection, outcome.err().map(|error| error.to_string()));
}

fn end(shared: &Shared, connection: usize, error: Option<String>) {
    shared.lock().open.remove(&connection);
    shared.note(connection, |seen| {
        seen.ended = true;
        seen.error = error;
    });
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}
