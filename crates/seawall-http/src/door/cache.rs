//! The cache as the rest of the program sees it: what can be asked of it, purged and put into it
//! from outside the workers.
//!
//! Never fetches anything, and never holds up a worker. The admin API calls it.

mod explain;
mod purge;
mod push;
mod top;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use seawall_cache::disk::{Condition, Disk};
use seawall_cache::key::{BadUrl, Scheme, TypedUrl};
use seawall_config::plan::{Action, Cache, Forward, Route};
use seawall_h1::{HeadLimits, HeadProgress, RequestHead, parse};
use seawall_telemetry::metrics::{CacheUsage, DiskUsage, TierUsage};
use thiserror::Error;

pub use explain::{Explanation, Question, Step};
pub use purge::{Others, Target};
pub use push::{Push, Pushed};
pub use top::{Top, TopKey, TopTag};

use crate::compiled::Compiled;
use crate::policy::cache::node::Node;
use crate::route::Found;

/// A hold on the cache of a [`crate::Door`], which follows its plans. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CacheHandle(Arc<ArcSwapOption<Compiled>>);

/// Why something cannot be done to the cache.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CacheError {
    /// No route ever had a cache.
    #[error("no route has a cache")]
    None,
    /// What is given as a URL is none.
    #[error("`{url}` is no URL of a stored answer: {why}")]
    Url {
        /// It.
        url: String,
        /// What is wrong with it.
        why: BadUrl,
    },
    /// A prefix does not end in `/`, or is too deep.
    #[error("`{0}` is no prefix that answers are found by")]
    Prefix(String),
    /// A request cannot be made of the URL and the fields.
    #[error("there can be no such request: {0}")]
    Request(seawall_h1::BadMessage),
    /// No route takes the URL.
    #[error("no route takes `{0}`")]
    NoRoute(String),
    /// The route that takes the URL has no cache.
    #[error("the route `{route}`, which takes `{url}`, has no cache")]
    NotCached {
        /// Its name.
        route: Arc<str>,
        /// The URL.
        url: String,
    },
    /// Requests for it go past the cache.
    #[error("requests for `{0}` go past the cache")]
    Bypassed(String),
}

impl CacheHandle {
    /// Takes over a plan that is in place.
    pub(super) fn follow(&self, compiled: &Arc<Compiled>) {
        self.0.store(Some(compiled.clone()));
    }

    fn compiled(&self) -> Result<Arc<Compiled>, CacheError> {
        self.0.load_full().ok_or(CacheError::None)
    }

    /// What the store holds; `None` while no route has a cache.
    pub fn usage(&self) -> Option<CacheUsage> {
        let compiled = self.0.load_full()?;
        let node = compiled.cache.as_ref()?;
        let usage = node.store.usage();
        Some(CacheUsage {
            memory: TierUsage {
                bytes: usage.bytes,
                limit: node.memory(),
                objects: usage.objects,
                chunks: usage.chunks,
                evictions: usage.evicted,
            },
            disk: node.store.disk().map(disk_usage),
            filling: (node.fills.count() + node.chunks.count()) as u64,
            variants_capped: usage.crowded,
        })
    }
}

fn disk_usage(disk: &Disk) -> DiskUsage {
    let (usage, counted) = (disk.usage(), disk.counted());
    DiskUsage {
        tier: TierUsage {
            bytes: usage.bytes,
            limit: usage.size,
            objects: usage.entries,
            // Objects and chunks are blobs alike there.
            chunks: 0,
            evictions: counted.reclaimed,
        },
        up: !matches!(disk.condition(), Condition::Degraded(_)),
        read_errors: counted.read_errors,
        write_errors: counted.errors.saturating_sub(counted.read_errors),
        corrupt: counted.corrupt,
        dropped: counted.dropped,
    }
}

/// The rules of a route, if it has a cache.
fn rules(route: &Route) -> Option<(&Forward, &Cache)> {
    match &route.action {
        Action::Forward(to) => to.cache.as_ref().map(|rules| (to, &**rules)),
        Action::Redirect(_) | Action::Respond(_) => None,
    }
}

fn node(compiled: &Compiled) -> Result<&Arc<Node>, CacheError> {
    compiled.cache.as_ref().ok_or(CacheError::None)
}

fn typed(url: &str) -> Result<TypedUrl<'_>, CacheError> {
    TypedUrl::parse(url).map_err(|why| CacheError::Url { url: url.to_owned(), why })
}

/// The bytes that a request which is only thought of may have, and its fields.
const LIMITS: HeadLimits = HeadLimits { bytes: 64 << 10, headers: 500 };

/// A request as a client would make it, with its scheme. `fields` are those besides `Host`.
fn request(
    head: bool,
    url: &str,
    fields: &[(String, String)],
) -> Result<(RequestHead, Scheme), CacheError> {
    let typed = typed(url)?;
    let url = typed.as_url();
    let method = if head { "HEAD" } else { "GET" };
    let mut text = format!("{method} ").into_bytes();
    text.extend_from_slice(url.path);
    text.extend_from_slice(url.query);
    text.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    url.write_host(&mut text);
    text.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    let mut head = RequestHead::default();
    match parse::request(&text, LIMITS, &mut HeadProgress::default(), &mut head) {
        Ok(Some(length)) if length == text.len() => Ok((head, url.scheme)),
        Ok(_) => Err(CacheError::Request(seawall_h1::BadMessage::RequestLine)),
        Err(why) => Err(CacheError::Request(why)),
    }
}

/// The route that takes a request, by its position.
fn route(compiled: &Compiled, head: &RequestHead) -> Option<usize> {
    match compiled.table.find(&compiled.plan.routes, head) {
        Found::Route(at) => Some(at),
        Found::Nothing | Found::Ambiguous => None,
    }
}
