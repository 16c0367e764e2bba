//! The cache as it is configured.

use std::time::Duration;

use seawall_config::plan::{self, CacheQuery, CacheVersion, Tier, WithoutState};
use serde::Serialize;

/// The store of the node, as in `[cache]`.
#[derive(Debug, Clone, Serialize)]
pub struct ConfiguredStore {
    /// The most bytes of memory.
    pub memory_bytes: u64,
    /// The directory of the disk tier.
    pub disk: Option<String>,
    /// The most bytes there.
    pub disk_bytes: Option<u64>,
    /// Variants that one URL may have.
    pub variants: u32,
    /// What becomes of stored answers while the shared state is away: `serve` or `validate`.
    pub without_state: &'static str,
}

/// What a route does with the cache, as in `route.cache`.
#[derive(Debug, Clone, Serialize)]
pub struct CacheRules {
    /// Seconds for which answers are fresh that say nothing of it themselves.
    pub ttl_seconds: Option<f64>,
    /// Seconds for which all answers are fresh.
    pub force_seconds: Option<f64>,
    /// Seconds for which failures are that say nothing of it themselves.
    pub negative_ttl_seconds: Option<f64>,
    /// Seconds that clients are told instead.
    pub browser_ttl_seconds: Option<f64>,
    /// Seconds behind its lifetime in which an answer is served while it is fetched anew.
    pub stale_while_revalidate_seconds: f64,
    /// Seconds behind its lifetime in which an answer is served when the origin fails.
    pub stale_if_error_seconds: f64,
    /// The share by which lifetimes are cut at most, from 0 to 1.
    pub jitter: f64,
    /// Whether answers are fetched anew before they end.
    pub early: bool,
    /// Of what the key is made.
    pub key: CacheKeyRules,
    /// Fields by which answers differ though they do not say so.
    pub vary: Vec<String>,
    /// With what requests go past the cache.
    pub bypass: BypassRules,
    /// Whether `HEAD` is answered from the cache.
    pub head: bool,
    /// The statuses that `ttl` is for; none means those that are cacheable by default.
    pub statuses: Vec<u16>,
    /// The most bytes of content of an answer that is stored.
    pub max_object_bytes: u64,
    /// What answers say and is not listened to.
    pub ignore_origin: Vec<&'static str>,
    /// Whether requests have a say.
    pub client_control: bool,
    /// Who may send `PURGE`.
    pub purge: Vec<String>,
    /// A field with tags besides those that are always read.
    pub tags: Option<String>,
    /// The next tier of caches.
    pub parent: Option<String>,
    /// The tier that this node is: `edge`, `regional` or `shield`.
    pub tier: Option<&'static str>,
    /// The longest that a request waits for the fetch of another, in seconds.
    pub coalesce_wait_seconds: f64,
    /// The most requests that wait for one.
    pub coalesce_waiters: usize,
}

/// With what requests go past the cache.
#[derive(Debug, Clone, Serialize)]
pub struct BypassRules {
    /// Request fields.
    pub headers: Vec<String>,
    /// Cookies.
    pub cookies: Vec<String>,
    /// Parameters of the query.
    pub query: Vec<String>,
}

/// Of what the key of an answer is made, besides the path.
#[derive(Debug, Clone, Serialize)]
pub struct CacheKeyRules {
    /// Scheme and host.
    pub host: bool,
    /// Parameters of the query: `all`, `only` those that are named, or all `except` those.
    pub query: &'static str,
    /// The parameters that are named.
    pub parameters: Vec<String>,
    /// Whether they are put in order first.
    pub sort: bool,
    /// Request fields.
    pub headers: Vec<String>,
    /// Cookies.
    pub cookies: Vec<String>,
    /// The class of device.
    pub device: bool,
    /// Where a version is from: `text`, `header` or `state`.
    pub version: Option<&'static str>,
}

impl ConfiguredStore {
    pub(super) fn of(store: &plan::CacheStore) -> ConfiguredStore {
        ConfiguredStore {
            memory_bytes: store.memory,
            disk: store.disk.as_ref().map(|disk| disk.path.display().to_string()),
            disk_bytes: store.disk.as_ref().map(|disk| disk.size),
            variants: store.variants,
            without_state: match store.without_state {
                WithoutState::Serve => "serve",
                WithoutState::Validate => "validate",
            },
        }
    }
}

impl CacheRules {
    pub(super) fn of(rules: &plan::Cache, plan: &plan::Plan) -> CacheRules {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let bypass = &rules.bypass;
        let ignored = &rules.ignore_origin;
        let ignored = [
            (ignored.cache_control, "cache-control"),
            (ignored.expires, "expires"),
            (ignored.vary, "vary"),
            (ignored.set_cookie, "set-cookie"),
        ];
        CacheRules {
            ttl_seconds: seconds(rules.ttl),
            force_seconds: seconds(rules.force),
            negative_ttl_seconds: seconds(rules.negative_ttl),
            browser_ttl_seconds: seconds(rules.browser_ttl),
            stale_while_revalidate_seconds: rules.stale_while_revalidate.as_secs_f64(),
            stale_if_error_seconds: rules.stale_if_error.as_secs_f64(),
            jitter: f64::from(rules.jitter) / 1e3,
            early: rules.early,
            key: key(rules),
            vary: texts(&rules.vary),
            bypass: BypassRules {
                headers: texts(&bypass.headers),
                cookies: texts(&bypass.cookies),
                query: texts(&bypass.query),
            },
            head: rules.head,
            statuses: rules.statuses.clone(),
            max_object_bytes: rules.max_object,
            ignore_origin: ignored.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect(),
            client_control: rules.client_control,
            purge: rules.purge.iter().map(ToString::to_string).collect(),
            tags: rules.tags.as_ref().map(ToString::to_string),
            parent: rules.parent.and_then(|at| Some(plan.upstreams.get(at)?.name.to_string())),
            tier: match rules.tier {
                Tier::None => None,
                Tier::Edge => Some("edge"),
                Tier::Regional => Some("regional"),
                Tier::Shield => Some("shield"),
            },
            coalesce_wait_seconds: rules.coalesce.wait.as_secs_f64(),
            coalesce_waiters: rules.coalesce.waiters,
        }
    }
}

fn key(rules: &plan::Cache) -> CacheKeyRules {
    let key = &rules.key;
    let (query, parameters) = match &key.query {
        CacheQuery::All => ("all", Vec::new()),
        CacheQuery::Only(names) => ("only", texts(names)),
        CacheQuery::Except(names) => ("except", texts(names)),
    };
    CacheKeyRules {
        host: key.host,
        query,
        parameters,
        sort: key.sort,
        headers: texts(&key.headers),
        cookies: texts(&key.cookies),
        device: key.device,
        version: match rules.version {
            CacheVersion::None => None,
            CacheVersion::Text(_) => Some("text"),
            CacheVersion::Header(_) => Some("header"),
            CacheVersion::State(_) => Some("state"),
        },
    }
}

fn texts(names: &[Box<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}
