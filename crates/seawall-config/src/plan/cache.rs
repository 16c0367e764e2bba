//! The plan of the HTTP cache: the node's store, and what each route does with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// The store of a node (`[cache]`), which all routes share. There is one whenever a route has
/// `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheStore {
    /// Bytes of memory for objects, what is kept beside them, and fills in progress.
    pub memory: u64,
    /// Where what is larger or colder is kept, if anywhere.
    pub disk: Option<CacheDisk>,
    /// Variants that one URL may have (RFC 9111 §4.1).
    pub variants: u32,
    /// What becomes of stored answers while the shared state that tells of purges is away.
    pub without_state: WithoutState,
}

impl Default for CacheStore {
    /// What holds without the section.
    fn default() -> CacheStore {
        CacheStore {
            memory: 256 << 20,
            disk: None,
            variants: 64,
            without_state: WithoutState::default(),
        }
    }
}

/// The disk tier (`cache.disk`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDisk {
    /// A directory of this process alone.
    pub path: PathBuf,
    /// The most bytes that are kept there.
    pub size: u64,
}

/// What becomes of stored answers while the shared state that tells of purges is away
/// (`cache.without-state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutState {
    /// They are served; purges that were missed take effect when the state is back.
    #[default]
    Serve,
    /// They are validated with the origin before they are served.
    Validate,
}

/// What the nodes of a fleet share (`[state]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The URL of a Redis or Valkey server: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`.
    /// `None` means that each process keeps to itself.
    pub redis: Option<super::Secret>,
    /// What all keys there begin with, so that several fleets can share a server.
    pub prefix: Box<str>,
}

impl Default for State {
    /// What holds without the section.
    fn default() -> State {
        State { redis: None, prefix: "seawall".into() }
    }
}

/// What a route does with the cache (`route.cache`). Only routes that forward have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// The freshness lifetime of answers that carry none of their own.
    pub ttl: Option<Duration>,
    /// The freshness lifetime of all answers that may be stored, whatever the origin says of it.
    pub force: Option<Duration>,
    /// The lifetime of answers with a status of 404, 405, 410, 414, 501 or 5xx that carry none of
    /// their own; `None` means that of other answers.
    pub negative_ttl: Option<Duration>,
    /// What clients are told in place of the origin's freshness.
    pub browser_ttl: Option<Duration>,
    /// How long after its lifetime an answer is served while it is validated in the background
    /// (RFC 5861 §3), unless the origin says so itself.
    pub stale_while_revalidate: Duration,
    /// How long after its lifetime an answer is served when the origin fails (RFC 5861 §4),
    /// unless the origin says so itself.
    pub stale_if_error: Duration,
    /// Thousandths by which each lifetime is cut at random, at most, so that what was stored
    /// together does not end together.
    pub jitter: u32,
    /// Answers are fetched anew shortly before their lifetime ends, with a probability that grows
    /// with the time a fetch takes (XFetch; Vattani, Chierichetti, Lowenstein, VLDB 2015).
    pub early: bool,
    /// Of what the key of an answer is made.
    pub key: CacheKey,
    /// Fields of the request, lower case, by which answers differ besides those that they name in
    /// `Vary` themselves.
    pub vary: Vec<Box<str>>,
    /// Requests that go past the cache: any of these conditions is enough.
    pub bypass: CacheBypass,
    /// `HEAD` is answered from the cache too. `GET` always is.
    pub head: bool,
    /// Statuses that `ttl` holds for; empty means those that are cacheable by default
    /// (RFC 9110 §15.1).
    pub statuses: Vec<u16>,
    /// The most bytes of content that an answer may have to be stored.
    pub max_object: u64,
    /// What the origin says that is not listened to.
    pub ignore_origin: IgnoreOrigin,
    /// `Cache-Control` and `Pragma` of requests are listened to.
    pub client_control: bool,
    /// Who may send `PURGE`.
    pub purge: Vec<IpNet>,
    /// A field with tags besides `Surrogate-Key` and `Cache-Tag`, lower case.
    pub tags: Option<Box<str>>,
    /// The namespace of the keys.
    pub version: CacheVersion,
    /// Requests for what is being fetched wait for it.
    pub coalesce: Coalesce,
    /// The upstream, by position, of the next tier of caches, which is asked in place of the
    /// route's own.
    pub parent: Option<usize>,
    /// The tier that this node is.
    pub tier: Tier,
}

/// Of what the key of an answer is made (`cache.key`). Its path always is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    /// The host, in lower case, and the scheme are part of it.
    pub host: bool,
    /// The query.
    pub query: CacheQuery,
    /// The parameters are put in order of their names first.
    pub sort: bool,
    /// Request fields, lower case.
    pub headers: Vec<Box<str>>,
    /// Cookies.
    pub cookies: Vec<Box<str>>,
    /// The class of device that `User-Agent` and client hints tell of: phone, tablet, desktop,
    /// bot.
    pub device: bool,
}

/// The part of the query that belongs to the key (`cache.key.query`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheQuery {
    /// All of it.
    All,
    /// Only parameters of these names; one that ends in `*` stands for all that begin so. Empty:
    /// none.
    Only(Vec<Box<str>>),
    /// All but parameters of these names, with `*` as above.
    Except(Vec<Box<str>>),
}

/// Requests that go past the cache (`cache.bypass`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheBypass {
    /// They have one of these fields, lower case.
    pub headers: Vec<Box<str>>,
    /// They have one of these cookies; one that ends in `*` stands for all that begin so.
    pub cookies: Vec<Box<str>>,
    /// They have one of these query parameters, with `*` as above.
    pub query: Vec<Box<str>>,
}

impl CacheBypass {
    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.cookies.is_empty() && self.query.is_empty()
    }
}

/// What the origin says that is not listened to (`cache.ignore-origin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IgnoreOrigin {
    /// `Cache-Control`, its targeted forms, and `Pragma`.
    pub cache_control: bool,
    /// `Expires`.
    pub expires: bool,
    /// `Vary`.
    pub vary: bool,
    /// `Set-Cookie`, which is then taken out of answers that are stored.
    pub set_cookie: bool,
}

/// The namespace of the keys (`cache.version`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CacheVersion {
    /// There is one.
    #[default]
    None,
    /// This text.
    Text(Box<str>),
    /// What this request field says, lower case. Only that of trusted peers is believed.
    Header(Box<str>),
    /// What the shared state holds under this key.
    State(Arc<str>),
}

/// Requests for what is being fetched wait for it (`cache.coalesce`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coalesce {
    /// The longest that a request waits for the head of an answer; then it goes to the origin
    /// itself. Zero: nobody waits.
    pub wait: Duration,
    /// Requests that may wait for one fill; more go to the origin.
    pub waiters: usize,
}

/// The tier that a node is (`cache.tier`); it says what `ttl` and `jitter` are where the file does
/// not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// There are no tiers.
    #[default]
    None,
    /// Next to the clients: 60 s, of which up to half is cut.
    Edge,
    /// Between: 15 min, of which up to two thirds are cut.
    Regional,
    /// Next to the origin: 4 h, of which up to a tenth is cut.
    Shield,
}
