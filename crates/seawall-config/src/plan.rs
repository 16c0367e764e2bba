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

mod cache;
mod report;

pub use cache::{
    Cache, CacheBypass, CacheDisk, CacheKey, CacheQuery, CacheStore, CacheVersion, Coalesce,
    IgnoreOrigin, State, Tier, WithoutState,
};

pub use report::Reporting;

/// Everything one running Seawall does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Process-wide settings.
    pub server: Server,
    /// What the nodes of a fleet share.
    pub state: State,
    /// The cache's store.
    pub cache: CacheStore,
    /// Listeners; names and addresses are unique.
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
    /// The zone this process runs in; servers of the same zone are preferred.
    pub zone: Option<Arc<str>>,
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

/// One listener (`[listen.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// The name in the file; also a metric label.
    pub name: Arc<str>,
    /// The address it is bound to. Port 0 takes a free port (for tests).
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Trusted peers (`server.trust`) begin each connection with a PROXY protocol header, version
    /// 1 or 2. There are trusted peers when this is set.
    pub proxy_protocol: bool,
    /// Patience with clients.
    pub timeouts: ListenerTimeouts,
    /// Limits on clients.
    pub limits: ListenerLimits,
}

/// What a listener does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: requests go through the routes.
    Http,
    /// TCP: bytes go to a server of this upstream (position in [`Plan::upstreams`]), which is
    /// chosen once for the connection. No route refers to an upstream whose
    /// [`Upstream::proxy_protocol`] is set.
    Tcp(usize),
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
    /// How long an upgraded connection (WebSocket) or one that is proxied as TCP may be silent in
    /// both directions.
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
    /// Its servers; at least one unless there is a [`Upstream::servers_file`].
    pub servers: Vec<ServerSpec>,
    /// A file with more of its servers, watched by the program (the doors do not read files).
    pub servers_file: Option<PathBuf>,
    /// How a server is chosen.
    pub balance: Balance,
    /// What a client keeps its server by, before `balance` is asked.
    pub sticky: Option<Sticky>,
    /// When less than this share of the servers (by weight, in thousandths) is healthy, those that
    /// fail their checks are used too; 0 for never.
    pub panic: u32,
    /// How long a new or returned server takes to get its whole share of the requests.
    pub slow_start: Option<Duration>,
    /// Active checks.
    pub health: Option<HealthCheck>,
    /// Passive ejection.
    pub eject: Option<Eject>,
    /// The circuit breaker.
    pub breaker: Option<Breaker>,
    /// Requests that may be in flight at once.
    pub max_in_flight: MaxInFlight,
    /// Where requests beyond that wait.
    pub queue: Queue,
    /// The PROXY protocol header that begins each connection to a server. Only for upstreams that
    /// listeners use for TCP.
    pub proxy_protocol: Option<ProxyProtocol>,
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
    /// Its share of the requests relative to the others; 1 to 1000.
    pub weight: u32,
    /// The zone it is in.
    pub zone: Option<Arc<str>>,
    /// 0 is used first; those of a higher number only as far as those before them are unhealthy.
    pub priority: u8,
}

impl ServerSpec {
    /// A server without more to say than where it is.
    pub fn new(address: ServerAddress) -> ServerSpec {
        ServerSpec { address, weight: 1, zone: None, priority: 0 }
    }
}

/// Where a server is; shown as it is written in the file.
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
    /// A name with SRV records (RFC 2782), which give names, ports, weights and priorities.
    Service(
        /// The DNS name, such as `_http._tcp.app.internal`, lower case, without a trailing dot.
        Arc<str>,
    ),
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerAddress::Socket(address) => address.fmt(f),
            ServerAddress::Name { host, port } => write!(f, "{host}:{port}"),
            ServerAddress::Service(name) => write!(f, "srv:{name}"),
        }
    }
}

