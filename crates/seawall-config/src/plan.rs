//! The plan: what the program runs on, with every name resolved and every contradiction refused.
//!
//! A plan is immutable. The doors receive it whole behind an `Arc`, never read a file or the
//! environment themselves, and may rely on everything said here without checking it again.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// Everything one running Seawall does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Process-wide settings.
    pub server: Server,
    /// HTTP listeners; names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// Upstreams; names are unique. A route refers to one by its position here.
    pub upstreams: Vec<Upstream>,
    /// Routes in the order of the file: the first that matches wins. Names are unique.
    pub routes: Vec<Route>,
}

/// Process-wide settings (`[server]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Worker threads; `None` means one per core.
    pub workers: Option<NonZeroUsize>,
    /// Where the admin API listens; `None` means nowhere.
    pub admin: Option<SocketAddr>,
    /// The password of the admin API; there is one unless `admin` is a loopback address.
    pub admin_token: Option<Secret>,
    /// How long a stopping process waits for requests in flight.
    pub drain: Duration,
    /// Where access-log lines go.
    pub access_log: AccessLog,
    /// Peers whose `Forwarded` and `X-Forwarded-*` fields are believed.
    pub trust: Vec<IpNet>,
    /// The DNS server to ask instead of those of the system.
    pub resolver: Option<SocketAddr>,
}

impl Server {
    /// Whether `peer` is one of the trusted peers. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trust.iter().any(|net| net.contains(&peer))
    }
}

/// A password. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a password in.
    pub fn new(password: impl Into<Box<str>>) -> Secret {
        Secret(password.into())
    }

    /// The password itself, for what must compare it; never to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where access-log lines go (`server.access-log`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file, which is opened again on reload (so that it can be rotated).
    File(PathBuf),
}

/// One HTTP listener (`[listen.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// The name in the file; also a metric label.
    pub name: Arc<str>,
    /// The address it is bound to. Port 0 takes a free port (for tests).
    pub address: SocketAddr,
    /// Patience with clients.
    pub timeouts: ListenerTimeouts,
    /// Limits on clients.
    pub limits: ListenerLimits,
}

/// Patience with clients (`[listen.NAME] timeouts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// How long a kept-alive connection may stay without a request.
    pub idle: Duration,
    /// The window in which [`ListenerLimits::progress`] bytes of a body must move.
    pub body: Duration,
    /// How long an upgraded connection (WebSocket) may be silent in both directions.
    pub tunnel: Duration,
}

/// Limits on clients (`[listen.NAME] limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Bytes of a request line and its header fields.
    pub head: usize,
    /// Header fields in a request; the same limit holds for trailers.
    pub headers: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Open connections on this listener, all workers together.
    pub connections: usize,
    /// Open connections from one client address (IPv6: one /64); `None` means no limit.
    /// Trusted peers (`server.trust`) are exempt.
    pub connections_per_client: Option<usize>,
    /// Fewest bytes of a body that must move within [`ListenerTimeouts::body`].
    pub progress: u64,
}

/// One group of servers (`[upstream.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The name in the file; also a metric label.
    pub name: Arc<str>,
    /// Its servers, at least one.
    pub servers: Vec<ServerSpec>,
    /// How a server is chosen.
    pub balance: Balance,
    /// What becomes of connections between requests.
    pub keepalive: Keepalive,
    /// Time to establish one connection.
    pub connect_timeout: Duration,
    /// How long a server may be silent in the middle of an answer's body.
    pub idle_timeout: Duration,
    /// Limits on each server.
    pub limits: UpstreamLimits,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// Where it is.
    pub address: ServerAddress,
    /// Its share of the requests relative to the others; at least 1.
    pub weight: u32,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An address that needs no look-up.
    Socket(SocketAddr),
    /// A name, resolved in the background; every address it yields is a server of its own.
    Name {
        /// The DNS name, lower case, without a trailing dot.
        host: Arc<str>,
        /// The TCP port.
        port: u16,
    },
}

/// How a server is chosen (`[upstream.NAME] balance`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// Of two random servers the one with fewer requests in flight, by weight. The default.
    TwoChoices,
}

/// What becomes of connections between requests (`[upstream.NAME] keepalive`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle connections kept per server and worker.
    pub idle: usize,
    /// How long a connection may stay idle.
    pub timeout: Duration,
}

/// Limits on each server of an upstream (`[upstream.NAME] limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Open connections to one server, all workers together.
    pub connections: usize,
    /// Bytes of an answer's status line and header fields.
    pub head: usize,
    /// Header fields in an answer; the same limit holds for trailers.
    pub headers: usize,
}

