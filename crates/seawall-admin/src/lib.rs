//! The admin API: health, readiness, metrics, the plan, its upstreams, reload. Runs on the control
//! thread; knows nothing of the doors but what it is handed.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 while it takes requests, 503 while it drains |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /api/plan` | the plan in place, in short |
//! | `GET /api/upstreams` | the upstreams and their servers as they are now |
//! | `PUT /api/upstreams/NAME/servers` | puts servers in place of those of configuration and file |
//! | `DELETE /api/upstreams/NAME/servers` | puts these in place again |
//! | `PUT /api/upstreams/NAME/servers/ADDRESS/state` | says whether a server is to be used |
//! | `/api/cache…` | the HTTP cache: see [`cache`] |
//! | `POST /api/reload` | 200 with the warnings, or 422 with every problem of the configuration |
//!
//! With a token, every request but the first two must carry it, or gets 401.

pub mod cache;
mod problem;
mod servers;
pub mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use seawall_config::plan::Secret;
use seawall_telemetry::exposition;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub use problem::Refused;
pub use servers::Order;

/// What the API tells and asks.
#[derive(Clone)]
pub struct Admin {
    /// Makes the metrics page.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether the process takes requests.
    pub ready: Arc<AtomicBool>,
    /// What `Authorization: Bearer` must carry; nothing when the API is open to all who reach it.
    pub token: Option<Secret>,
    /// What it does with the cache; nothing when there can be none.
    pub cache: Option<cache::Cache>,
    /// Where the rest is asked for; without somebody who answers the API says that it drains.
    pub asks: mpsc::Sender<Ask>,
}

/// What only the keeper of the doors can do or knows. The answer goes back through the sender.
#[derive(Debug)]
pub enum Ask {
    /// To read the configuration again.
    Reload(oneshot::Sender<Reloaded>),
    /// The plan in place.
    Plan(oneshot::Sender<view::Plan>),
    /// The upstreams as they are now.
    Upstreams(oneshot::Sender<Vec<view::Upstream>>),
    /// How this process can be asked by itself; nothing when no listener takes HTTP.
    Entrance(oneshot::Sender<Option<cache::Entrance>>),
    /// To put servers in place of those of an upstream.
    Servers {
        /// The name of the upstream.
        upstream: String,
        /// The list in JSON as it was sent; `None` for those of configuration and file.
        list: Option<Vec<u8>>,
        /// For what it has come to.
        answer: oneshot::Sender<Result<view::Changed, Refused>>,
    },
    /// To use a server or not.
    Order {
        /// The name of the upstream.
        upstream: String,
        /// The address of the server, as it was sent.
        server: String,
        /// What is to become of it.
        order: Order,
        /// For what it has come to.
        answer: oneshot::Sender<Result<view::Ordered, Refused>>,
    },
}

/// What became of a configuration that was read again.
#[derive(Debug, Clone, Serialize)]
pub struct Reloaded {
    /// Whether it is in place. If not, the one before it still is.
    pub applied: bool,
    /// How many configurations have been put in place since the start.
    pub generation: u64,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
}

/// An error or a warning about the configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The file, or nothing when it is not about a file.
    pub file: String,
    /// The line, from 1; 0 when it is not about a line.
    pub line: usize,
    /// The column, from 1; 0 when it is not about a line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// Serves the API until it is dropped.
///
/// # Errors
///
/// When the socket fails.
pub async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { json(StatusCode::OK, &Status { status: "ok" }) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/plan", get(plan))
        .route("/api/upstreams", get(upstreams))
        .route("/api/reload", post(reload))
        .merge(servers::routes())
        .merge(cache::routes())
        .layer(from_fn_with_state(admin.clone(), only_with_token))
        .with_state(admin);
    axum::serve(listener, router).await
}

/// Lets a request on that has the token, or needs none.
async fn only_with_token(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let open = matches!(request.uri().path(), "/healthz" | "/readyz");
    let Some(token) = admin.token.as_ref().filter(|_| !open) else {
        return next.run(request).await;
    };
    if bearer(request.headers()).is_some_and(|given| same(given, token.reveal().as_bytes())) {
        return next.run(request).await;
    }
    let status = Status { status: "the token is missing or wrong" };
    let mut response = json(StatusCode::UNAUTHORIZED, &status);
    let challenge = header::HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// What the one `Authorization` field carries, if it is of the kind `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (kind, token) = field.as_bytes().split_at_checked("Bearer ".len())?;
    kind.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether both are the same, in a time that tells nothing but their lengths.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |found, (a, b)| found | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differences) == 0
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if admin.ready.load(Relaxed) {
        json(StatusCode::OK, &Status { status: "ready" })
    } else {
        draining()
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], (admin.metrics)()).into_response()
}

async fn reload(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    // A page in the operator's browser could send this too; programs send no Origin.
    if headers.contains_key(header::ORIGIN) {
        return json(StatusCode::FORBIDDEN, &Status { status: "not for pages of other sites" });
    }
    match ask(&admin, Ask::Reload).await {
        Some(reloaded) if reloaded.applied => json(StatusCode::OK, &reloaded),
        Some(reloaded) => json(StatusCode::UNPROCESSABLE_ENTITY, &reloaded),
        None => draining(),
    }
}

async fn plan(State(admin): State<Admin>) -> Response {
    ask(&admin, Ask::Plan).await.map_or_else(draining, |plan| json(StatusCode::OK, &plan))
}

async fn upstreams(State(admin): State<Admin>) -> Response {
    #[derive(Serialize)]
    struct Upstreams {
        upstreams: Vec<view::Upstream>,
    }
    let answer = ask(&admin, Ask::Upstreams).await;
    answer.map_or_else(draining, |upstreams| json(StatusCode::OK, &Upstreams { upstreams }))
}

/// Asks the keeper of the doors; nothing when there is none any more.
async fn ask<T>(admin: &Admin, what: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    admin.asks.send(what(answer)).await.ok()?;
    answered.await.ok()
}

fn draining() -> Response {
    json(StatusCode::SERVICE_UNAVAILABLE, &Status { status: "draining" })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
