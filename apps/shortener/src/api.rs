//! The REST API under `/api/v1`: JSON in and out, problems as `application/problem+json`.
//!
//! Handlers are in `api/*.rs`, one file a resource; each reads its request, checks all of it, and
//! calls `links.rs` or `auth.rs`. Nothing here caches or fetches. Called by `serve.rs`, which puts
//! [`router`] beside the redirects.

mod body;
mod bulk;
mod draft;
pub mod export;
mod idempotency;
mod json;
mod keys;
mod links;
mod live;
mod openapi;
mod page;
mod precondition;
mod qr;
mod report;
mod session;
mod stats;
mod top;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{any, delete, get, post};

use crate::auth::Keys;
use crate::clicks::Clicks;
use crate::config::Config;
use crate::link::Redirect;
use crate::links::Links;
use crate::problem::Problem;
use crate::session::Sessions;
use crate::store::{Store, StoreError};
use crate::target::Rules;

pub use self::bulk::{BulkResult, BulkView, CreateLinks, MOST_LINKS, MOST_PASSWORDS};
pub use self::draft::{CreateLink, PatchLink, UtmView};
pub use self::keys::{CreateKey, KeyList, KeyView, MadeKey, Me};
pub use self::links::{LinkList, TagList, TagView};
pub use self::openapi::document;
pub use self::session::SignIn;
pub use self::stats::{PointView, StatsView, ValueView};
pub use self::top::TopView;
pub use self::view::{LinkView, WarningView};

/// Bytes that the body of a request has at most.
pub const LARGEST_BODY: usize = 64 * 1024;

/// Bytes that the body of a request has at most from whoever is not known yet.
const LARGEST_SIGN_IN: usize = 4 * 1024;

/// Bytes that the body of a bulk request has at most.
pub const LARGEST_BULK: usize = 16 * 1024 * 1024;

/// Bytes that a report of clicks has at most: four times what Seawall sends at once.
pub const LARGEST_REPORT: usize = 4 * 1024 * 1024;

/// What the handlers of the API share.
#[derive(Debug)]
pub struct Api {
    pub(crate) links: Links,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) sessions: Sessions,
    pub(crate) clicks: Arc<Clicks>,
    /// What reports of clicks must carry; without it there are none.
    pub(crate) report_token: Option<String>,
    pub(crate) rules: Rules,
    /// What short links begin with, without a slash at its end.
    pub(crate) url: String,
    /// The redirect of links that do not say.
    pub(crate) redirect: Redirect,
    /// Whether links that do not say send queries on.
    pub(crate) forward_query: bool,
    /// With what cursors are signed.
    pub(crate) cursors: [u8; 32],
}

impl Api {
    /// The API over a store. `url` is what short links begin with, without a slash at its end.
    ///
    /// # Errors
    /// As the store, which is asked for the secrets by which cursors and sessions are signed.
    pub async fn new(
        config: &Config,
        url: &str,
        rules: Rules,
        (store, links, keys, clicks): (Store, Links, Arc<Keys>, Arc<Clicks>),
    ) -> Result<Api, StoreError> {
        let cursors = store.secret("cursors").await?;
        let sessions = Sessions::new(store.secret("sessions").await?, url);
        let redirect = config.links.redirect;
        let report_token = config.clicks.report_token.clone();
        let url = url.to_owned();
        Ok(Api {
            links,
            store,
            keys,
            sessions,
            clicks,
            report_token,
            rules,
            url,
            redirect,
            forward_query: config.links.forward_query,
            cursors,
        })
    }
}

/// The routes of the API, from `/api/v1` on.
pub fn router(api: Arc<Api>) -> Router {
    let bulk = post(bulk::create).layer(DefaultBodyLimit::max(LARGEST_BULK));
    let report = post(report::take).layer(DefaultBodyLimit::max(LARGEST_REPORT));
    let session = post(session::begin).layer(DefaultBodyLimit::max(LARGEST_SIGN_IN));
    let routes = Router::new()
        .route("/links", get(links::list).post(links::create))
        .route("/links.csv", get(export::csv))
        .route("/links/bulk", bulk)
        .route("/links/{code}", get(links::read).patch(links::change).delete(links::remove))
        .route("/links/{code}/qr.svg", get(qr::svg))
        .route("/links/{code}/qr.png", get(qr::png))
        .route("/links/{code}/stats", get(stats::of_link))
        .route("/stats", get(stats::of_all))
        .route("/clicks/report", report)
        .route("/clicks/live", get(live::look))
        .route("/tags", get(links::tags))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{id}", delete(keys::revoke))
        .route("/me", get(keys::me))
        .route("/session", session.delete(session::end))
        .route("/openapi.json", get(openapi::serve))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::map_response(guarded))
        .with_state(api);
    // Which is not of what is nested.
    let root = any(async || Problem::NotFound);
    Router::new().nest("/api/v1", routes).route("/api/v1/", root)
}

/// What every answer says: that nothing of it is kept by caches, unless it says so itself, and that
/// it is of the type that it says.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
