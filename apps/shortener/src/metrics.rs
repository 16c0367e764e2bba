//! What is counted, and `/metrics` in the text format of Prometheus.
//!
//! Every label has a bounded number of values. Counters are plain atomics: with the redirects of a
//! few cores they are not what takes the time.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

use crate::refusal::Refusal;
use crate::serve::App;

/// What this process has done.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections of clients that are open.
    pub connections: AtomicUsize,
    /// Redirects, by what is counted: a click, one that Seawall counts, `HEAD`.
    redirects: [AtomicU64; 3],
    refusals: [AtomicU64; Refusal::ALL.len()],
    /// Forms that ask for a password.
    forms: AtomicU64,
    durations: Histogram,
}

/// Whether a redirect is a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It is, and is counted here.
    Here,
    /// It is, and Seawall counts it.
    BySeawall,
    /// It is none: `HEAD`.
    Not,
}

impl Metrics {
    /// A redirect was answered.
    pub fn redirected(&self, counted: Counted) {
        self.redirects[counted as usize].fetch_add(1, Relaxed);
    }

    /// A request for a link was refused.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Relaxed);
    }

    /// A password was asked for.
    pub fn asked(&self) {
        self.forms.fetch_add(1, Relaxed);
    }

    /// A request for a link took so long, from its head to its answer.
    pub fn took(&self, duration: Duration) {
        self.durations.observe(duration);
    }
}

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 250_000, 1_000_000];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }
}

/// `GET /metrics`.
pub async fn show(State(app): State<Arc<App>>) -> impl IntoResponse {
    let mut text = String::with_capacity(8 * 1024);
    // Writing to a string does not fail.
    write(&mut text, &app).ok();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], text)
}

