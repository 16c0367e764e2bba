//! Warming: a list of URLs, or what a sitemap lists, is asked for at a bounded rate, over a listener
//! of this process, so that what can be stored is.
//!
//! | request | answer |
//! |---|---|
//! | `POST /api/cache/warm` | begins; 409 while another list is being warmed |
//! | `GET /api/cache/warm` | how far it has come |
//! | `DELETE /api/cache/warm` | stops it |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::asked::{object, problem, wrong};
use super::sitemap::{self, Sitemap};
use super::url::Url;
use super::visit::{Entrance, Visitor, lines};
use super::{answer, cache};
use crate::servers::{not_from_a_page, whole};
use crate::{Admin, Ask, Refused, json, view};

/// Most URLs of one list, sitemaps included.
pub const MOST: usize = 100_000;
/// Largest body, in bytes.
const LARGEST: usize = 32 << 20;
/// Largest sitemap, in bytes, as sitemaps.org has it.
const LARGEST_SITEMAP: usize = 50 << 20;
/// Most sitemaps of an index.
const MOST_SITEMAPS: usize = 1_000;
/// Most failures that are told.
const MOST_TOLD: usize = 20;

const EXAMPLE: &str = r#"send for example {"urls": ["https://shop.example.com/"], "rate": 50}; there are urls, sitemap, rate, concurrency and headers"#;

/// What is being warmed, or was last. It stops when the last copy of this is dropped.
#[derive(Debug, Clone, Default)]
pub struct Warming(Arc<Mutex<Option<Job>>>);

#[derive(Debug)]
struct Job {
    progress: Arc<Progress>,
    task: AbortHandle,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Progress {
    begun: Instant,
    state: Mutex<view::Warming>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, view::Warming> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> view::Warming {
        let mut shown = self.state().clone();
        if shown.running {
            shown.seconds = self.seconds();
        }
        shown
    }

    fn seconds(&self) -> f64 {
        (self.begun.elapsed().as_secs_f64() * 1e3).round() / 1e3
    }

    fn end(&self, outcome: &'static str) {
        let seconds = self.seconds();
        let mut state = self.state();
        if state.running {
            (state.running, state.outcome, state.seconds) = (false, Some(outcome), seconds);
        }
    }
}

impl Warming {
    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins, unless something is being warmed.
    fn begin(&self, order: Order, entrance: Entrance) -> Result<view::Warming, Refused> {
        let mut job = self.job();
        if job.as_ref().is_some_and(|job| job.progress.state().running) {
            return Err(Refused::Conflict {
                detail: "another list is being warmed".to_owned(),
                help: "wait for it, or stop it with DELETE".to_owned(),
            });
        }
        let state = view::Warming {
            running: true,
            total: order.urls.len(),
            rate: order.rate,
            concurrency: order.concurrency,
            ..view::Warming::default()
        };
        let progress = Arc::new(Progress { begun: Instant::now(), state: Mutex::new(state) });
        let task = tokio::spawn(warm(order, entrance, progress.clone())).abort_handle();
        let shown = progress.shown();
        *job = Some(Job { progress, task });
        Ok(shown)
    }

    fn shown(&self) -> Option<view::Warming> {
        self.job().as_ref().map(|job| job.progress.shown())
    }

