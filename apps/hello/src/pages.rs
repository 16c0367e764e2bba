//! What `hello` answers. Every answer says in `x-instance` which instance made it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

/// The longest `/slow?ms=`, in milliseconds.
const SLOWEST: u64 = 10_000;

/// About the length of `/pages/N`, in bytes.
const PAGE: usize = 16 << 10;

/// The application, answering in the name of `instance`.
pub(crate) fn router(instance: &str) -> Router {
    let app = Arc::new(App { instance: instance.to_owned(), answered: AtomicU64::new(0) });
    Router::new()
        .route("/", get(index))
        .route("/api/time", get(time))
        .route("/slow", get(slow))
        .route("/pages/{number}", get(page))
        .route("/echo", post(echo))
        .route("/healthz", get(healthz))
        .with_state(app)
}

struct App {
    instance: String,
    /// Answers so far, health checks not counted.
    answered: AtomicU64,
}

impl App {
    fn count(&self) -> u64 {
        self.answered.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn answer(&self, content_type: &str, body: impl Into<Body>) -> Response {
        let headers = [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("x-instance"), &self.instance),
        ];
        (headers, body.into()).into_response()
    }
}

async fn index(State(app): State<Arc<App>>) -> Response {
    let page = include_str!("index.html")
        .replace("{instance}", &app.instance)
        .replace("{count}", &app.count().to_string());
    app.answer("text/html; charset=utf-8", page)
}

async fn time(State(app): State<Arc<App>>) -> Response {
    // A clock before 1970 is as good as one that stands there.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = format!(
        "{{\"instance\":\"{}\",\"answered\":{},\"unix_ms\":{}}}\n",
        app.instance,
        app.count(),
        now.as_millis()
    );
    app.answer("application/json", body)
}

async fn slow(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    match milliseconds(query.as_deref()) {
        Some(wait) => {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            app.count();
            app.answer("text/plain", format!("{} took {wait} ms\n", app.instance))
        }
        None => {
            let problem = format!("ask for /slow?ms=N with N from 0 to {SLOWEST}\n");
            let mut answer = app.answer("text/plain", problem);
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            answer
        }
    }
}

/// A page that is always the same, and does not say for how long: caches go by their own rules.
async fn page(State(app): State<Arc<App>>, Path(number): Path<u32>) -> Response {
    app.count();
    let line = format!("page {number} of {}\n", app.instance);
    let headers = [
        (header::CONTENT_TYPE, "text/plain".to_owned()),
        (header::ETAG, format!("\"page-{number}\"")),
        (HeaderName::from_static("surrogate-key"), format!("pages page-{number}")),
        (HeaderName::from_static("x-instance"), app.instance.clone()),
    ];
    (headers, line.repeat(PAGE / line.len())).into_response()
}

/// Streams: what has arrived goes back before the rest is there.
async fn echo(State(app): State<Arc<App>>, request: Request) -> Response {
    app.count();
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    app.answer(content_type.unwrap_or("application/octet-stream"), body)
}

async fn healthz(State(app): State<Arc<App>>) -> Response {
    app.answer("text/plain", "ok\n")
}

/// `ms=N` anywhere in the query; one second when there is none, `None` when it is out of range.
fn milliseconds(query: Option<&str>) -> Option<u64> {
    let mut parameters = query.unwrap_or_default().split('&');
    match parameters.find_map(|parameter| parameter.strip_prefix("ms=")) {
        None => Some(1000),
        Some(text) => text.parse().ok().filter(|wait| *wait <= SLOWEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowness_is_bounded() {
        let check = |query: Option<&str>, expect: Option<u64>| {
            assert_eq!(milliseconds(query), expect, "{query:?}");
        };
        check(None, Some(1000));
        check(Some(""), Some(1000));
        check(Some("x=1&ms=20"), Some(20));
        check(Some("ms=10000"), Some(10_000));
        check(Some("ms=10001"), None);
        check(Some("ms=-1"), None);
        check(Some("ms="), None);
    }
}