/// How a server is chosen (`[upstream.NAME] balance`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// Of two random servers the one with fewer requests in flight, by weight. The default.
    TwoChoices,
    /// Of two random servers the one where latency times requests in flight is less, by weight.
    LeastLatency,
    /// By the client's address, on the ring of `Hash`.
    IpHash,
    /// Consistent hashing on a ring, with bounded load.
    Hash(HashBy),
    /// Consistent hashing by a Maglev table: quicker, but without bounded load.
    Maglev(HashBy),
}

impl Balance {
    /// As it is written in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Balance::RoundRobin => "round-robin",
            Balance::Random => "random",
            Balance::LeastConnections => "least-connections",
            Balance::TwoChoices => "two-choices",
            Balance::LeastLatency => "least-latency",
            Balance::IpHash => "ip-hash",
            Balance::Hash(_) => "hash",
            Balance::Maglev(_) => "maglev",
        }
    }
}

/// What requests are hashed by (`[upstream.NAME] hash`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashBy {
    /// Where the key is found. A request without it goes where `two-choices` sends it.
    pub key: HashKey,
    /// The most load a server may have, relative to the mean, in thousandths: 1250 is the mean and
    /// a quarter. At least 1010. Unused by [`Balance::Maglev`].
    pub bound: u32,
}

/// Where the key of a request is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The normalised path.
    Path,
    /// A query parameter, compared after percent-decoding.
    Query(Box<str>),
    /// A header field, lower case.
    Header(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// The client's address, as far as trusted peers tell it.
    ClientIp,
    /// A claim of the JSON Web Token in `Authorization: Bearer`. The token is not verified here.
    JwtClaim(Box<str>),
}

/// A cookie that keeps a client on its server (`[upstream.NAME] sticky`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie, a token.
    pub cookie: Box<str>,
    /// What cookies are signed with; `None` means a key that is made when the process starts.
    pub secret: Option<Secret>,
    /// `Max-Age` of the cookie; `None` means until the browser closes.
    pub max_age: Option<Duration>,
}

/// How servers are checked (`[upstream.NAME] health`).
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks of a server, ±10 %.
    pub every: Duration,
    /// Patience with one check; not longer than `every`.
    pub timeout: Duration,
    /// Good checks in a row after which a server is in use again; at least 1.
    pub rise: u32,
    /// Bad checks in a row after which a server is not used; at least 1.
    pub fall: u32,
    /// The port that is asked instead of the server's own.
    pub port: Option<u16>,
}

/// What a check asks, and what it wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection can be opened.
    Tcp,
    /// An HTTP/1.1 request.
    Http {
        /// The target, in origin form.
        path: Box<str>,
        /// `GET`, `HEAD`, `OPTIONS` or `POST`.
        method: Box<str>,
        /// The `Host`; `None` means the server's address.
        host: Option<Box<str>>,
        /// Ranges of good statuses, both ends included; never empty.
        status: Vec<(u16, u16)>,
        /// Text that must be in the first 64 KiB of the body.
        body: Option<Box<str>>,
    },
    /// `grpc.health.v1.Health/Check` over HTTP/2 without TLS, which must answer `SERVING`.
    Grpc {
        /// The service that is asked for; empty for the whole server.
        service: Box<str>,
    },
}

/// When a server is taken out because of what it answers (`[upstream.NAME] eject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eject {
    /// Gateway errors in a row — no connection, no answer, 502, 503, 504 — after which it is out.
    pub errors: u32,
    /// Whether a server is out, too, whose share of errors, or whose latency, is far from that of
    /// the others.
    pub outliers: bool,
    /// For how long at first; longer with each time.
    pub base: Duration,
    /// The longest.
    pub longest: Duration,
    /// The most servers that are out at a time, in thousandths of all; never the last in use.
    pub at_most: u32,
}

