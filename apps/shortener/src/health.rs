//! `/healthz`: the process answers. `/readyz`: it and what it stands on do their work, as
//! `application/health+json` (draft-inadarei-api-health-check-06).
//!
//! `fail` (503) is for what stops redirects: the primary, the disk under a file, the end of the
//! process. What only makes them slower or older is `warn` (200): a replica, Redis, NATS, a cache in
//! front that cannot be purged. What was found is good for a second, so that asking costs nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::serve::App;

/// How long what was found is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Free bytes on the disk of a database in a file: below the first it warns, below the second it
/// fails, while there is room to write what is left to write.
const DISK: [u64; 2] = [1 << 30, 64 << 20];

/// What was found last.
#[derive(Default)]
pub struct Health {
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// `GET /healthz`.
pub async fn alive() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], "ok\n")
}

/// `GET /readyz`.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let report = app.health.report(&app).await;
    let status = match report.status {
        Status::Fail => StatusCode::SERVICE_UNAVAILABLE,
        Status::Pass | Status::Warn => StatusCode::OK,
    };
    let fields = [(CONTENT_TYPE, "application/health+json"), (CACHE_CONTROL, "no-store")];
    // Strings, numbers and lists of them can always be written.
    let body = serde_json::to_string(&*report).unwrap_or_default();
    (status, fields, body).into_response()
}

impl Health {
    async fn report(&self, app: &App) -> Arc<Report> {
        // Who comes meanwhile waits for what the first finds.
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, report)) if at.elapsed() < GOOD_FOR && !*app.leaving.borrow() => {
                report.clone()
            }
            _ => {
                let report = Arc::new(look(app).await);
                *last = Some((Instant::now(), report.clone()));
                report
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    status: Status,
    version: &'static str,
    release_id: &'static str,
    service_id: String,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'static str>,
    checks: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    component_id: String,
    component_type: &'static str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

async fn look(app: &App) -> Report {
    let mut report = Report {
        status: Status::Pass,
        version: "1",
        release_id: env!("CARGO_PKG_VERSION"),
        service_id: app.config.name.clone(),
        description: "snip, a link shortener",
        output: None,
        checks: Map::new(),
    };
    if *app.leaving.borrow() {
        report.status = Status::Fail;
        report.output = Some("the process is about to end");
    }
    let health = app.store.health().await;
    let milliseconds = |took: Duration| took.as_secs_f64() * 1e3;
    let primary = health.primary;
    report.add(
        "database:responseTime",
        Check {
            component_id: primary.name,
            component_type: "datastore",
            status: if primary.error.is_some() { Status::Fail } else { Status::Pass },
            observed_value: Some(milliseconds(primary.took)),
            observed_unit: Some("ms"),
            output: primary.error.map(|error| error.to_string()),
        },
    );
    for replica in health.replicas {
        report.add(
            "replica:lag",
            Check {
                component_id: replica.name,
                component_type: "datastore",
                status: if replica.error.is_some() { Status::Warn } else { Status::Pass },
                observed_value: replica.lag.map(milliseconds),
                observed_unit: replica.lag.map(|_| "ms"),
                output: replica.error.map(|error| error.to_string()),
            },
        );
    }
    if let Some(is_live) = app.caches.resolver.is_redis_live() {
        let output = "away, or not caught up with the database yet; links are looked up without it";
        report.add(
            "redis:connection",
            Check {
                component_id: "redis".to_owned(),
                component_type: "datastore",
                status: if is_live { Status::Pass } else { Status::Warn },
                observed_value: None,
                observed_unit: None,
                output: (!is_live).then(|| output.to_owned()),
            },
        );
    }
    if let Some(stream) = app.clicks.stream() {
        let is_up = stream.is_up();
        report.add(
            "nats:waiting",
            Check {
                component_id: "nats".to_owned(),
                component_type: "datastore",
                status: if is_up { Status::Pass } else { Status::Warn },
                observed_value: Some(stream.waiting() as f64),
                observed_unit: Some("clicks"),
                output: (!is_up).then(|| "away; clicks are held in memory meanwhile".to_owned()),
            },
        );
    }
    for node in app.caches.purger.standings() {
        report.add(
            "purge:waiting",
            Check {
                component_id: node.name,
                component_type: "component",
                status: if node.is_up { Status::Pass } else { Status::Warn },
                observed_value: Some(node.waiting as f64),
                observed_unit: Some("links"),
                output: (!node.is_up).then(|| "cannot be told what has changed".to_owned()),
            },
        );
    }
    if let Some(file) = app.config.database.strip_prefix("sqlite:") {
        report.add("disk:free", disk(Path::new(file.strip_prefix("//").unwrap_or(file))));
    }
    report
}

/// The room on the disk that a file is on.
fn disk(file: &Path) -> Check {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let free =
        rustix::fs::statvfs(directory).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let status = match free {
        Ok(free) if free >= DISK[0] => Status::Pass,
        Ok(free) if free < DISK[1] => Status::Fail,
        _ => Status::Warn,
    };
    Check {
        component_id: directory.display().to_string(),
        component_type: "system",
        status,
        observed_value: free.ok().map(|free| free as f64),
        observed_unit: Some("bytes"),
        output: match (free, status) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(_), Status::Pass) => None,
            (Ok(_), _) => Some("the disk is nearly full".to_owned()),
        },
    }
}

impl Report {
    fn add(&mut self, name: &str, check: Check) {
        self.status = self.status.max(check.status);
        let checks = self.checks.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        // As above; and what is under a name is always a list.
        if let (Value::Array(checks), Ok(check)) = (checks, serde_json::to_value(check)) {
            checks.push(check);
        }
    }
}
