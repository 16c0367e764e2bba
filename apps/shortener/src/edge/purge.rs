//! Tells Seawall nodes which links have changed: hard purges of their tags.
//!
//! Each node has a task and a queue of its own, so that one that is away does not hold the others
//! up. What it has not heard is told again until it has. Each change is told twice: at once, and
//! when `memory-ttl` and a second are over, since until then another instance may have given the
//! node what was. A queue that is full is replaced by a purge of the whole host.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Uri};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::config::Config;
use crate::serve::Content;

use super::tag;

/// Links that wait to be told to one node; with more, all of the host is purged instead.
const MOST_WAITING: usize = 100_000;

/// Links in one request.
const AT_ONCE: usize = 1000;

/// How long a node has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long [`Purger::purge`] waits for the nodes.
const AT_MOST: Duration = Duration::from_secs(1);

/// How long to wait before a node is tried again: doubles from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// Tells the nodes. Dropping it ends its tasks.
#[derive(Debug, Default)]
pub struct Purger {
    nodes: Vec<Arc<Node>>,
    tasks: Vec<tokio::task::AbortHandle>,
}

/// How a node is.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its address.
    pub name: String,
    /// Links that it has yet to be told of.
    pub waiting: usize,
    /// Whether it heard what it was told last.
    pub is_up: bool,
    /// Tags that it was told of.
    pub told: u64,
    /// Times that it could not be told.
    pub failed: u64,
}

#[derive(Debug)]
struct Node {
    name: String,
    authority: String,
    path: String,
    token: Option<String>,
    /// Of the short links, with its port unless that is the one of the scheme.
    host: String,
    /// After so long what was told is told again.
    again: Duration,
    queue: Mutex<Queue>,
    more: Notify,
    /// The number of the last link that it was told of.
    told: watch::Sender<u64>,
    is_up: AtomicBool,
    count: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    links: VecDeque<Box<str>>,
    /// Of the first link in the queue.
    first: u64,
    /// To be told again, in the order of the times.
    again: VecDeque<(Instant, Box<str>)>,
    /// There was no room: everything is to be purged.
    everything: bool,
}

impl Purger {
    /// Tells the nodes of the configuration; `url` is what short links begin with.
    pub fn new(config: &Config, url: &str) -> Purger {
        let mut purger = Purger::default();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        for name in &config.edge.purge {
            let rest = name.strip_prefix("http://").unwrap_or(name);
            let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
            let base = if base.is_empty() { String::new() } else { format!("/{base}") };
            let node = Arc::new(Node {
                name: name.clone(),
                authority: authority.to_owned(),
                path: format!("{base}/api/cache/purge"),
                token: config.edge.token.clone(),
                host: host.to_owned(),
                again: config.cache.memory_ttl + Duration::from_secs(1),
                queue: Mutex::default(),
                more: Notify::new(),
                told: watch::Sender::new(0),
                is_up: AtomicBool::new(true),
                count: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            });
            purger.tasks.push(tokio::spawn(node.clone().tell()).abort_handle());
            purger.nodes.push(node);
        }
        purger
    }

