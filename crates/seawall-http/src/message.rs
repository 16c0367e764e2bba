//! A request on its way through the policies, and the answer on its way back. Every protocol a
//! client may speak ends here, so that a policy is written once.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use seawall_cache::object::Object;
use seawall_config::plan::Listener;
use seawall_h1::{RequestHead, ResponseHead};
use seawall_telemetry::metrics::{CacheOutcome, Route as RouteCells};
use tokio::time::Instant;

use crate::client::Client;
use crate::forward::conversation::Conversation;
use crate::policy::cache::reading::Reading;
use crate::tunnel::Tunnel;
use crate::upstream::pool::PooledServer;
use crate::worker::{Running, Worker};

/// A request and where it came from.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) client: &'a Rc<Client>,
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) running: &'a Rc<Running>,
    pub(crate) listener: &'a Listener,
    /// Who sent it.
    pub(crate) peer: &'a Peer,
    /// The peer is one whose `X-Forwarded-*` fields are believed.
    pub(crate) trusted: bool,
    /// When its first byte came.
    pub(crate) started: Instant,
    /// When its head was complete.
    pub(crate) ready: Instant,
    pub(crate) facts: &'a Facts,
}

impl Request<'_> {
    /// What is counted for the route that took it.
    pub(crate) fn route_cells(&self) -> &RouteCells {
        let compiled = &self.running.compiled;
        let route = self.facts.route.get();
        let cells = route.map_or(&compiled.no_route, |route| &compiled.routes[route]);
        cells.of(self.worker.index)
    }

    /// Whether more of the body is waited for, and the client does not wait for `100 Continue`
    /// itself.
    #[inline]
    pub(crate) fn waits_for_client(&self) -> bool {
        self.client.awaits_body.get()
            && !(self.head.expects_continue && self.client.received.get() == 0)
    }

    /// When the head of the answer is due that was due at `deadline` when the request came: what
    /// time the body takes is the client's, so it counts from the last byte of that.
    #[inline]
    pub(crate) fn due(&self, deadline: Instant) -> Instant {
        let after =
            |last: Instant| deadline.max(last + deadline.saturating_duration_since(self.started));
        self.client.last_read.get().map_or(deadline, after)
    }
}

/// What becomes known of an exchange on its way; for deadlines, metrics and the access log.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Position of the route that took it.
    pub(crate) route: Cell<Option<usize>>,
    /// When the head of the answer is due.
    pub(crate) deadline: Cell<Option<Instant>>,
    /// When the head of a server's answer was there.
    pub(crate) answered: Cell<Option<Instant>>,
    /// The trace it belongs to; 0 while that is not known.
    pub(crate) trace: Cell<u128>,
    /// A fallback took the place of a failed answer.
    pub(crate) fell_back: Cell<bool>,
    /// The content of the answer comes out of the store of the cache.
    pub(crate) stored: Cell<bool>,
    /// What the cache did with it; nothing where there is none.
    pub(crate) cache: Cell<Option<CacheOutcome>>,
    /// How old the answer of the cache is, in seconds.
    pub(crate) age: Cell<Option<u32>>,
    /// The server it was last sent to.
    pub(crate) server: RefCell<Option<Rc<PooledServer>>>,
}

impl Facts {
    pub(crate) fn clear(&self) {
        self.route.set(None);
        self.deadline.set(None);
        self.answered.set(None);
        self.trace.set(0);
        self.fell_back.set(false);
        self.stored.set(false);
        self.cache.set(None);
        self.age.set(None);
        self.server.replace(None);
    }
}

/// Who is at the other end of a connection, also as text, which is made once.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// `192.0.2.1` or `2001:db8::1`.
    pub(crate) plain: String,
    /// `192.0.2.1` or `"[2001:db8::1]"` (RFC 7239 §6).
    pub(crate) node: String,
}

impl Peer {
    pub(crate) fn new(address: IpAddr) -> Peer {
        let address = address.to_canonical();
        let plain = address.to_string();
        let node = if address.is_ipv6() { format!("\"[{plain}]\"") } else { plain.clone() };
        Peer { address, plain, node }
    }
}

/// An answer, from a server or of our own.
pub(crate) struct Response {
    /// In a box, since it is handed on a few times.
    pub(crate) head: Box<ResponseHead>,
    pub(crate) body: Body,
}

/// The content of an answer.
pub(crate) enum Body {
    /// None.
    Empty,
    /// These bytes, from the plan.
    Shared(Arc<[u8]>),
    /// These bytes, made for this answer.
    Owned(Vec<u8>),
    /// What a server sends.
    Answer(Box<Conversation>),
    /// The content of a stored answer, from one position to another.
    Stored(Arc<Object>, usize, usize),
    /// What a cache gives piece by piece.
    Reading(Box<Reading>),
    /// No content, but another protocol from here on.
    Tunnel(Box<Tunnel>),
}
