//! The admin API: health, readiness, metrics, reload. Runs on the control thread; knows nothing of
//! the doors but what it is handed.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 while it takes requests, 503 while it drains |
//! | `GET /metrics` | Prometheus text format |
//! | `POST /api/reload` | 200 with the warnings, or 422 with every problem of the configuration |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use seawall_telemetry::exposition;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// What the API tells and asks.
#[derive(Clone)]
pub struct Admin {
    /// Makes the metrics page.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether the process takes requests.
    pub ready: Arc<AtomicBool>,
    /// Asks for the configuration to be read again; the answer comes back through the sender.
    pub reload: mpsc::Sender<oneshot::Sender<Reloaded>>,
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
        .route("/api/reload", post(reload))
        .with_state(admin);
    axum::serve(listener, router).await
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if admin.ready.load(Relaxed) {
        json(StatusCode::OK, &Status { status: "ready" })
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, &Status { status: "draining" })
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
    let (answer, answered) = oneshot::channel();
    if admin.reload.send(answer).await.is_err() {
        return json(StatusCode::SERVICE_UNAVAILABLE, &Status { status: "draining" });
    }
    match answered.await {
        Ok(reloaded) if reloaded.applied => json(StatusCode::OK, &reloaded),
        Ok(reloaded) => json(StatusCode::UNPROCESSABLE_ENTITY, &reloaded),
        Err(_) => json(StatusCode::SERVICE_UNAVAILABLE, &Status { status: "draining" }),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