    /// Purges what caches in front have of these links, now and once more. Waits until all nodes
    /// have heard it, a second at most; what they have not heard by then they will later.
    pub async fn purge<'a>(&self, codes: impl Iterator<Item = &'a str> + Clone) {
        let mut wait = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let number = node.queue(codes.clone(), true);
            // One that is away is not waited for.
            if node.is_up.load(Relaxed) {
                wait.push((node.told.subscribe(), number));
            }
        }
        let heard = async {
            for (mut told, number) in wait {
                // The sender lives as long as the node.
                told.wait_for(|told| *told >= number).await.ok();
            }
        };
        timeout(AT_MOST, heard).await.ok();
    }

    /// The same without waiting, once.
    pub fn later<'a>(&self, codes: impl Iterator<Item = &'a str> + Clone) {
        for node in &self.nodes {
            node.queue(codes.clone(), false);
        }
    }

    /// How the nodes are.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |node: &Arc<Node>| Standing {
            name: node.name.clone(),
            waiting: lock(&node.queue).links.len(),
            is_up: node.is_up.load(Relaxed),
            told: node.count.load(Relaxed),
            failed: node.failed.load(Relaxed),
        };
        self.nodes.iter().map(standing).collect()
    }

    /// Waits until nothing is to be told at once any more, so long at most: for the end of the
    /// process. What was to be told again then is told now.
    pub async fn finish(&self, at_most: Duration) {
        let all = async {
            for node in &self.nodes {
                let number = node.queue_the_rest();
                node.told.subscribe().wait_for(|told| *told >= number).await.ok();
            }
        };
        timeout(at_most, all).await.ok();
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Node {
    /// Puts links into the queue, and says the number of the last.
    fn queue<'a>(&self, codes: impl Iterator<Item = &'a str>, again: bool) -> u64 {
        let mut queue = lock(&self.queue);
        let due = Instant::now() + self.again;
        for code in codes {
            queue.links.push_back(code.into());
            if again {
                queue.again.push_back((due, code.into()));
            }
        }
        if queue.links.len() > MOST_WAITING || queue.again.len() > MOST_WAITING {
            queue.everything = true;
            // The one that is left carries the purge of everything; so is the one later.
            let (links, agains) = (queue.links.len() - 1, queue.again.len().saturating_sub(1));
            queue.links.drain(..links);
            queue.first += links as u64;
            queue.again.drain(..agains);
        }
        let last = queue.first + queue.links.len() as u64;
        drop(queue);
        self.more.notify_one();
        last
    }

    fn queue_the_rest(&self) -> u64 {
        let mut queue = lock(&self.queue);
        let rest: Vec<_> = queue.again.drain(..).map(|(_, code)| code).collect();
        queue.links.extend(rest);
        let last = queue.first + queue.links.len() as u64;
        drop(queue);
        self.more.notify_one();
        last
    }

    /// Tells the node what is in the queue, for ever.
    async fn tell(self: Arc<Node>) {
        let mut pause = PAUSES[0];
        loop {
            let (count, body, next) = self.batch();
            let Some(body) = body else {
                tokio::select! {
                    () = self.more.notified() => {}
                    () = at(next) => {}
                }
                continue;
            };
            match self.post(body).await {
                Ok(()) => {
                    if !self.is_up.swap(true, Relaxed) {
                        info!(node = self.name, "caches in front are purged again");
                    }
                    pause = PAUSES[0];
                    self.count.fetch_add(count as u64, Relaxed);
                    let mut queue = lock(&self.queue);
                    // It may have been emptied meanwhile.
                    let count = count.min(queue.links.len());
                    queue.links.drain(..count);
                    queue.first += count as u64;
                    let told = queue.first;
                    drop(queue);
                    self.told.send_replace(told);
                }
                Err(problem) => {
                    self.failed.fetch_add(1, Relaxed);
                    if self.is_up.swap(false, Relaxed) {
                        warn!(node = self.name, problem, "a cache in front cannot be purged");
                    }
                    sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                    pause = (pause * 2).min(PAUSES[1]);
                }
            }
        }
    }

    /// The beginning of the queue, as many links as go into one request, and when there will be
    /// more.
    fn batch(&self) -> (usize, Option<Bytes>, Option<Instant>) {
        let mut queue = lock(&self.queue);
        let now = Instant::now();
        while queue.again.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, code)) = queue.again.pop_front() {
                queue.links.push_back(code);
            }
        }
        let next = queue.again.front().map(|(due, _)| *due);
        let count = queue.links.len().min(AT_ONCE);
        if count == 0 {
            return (0, None, next);
        }
        let body = if std::mem::take(&mut queue.everything) {
            serde_json::json!({ "hosts": [self.host], "hard": true })
        } else {
            let tags: Vec<_> = queue.links.iter().take(count).map(|code| tag(code)).collect();
            serde_json::json!({ "tags": tags, "hard": true })
        };
        (count, Some(body.to_string().into()), next)
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        timeout(PATIENCE, self.exchange(body))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn exchange(&self, body: Bytes) -> Result<(), String> {
        let words = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| words(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        let path: Uri = self.path.parse().map_err(|error| words(&error as &_))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Content::from(body)).map_err(|error| words(&error))?;
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer.map_err(|error| words(&error))?,
            // It goes on only as long as it is asked; its end comes with an answer or an error.
            ended = connection => {
                return Err(ended.err().map_or_else(|| "hung up".to_owned(), |error| words(&error)));
            }
        };
        match answer.status().as_u16() {
            // No route has a cache, so that nothing is stored.
            200..=299 | 409 => Ok(()),
            status => Err(format!("status {status}")),
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
