//! The HTTP cache: what it holds, why it does what it does with a URL, purges, warming, and answers
//! that are put into it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /api/cache` | what is held, and how well routes are served by it |
//! | `GET /api/cache/top?count=N` | the keys and tags that are asked for most |
//! | `GET /api/cache/explain?url=URL&header=NAME:VALUE` | why a URL is stored or served, or not |
//! | `POST /api/cache/purge` | purges, all at once |
//! | `PUT /api/cache/objects?url=URL&status=200` | stores the body as an answer |
//! | `POST`, `GET`, `DELETE /api/cache/warm` | see [`warm`] |
//!
//! Reads and checks what is asked; what is done to the cache is done by what [`Cache`] was handed.

mod asked;
mod purge;
mod push;
pub mod sitemap;
pub mod url;
mod visit;
pub mod warm;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use seawall_telemetry::Metrics;
use serde::Serialize;

pub use purge::{Purge, Target};
pub use push::Push;
pub use visit::Entrance;

use crate::{Admin, Refused, json, view};
use asked::Asked;
use url::Url;

/// What the API does with the cache.
#[derive(Clone)]
pub struct Cache {
    /// Where what is held and counted is known.
    pub metrics: Arc<Metrics>,
    /// Purges all of it.
    pub purge: Does<Purge, Fleet>,
    /// The so many keys and tags that are asked for most.
    pub top: Does<usize, view::CacheTop>,
    /// Says why.
    pub explain: Does<Explain, view::Explained>,
    /// Stores an answer.
    pub push: Does<Push, view::Pushed>,
    /// What is being warmed.
    pub warming: warm::Warming,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache(..)")
    }
}

/// Does something, or says why not.
pub type Does<Q, A> = Arc<dyn Fn(Q) -> Doing<A> + Send + Sync>;

/// What is being done.
pub type Doing<A> = Pin<Box<dyn Future<Output = Result<A, Refused>> + Send>>;

/// Whether the other nodes were told of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fleet {
    /// This node is alone.
    Alone,
    /// They were.
    Told,
    /// The shared state is away; they will be told when it is back.
    Away,
}

/// A request whose way through the cache is to be explained. It is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// `GET` or `HEAD`.
    pub head: bool,
    /// What is asked for.
    pub url: Url,
    /// The fields of the request besides its host, in lower case.
    pub fields: Vec<(String, String)>,
}

/// The requests of this file.
pub(crate) fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/cache", get(usage))
        .route("/api/cache/top", get(top))
        .route("/api/cache/explain", get(explain))
        .route("/api/cache/purge", post(purge::purge).layer(purge::limit()))
        .route("/api/cache/objects", put(push::push).layer(push::limit()))
        .merge(warm::routes())
}

/// What the API does with the cache, if there can be one.
fn cache(admin: &Admin) -> Result<&Cache, Refused> {
    admin.cache.as_ref().ok_or_else(|| Refused::Conflict {
        detail: "this process has no cache".to_owned(),
        help: "add `cache` to a route".to_owned(),
    })
}

async fn usage(State(admin): State<Admin>) -> Response {
    let metrics = match cache(&admin) {
        Ok(cache) => &cache.metrics,
        Err(refused) => return refused.into_response(),
    };
    let usage = metrics.cache_usage();
    json(StatusCode::OK, &view::CacheState::of(usage.as_ref(), &metrics.cache_counts()))
}

async fn top(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let result = async {
        let cache = cache(&admin)?;
        let mut asked = Asked::read(query.as_deref())?;
        let count = match asked.one("count")? {
            None => 20,
            Some(text) => {
                text.parse().ok().filter(|count| (1..=1_000).contains(count)).ok_or_else(|| {
                    asked::wrong("count", "is not a number from 1 to 1000", "write for example 20")
                })?
            }
        };
        asked.finish()?;
        (cache.top)(count).await
    };
    answer(result.await)
}

async fn explain(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let result = async {
        let cache = cache(&admin)?;
        let mut asked = Asked::read(query.as_deref())?;
        let url = asked.url()?;
        let head = match asked.one("method")?.as_deref() {
            None | Some("GET") => false,
            Some("HEAD") => true,
            Some(_) => {
                let help = "only answers to GET and HEAD are stored";
                return Err(asked::wrong("method", "is not GET or HEAD", help));
            }
        };
        let fields = asked.fields()?;
        asked.finish()?;
        (cache.explain)(Explain { head, url, fields }).await
    };
    answer(result.await)
}

fn answer<T: Serialize>(result: Result<T, Refused>) -> Response {
    match result {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refused) => refused.into_response(),
    }
}