    fn stop(&self) -> Option<view::Warming> {
        let job = self.job();
        let job = job.as_ref()?;
        job.task.abort();
        job.progress.end("stopped");
        Some(job.progress.shown())
    }
}

/// What is to be warmed.
#[derive(Debug)]
struct Order {
    urls: Vec<Url>,
    sitemap: Option<Url>,
    /// Requests a second.
    rate: u32,
    /// Requests at a time.
    concurrency: usize,
    /// Fields of each request, as they go over the wire.
    fields: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    urls: Vec<String>,
    sitemap: Option<String>,
    #[serde(default = "default_rate")]
    rate: u32,
    #[serde(default = "default_concurrency")]
    concurrency: usize,
    #[serde(default = "default_headers")]
    headers: BTreeMap<String, String>,
}

fn default_rate() -> u32 {
    50
}

fn default_concurrency() -> usize {
    4
}

/// What browsers send, since answers that vary by it are stored for what they send.
fn default_headers() -> BTreeMap<String, String> {
    let encodings = "gzip, deflate, br, zstd";
    BTreeMap::from([("accept-encoding".to_owned(), encodings.to_owned())])
}

pub(super) fn routes() -> Router<Admin> {
    let warm = post(begin).get(show).delete(stop).layer(DefaultBodyLimit::max(LARGEST));
    Router::new().route("/api/cache/warm", warm)
}

async fn begin(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = async {
        not_from_a_page(&headers)?;
        let cache = cache(&admin)?;
        let order = read(&whole(body, LARGEST)?)?;
        let entrance = crate::ask(&admin, Ask::Entrance).await.ok_or(Refused::Draining)?;
        let entrance = entrance.ok_or_else(|| Refused::Conflict {
            detail: "there is no listener for HTTP to ask".to_owned(),
            help: "add one: [listen.web] address = \"127.0.0.1:8080\"".to_owned(),
        })?;
        let mut all = order.urls.iter().chain(&order.sitemap);
        if !entrance.believed && all.any(|url| url.https) {
            return Err(unbelieved(entrance));
        }
        cache.warming.begin(order, entrance)
    };
    match result.await {
        Ok(begun) => json(StatusCode::ACCEPTED, &begun),
        Err(refused) => refused.into_response(),
    }
}

fn unbelieved(entrance: Entrance) -> Refused {
    let ip = entrance.address.ip();
    Refused::Conflict {
        detail: "URLs with https cannot be asked for over a listener without TLS".to_owned(),
        help: format!("let this machine say which scheme it is: [server] trust = [\"{ip}\"]"),
    }
}

async fn show(State(admin): State<Admin>) -> Response {
    answer(cache(&admin).map(|cache| cache.warming.shown()))
}

async fn stop(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let stopped = not_from_a_page(&headers).and_then(|()| cache(&admin));
    answer(stopped.map(|cache| cache.warming.stop()))
}

fn read(body: &[u8]) -> Result<Order, Refused> {
    let Body { urls, sitemap, rate, concurrency, headers } =
        object(body, "a list to be warmed", EXAMPLE)?;
    if urls.len() > MOST {
        let help = "send at most 100000 at once";
        return Err(wrong("urls", &format!("has {} of them", urls.len()), help));
    }
    if urls.is_empty() && sitemap.is_none() {
        return Err(wrong("the body", "names nothing", EXAMPLE));
    }
    if !(1..=10_000).contains(&rate) {
        return Err(wrong("rate", "is not from 1 to 10000", "these are requests a second"));
    }
    if !(1..=64).contains(&concurrency) {
        return Err(wrong("concurrency", "is not from 1 to 64", "these are requests at a time"));
    }
    let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let help = "write for example {\"accept-language\": \"de\"}";
    let fields =
        lines(fields).ok_or_else(|| wrong("headers", "has one that cannot be sent", help))?;
    let sitemap = sitemap.map(|text| {
        let help = "write for example https://shop.example.com/sitemap.xml";
        Url::read(&text).map_err(|why| wrong("sitemap", why, help))
    });
    let (mut read, mut problems) = (Vec::with_capacity(urls.len()), Vec::new());
    for (at, text) in urls.iter().enumerate() {
        match Url::read(text) {
            Ok(url) => read.push(url),
            Err(why) if problems.len() < MOST_TOLD => {
                let help = "write for example \"https://shop.example.com/prices?page=2\"";
                problems.push(problem(format!("urls[{at}] {why}"), help));
            }
            Err(_) => {}
        }
    }
    if !problems.is_empty() {
        let detail = "not all of these are URLs".to_owned();
        return Err(Refused::Wrong { detail, problems });
    }
    Ok(Order { urls: read, sitemap: sitemap.transpose()?, rate, concurrency, fields })
}

/// Warms all of it. Dropped, it stops, and the requests under way with it.
async fn warm(order: Order, entrance: Entrance, progress: Arc<Progress>) {
    let Order { mut urls, sitemap, rate, concurrency, fields } = order;
    let progress = Ends(progress);
    if let Some(sitemap) = sitemap {
        // Without the fields of the order: it is to be read here.
        let visitor = Visitor::new(entrance, String::new());
        match listed(&visitor, sitemap, MOST - urls.len()).await {
            Ok(listed) => {
                let mut state = progress.state();
                state.total += listed.len();
                for url in listed {
                    if entrance.believed || !url.https {
                        urls.push(url);
                        continue;
                    }
                    state.done += 1;
                    let why = "is https, and this machine is not in `trust` of [server]";
                    state.failed(url.to_string(), why, MOST_TOLD);
                }
            }
            Err(why) => {
                progress.state().problem = Some(why);
                return progress.end("failed");
            }
        }
    }
    let visitor = Arc::new(Visitor::new(entrance, fields));
    let mut running = JoinSet::new();
    let pause = Duration::from_secs(1) / rate;
    let mut next = Instant::now();
    for url in urls {
        while running.len() >= concurrency {
            running.join_next().await;
        }
        // What was missed because answers were slow is not made up for.
        next = next.max(Instant::now() - SLACK);
        sleep_until(next).await;
        next += pause;
        running.spawn(one(visitor.clone(), url, progress.0.clone()));
    }
    while running.join_next().await.is_some() {}
    progress.end("done");
}

/// Says that warming has ended, however it does.
struct Ends(Arc<Progress>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end("stopped");
    }
}