/// One route (`[[route]]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The name in the file, or `route-N` with its position from 1; also a metric label.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub when: When,
    /// What it does with them.
    pub action: Action,
    /// Edits of the request's header fields before it is forwarded.
    pub request_headers: HeaderEdits,
    /// Edits of the answer's header fields before it is sent.
    pub response_headers: HeaderEdits,
    /// Pages in place of Seawall's own, for requests of this route that it refuses; each `when`
    /// is there once. The most exact that fits is meant, whatever their order.
    pub errors: Vec<ErrorPage>,
}

/// What is shown in place of Seawall's own account of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// Which refusals it is for.
    pub when: ErrorMatch,
    /// The body; never empty, and at most 1 MiB together with those of the other pages.
    pub body: Arc<[u8]>,
    /// Its media type.
    pub content_type: Box<str>,
}

/// Which refusals an [`ErrorPage`] is for, from the most to the least exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorMatch {
    /// Those with this code: 1 to 64 of `a-z` and `-`. Whether there is such a code is not known
    /// here.
    Code(Box<str>),
    /// Those with this status, from 400 to 599.
    Status(u16),
    /// Those whose status begins with this digit, 4 or 5.
    Class(u8),
}

/// Which requests a route takes: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// On the host, without its port, compared in lower case.
    pub host: HostPattern,
    /// On the normalised path.
    pub path: PathPattern,
    /// Methods, upper case; empty means any. A list with `GET` has `HEAD` too.
    pub methods: Vec<Box<str>>,
    /// On header fields, names in lower case.
    pub headers: Vec<(Box<str>, ValuePattern)>,
    /// On query parameters: names and values compared after percent-decoding (`+` is a space).
    pub query: Vec<(Box<str>, ValuePattern)>,
}

/// A condition on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// This host, lower case.
    Exact(Box<str>),
    /// `*.example.com`, kept as `example.com`: any name below it at any depth, not itself.
    Below(Box<str>),
}

/// A condition on the normalised path. Patterns are in normal form themselves: they begin with
/// `/`, have no empty, `.` or `..` segments, percent-encode what must be and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Any target, `*` of `OPTIONS *` too.
    Any,
    /// This path.
    Exact(Box<str>),
    /// `/api/*`, kept as `/api`: that path and everything below it. `/*` is kept as the empty
    /// string and means every path.
    Prefix(Box<str>),
}

/// A condition on the value of a header field or query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePattern {
    /// `"*"`: there, with any value.
    Present,
    /// Exactly this value.
    Exact(Box<str>),
}

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Forward to an upstream (`to`).
    Forward(Forward),
    /// Answer with a redirect (`redirect`).
    Redirect(Redirect),
    /// Answer from the plan itself (`respond`).
    Respond(Respond),
}

/// Forwarding to an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// Position in [`Plan::upstreams`].
    pub upstream: usize,
    /// The whole exchange up to the head of the answer, all attempts together.
    pub timeout: Duration,
    /// Taken off the front of the path, in normal form without a trailing slash; `None` when
    /// nothing is. The route's path pattern guarantees that the path begins with it.
    pub strip_prefix: Option<Box<str>>,
    /// Put before the path, in normal form without a trailing slash.
    pub add_prefix: Option<Box<str>>,
}

/// Answering with a redirect.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// The value of `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Answering from the plan itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body; empty for 204 and 304.
    pub body: Arc<[u8]>,
    /// The value of `Content-Type`; `None` when there is no body.
    pub content_type: Option<Box<str>>,
}

/// Edits of header fields, applied in this order: remove, set, add. Names are valid field names
/// in lower case and never hop-by-hop or framing fields (`connection`, `content-length`,
/// `transfer-encoding`, `te`, `trailer`, `upgrade`, `keep-alive`, `proxy-connection`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeaderEdits {
    /// Fields taken away.
    pub remove: Vec<Box<str>>,
    /// Fields whose value is replaced, or which are added when missing.
    pub set: Vec<(Box<str>, Template)>,
    /// Fields added beside those already there.
    pub add: Vec<(Box<str>, Template)>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Text with variables in braces; `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its parts in order. Text is valid as part of a header value.
    pub parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Text(Box<str>),
    /// The value of a variable.
    Variable(Variable),
}

/// What a template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `{scheme}`: `http` or `https`, as the client used it.
    Scheme,
    /// `{host}`: the host the client asked for, with its port if it named one.
    Host,
    /// `{path}`: the normalised path, before prefixes are stripped or added.
    Path,
    /// `{query}`: the query with its `?`, or nothing.
    Query,
    /// `{method}`: the request method.
    Method,
    /// `{client-ip}`: the address of the client, as far as trusted peers tell it.
    ClientIp,
    /// `{route}`: the name of the route.
    Route,
}