/// When an upstream is given time to recover (`[upstream.NAME] breaker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// The window that is looked at.
    pub window: Duration,
    /// Fewest requests in it that say anything.
    pub minimum: u32,
    /// The share of failures, in thousandths, from which the breaker opens.
    pub failures: u32,
    /// The share of slow answers, in thousandths, from which it opens.
    pub slow: u32,
    /// How long the head of an answer takes that is slow; `None` when none is.
    pub slow_after: Option<Duration>,
    /// How long it stays open at first; longer with each time.
    pub open: Duration,
    /// The longest.
    pub longest: Duration,
    /// Requests let through to see whether the upstream has recovered; at least 1.
    pub probes: u32,
    /// When a probe without an answer counts as failed.
    pub probe_timeout: Duration,
    /// How long each step of the recovery takes: 1 %, 5 %, 25 % of the requests.
    pub step: Duration,
}

/// Requests that may be in flight at once (`[upstream.NAME] max-in-flight`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxInFlight {
    /// To one server, all workers together; `None` means as many as it may have connections.
    pub server: Option<u32>,
    /// To all servers together.
    pub total: Option<u32>,
}

/// Where requests wait for others to end (`[upstream.NAME] queue`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Most requests that wait; 0 when none does.
    pub size: usize,
    /// The longest that one waits.
    pub wait: Duration,
}

impl Default for Queue {
    /// What holds without the key: nobody waits.
    fn default() -> Queue {
        Queue { size: 0, wait: Duration::from_secs(5) }
    }
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
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
    /// To whom its answers are told, if to anybody.
    pub report: Option<Reporting>,
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
    /// What is tried again.
    pub retry: Retry,
    /// When a second attempt is begun beside the first.
    pub hedge: Option<Hedge>,
    /// What takes the place of a failed answer; the first that fits and can be had.
    pub fallback: Vec<Fallback>,
    /// Taken off the front of the path, in normal form without a trailing slash; `None` when
    /// nothing is. The route's path pattern guarantees that the path begins with it.
    pub strip_prefix: Option<Box<str>>,
    /// Put before the path, in normal form without a trailing slash.
    pub add_prefix: Option<Box<str>>,
    /// What is done with the cache, if anything.
    pub cache: Option<Box<Cache>>,
}

/// What is tried again (`route.retry`). Without that key only requests that never left, three
/// attempts altogether.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts altogether, the first included; 1 to 10.
    pub attempts: u32,
    /// Whether safe requests — idempotent, or with an `Idempotency-Key` — are sent again that left
    /// and had no answer: the connection broke, or [`Retry::attempt_timeout`] passed.
    pub unanswered: bool,
    /// Answers after which safe requests are sent again.
    pub statuses: Vec<u16>,
    /// Retries, hedges and failovers for each 1000 requests.
    pub budget: u32,
    /// And besides these, per second, in thousandths.
    pub floor: u32,
    /// The pause before the first retry is random up to this, and up to twice as much with each
    /// one after it. Requests that never left go to another server without a pause.
    pub backoff: Duration,
    /// Bytes of a request's body up to which it can be sent again.
    pub body: usize,
    /// Patience with one attempt up to the head of its answer.
    pub attempt_timeout: Option<Duration>,
}

impl Default for Retry {
    /// What holds without the key.
    fn default() -> Retry {
        Retry {
            attempts: 3,
            unanswered: false,
            statuses: Vec::new(),
            budget: 100,
            floor: 1000,
            backoff: Duration::from_millis(25),
            body: 64 << 10,
            attempt_timeout: None,
        }
    }
}

/// When a second attempt is begun beside the first (`route.hedge`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    /// After this time; `None` means the 95th percentile of the route's own latency of late.
    pub after: Option<Duration>,
    /// But not earlier than this.
    pub least: Duration,
}

/// What takes the place of a failed answer (`route.fallback`).
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// Which refusals, and which answers of servers (by status and class): any of these. Never
    /// empty.
    pub on: Vec<ErrorMatch>,
    /// What is given instead.
    pub give: Give,
}

/// What a [`Fallback`] gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Give {
    /// The answer of another upstream (position in [`Plan::upstreams`]), for requests that can be
    /// sent again.
    Upstream(usize),
    /// A page, from the file or from a file it names.
    Page(Respond),
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