impl std::ops::Deref for Ends {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        &self.0
    }
}

/// How far the clock may be behind: timers are good to a millisecond, and rates go beyond that.
const SLACK: Duration = Duration::from_millis(5);

async fn one(visitor: Arc<Visitor>, url: Url, progress: Arc<Progress>) {
    let visited = visitor.visit(&url, 0).await;
    let mut state = progress.state();
    state.done += 1;
    match visited {
        Ok(visited) if visited.status < 400 => {
            state.hits += usize::from(visited.is_hit());
            state.stored += usize::from(visited.is_stored());
        }
        Ok(visited) => {
            let why = format!("was answered {}", visited.status);
            state.failed(url.to_string(), &why, MOST_TOLD);
        }
        Err(why) => state.failed(url.to_string(), &why, MOST_TOLD),
    }
}

/// The URLs that a sitemap lists, and those that it lists list.
async fn listed(visitor: &Visitor, sitemap: Url, most: usize) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    let mut read_urls = |texts: Vec<String>, room: usize| {
        urls.extend(texts.iter().filter_map(|text| Url::read(text).ok()).take(room));
        urls.len()
    };
    match fetched(visitor, &sitemap, most).await? {
        Sitemap::Urls(texts) => drop(read_urls(texts, most)),
        Sitemap::Index(sitemaps) => {
            let mut room = most;
            for text in sitemaps.iter().take(MOST_SITEMAPS) {
                let url = Url::read(text).map_err(|why| format!("the sitemap `{text}` {why}"))?;
                match fetched(visitor, &url, room).await? {
                    Sitemap::Urls(texts) => room = most - read_urls(texts, room),
                    Sitemap::Index(_) => {
                        return Err(format!("the sitemap {url} is an index again"));
                    }
                }
                if room == 0 {
                    break;
                }
            }
        }
    }
    match urls.is_empty() {
        true => Err(format!("the sitemap {sitemap} lists nothing")),
        false => Ok(urls),
    }
}

async fn fetched(visitor: &Visitor, url: &Url, most: usize) -> Result<Sitemap, String> {
    let why = |why: &str| format!("the sitemap {url} {why}");
    let visited = visitor.visit(url, LARGEST_SITEMAP).await.map_err(|error| why(&error))?;
    if visited.status != 200 {
        return Err(why(&format!("was answered {}", visited.status)));
    }
    let text = String::from_utf8(visited.body)
        .map_err(|_| why("is not text; compressed ones are not read"))?;
    Ok(sitemap::read(&text, most))
}