fn write(text: &mut String, app: &App) -> fmt::Result {
    let Metrics { connections, redirects, refusals, forms, durations } = &app.metrics;
    let of = |counter: &AtomicU64| counter.load(Relaxed);
    let mut out = Out(text);

    out.family("snip_redirects_total", "counter", "Redirects, by who counts them as clicks.")?;
    for (name, counter) in ["here", "seawall", "none"].iter().zip(redirects) {
        out.sample("snip_redirects_total", &[("counted", name)], of(counter))?;
    }
    out.family("snip_refusals_total", "counter", "Requests for links that led nowhere.")?;
    for refusal in Refusal::ALL {
        let count = of(&refusals[refusal as usize]);
        out.sample("snip_refusals_total", &[("refusal", refusal.name())], count)?;
    }
    out.single(
        "snip_password_forms_total",
        "counter",
        "Forms that asked for a password.",
        of(forms),
    )?;

    let name = "snip_redirect_duration_seconds";
    out.family(name, "histogram", "From the head of a request for a link to its answer.")?;
    let mut sum = 0;
    for (bucket, counter) in durations.buckets.iter().enumerate() {
        sum += of(counter);
        let bound =
            BOUNDS.get(bucket).map_or("+Inf".to_owned(), |it| (*it as f64 / 1e6).to_string());
        out.sample("snip_redirect_duration_seconds_bucket", &[("le", &bound)], sum)?;
    }
    let seconds = of(&durations.micros) as f64 / 1e6;
    writeln!(out.0, "{name}_sum {seconds}\n{name}_count {sum}")?;

    let resolver = &app.caches.resolver;
    let counts = resolver.counts();
    let by = [
        ("memory", &counts.memory),
        ("redis", &counts.redis),
        ("store", &counts.store),
        ("unsure", &counts.unsure),
        ("failed", &counts.failed),
    ];
    out.family("snip_lookups_total", "counter", "Look-ups of links, by what answered them.")?;
    for (tier, counter) in by {
        out.sample("snip_lookups_total", &[("by", tier)], of(counter))?;
    }
    let help = "Links that were looked up again before they had to be.";
    out.single("snip_lookup_refreshes_total", "counter", help, of(&counts.refreshed))?;
    let help = "Changes of links that were followed.";
    out.single("snip_changes_total", "counter", help, of(&counts.changes))?;
    let (links, missing) = resolver.kept();
    out.family("snip_memory_entries", "gauge", "What is kept in this process.")?;
    out.sample("snip_memory_entries", &[("kind", "link")], links as u64)?;
    out.sample("snip_memory_entries", &[("kind", "missing")], missing as u64)?;
    if let Some(is_live) = resolver.is_redis_live() {
        out.single("snip_redis_up", "gauge", "Whether Redis is in use.", is_live.into())?;
        let help = "Times that Redis failed.";
        out.single("snip_redis_failures_total", "counter", help, of(&counts.redis_failures))?;
    }
    let counts = app.clicks.counts();
    out.family(
        "snip_clicks_total",
        "counter",
        "Clicks that were taken in, by where they came from.",
    )?;
    out.sample("snip_clicks_total", &[("from", "redirect")], of(&counts.redirects))?;
    out.sample("snip_clicks_total", &[("from", "report")], of(&counts.reported))?;
    for (name, help, value) in [
        ("snip_clicks_stored_total", "Clicks that are in the database.", of(&counts.stored)),
        (
            "snip_clicks_lost_total",
            "Clicks for which there was no room, or no time at the end.",
            of(&counts.lost),
        ),
        (
            "snip_clicks_write_failures_total",
            "Times that clicks could not be written.",
            of(&counts.failures),
        ),
        (
            "snip_clicks_visitors_unknown_total",
            "Clicks whose visitors there was no room to tell apart.",
            app.clicks.buffer().unknown(),
        ),
        (
            "snip_reports_repeated_total",
            "Reports that had been counted before.",
            of(&counts.repeated),
        ),
        (
            "snip_report_lines_unreadable_total",
            "Lines of reports that were no events.",
            of(&counts.unreadable),
        ),
    ] {
        out.single(name, "counter", help, value)?;
    }
    let held = app.clicks.buffer().held() as u64;
    out.single("snip_clicks_held", "gauge", "Counters in memory that are to be written.", held)?;
    if let Some(stream) = app.clicks.stream() {
        out.single(
            "snip_nats_up",
            "gauge",
            "Whether clicks can be sent to NATS.",
            stream.is_up().into(),
        )?;
        let help = "Clicks that NATS has taken.";
        out.single("snip_clicks_sent_total", "counter", help, stream.sent())?;
        let help = "Clicks in memory that are to be sent to NATS.";
        out.single("snip_clicks_waiting", "gauge", help, stream.waiting() as u64)?;
    }
    let nodes = app.caches.purger.standings();
    if !nodes.is_empty() {
        let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> u64| {
            out.family(name, kind, help)?;
            nodes
                .iter()
                .enumerate()
                .try_for_each(|(n, node)| out.sample(name, &[("node", &node.name)], value(n)))
        };
        let help = "Links that nodes of Seawall were told of.";
        each("snip_purges_total", "counter", help, &|n| nodes[n].told)?;
        let help = "Times that a node of Seawall could not be told.";
        each("snip_purge_failures_total", "counter", help, &|n| nodes[n].failed)?;
        let help = "Links that a node of Seawall has yet to be told of.";
        each("snip_purges_waiting", "gauge", help, &|n| nodes[n].waiting as u64)?;
    }
    let open = connections.load(Relaxed) as u64;
    out.single("snip_connections", "gauge", "Connections of clients that are open.", open)
}

/// The text format.
struct Out<'a>(&'a mut String);

impl Out<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, kind, help)?;
        self.sample(name, &[], value)
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        self.0.write_str(name)?;
        for (number, (label, value)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            // Values are names of our own and addresses of the configuration.
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(self.0, "{before}{label}=\"{value}\"")?;
        }
        if !labels.is_empty() {
            self.0.write_char('}')?;
        }
        writeln!(self.0, " {value}")
    }
}
